//! Dates as people type them and as they are shown: in UTC, as the servers have them.

/// A day or a minute, `2026-11-25`, `2026-11-25 09:30` or with a `T`: milliseconds since the Unix epoch.
pub fn read(text: &str) -> Option<u64> {
    let (day, time) = match text.trim().split_once([' ', 'T']) {
        Some((day, time)) => (day, Some(time.trim_end_matches('Z'))),
        None => (text.trim(), None),
    };
    let mut parts = day.split('-');
    let (year, month, day) =
        (number(parts.next()?, 4)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    if parts.next().is_some() || year < 1970 || !(1..=12).contains(&month) {
        return None;
    }
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, 28 + u64::from(is_leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    if day == 0 || day > lengths[month as usize - 1] {
        return None;
    }
    let leaps = |year: u64| year / 4 - year / 100 + year / 400;
    let years = (year - 1970) * 365 + leaps(year - 1) - leaps(1969);
    let days = years + lengths[..month as usize - 1].iter().sum::<u64>() + day - 1;
    let minutes = match time {
        None => 0,
        Some(time) => {
            let (hour, minute) = time.split_once(':')?;
            let (hour, minute) = (number(hour, 2)?, number(minute, 2)?);
            if hour > 23 || minute > 59 {
                return None;
            }
            hour * 60 + minute
        }
    };
    Some((days * 1440 + minutes) * 60_000)
}

/// The end of what [`read`] reads: of that day, or of that minute.
pub fn end(text: &str) -> Option<u64> {
    let length_ms = if text.trim().contains([' ', 'T']) { 60_000 } else { 86_400_000 };
    read(text).map(|at_ms| at_ms + length_ms)
}

fn number(text: &str, digits: usize) -> Option<u64> {
    let is_number = (1..=digits).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

/// `2026-11-25 09:30`.
pub fn show(at_ms: u64) -> String {
    let (minutes, mut days) = (at_ms / 60_000 % 1440, at_ms / 86_400_000);
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year}-{month:02}-{:02} {:02}:{:02}", days + 1, minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_as_they_are_shown() {
        assert_eq!(read("2000-02-29"), Some(951_782_400_000));
        assert_eq!(read("2026-11-25T09:30"), Some(1_795_599_000_000));
        for text in [
            "1970-01-01 00:00",
            "1999-12-31 23:59",
            "2000-02-29 12:00",
            "2026-11-25 09:30",
            "2100-03-01 00:00",
        ] {
            assert_eq!(show(read(text).unwrap()), text);
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
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
