//! Limits of what waits for all connections together, and of how slowly each may read.
//!
//! Each outbox is bounded, but ten thousand of them are not small together. So there is a budget for all
//! (`limits.outboxes_bytes`): if it is passed, the connections that hold most are closed until the rest fits.
//! They resume, as any connection that read too slowly does.
//!
//! **What counts** is memory: a line that waits for many connections is held once, so each of them counts a
//! share of it. Counting shares means looking at every line. So it is done only if the lines would pass the
//! budget if none were shared, and at most once in `WEIGH_SHARES` if they fit after all.

use std::time::{Duration, Instant};

use crate::fanout::ConnId;

/// How often all backlogs are added up.
const WEIGH: Duration = Duration::from_millis(250);
/// Least time between two counts of shares, if they were found to fit.
const WEIGH_SHARES: Duration = Duration::from_secs(1);

/// How long a reader for whom something waits all the time may take for `PACE_BYTES`.
pub const PACE: Duration = Duration::from_secs(30);
/// Bytes that it must take in that time. Even a modem of the nineties does.
const PACE_BYTES: u64 = 32 * 1024;

/// The budget of one fan-out thread.
#[derive(Debug)]
pub struct Budget {
    bytes: usize,
    next: Option<Instant>,
}

impl Budget {
    pub fn new(bytes: usize) -> Self {
        Budget { bytes, next: None }
    }

    /// Whether it is time to add up.
    pub fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.next.is_none_or(|next| next <= now);
        if is_due {
            self.next = Some(now + WEIGH);
        }
        is_due
    }

    pub fn has_room(&self, bytes: usize) -> bool {
        bytes <= self.bytes
    }

    /// The connections to be closed, given what each holds: the largest, until the rest fits.
    pub fn too_much(&mut self, now: Instant, mut held: Vec<(ConnId, usize)>) -> Vec<ConnId> {
        let mut sum: usize = held.iter().map(|(_, bytes)| bytes).sum();
        if self.has_room(sum) {
            self.next = Some(now + WEIGH_SHARES);
        }
        held.sort_by_key(|(conn, bytes)| (*bytes, *conn));
        let mut closed = Vec::new();
        while !self.has_room(sum)
            && let Some((conn, bytes)) = held.pop()
        {
            sum -= bytes;
            closed.push(conn);
        }
        closed
    }
}

/// How fast a reader takes what waits for it, from when it began to wait.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    since: Instant,
    taken: u64,
}

impl Pace {
    /// Something begins to wait.
    pub fn new(now: Instant) -> Self {
        Pace { since: now, taken: 0 }
    }

    /// The reader has taken something.
    pub fn took(&mut self, bytes: u64) {
        self.taken += bytes;
    }

    pub fn is_too_slow(&mut self, now: Instant) -> bool {
        if now.duration_since(self.since) < PACE {
            return false;
        }
        let is_too_slow = self.taken < PACE_BYTES;
        *self = Pace::new(now);
        is_too_slow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_backlogs_go_until_the_rest_fits() {
        let (mut budget, now) = (Budget::new(100), Instant::now());
        assert!(budget.has_room(100) && !budget.has_room(101));
        let held = vec![(ConnId(1), 30), (ConnId(2), 60), (ConnId(3), 50), (ConnId(4), 20)];
        assert_eq!(budget.too_much(now, held), [ConnId(2)]);
        assert_eq!(budget.too_much(now, vec![(ConnId(1), 500), (ConnId(2), 99)]), [ConnId(1)]);
        assert_eq!(budget.too_much(now, vec![(ConnId(1), 500)]), [ConnId(1)]);
    }

    #[test]
    fn what_is_shared_is_looked_at_seldom() {
        let (mut budget, now) = (Budget::new(100), Instant::now());
        assert!(budget.is_due(now) && !budget.is_due(now) && budget.is_due(now + WEIGH));
        assert!(budget.too_much(now + WEIGH, vec![(ConnId(1), 100)]).is_empty());
        assert!(!budget.is_due(now + 2 * WEIGH) && budget.is_due(now + WEIGH + WEIGH_SHARES));
    }

    #[test]
    fn a_reader_that_takes_a_little_now_and_then_is_too_slow() {
        let begun = Instant::now();
        let mut pace = Pace::new(begun);
        assert!(!pace.is_too_slow(begun + PACE - Duration::from_millis(1)));
        pace.took(PACE_BYTES - 1);
        assert!(pace.is_too_slow(begun + PACE));
        let mut pace = Pace::new(begun);
        pace.took(PACE_BYTES);
        assert!(!pace.is_too_slow(begun + PACE));
        assert!(pace.is_too_slow(begun + 2 * PACE), "what it took before does not count for ever");
    }
}
