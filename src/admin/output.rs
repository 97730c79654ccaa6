//! Writing to the terminal without trusting the text, or that a reader is there.

use std::{
    error::Error,
    io::{self, Write},
    process::ExitCode,
};

use jiff::{Timestamp, tz::TimeZone};

use crate::protocol::text::{is_harmful, plural};

/// Writes `text` to standard output at once. A reader that has gone away, such as `head`, is no error.
pub fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}

/// Says how something ended, on standard error: standard output may be what was asked for. 1 if it was not
/// done.
pub fn say(outcome: Result<String, impl Error>) -> ExitCode {
    let (text, status) = match outcome {
        Ok(text) => (text, ExitCode::SUCCESS),
        Err(error) => (clean(&error.to_string()), ExitCode::FAILURE),
    };
    eprintln!("syncnet-admin: {text}");
    status
}

/// A time in UTC, as the servers' logs have it. Milliseconds since the Unix epoch.
pub fn time(at_ms: u64) -> String {
    let at = i64::try_from(at_ms).ok().and_then(|at_ms| Timestamp::from_millisecond(at_ms).ok());
    let shown =
        |at: Timestamp| at.to_zoned_datetime(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    at.map_or_else(|| "?".to_owned(), shown)
}

/// `text` without harmful characters, so that a server's text cannot control the terminal.
pub fn clean(text: &str) -> String {
    text.chars().map(|letter| if is_harmful(letter) { '?' } else { letter }).collect()
}

/// A whole number with thousands marked, as in `12,345`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number with thousands marked, and what it counts: `1 room`, `12,345 rooms`. `one` is the word for one of
/// them.
pub fn counted(count: u64, one: &str) -> String {
    format!("{} {}", grouped(count), plural(count, one))
}

/// Lines up `rows` under `header`: the first `left` columns to the left, the others, numbers, to the right.
pub fn table(header: &[&str], rows: &[Vec<String>], left: usize) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([header[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (column, cell) in cells.enumerate().take(header.len()) {
            let width = widths[column];
            if column > 0 {
                line.push_str("  ");
            }
            if column < left {
                line.push_str(&format!("{cell:<width$}"));
            } else {
                line.push_str(&format!("{cell:>width$}"));
            }
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    };
    let mut text = line(&mut header.iter().copied());
    for row in rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn columns_line_up() {
        let rows =
            vec![vec!["server1".to_owned(), "7".to_owned()], vec!["s2".to_owned(), "1,234".to_owned()]];
        assert_eq!(table(&["NAME", "N"], &rows, 1), "NAME         N\nserver1      7\ns2       1,234\n");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\n"), "a?[2Jb?");
    }
}
