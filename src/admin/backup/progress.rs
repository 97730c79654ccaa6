//! The progress of long work, on a terminal.

use std::{
    io::{self, IsTerminal, Read, Write},
    time::{Duration, Instant},
};

use crate::admin::output::grouped;

const EVERY: Duration = Duration::from_millis(250);

/// A reader that shows on a terminal how much was read.
pub struct Progress<R> {
    source: R,
    what: &'static str,
    bytes: u64,
    /// How much there is, if that is known.
    total: Option<u64>,
    next: Instant,
    is_shown: bool,
}

impl<R> Progress<R> {
    pub fn new(source: R, what: &'static str, total: Option<u64>) -> Progress<R> {
        let next = Instant::now() + EVERY;
        Progress { source, what, bytes: 0, total, next, is_shown: io::stderr().is_terminal() }
    }

    /// How much was read.
    pub fn moved(&self) -> u64 {
        self.bytes
    }

    fn show(&mut self) {
        if self.is_shown && Instant::now() >= self.next {
            self.next = Instant::now() + EVERY;
            // It does not matter if this fails.
            let _ = write!(io::stderr(), "\r{}\x1b[K", line(self.what, self.bytes, self.total));
        }
    }
}

fn line(what: &str, bytes: u64, total: Option<u64>) -> String {
    let share = total.map_or_else(String::new, |total| format!(" ({} %)", bytes * 100 / total.max(1)));
    format!("{what}: {} KiB{share}", grouped(bytes / 1024))
}

impl<R: Read> Read for Progress<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(into)?;
        self.bytes += count as u64;
        self.show();
        Ok(count)
    }
}

impl<R> Drop for Progress<R> {
    fn drop(&mut self) {
        if self.is_shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_much_and_what_share() {
        assert_eq!(line("checking", 3 * 1024 * 1024, None), "checking: 3,072 KiB");
        assert_eq!(line("checking", 512, Some(2048)), "checking: 0 KiB (25 %)");
        assert_eq!(line("checking", 0, Some(0)), "checking: 0 KiB (0 %)");
    }

    #[test]
    fn what_is_read_is_counted() {
        let mut progress = Progress::new(&b"abc"[..], "reading", None);
        let mut text = String::new();
        progress.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), progress.moved()), ("abc", 3));
    }
}
