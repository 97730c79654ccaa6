//! The log: to the console and to a bounded number of bounded files.
//!
//! What is logged may repeat what a stranger sent. So control characters are escaped here, for every
//! record, and no caller can forget it: nobody can forge a line of the log or play with a terminal.

use std::{
    fmt::Write as _,
    fs::{self, File, OpenOptions},
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
};

use log::{LevelFilter, Log, Metadata, Record};
use simplelog::{
    ColorChoice, CombinedLogger, ConfigBuilder, LevelPadding, SharedLogger, TermLogger, TerminalMode,
    ThreadLogMode, WriteLogger,
};

use crate::protocol::text::is_harmful;

use super::config_file::LogFiles;

/// Starts logging to the console and to `path`. The error is one sentence.
pub fn start(level: LevelFilter, path: &Path, files: &LogFiles) -> Result<(), String> {
    let file = RotatingFile::open(path, files.file_bytes, files.files)
        .map_err(|error| format!("the log file {} cannot be written: {error}", path.display()))?;
    let config = ConfigBuilder::new()
        .set_time_format_rfc3339()
        .set_level_padding(LevelPadding::Right)
        .set_thread_level(LevelFilter::Error)
        .set_thread_mode(ThreadLogMode::Names)
        .set_target_level(LevelFilter::Off)
        .set_location_level(LevelFilter::Off)
        .add_filter_allow_str("syncnet")
        .build();
    // Colours are for people, not for files that the console is redirected to.
    let colours = if io::stdout().is_terminal() && io::stderr().is_terminal() {
        ColorChoice::Auto
    } else {
        ColorChoice::Never
    };
    let outputs: Vec<Box<dyn SharedLogger>> = vec![
        TermLogger::new(level, config.clone(), TerminalMode::Mixed, colours),
        WriteLogger::new(level, config, file),
    ];
    let logger = Escaping { inner: CombinedLogger::new(outputs) };
    log::set_boxed_logger(Box::new(logger)).map_err(|error| format!("logging cannot start: {error}"))?;
    log::set_max_level(level);
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        log::error!("thread {} panicked: {panic}", thread.name().unwrap_or("without a name"));
    }));
    Ok(())
}

/// Escapes control characters in what is logged.
struct Escaping {
    inner: Box<CombinedLogger>,
}

impl Log for Escaping {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.inner.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let text = escape(&record.args().to_string());
        self.inner.log(
            &Record::builder()
                .metadata(record.metadata().clone())
                .module_path(record.module_path())
                .file(record.file())
                .line(record.line())
                .args(format_args!("{text}"))
                .build(),
        );
    }

    fn flush(&self) {
        self.inner.flush();
    }
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

/// A file that is begun anew when it is full. `name.log` is the current one, `name.log.1` the one before
/// it, and so on; the oldest is deleted.
struct RotatingFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
    files: u32,
}

impl RotatingFile {
    fn open(path: &Path, bytes_max: u64, files: u32) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(RotatingFile { path: path.into(), file, bytes, bytes_max, files })
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }

    fn rotate(&mut self) -> io::Result<()> {
        if self.files > 1 {
            for number in (1..self.files - 1).rev() {
                rename_if_there(&self.numbered(number), &self.numbered(number + 1))?;
            }
            rename_if_there(&self.path, &self.numbered(1))?;
        }
        self.file = OpenOptions::new().create(true).write(true).truncate(true).open(&self.path)?;
        self.bytes = 0;
        Ok(())
    }
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

impl Write for RotatingFile {
    /// A record comes in several writes that end with its line end; files change only between records.
    /// Where a new file cannot be begun the old one grows on: too much log is better than none.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.bytes += written as u64;
        if self.bytes >= self.bytes_max && bytes[..written].ends_with(b"\n") && self.rotate().is_err() {
            self.bytes = 0;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
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
    fn files_are_bounded_in_size_and_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.log");
        let mut log = RotatingFile::open(&path, 100, 3).unwrap();
        for number in 0..100 {
            // As simplelog writes: in pieces.
            write!(log, "record ").unwrap();
            writeln!(log, "{number:03}").unwrap();
        }
        let mut names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["server.log", "server.log.1", "server.log.2"]);
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        let all = read("server.log.2") + &read("server.log.1") + &read("server.log");
        let numbers: Vec<u32> =
            all.lines().map(|line| line.strip_prefix("record ").unwrap().parse().unwrap()).collect();
        // What is left is the end, whole and in order.
        assert_eq!(*numbers.last().unwrap(), 99);
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
        assert!(read("server.log.1").len() <= 110);
    }

    #[test]
    fn a_file_of_an_earlier_run_is_continued() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.log");
        fs::write(&path, "x".repeat(99)).unwrap();
        let mut log = RotatingFile::open(&path, 100, 2).unwrap();
        writeln!(log, "last").unwrap();
        writeln!(log, "first").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "first\n");
    }
}
