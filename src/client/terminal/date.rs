//! Dates as people type them and as they are shown: in the time zone of the user.

use jiff::{Span, Timestamp, civil::DateTime, tz::TimeZone};

/// A day or a minute, `2026-11-25`, `2026-11-25 09:30` or with a `T`, in the time zone of the user; with a
/// `Z` behind the minute in UTC. Milliseconds since the Unix epoch.
pub fn read(text: &str) -> Option<u64> {
    Moment::read(text)?.begin(&TimeZone::system())
}

/// The end of what [`read`] reads: of that day, or of that minute.
pub fn end(text: &str) -> Option<u64> {
    Moment::read(text)?.end(&TimeZone::system())
}

/// `2026-11-25 09:30`, in the time zone of the user.
pub fn show(at_ms: u64) -> String {
    show_in(at_ms, &TimeZone::system())
}

/// A time span and its time zone; `until_ms` is the first moment outside of it.
pub fn show_span(since_ms: Option<u64>, until_ms: Option<u64>) -> Option<String> {
    show_span_in(since_ms, until_ms, &TimeZone::system())
}

fn show_in(at_ms: u64, zone: &TimeZone) -> String {
    let at = i64::try_from(at_ms).ok().and_then(|at_ms| Timestamp::from_millisecond(at_ms).ok());
    at.map_or_else(
        || "?".into(),
        |at| at.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M").to_string(),
    )
}

fn show_span_in(since_ms: Option<u64>, until_ms: Option<u64>, zone: &TimeZone) -> Option<String> {
    let name = |at_ms: u64| -> String {
        if let Some(name) = zone.iana_name() {
            return name.into();
        }
        let at = i64::try_from(at_ms).ok().and_then(|at_ms| Timestamp::from_millisecond(at_ms).ok());
        at.map_or_else(
            || "UTC".into(),
            |at| at.to_zoned_datetime(zone.clone()).strftime("UTC%:z").to_string(),
        )
    };
    let show = |at_ms| show_in(at_ms, zone);
    match (since_ms, until_ms) {
        (None, None) => None,
        (Some(since), None) => Some(format!("from {} on, {}", show(since), name(since))),
        (None, Some(until)) => Some(format!("before {}, {}", show(until), name(until))),
        (Some(since), Some(until)) => {
            Some(format!("from {} to {}, {}", show(since), show(until), name(since)))
        }
    }
}

/// What a user types: a day or a minute.
struct Moment {
    at: DateTime,
    is_day: bool,
    is_utc: bool,
}

impl Moment {
    fn read(text: &str) -> Option<Moment> {
        let text = text.trim();
        let (day, time) = match text.split_once([' ', 'T']) {
            Some((day, time)) => (day, Some(time)),
            None => (text, None),
        };
        let mut parts = day.split('-');
        let (year, month, day) =
            (number(parts.next()?, 4)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
        if parts.next().is_some() || year < 1970 {
            return None;
        }
        let is_utc = time.is_some_and(|time| time.ends_with('Z'));
        let (hour, minute) = match time.map(|time| time.strip_suffix('Z').unwrap_or(time)) {
            None => (0, 0),
            Some(time) => {
                let (hour, minute) = time.split_once(':')?;
                (number(hour, 2)?, number(minute, 2)?)
            }
        };
        let small = |number: i16| i8::try_from(number).ok();
        let at = DateTime::new(year, small(month)?, small(day)?, small(hour)?, small(minute)?, 0, 0).ok()?;
        Some(Moment { at, is_day: time.is_none(), is_utc })
    }

    fn begin(&self, zone: &TimeZone) -> Option<u64> {
        self.in_zone(self.at, zone)
    }

    /// A day has 23 or 25 hours when the clocks are changed.
    fn end(&self, zone: &TimeZone) -> Option<u64> {
        let length = if self.is_day { Span::new().days(1) } else { Span::new().minutes(1) };
        self.in_zone(self.at.checked_add(length).ok()?, zone)
    }

    fn in_zone(&self, at: DateTime, zone: &TimeZone) -> Option<u64> {
        let zone = if self.is_utc { TimeZone::UTC } else { zone.clone() };
        let at_ms = at.to_zoned_datetime(zone).ok()?.timestamp().as_millisecond();
        // A day before the epoch's in a time zone east of Greenwich begins before it.
        Some(u64::try_from(at_ms).unwrap_or(0))
    }
}

fn number(text: &str, digits: usize) -> Option<i16> {
    let is_number = (1..=digits).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_as_they_are_shown() {
        let begin = |text: &str| Moment::read(text).and_then(|moment| moment.begin(&TimeZone::UTC));
        assert_eq!(begin("2000-02-29"), Some(951_782_400_000));
        assert_eq!(begin("2026-11-25T09:30"), Some(1_795_599_000_000));
        for text in [
            "1970-01-01 00:00",
            "1999-12-31 23:59",
            "2000-02-29 12:00",
            "2026-11-25 09:30",
            "2100-03-01 00:00",
        ] {
            assert_eq!(show_in(begin(text).unwrap(), &TimeZone::UTC), text);
        }
        for bad in [
            "",
            "2026",
            "2026-13-01",
            "2026-02-29",
            "2026-11-25 24:00",
            "1969-01-01",
            "2026-11-25-1",
            "x-1-1",
        ] {
            assert_eq!(begin(bad), None, "{bad}");
        }
        assert_eq!(show_in(u64::MAX, &TimeZone::UTC), "?");
    }

    #[test]
    fn a_day_is_one_of_the_time_zone() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let day = Moment::read("2026-11-25").unwrap();
        let midnight_ms = 1_795_561_200_000;
        assert_eq!(day.begin(&berlin), Some(midnight_ms));
        assert_eq!(day.end(&berlin), Some(midnight_ms + 24 * 3_600_000));
        // Clocks are set forward, and back.
        for (text, hours) in [("2026-03-29", 23), ("2026-10-25", 25)] {
            let day = Moment::read(text).unwrap();
            assert_eq!(day.end(&berlin).unwrap() - day.begin(&berlin).unwrap(), hours * 3_600_000);
        }
        let minute = Moment::read("2026-11-25 09:30").unwrap();
        assert_eq!(minute.end(&berlin).unwrap() - minute.begin(&berlin).unwrap(), 60_000);
        let utc = Moment::read("2026-11-25T09:30Z").unwrap();
        assert_eq!(utc.begin(&berlin), minute.begin(&TimeZone::UTC));
        assert_eq!(show_in(midnight_ms, &berlin), "2026-11-25 00:00");
        assert_eq!(
            show_span_in(day.begin(&berlin), day.end(&berlin), &berlin).unwrap(),
            "from 2026-11-25 00:00 to 2026-11-26 00:00, Europe/Berlin"
        );
        let fixed = TimeZone::fixed(jiff::tz::offset(-3));
        assert_eq!(
            show_span_in(None, Some(midnight_ms), &fixed).unwrap(),
            "before 2026-11-24 20:00, UTC-03:00"
        );
        assert_eq!(show_span_in(None, None, &berlin), None);
    }
}
