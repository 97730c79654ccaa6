//! What rooms are to forget: the leader looks for it and proposes it.
//!
//! No server forgets anything by itself. The leader decides here, with its clock, when a room's events are
//! too many or too old. What is then forgotten is an entry of the log, and so the same on every server.
//!
//! **Pace.** A step looks at a bounded number of rooms and proposes for one of them at most. No step follows
//! another within [`STEP_MS`], or before the last proposal is decided. So a room that has to forget a million
//! events loses them in pieces that delay no other work. The next piece waits until the leader's disk has
//! wiped enough.
//!
//! **Age** is read from the events themselves. Times grow with seq, except when a leader with a slower clock
//! takes over, and for imported events. What comes before the first event that is young enough goes; an old
//! one after it stays until that one is old. A room is not read again until its first event is old enough.
//!
//! **Clocks.** A clock that jumps forward makes everything old at once, and forgotten events do not come back
//! when the clock is set back. So nothing is forgotten for its age unless the clock is believed (`clocks`).

use std::collections::BTreeMap;

use crate::{
    chat::{
        Command, Proposal, Room, State,
        command::{EXPIRE_MAX, Expire, GiveUpUpload},
    },
    disk::{RoomId, StorageError},
};

use super::{io::Now, proposals::Proposals};

/// Time between two steps.
const STEP_MS: u64 = 250;
/// Time between two searches for abandoned uploads, once there are none.
const UPLOADS_MS: u64 = 60_000;
/// Rooms that one step looks at.
const ROOMS_A_STEP: usize = 1_000;
/// Events that one step reads.
const READS_A_STEP: usize = 64;
/// Reads of events that it takes to find the first one that is young enough.
const READS_A_SEARCH: usize = 16;
/// With so many proposals on their way there is more urgent work: steps are [`BUSY_STEP_MS`] apart.
const BUSY_PROPOSALS: usize = 64;
/// With so many events removed here and not yet wiped, nothing more is forgotten for now. Otherwise the
/// wiping would fall behind more and more.
const UNWIPED_MAX: u64 = EXPIRE_MAX;
/// Time between two steps of a busy leader: the rooms of one that is always busy grow, too.
const BUSY_STEP_MS: u64 = 5_000;
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// How far the leader's search has come.
#[derive(Debug, Default)]
pub struct Retention {
    next_ms: u64,
    /// When to look for abandoned uploads.
    uploads_next_ms: u64,
    from: Option<RoomId>,
    proposed: u64,
    /// Rooms of which nothing is too old yet.
    young: BTreeMap<RoomId, Young>,
}

/// A room of which nothing is too old before some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Young {
    first_seq: u64,
    days: u32,
    until_ms: u64,
}

/// What the leader's decisions depend on.
pub struct RetentionContext<'a> {
    pub now: Now,
    /// Whether the wall clock may be trusted with what cannot be undone.
    pub clock_is_good: bool,
    pub state: &'a State,
    /// When an event of history was made, if it is there.
    pub created_at_ms: &'a dyn Fn(RoomId, u64) -> Result<Option<u64>, StorageError>,
    /// The first event of a room that was made at a time or later.
    pub first_since: &'a dyn Fn(RoomId, u64) -> Result<Option<u64>, StorageError>,
}

impl Retention {
    /// Whether the leader has time to look for what is to be forgotten. `unwiped`: how many events are
    /// removed from its disk and not yet wiped.
    pub fn is_due(&self, now: Now, proposals: &Proposals, unwiped: u64) -> bool {
        now.mono_ms >= self.next_ms
            && (proposals.len() <= BUSY_PROPOSALS || now.mono_ms >= self.next_ms.saturating_add(BUSY_STEP_MS))
            && !proposals.waits_for(self.proposed)
            && unwiped <= UNWIPED_MAX
    }

    /// Proposes what is to be forgotten next.
    ///
    /// # Errors
    /// The disk could not be read.
    pub fn step(
        &mut self,
        context: &RetentionContext<'_>,
        proposals: &mut Proposals,
    ) -> Result<(), StorageError> {
        let now = context.now;
        self.next_ms = now.mono_ms + STEP_MS;
        let next = match self.next_idle_upload(context) {
            Some(command) => Some(command),
            None => self.next_expiry(context)?,
        };
        if let Some(command) = next {
            self.proposed = proposals.push_own(now.mono_ms, &Proposal::of_cluster(command));
        }
        Ok(())
    }

    /// An upload that is to be given up, if it is time to look for one.
    fn next_idle_upload(&mut self, context: &RetentionContext<'_>) -> Option<Command> {
        if !context.clock_is_good || context.now.mono_ms < self.uploads_next_ms {
            return None;
        }
        let idle = context.state.idle_upload(context.now.wall_ms);
        if idle.is_none() {
            self.uploads_next_ms = context.now.mono_ms + UPLOADS_MS;
        }
        idle.map(|file_id| GiveUpUpload { file_id }.into())
    }

    /// The next room that is to forget something, from where the last step ended.
    fn next_expiry(&mut self, context: &RetentionContext<'_>) -> Result<Option<Command>, StorageError> {
        let from = self.from.take().unwrap_or(RoomId(0));
        let mut young = std::mem::take(&mut self.young);
        let mut reads = READS_A_STEP;
        let mut found = None;
        for (looked_at, (id, room)) in context.state.rooms_from(from).enumerate() {
            if looked_at >= ROOMS_A_STEP || reads == 0 || found.is_some() {
                self.from = Some(id);
                break;
            }
            let before_seq = forgets_before(context, (id, room), &mut young, &mut reads)?;
            if before_seq > room.first_seq() {
                let retention = room.settings.retention;
                found = Some(Expire { room: id, before_seq, retention }.into());
            }
        }
        self.young = young;
        Ok(found)
    }
}

/// The first event that a room is to keep, as far as one command may go.
fn forgets_before(
    context: &RetentionContext<'_>,
    (id, room): (RoomId, &Room),
    young: &mut BTreeMap<RoomId, Young>,
    reads: &mut usize,
) -> Result<u64, StorageError> {
    let retention = room.settings.retention;
    let first_seq = room.first_seq();
    // The newest event always stays.
    let most = room.last_seq.min(first_seq.saturating_add(EXPIRE_MAX));
    let by_count = retention.events.map_or(0, |events| (room.last_seq + 1).saturating_sub(events));
    let Some(days) = retention.days.filter(|_| context.clock_is_good && by_count < most) else {
        young.remove(&id);
        return Ok(by_count.min(most));
    };
    let is_known = |young: &&Young| {
        (young.first_seq, young.days) == (first_seq, days) && context.now.wall_ms < young.until_ms
    };
    if first_seq >= most || young.get(&id).filter(is_known).is_some() {
        return Ok(by_count.min(most));
    }
    let age_ms = u64::from(days) * DAY_MS;
    let since_ms = context.now.wall_ms.saturating_sub(age_ms);
    *reads = reads.saturating_sub(1);
    let first_ms = (context.created_at_ms)(id, first_seq)?.unwrap_or(context.now.wall_ms);
    let by_age = if first_ms < since_ms {
        *reads = reads.saturating_sub(READS_A_SEARCH);
        (context.first_since)(id, since_ms)?.unwrap_or(most)
    } else {
        young.insert(id, Young { first_seq, days, until_ms: first_ms.saturating_add(age_ms) });
        first_seq
    };
    Ok(by_count.max(by_age).min(most))
}
