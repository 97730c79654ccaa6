//! Refused input from strangers. A network may bring anything, and not every refusal is worth a line in the
//! log.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

const REPORT_EVERY: Duration = Duration::from_secs(60);
/// Different reasons that are counted in that time. They must be limited: some contain text of the other end.
const REASONS_MAX: usize = 16;

/// Refusals by their reasons. The first of each is logged at once, because it may show a mistake in a
/// configuration; the others are counted.
#[derive(Debug)]
pub struct Refusals {
    /// What is refused, such as "a datagram".
    what: &'static str,
    /// How many there were since the last report.
    counts: BTreeMap<String, u64>,
    reported: Instant,
}

impl Refusals {
    /// `what` is what is refused, such as "a datagram".
    pub fn new(what: &'static str) -> Self {
        Refusals { what, counts: BTreeMap::new(), reported: Instant::now() }
    }

    /// Counts a refusal of something from `from`, and logs the first with its reason.
    pub fn count(&mut self, from: SocketAddr, reason: &str) {
        self.report();
        if let Some(line) = self.counted(from, reason) {
            log::warn!("{line}");
        }
    }

    /// Logs the counts, if it is time for it.
    pub fn report(&mut self) {
        self.due(Instant::now()).iter().for_each(|line| log::warn!("{line}"));
    }

    /// The line to log for a refusal, if there is one.
    fn counted(&mut self, from: SocketAddr, reason: &str) -> Option<String> {
        let has_room = self.counts.contains_key(reason) || self.counts.len() < REASONS_MAX;
        let reason = if has_room { reason } else { "for many other reasons" };
        let count = self.counts.entry(reason.to_owned()).or_default();
        *count += 1;
        (*count == 1).then(|| format!("{} from {from} was refused: {reason}", self.what))
    }

    fn due(&mut self, now: Instant) -> Vec<String> {
        if now.saturating_duration_since(self.reported) < REPORT_EVERY {
            return Vec::new();
        }
        self.reported = now;
        let counts = std::mem::take(&mut self.counts).into_iter().filter(|(_, count)| *count > 1);
        counts
            .map(|(reason, count)| {
                format!("{} was refused {count} times within a minute: {reason}", self.what)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_few_lines_a_minute() {
        let begun = Instant::now();
        let mut refusals = Refusals { reported: begun, ..Refusals::new("a link") };
        let from = SocketAddr::from(([10, 0, 0, 9], 7));
        for minute in 1..=2 {
            let mut lines = Vec::new();
            for number in 0..1_000 {
                lines.extend(refusals.counted(from, "another secret"));
                lines.extend(refusals.counted(from, &format!("version {number}")));
                assert!(refusals.due(begun + REPORT_EVERY * minute - Duration::from_millis(1)).is_empty());
            }
            assert_eq!(lines.len(), REASONS_MAX + 1, "{lines:?}");
            assert_eq!(lines[0], "a link from 10.0.0.9:7 was refused: another secret");
            assert_eq!(lines.last().unwrap(), "a link from 10.0.0.9:7 was refused: for many other reasons");
            let due = refusals.due(begun + REPORT_EVERY * minute);
            assert_eq!(
                due,
                [
                    "a link was refused 1000 times within a minute: another secret",
                    "a link was refused 985 times within a minute: for many other reasons",
                ]
            );
        }
    }
}
