//! Committed entries become state, rows, events and answers.

use crate::{
    chat::{Applied as Outcome, Command, Entry, Published},
    disk::{Storage, StorageError},
    protocol::peer::{LogEntry, LogEntryKind},
};

use super::{clients::Decided, evidence::evidence, io::Now, passages::Step, replica::Replica};

/// Most entries that wait for a repair: some seconds of a busy cluster.
const UNAPPLIED_MAX: usize = 100_000;

impl<S: Storage> Replica<S> {
    /// Applies committed entries, in order. If damage keeps one of them from being applied, it and those
    /// behind it wait until that is repaired or this server is rebuilt. If too many wait, the damage
    /// is the error.
    pub(super) fn apply(&mut self, now: Now, entries: Vec<LogEntry>) -> Result<(), StorageError> {
        self.unapplied.extend(entries);
        let mut last = None;
        while let Some(entry) = self.unapplied.pop_front() {
            match self.apply_entry(now, &entry) {
                Ok(()) => last = Some((entry.index, entry.term)),
                Err(error) if error.doubt().is_some() && self.unapplied.len() < UNAPPLIED_MAX => {
                    self.unapplied.push_front(entry);
                    self.node.unreadable(error);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        if let Some((index, term)) = last {
            self.unsaved.applied(now, self.node.applied(index, term));
            self.follow_log();
        }
        Ok(())
    }

    fn apply_entry(&mut self, now: Now, entry: &LogEntry) -> Result<(), StorageError> {
        match entry.kind {
            // The empty entry by which a new leader commits the entries before it.
            LogEntryKind::Command if entry.data.is_empty() => {}
            LogEntryKind::Command => {
                // If this server skipped an entry that others understand, the states would differ for ever.
                let decoded = Entry::decode(&entry.data, self.config.rules).map_err(|error| {
                    StorageError::Failed(format!("entry {} cannot be applied: {error}", entry.index))
                })?;
                self.apply_command(now, entry.index, &decoded)?;
            }
            LogEntryKind::Configure => {
                let version = self.state.servers().map_or(0, |servers| servers.version);
                let (rows, removed) = self.node.apply_configure(entry, version)?;
                self.unsaved.add_rows(rows);
                if removed.contains(&self.node.identity.node_id) {
                    self.node.node_removed(self.state.servers(), &mut self.outputs);
                }
                self.settle_servers(entry.index);
                // A snapshot for a server that joins must contain it.
                self.unsaved.hurry();
                for node in removed {
                    self.unsaved.add_rows(self.state.forget_origin(node));
                }
            }
        }
        Ok(())
    }

    /// The change of the servers that is under way has reached its end, if the nodes that count say so: the
    /// same on all servers, since the log has decided both.
    fn settle_servers(&mut self, index: u64) {
        let node = &self.node;
        if node.is_between_voters() {
            return;
        }
        let rows = self.state.settle_servers(index, |id| node.votes(id), |id| node.counts(id));
        self.unsaved.add_rows(rows);
    }

    fn apply_command(&mut self, now: Now, index: u64, entry: &Entry) -> Result<(), StorageError> {
        let command = &entry.proposal.command;
        let read = |room, seq| self.unsaved.event(self.node.consensus.storage(), room, seq);
        let evidence = evidence(&self.state, &entry.proposal, &read)?;
        let Outcome { origin, outcome, mut effects } = self.state.apply(index, entry, &evidence);
        let counted = self.counts.applied(outcome.as_ref());
        self.passages.keep(origin, Step::Applied { index, outcome: counted });
        self.unsaved.add(&mut effects);
        if let Command::ChangeServers(_) = command {
            // A server that is taken back before it came has no node that could go.
            self.settle_servers(index);
            // A snapshot for a server that joins has to know of it.
            self.unsaved.hurry();
        }
        self.unsaved.add_events(effects.events.iter().map(Published::row));
        self.unsaved.add_events(effects.rewritten.iter().cloned());
        let here = origin.node_id == self.node.identity.node_id && origin.boot == self.node.identity.boot;
        let asker = match &outcome {
            Some(_) if here => {
                let pending = self.proposals.decided(now.mono_ms, origin.seq);
                pending.iter().for_each(|pending| self.counts.decided(pending));
                pending.and_then(|pending| pending.conn)
            }
            _ => None,
        };
        let asker = asker.map(|conn| (conn, origin.seq));
        self.with_clients(now, |clients, at| {
            clients.decided(at, Decided { index, command, effects, asker, outcome });
        });
        Ok(())
    }
}
