//! Dates as HTTP writes them (RFC 9110, section 5.6.7).

use jiff::{Timestamp, fmt::rfc2822::DateTimePrinter};

/// A time, given in seconds since the Unix epoch. `None` after the year 9999, which the form cannot say.
pub fn http_date(seconds: u64) -> Option<String> {
    let at = Timestamp::from_second(i64::try_from(seconds).ok()?).ok()?;
    DateTimePrinter::new().timestamp_to_rfc9110_string(&at).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_every_kind_of_year() {
        for (seconds, expected) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_709_251_199, "Thu, 29 Feb 2024 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        ] {
            assert_eq!(http_date(seconds).as_deref(), Some(expected));
        }
        assert_eq!(http_date(u64::MAX), None);
    }
}
