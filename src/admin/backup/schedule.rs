//! A folder of backups: their names, how many of them stay, and how often one is made.

use std::{
    fs, io,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use jiff::{Timestamp, tz::TimeZone};
use thiserror::Error;

const BEGIN: &str = "syncnet-";
const END: &str = ".backup";
/// Long enough for one to end before the next.
const EVERY_LEAST: Duration = Duration::from_secs(10);

/// How often: `90s`, `30m`, `6h`, `1d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Every(pub Duration);

#[derive(Debug, Error)]
#[error("a time is a number with s, m, h or d behind it, such as 6h, and at least 10s")]
pub struct NoTime;

impl FromStr for Every {
    type Err = NoTime;

    fn from_str(text: &str) -> Result<Every, NoTime> {
        let seconds = match text.chars().last() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3_600,
            Some('d') => 86_400,
            _ => return Err(NoTime),
        };
        let number: u32 = text[..text.len() - 1].parse().map_err(|_| NoTime)?;
        let every = Duration::from_secs(u64::from(number) * seconds);
        if every < EVERY_LEAST { Err(NoTime) } else { Ok(Every(every)) }
    }
}

/// The file of a backup that is made at `now`. Later ones have later names.
pub fn file_at(folder: &Path, now: Timestamp) -> PathBuf {
    let time = now.to_zoned_datetime(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ");
    folder.join(format!("{BEGIN}{time}{END}"))
}

/// Removes all backups of a folder but the newest `keep`, and gives those that it has removed.
///
/// # Errors
/// The folder cannot be read, or one of them cannot be removed.
pub fn prune(folder: &Path, keep: usize) -> io::Result<Vec<PathBuf>> {
    let mut backups = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_one = entry.file_name().to_str().is_some_and(is_name);
        if is_one && entry.file_type()?.is_file() {
            backups.push(entry.path());
        }
    }
    backups.sort();
    let surplus = backups.len().saturating_sub(keep);
    backups.truncate(surplus);
    backups.iter().try_for_each(fs::remove_file)?;
    Ok(backups)
}

/// Whether a file is called as [`file_at`] calls them; no other is ever removed.
fn is_name(name: &str) -> bool {
    let time = name.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END));
    time.is_some_and(|time| {
        time.len() == 16 && time.bytes().all(|byte| byte.is_ascii_digit() || byte == b'T' || byte == b'Z')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        for (text, seconds) in [("90s", 90), ("30m", 1_800), ("6h", 21_600), ("1d", 86_400)] {
            assert_eq!(text.parse::<Every>().unwrap(), Every(Duration::from_secs(seconds)));
        }
        for text in ["", "6", "h", "0h", "9s", "-1h", "6 h", "1.5h", "99999999999h", "6é"] {
            assert!(text.parse::<Every>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_newest_stay_and_nothing_else_is_touched() {
        let folder = tempfile::tempdir().unwrap();
        let at =
            |second: i64| file_at(folder.path(), Timestamp::from_second(1_763_677_200 + second).unwrap());
        assert!(at(0).ends_with("syncnet-20251120T222000Z.backup"));
        for second in [40, 0, 20, 60] {
            fs::write(at(second), "x").unwrap();
        }
        let others = ["syncnet-mine.backup", "notes.txt", "syncnet-20200101T000000Z.backup.old"];
        for other in others {
            fs::write(folder.path().join(other), "x").unwrap();
        }
        assert_eq!(prune(folder.path(), 2).unwrap(), [at(0), at(20)]);
        assert!(at(40).exists() && at(60).exists());
        assert!(others.iter().all(|other| folder.path().join(other).exists()));
        assert!(prune(folder.path(), 2).unwrap().is_empty());
    }
}
