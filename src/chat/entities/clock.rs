//! The cluster's Lamport clock: what orders the events of all rooms.

use serde::{Deserialize, Serialize};

use crate::protocol::{
    limits::{LAMPORT_AHEAD_MAX, LAMPORT_END},
    refusal::Refusal,
};

/// The newest timestamp, and the number of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Clock {
    /// The newest timestamp given to an event or claimed by an accepted command.
    pub lamport: u64,
    /// Messages in all rooms.
    pub messages: u64,
}

impl Clock {
    /// Whether a command may carry `claimed`. A clock that only grows never takes a yes back.
    pub fn check(&self, claimed: u64) -> Result<(), Refusal> {
        if claimed >= LAMPORT_END {
            return Err(Refusal::bad_request("lamport_timestamp must be below 2^53"));
        }
        let most = self.lamport.saturating_add(self.ahead_max());
        if claimed > most {
            return Err(Refusal::bad_request(format!(
                "lamport_timestamp is {claimed}, too far ahead of the server's clock: at most {most} now"
            )));
        }
        Ok(())
    }

    /// How far ahead a claim may be: the contract's 2^32, until half of all timestamps are used up.
    ///
    /// Two million claims of 2^32 each would bring the clock to its end; then no client could say anything
    /// any more. So in the second half a step is at most a 2^20th of what is left. That slows an attacker
    /// down so much that an operator notices in time.
    fn ahead_max(&self) -> u64 {
        LAMPORT_AHEAD_MAX.min(LAMPORT_END.saturating_sub(self.lamport) >> 20)
    }

    /// Moves up to what an accepted command claims.
    pub fn hear(&mut self, claimed: u64) {
        self.lamport = self.lamport.max(claimed);
    }

    /// The timestamp of the next event.
    pub fn next(&mut self) -> u64 {
        self.lamport += 1;
        self.lamport
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_moves_the_clock_but_not_away() {
        let mut clock = Clock::default();
        clock.check(LAMPORT_AHEAD_MAX).unwrap();
        clock.check(LAMPORT_AHEAD_MAX + 1).unwrap_err();
        clock.hear(7);
        assert_eq!(clock.next(), 8);
        clock.hear(3);
        assert_eq!(clock.next(), 9);
        clock.check(9 + LAMPORT_AHEAD_MAX).unwrap();
        clock.check(10 + LAMPORT_AHEAD_MAX).unwrap_err();
    }

    #[test]
    fn the_end_of_the_clock_is_never_reached_by_claims() {
        let mut clock = Clock { lamport: LAMPORT_END / 2, messages: 0 };
        for _ in 0..1_000_000 {
            let claimed = clock.lamport + clock.ahead_max();
            clock.check(claimed).unwrap();
            clock.check(claimed + 1).unwrap_err();
            clock.hear(claimed);
            clock.next();
        }
        assert!(clock.lamport < LAMPORT_END - (1 << 50), "{}", clock.lamport);
        clock.lamport = LAMPORT_END - 1;
        clock.check(LAMPORT_END).unwrap_err();
    }
}
