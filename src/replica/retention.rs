//! What rooms are to forget: the leader looks for it and proposes it, like any other proposal of its own.
//!
//! No server forgets anything by itself. When a room's events are too many or too old is decided here, by the
//! leader and its clock; what is then forgotten is an entry of the log, and so the same everywhere.
//!
//! **Pace.** A step looks at a bounded number of rooms and proposes for one of them at most, no step follows
//! another within [`STEP_MS`], and none comes before the proposal of the one before is decided. So a room
//! that was just told to forget a million events loses them in pieces that hold nobody up.
//!
//! **Age** is read from the events themselves, by bisection: a handful of reads of one row each. The leaders'
//! clocks make times grow with seq but for the moment in which a slower clock takes over, and for what was
//! imported; there an event counts as as old as its neighbours.
//!
//! **Clocks.** A clock that jumps forward makes everything old at once, and what is forgotten does not come
//! back when the clock does. So after a jump nothing is forgotten for its age for [`DISTRUST_MS`].

use crate::{
    chat::{Action, EXPIRE_MAX, Proposal, Room, Standing},
    protocol::name::UserName,
};

use super::{
    io::Now,
    replica::Replica,
    storage::{RoomId, Storage, StorageError},
};

/// Time between two steps.
const STEP_MS: u64 = 250;
/// Time between two looks for uploads that do not go on, once there are none.
const UPLOADS_MS: u64 = 60_000;
/// Rooms that one step looks at.
const ROOMS_A_STEP: usize = 1_000;
/// With so many proposals on their way there is more urgent work.
const BUSY_PROPOSALS: usize = 64;
/// A difference between what both clocks say has passed that is no drift.
const JUMP_MS: u64 = 60_000;
/// How long a clock that has jumped is not believed.
const DISTRUST_MS: u64 = 60 * 60 * 1_000;
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// How far the leader has come in looking.
#[derive(Debug, Default)]
pub struct Retention {
    next_ms: u64,
    /// When to look for uploads that do not go on.
    uploads_next_ms: u64,
    /// The next room.
    from: Option<RoomId>,
    /// The last proposal.
    proposed: u64,
    clock: Clock,
}

/// Whether the wall clock goes as the other clock does.
#[derive(Debug, Default)]
struct Clock {
    last: Option<Now>,
    distrusted_until_ms: u64,
}

impl Clock {
    /// Looks at both clocks; whether the wall clock is believed.
    fn watch(&mut self, now: Now) -> bool {
        if let Some(last) = self.last.replace(now) {
            let passed_ms = now.mono_ms.saturating_sub(last.mono_ms);
            let jumped_ms = now.wall_ms.abs_diff(last.wall_ms.saturating_add(passed_ms));
            if jumped_ms > JUMP_MS {
                self.distrusted_until_ms = now.mono_ms.saturating_add(DISTRUST_MS);
            }
        }
        now.mono_ms >= self.distrusted_until_ms
    }
}

impl<S: Storage> Replica<S> {
    /// Proposes what is to be forgotten next, where this server leads and has nothing better to do.
    pub(super) fn forget_old_events(&mut self, now: Now) {
        // Watched by everybody, so that a new leader knows whether its clock has just jumped.
        let clock_is_good = self.retention.clock.watch(now);
        let leads = self.leading.as_ref().is_some_and(|leading| leading.is_ready());
        if !leads
            || self.stopping.is_some()
            || now.mono_ms < self.retention.next_ms
            || self.proposals.len() > BUSY_PROPOSALS
            || self.proposals.waits_for(self.retention.proposed)
        {
            return;
        }
        self.retention.next_ms = now.mono_ms + STEP_MS;
        let next = match self.next_idle_upload(now, clock_is_good) {
            Some(action) => Ok(Some(action)),
            None => self.next_expiry(now, clock_is_good),
        };
        match next {
            Ok(Some(action)) => {
                let user = UserName::new("cluster").expect("a well-formed name");
                let proposal = Proposal { user, standing: Standing::Cluster, lamport_timestamp: 0, action };
                self.retention.proposed = self.proposals.push_own(now.mono_ms, &proposal);
            }
            Ok(None) => {}
            Err(error) => self.broken = Some(error),
        }
    }

