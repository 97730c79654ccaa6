//! The entries of a log, applied to a state that lies behind them: for a disk that has no cluster any more.

use super::{evidence::evidence, io::Now, unsaved::Unsaved};
use crate::{
    chat::{Entry, Published, State},
    disk::{Applied, HardState, Storage, StorageError},
    protocol::{
        peer::{ConfState, LogEntry, LogEntryKind},
        rules::KnownRules,
    },
};

/// Appends entries to the log of `storage` and applies them to `state`, which is what `storage` holds. They
/// follow the last entry there, and all count as committed. Which servers count is left as it was.
///
/// # Errors
/// The disk has failed, or an entry is none.
pub fn replay<S: Storage>(
    storage: &mut S,
    state: &mut State,
    conf: &ConfState,
    entries: Vec<LogEntry>,
) -> Result<(), StorageError> {
    let Some((index, term)) = entries.last().map(|last| (last.index, last.term)) else { return Ok(()) };
    let mut unsaved = Unsaved::default();
    for entry in entries.iter().filter(|entry| entry.kind == LogEntryKind::Command && !entry.data.is_empty())
    {
        let decoded = Entry::decode(&entry.data, KnownRules::OURS).map_err(|error| {
            StorageError::Failed(format!("entry {} cannot be applied: {error}", entry.index))
        })?;
        let read = |room, seq| unsaved.event(storage, room, seq);
        let evidence = evidence(state, &decoded.proposal, &read)?;
        let mut effects = state.apply(entry.index, &decoded, &evidence).effects;
        unsaved.add(&mut effects);
        unsaved.add_events(effects.events.iter().map(Published::row));
        unsaved.add_events(effects.rewritten);
    }
    unsaved.applied(Now { mono_ms: 0, wall_ms: 0 }, Applied { index, term, conf: conf.clone() });
    let mut batch = unsaved.take(state);
    batch.entries = entries;
    batch.hard_state = Some(HardState { term, vote: None, commit: index });
    storage.commit(batch)
}
