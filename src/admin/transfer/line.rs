//! A line of an export.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::protocol::{RoomName, export::RoomInfo};

use super::error::LineError;

/// The version of the format that is written, and the newest that is read.
pub const VERSION: u32 = 1;

/// A line that is no event. Events have no field `export`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "export", rename_all = "snake_case")]
pub enum Mark {
    /// A room begins; its events follow.
    Room {
        /// The form of the file.
        version: u32,
        room: RoomName,
        info: RoomInfo,
        /// The first event that follows.
        first_seq: u64,
        last_seq: u64,
    },
    /// The file is whole.
    End { rooms: u64, events: u64 },
}

#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    /// A line that is no event.
    Mark(Box<Mark>),
    /// An event of the room that began last, and its place.
    Event { seq: u64, event: Map<String, Value> },
}

impl Line {
    /// Reads a line. Of several equal keys the last one counts.
    ///
    /// # Errors
    /// It is no line of an export.
    pub fn read(text: &str) -> Result<Line, LineError> {
        let value: Value = serde_json::from_str(text).map_err(LineError::NotJson)?;
        let Value::Object(fields) = value else { return Err(LineError::NoObject) };
        if fields.contains_key("export") {
            let version = fields.get("version").and_then(Value::as_u64);
            if let Some(version) = version.filter(|version| *version > u64::from(VERSION)) {
                return Err(LineError::Version { version, known: VERSION });
            }
            return serde_json::from_value(Value::Object(fields))
                .map(|mark| Line::Mark(Box::new(mark)))
                .map_err(LineError::Fields);
        }
        let seq = fields.get("seq").and_then(Value::as_u64).ok_or(LineError::NoPlace)?;
        Ok(Line::Event { seq, event: fields })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_for_what_they_are() {
        let room =
            r#"{"export":"room","version":1,"room":"a","info":{"private":false},"first_seq":1,"last_seq":2}"#;
        assert!(
            matches!(Line::read(room), Ok(Line::Mark(mark)) if matches!(*mark, Mark::Room { last_seq: 2, .. }))
        );
        let end = r#"{"export":"end","rooms":1,"events":2}"#;
        let expected = Mark::End { rooms: 1, events: 2 };
        assert!(matches!(Line::read(end), Ok(Line::Mark(mark)) if *mark == expected));
        let twice = r#"{"seq":1,"seq":7,"kind":"left"}"#;
        assert!(matches!(Line::read(twice), Ok(Line::Event { seq: 7, .. })));
        assert!(matches!(Line::read(r#"{"seq":7,"kind":"left"}"#), Ok(Line::Event { seq: 7, .. })));
        for (text, named) in [
            ("", "not JSON"),
            ("[]", "object"),
            ("{}", "seq"),
            (r#"{"export":"attic"}"#, "attic"),
            (r#"{"export":"room","version":2}"#, "version 2"),
            (r#"{"export":"room","version":1,"room":"a b"}"#, "must be 1 to 32"),
        ] {
            let error = Line::read(text).unwrap_err().to_string();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
