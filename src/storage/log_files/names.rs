//! The names of the files of a log.

const PREFIX: &str = "log-";
/// A file that is being made ready to be the next segment.
pub const SPARE: &str = "log-spare";

/// Whether a file of the data folder is one of the log's.
pub fn is_log_file(name: &str) -> bool {
    name == SPARE || number_of(name).is_some()
}

pub fn segment_name(number: u64) -> String {
    format!("{PREFIX}{number:016x}")
}

pub fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX).filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}
