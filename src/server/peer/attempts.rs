//! The pauses between attempts to make a link.

use std::time::Duration;

use crate::protocol::name::ServerId;

/// Pauses between attempts, in milliseconds. A process that is being killed may for a moment still accept
/// connections, so the first attempts follow each other closely.
const PAUSES_MS: [u64; 9] = [0, 1, 3, 10, 25, 50, 100, 200, 400];
/// A link that lasted so long resets the count of attempts.
const LASTING: Duration = Duration::from_secs(1);

/// Why there is no link.
pub(super) enum Failure {
    /// No process listens there.
    PortRefuses,
    /// Anything else, in words.
    Other(String),
}

/// Attempts since a link was last there.
#[derive(Default)]
pub(super) struct Attempts {
    /// How many of them failed.
    pub count: usize,
    complaints: Complaints,
}

impl Attempts {
    /// How long to wait before the next one.
    pub fn pause(&self) -> Duration {
        let pause_ms = PAUSES_MS[self.count.min(PAUSES_MS.len() - 1)];
        // Up to a quarter more, by chance, so that servers that lost each other do not keep step.
        let mut chance = [0];
        let _ = getrandom::fill(&mut chance);
        Duration::from_micros(pause_ms * 1_000 + pause_ms * u64::from(chance[0]))
    }

    /// A link that lasted resets the count. A short one may be due to two servers with one id, which must not
    /// cut each other's links at full speed.
    pub fn link_ended(&mut self, lasted: Duration) {
        if lasted >= LASTING { *self = Attempts::default() } else { self.count += 1 }
    }

    /// Counts a failure; logs it once it is more than a process that starts or ends.
    pub fn failed(&mut self, peer_id: &ServerId, failure: &Failure) {
        self.count += 1;
        // The first attempts may meet a process that is just ending or starting.
        if self.count > 5 {
            match failure {
                Failure::PortRefuses => self.complaints.say(&format!("{peer_id} does not listen")),
                Failure::Other(reason) => self.complaints.say(&format!("no link to {peer_id}: {reason}")),
            }
        }
    }
}

/// Warnings that are not repeated as long as they stay the same.
#[derive(Default)]
pub(super) struct Complaints {
    last: String,
}

impl Complaints {
    /// Logs `complaint`, unless it was the last one logged.
    pub fn say(&mut self, complaint: &str) {
        if self.last != complaint {
            log::warn!("{complaint}");
            complaint.clone_into(&mut self.last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_a_link_has_lasted() {
        let peer_id = ServerId::new("a").unwrap();
        let mut attempts = Attempts::default();
        assert_eq!(attempts.pause(), Duration::ZERO);
        (0..20).for_each(|_| attempts.failed(&peer_id, &Failure::PortRefuses));
        let longest = attempts.pause();
        assert!(longest >= Duration::from_millis(400) && longest <= Duration::from_millis(510));
        attempts.link_ended(Duration::from_millis(1));
        assert!(attempts.pause() >= Duration::from_millis(400));
        attempts.link_ended(LASTING);
        assert_eq!(attempts.pause(), Duration::ZERO);
    }
}
