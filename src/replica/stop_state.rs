//! How far an orderly stop has come (`stopping`).

use super::io::Now;

/// How long a stop waits for the handover and for answers that are still due.
const STOP_MS: u64 = 1_500;

pub(super) enum StopState {
    /// It goes on without what is still due then.
    UnderWay {
        deadline_ms: u64,
    },
    Done,
}

impl StopState {
    pub fn begin(now: Now) -> StopState {
        StopState::UnderWay { deadline_ms: now.mono_ms + STOP_MS }
    }
}
