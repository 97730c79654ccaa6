//! Moments as people read them, in their own time zone.

use jiff::{Timestamp, ZonedDateTime, tz::TimeZone};

fn at(at_ms: u64, zone: &TimeZone) -> ZonedDateTime {
    let at_ms = i64::try_from(at_ms).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(at_ms).unwrap_or(Timestamp::MAX).to_zoned_datetime(zone.clone())
}

/// `09:30`.
pub fn time(at_ms: u64, zone: &TimeZone) -> String {
    at(at_ms, zone).strftime("%H:%M").to_string()
}

/// The days since 1970, which tells one from another.
pub fn day_number(at_ms: u64, zone: &TimeZone) -> i64 {
    let at = at(at_ms, zone);
    (at.timestamp().as_second() + i64::from(at.offset().seconds())).div_euclid(86_400)
}

/// `Friday, 27 November 2026`; `Today` and `Yesterday` too.
pub fn day(at_ms: u64, now_ms: u64, zone: &TimeZone) -> String {
    let name = at(at_ms, zone).strftime("%A, %-d %B %Y").to_string();
    match day_number(now_ms, zone) - day_number(at_ms, zone) {
        0 => format!("Today, {name}"),
        1 => format!("Yesterday, {name}"),
        _ => name,
    }
}

/// `27 Nov 09:30`, for a time without its day beside it.
pub fn moment(at_ms: u64, zone: &TimeZone) -> String {
    at(at_ms, zone).strftime("%-d %b %H:%M").to_string()
}

#[cfg(test)]
mod tests {
    use jiff::tz::Offset;

    use super::*;

    #[test]
    fn days_begin_where_the_reader_is() {
        let (utc, east) = (TimeZone::UTC, TimeZone::fixed(Offset::constant(2)));
        let at_ms = 1_795_735_800_000; // 2026-11-26 23:30 UTC
        assert_eq!((time(at_ms, &utc), time(at_ms, &east)), ("23:30".into(), "01:30".into()));
        assert_eq!(day_number(at_ms, &east), day_number(at_ms, &utc) + 1);
        assert_eq!(day(at_ms, at_ms, &utc), "Today, Thursday, 26 November 2026");
        assert_eq!(day(at_ms, at_ms + 86_400_000, &utc), "Yesterday, Thursday, 26 November 2026");
        assert_eq!(day(at_ms, at_ms + 2 * 86_400_000, &east), "Friday, 27 November 2026");
        assert!(!moment(u64::MAX, &utc).is_empty());
    }
}
