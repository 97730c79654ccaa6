//! Errors of connections in words: every program uses the same words for the same cause.

use std::io::{self, ErrorKind};

/// The error for people: the kind of a usual one without the system's number.
pub fn in_words(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => "nothing listens there".into(),
        ErrorKind::ConnectionReset => "it reset the connection".into(),
        ErrorKind::TimedOut | ErrorKind::WouldBlock => "it does not answer in time".into(),
        kind @ (ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable) => kind.to_string(),
        _ => error.to_string(),
    }
}
