//! The log: to the console and to a bounded number of bounded files.
//!
//! A record may repeat what a stranger sent. So control characters are escaped here, for every record: no
//! caller can forget it, and a client can neither forge a line of the log nor send codes to a terminal.
//!
//! Records that repeat are counted instead (`repeats`).
//!
//! As JSON ([`Format::Json`]) a record is an object in one line: `time` (UTC), `level`, `server_id`,
//! `thread`, `text`, and `request` if it is about one (`replica::passages`).

use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use clap::ValueEnum;
use flexi_logger::{
    Cleanup, Criterion, DeferredNow, FileSpec, FlexiLoggerError, FormatFunction, LogSpecification, Logger,
    LoggerHandle, Naming, style, writers::LogWriter,
};
use log::{Level, LevelFilter, Record, kv::Key};
use serde_json::json;
use thiserror::Error;

use crate::protocol::{name::ServerId, text::is_harmful};

use super::repeats::Repeats;
use crate::server::config::file::Log;

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Whose log this is. It is global because formats are plain functions and a process has one log.
static SERVER_ID: OnceLock<ServerId> = OnceLock::new();

/// Writes the log of this process.
static LOGGER: OnceLock<LoggerHandle> = OnceLock::new();

/// A log file cannot be used.
#[derive(Debug, Error)]
#[error("the log file {} cannot be written: {source}", path.display())]
pub struct LogFileError {
    path: PathBuf,
    source: FlexiLoggerError,
}

/// Starts logging to the console and to `path`, until the process ends.
///
/// A file of an earlier run is continued. A full one is renamed to the time of its end, and the oldest of
/// these is deleted.
pub fn start(format: Format, server_id: &ServerId, path: &Path, settings: &Log) -> Result<(), LogFileError> {
    SERVER_ID.get_or_init(|| server_id.clone());
    let logger = Logger::with(specification(settings.level)).filter(Box::new(Repeats::default()));
    let logger = to_files(logger, format, path, settings).and_then(Logger::start);
    let handle = logger.map_err(|source| LogFileError { path: path.into(), source })?;
    // A second log cannot be started, so there is room.
    LOGGER.get_or_init(|| handle);
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        log::error!("thread {} panicked: {panic}", thread.name().unwrap_or("without a name"));
    }));
    Ok(())
}

/// Logs so much from now on.
pub fn set_level(level: LevelFilter) {
    if let Some(logger) = LOGGER.get() {
        logger.set_new_spec(specification(level));
    }
}

/// Only records of this program, none of its libraries.
fn specification(level: LevelFilter) -> LogSpecification {
    LogSpecification::builder().default(LevelFilter::Off).module("syncnet", level).build()
}

/// The console: errors go to standard error, all else to standard output.
struct Console {
    format: FormatFunction,
}

impl LogWriter for Console {
    fn write(&self, now: &mut DeferredNow, record: &Record<'_>) -> io::Result<()> {
        let mut line = Vec::new();
        (self.format)(&mut line, now, record)?;
        line.push(b'\n');
        if record.level() == Level::Error {
            io::stderr().write_all(&line)
        } else {
            io::stdout().write_all(&line)
        }
    }

    fn flush(&self) -> io::Result<()> {
        io::stdout().flush()
    }
}

fn to_files(logger: Logger, format: Format, path: &Path, files: &Log) -> Result<Logger, FlexiLoggerError> {
    let file = FileSpec::try_from(path)?;
    let aside = Naming::TimestampsCustomFormat { current_infix: Some(""), format: "%Y-%m-%d_%H-%M-%S" };
    let kept_aside = files.files.saturating_sub(1) as usize;
    // Colours are for people, not for files that the console is redirected to.
    let is_seen = io::stdout().is_terminal() && io::stderr().is_terminal();
    let (in_files, on_console): (FormatFunction, FormatFunction) = match format {
        Format::Text => (plain, if is_seen { coloured } else { plain }),
        Format::Json => (json, json),
    };
    let console = Console { format: on_console };
    Ok(logger
        .log_to_file_and_writer(file, Box::new(console))
        .append()
        .use_utc()
        .rotate(Criterion::Size(files.file_bytes), aside, Cleanup::KeepLogFiles(kept_aside))
        // A thread that cleans up would outlive the program's last record.
        .cleanup_in_background_thread(false)
        .format_for_files(in_files))
}

/// A record as a line: time, level, thread, text.
fn plain(to: &mut dyn Write, now: &mut DeferredNow, record: &Record<'_>) -> io::Result<()> {
    write_line(to, now, record, &format!("{:<5}", record.level()))
}

