//! The clocks, read in one place.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::replica::io::Now;

/// Reads the clocks. Copies agree with each other.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    /// A clock whose monotonic time begins now. It begins above zero, so that zero can mean "never".
    pub fn start() -> Self {
        Clock { started: Instant::now() }
    }

    /// Milliseconds on the monotonic clock.
    pub fn mono_ms(&self) -> u64 {
        1 + self.started.elapsed().as_millis() as u64
    }

    /// Both clocks. A wall clock before 1970 reads as 1970.
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { mono_ms: self.mono_ms(), wall_ms: wall.as_millis() as u64 }
    }
}
