//! When something ends, such as a ban.

use serde::{Deserialize, Serialize};

/// The end of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Until {
    /// Until a user ends it.
    Ended,
    /// Until this time of the cluster's log, milliseconds since the Unix epoch.
    Ms(u64),
}

impl Until {
    /// The end of what begins at `now_ms` and lasts for `seconds`; `None`: until it is ended.
    pub fn after(now_ms: u64, seconds: Option<u32>) -> Until {
        seconds.map_or(Until::Ended, |seconds| Until::Ms(now_ms.saturating_add(u64::from(seconds) * 1000)))
    }

    pub fn lasts(self, now_ms: u64) -> bool {
        match self {
            Until::Ended => true,
            Until::Ms(end_ms) => now_ms < end_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_is_ended_by_somebody() {
        assert!(Until::after(5, None).lasts(u64::MAX));
        assert!(Until::after(5, Some(2)).lasts(2_004) && !Until::after(5, Some(2)).lasts(2_005));
    }
}