/// The same for a terminal.
fn coloured(to: &mut dyn Write, now: &mut DeferredNow, record: &Record<'_>) -> io::Result<()> {
    let level = format!("{:<5}", record.level());
    write_line(to, now, record, &style(record.level()).paint(level).to_string())
}

fn write_line(to: &mut dyn Write, now: &mut DeferredNow, record: &Record<'_>, level: &str) -> io::Result<()> {
    let thread = std::thread::current();
    let time = now.now_utc_owned().format("%Y-%m-%dT%H:%M:%SZ");
    let text = escape(&record.args().to_string());
    write!(to, "{time} [{level}] ({}) {text}", thread.name().unwrap_or("unnamed"))
}

fn json(to: &mut dyn Write, now: &mut DeferredNow, record: &Record<'_>) -> io::Result<()> {
    let mut object = json!({
        "time": now.now_utc_owned().format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        "level": record.level().as_str().to_ascii_lowercase(),
        "server_id": SERVER_ID.get(),
        "thread": std::thread::current().name().unwrap_or("unnamed"),
        "text": escape(&record.args().to_string()),
    });
    if let Some(request) = record.key_values().get(Key::from_str("request")) {
        object["request"] = json!(escape(&request.to_string()));
    }
    write!(to, "{object}")
}

/// Longest text of one record, in bytes; the rest is cut off.
const RECORD_BYTES: usize = 4096;

/// `text` with every harmful character as an escape, and cut to a bounded length.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if escaped.len() >= RECORD_BYTES {
            escaped.push('…');
            break;
        }
        if is_harmful(letter) {
            write!(escaped, "{}", letter.escape_unicode()).expect("a String takes everything");
        } else {
            escaped.push(letter);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_cannot_forge_a_line() {
        let escaped = escape("a\n[ERROR] b\r\x1b[2J\u{202e}c\u{9b}d\u{2028}é");
        assert_eq!(escaped, r"a\u{a}[ERROR] b\u{d}\u{1b}[2J\u{202e}c\u{9b}d\u{2028}é");
        assert!(escape(&"x".repeat(100_000)).len() < RECORD_BYTES + 10);
    }

    #[test]
    fn a_record_as_json_is_one_line_whatever_it_says() {
        let mut line = Vec::new();
        let mut record = Record::builder();
        record.level(Level::Warn).target("syncnet::server");
        let said = "he said \"no\"\n{\"level\":\"error\"}\u{202e}\u{1b}[2J\\";
        json(&mut line, &mut DeferredNow::new(), &record.args(format_args!("{said}")).build()).unwrap();
        let line = String::from_utf8(line).unwrap();
        assert!(!line.chars().any(is_harmful), "{line}");
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(object["level"], "warn");
        assert_eq!(object.get("request"), None);
        assert_eq!(object["text"], r#"he said "no"\u{a}{"level":"error"}\u{202e}\u{1b}[2J\"#);
        let time = object["time"].as_str().unwrap();
        assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
    }

    #[test]
    fn the_id_of_a_request_is_a_field_of_its_own() {
        let mut line = Vec::new();
        let mut record = Record::builder();
        let request = [("request", "a-1-2")];
        record.level(Level::Debug).target("syncnet::server").key_values(&request);
        json(&mut line, &mut DeferredNow::new(), &record.args(format_args!("request a-1-2")).build())
            .unwrap();
        let object: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(object["request"], "a-1-2");
    }

    #[test]
    fn files_are_bounded_in_size_and_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.log");
        std::fs::write(&path, "of an earlier run\n").unwrap();
        let files = Log { level: LevelFilter::Info, file_bytes: 400, files: 3 };
        let logger = Logger::with(specification(LevelFilter::Info));
        let (logger, handle) = to_files(logger, Format::Text, &path, &files).unwrap().build().unwrap();
        for number in 0..100 {
            let mut record = Record::builder();
            record.level(Level::Info).target("syncnet::server");
            log::Log::log(&*logger, &record.args(format_args!("record {number:03}\n[ERROR] forged")).build());
        }
        handle.flush();
        let mut names: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        assert_eq!(names.len(), 3, "{names:?}");
        let current = std::fs::read_to_string(&path).unwrap();
        assert!(current.len() < 600, "{current}");
        assert!(current.contains(r"record 099\u{a}[ERROR] forged"), "{current}");
        assert!(current.lines().all(|line| line.contains("[INFO ] (")), "{current}");
    }
}
