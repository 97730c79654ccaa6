//! No message fills the log by being repeated: it is written once, then how often it came again.
//!
//! From each place in the program that logs, a text is written once in [`WINDOW`], and at most [`TEXTS_MAX`]
//! different texts. The others are counted. After that time the next record from any place brings the count
//! and the last text; there is no thread for it.
//!
//! Records for debugging are never held back.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    time::{Duration, Instant},
};

use flexi_logger::{
    DeferredNow,
    filter::{LogLineFilter, LogLineWriter},
};
use log::{Level, Record};
use parking_lot::Mutex;

/// How long a text is not written again.
const WINDOW: Duration = Duration::from_secs(10);
/// How many different texts of one place are written in that time.
const TEXTS_MAX: usize = 20;

/// A place that logs: file and line.
type Place = (&'static str, u32);

/// What came from one place in the current window.
#[derive(Debug)]
struct Lately {
    since: Instant,
    /// The hashes of the texts that were written.
    written: Vec<u64>,
    /// How many were not, and the last of them.
    held_back: u64,
    last: String,
    level: Level,
}

/// What is to be written after a record has come.
#[derive(Debug, Default, PartialEq, Eq)]
struct Due {
    /// The counts of what was held back.
    counts: Vec<(Level, String)>,
    /// Whether the record itself is written.
    record: bool,
}

/// Holds back what repeats.
#[derive(Debug, Default)]
pub struct Repeats {
    lately: Mutex<BTreeMap<Place, Lately>>,
}

impl Repeats {
    fn take(&self, now: Instant, place: Place, level: Level, text: &str) -> Due {
        let mut lately = self.lately.lock();
        let mut due = Due::default();
        let mut was_counted = false;
        lately.retain(|of, lately| {
            let is_over = now >= lately.since + WINDOW;
            if is_over && lately.held_back > 0 {
                let Lately { held_back, last, level, .. } = lately;
                was_counted |= *of == place && last == text;
                let seconds = now.duration_since(lately.since).as_secs();
                due.counts.push((*level, format!("{held_back} more like this in {seconds} s: {last}")));
            }
            !is_over
        });
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let hash = hasher.finish();
        let begin = || Lately { since: now, written: Vec::new(), held_back: 0, last: String::new(), level };
        let lately = lately.entry(place).or_insert_with(begin);
        if was_counted {
            lately.written.push(hash);
        }
        if lately.written.contains(&hash) || lately.written.len() >= TEXTS_MAX {
            lately.held_back += 1;
            text.clone_into(&mut lately.last);
            lately.level = level;
        } else {
            lately.written.push(hash);
            due.record = true;
        }
        due
    }
}

impl LogLineFilter for Repeats {
    fn write(
        &self,
        now: &mut DeferredNow,
        record: &Record<'_>,
        writer: &dyn LogLineWriter,
    ) -> io::Result<()> {
        if record.level() > Level::Info {
            return writer.write(now, record);
        }
        let place = (record.file_static().unwrap_or_default(), record.line().unwrap_or_default());
        let due = self.take(Instant::now(), place, record.level(), &record.args().to_string());
        for (level, count) in due.counts {
            let mut said = Record::builder();
            said.level(level).target(record.target()).module_path(record.module_path());
            writer.write(now, &said.args(format_args!("{count}")).build())?;
        }
        if due.record { writer.write(now, record) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Place = ("here.rs", 1);

    #[test]
    fn a_text_is_written_once_and_then_counted() {
        let (repeats, start) = (Repeats::default(), Instant::now());
        let take =
            |ms: u64, text: &str| repeats.take(start + Duration::from_millis(ms), HERE, Level::Warn, text);
        assert_eq!(take(0, "it burns"), Due { counts: vec![], record: true });
        for again in 1..=250 {
            assert_eq!(take(again * 40 - 1, "it burns"), Due::default());
        }
        // It goes on, and so does the count.
        let count = |counted: u64, seconds: u64| {
            vec![(Level::Warn, format!("{counted} more like this in {seconds} s: it burns"))]
        };
        assert_eq!(take(10_000, "it burns"), Due { counts: count(250, 10), record: false });
        assert_eq!(take(15_000, "it burns"), Due::default());
        // It has stopped: the next record of any place brings the count.
        let other = repeats.take(start + Duration::from_secs(60), ("there.rs", 2), Level::Info, "calm");
        assert_eq!(other, Due { counts: count(2, 50), record: true });
        assert_eq!(take(61_000, "it burns"), Due { counts: vec![], record: true });
    }

    #[test]
    fn different_texts_of_one_place_are_written_up_to_a_bound() {
        let (repeats, now) = (Repeats::default(), Instant::now());
        let written = (0..100)
            .filter(|number| repeats.take(now, HERE, Level::Info, &format!("entry {number}")).record)
            .count();
        assert_eq!(written, TEXTS_MAX);
        assert!(repeats.take(now, ("here.rs", 2), Level::Info, "another line").record);
        let due = repeats.take(now + WINDOW, HERE, Level::Info, "entry 7");
        let count = "80 more like this in 10 s: entry 99".to_owned();
        assert_eq!(due, Due { counts: vec![(Level::Info, count)], record: true });
    }
}