    /// An upload that is to be given up, where it is time to look for one.
    fn next_idle_upload(&mut self, now: Now, clock_is_good: bool) -> Option<Action> {
        if !clock_is_good || now.mono_ms < self.retention.uploads_next_ms {
            return None;
        }
        let idle = self.state.idle_upload(now.wall_ms);
        if idle.is_none() {
            self.retention.uploads_next_ms = now.mono_ms + UPLOADS_MS;
        }
        idle.map(|file_id| Action::GiveUpUpload { file_id })
    }

    /// The next room that is to forget something, from where the last step ended.
    fn next_expiry(&mut self, now: Now, clock_is_good: bool) -> Result<Option<Action>, StorageError> {
        let from = self.retention.from.unwrap_or(RoomId(0));
        let mut rooms = self.state.rooms_from(from);
        for (id, room) in rooms.by_ref().take(ROOMS_A_STEP) {
            let before_seq = self.forgets_before(now, clock_is_good, id, room)?;
            if before_seq > room.first_seq() {
                let retention = room.settings.retention;
                let action = Action::Expire { room: room.name.clone(), before_seq, retention };
                self.retention.from = Some(RoomId(id.0 + 1));
                return Ok(Some(action));
            }
        }
        self.retention.from = rooms.next().map(|(id, _)| id);
        Ok(None)
    }

    /// The first event that a room is to keep, as far as one command may go.
    fn forgets_before(
        &self,
        now: Now,
        clock_is_good: bool,
        id: RoomId,
        room: &Room,
    ) -> Result<u64, StorageError> {
        let retention = room.settings.retention;
        let first_seq = room.first_seq();
        // The newest event always stays.
        let most = room.last_seq.min(first_seq.saturating_add(EXPIRE_MAX));
        let by_count = retention.events.map_or(0, |events| (room.last_seq + 1).saturating_sub(events));
        let by_age = match retention.days {
            Some(days) if clock_is_good && by_count < most => {
                let since_ms = now.wall_ms.saturating_sub(u64::from(days) * DAY_MS);
                self.first_since(id, (first_seq, most), since_ms)?
            }
            _ => 0,
        };
        Ok(by_count.max(by_age).min(most))
    }

    /// The first of the events `first..most` that was made at `since_ms` or later; `most` where none was.
    fn first_since(
        &self,
        room: RoomId,
        (first, most): (u64, u64),
        since_ms: u64,
    ) -> Result<u64, StorageError> {
        let (mut low, mut high) = (first, most);
        // Mostly the first is young enough, and all others are.
        let mut middle = first;
        while low < high {
            match self.created_at_ms(room, middle)? {
                Some(created_at_ms) if created_at_ms < since_ms => low = middle + 1,
                _ => high = middle,
            }
            middle = low + (high - low) / 2;
        }
        Ok(low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_jumps_is_not_believed_for_a_while() {
        let mut clock = Clock::default();
        let at = |mono_ms, wall_ms| Now { mono_ms, wall_ms };
        assert!(clock.watch(at(0, 1_000_000_000)));
        // Half a minute of drift, and a step of a server that slept, are no jumps.
        assert!(clock.watch(at(1_000, 1_000_031_000)));
        assert!(clock.watch(at(1_000_000, 1_001_030_000)));
        assert!(!clock.watch(at(1_000_020, 1_001_030_020 + 24 * 60 * 60 * 1_000)));
        assert!(!clock.watch(at(1_000_040, 1_001_030_040)), "the step back is one, too");
        assert!(!clock.watch(at(1_000_040 + DISTRUST_MS - 1, 1_001_030_040 + DISTRUST_MS - 1)));
        assert!(clock.watch(at(1_000_040 + DISTRUST_MS, 1_001_030_040 + DISTRUST_MS)));
    }
}
