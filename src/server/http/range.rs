//! Parts of a file: the header `Range` (RFC 9110, 14), for one part at a time.

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ByteRange {
    Whole,
    /// From the first number on, before the second one.
    Part(u64, u64),
    /// A part that is not in the file.
    Unsatisfiable,
}

/// Reads the header. One that is not understood, or asks for more than one part, counts as asking for all.
pub fn byte_range(header: Option<&str>, size: u64) -> ByteRange {
    // An empty file has no parts: the answer is the whole file.
    if size == 0 {
        return ByteRange::Whole;
    }
    let Some((unit, ranges)) = header.and_then(|header| header.split_once('=')) else {
        return ByteRange::Whole;
    };
    let mut ranges = ranges.split(',').map(str::trim).filter(|range| !range.is_empty());
    let (true, Some(range), None) = (unit.eq_ignore_ascii_case("bytes"), ranges.next(), ranges.next()) else {
        return ByteRange::Whole;
    };
    let Some((first, last)) = range.split_once('-') else { return ByteRange::Whole };
    let number = |digits: &str| {
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        // A number that is too long is beyond the end of every file.
        is_number.then(|| digits.parse::<u64>().unwrap_or(u64::MAX))
    };
    let (start, end) = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => (first, last.saturating_add(1).min(size)),
        (Some(first), None) if last.is_empty() => (first, size),
        (None, Some(count)) if first.is_empty() => {
            (if count == 0 { size } else { size.saturating_sub(count) }, size)
        }
        _ => return ByteRange::Whole,
    };
    if start < size { ByteRange::Part(start, end) } else { ByteRange::Unsatisfiable }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_part_at_a_time() {
        for (header, expected) in [
            ("bytes=0-0", ByteRange::Part(0, 1)),
            ("bytes=2-5", ByteRange::Part(2, 6)),
            ("bytes=2-", ByteRange::Part(2, 10)),
            ("bytes=-3", ByteRange::Part(7, 10)),
            ("bytes=-30", ByteRange::Part(0, 10)),
            ("bytes=9-99999999999999999999999", ByteRange::Part(9, 10)),
            ("bytes=10-", ByteRange::Unsatisfiable),
            ("bytes=10-12", ByteRange::Unsatisfiable),
            ("bytes=99999999999999999999999-", ByteRange::Unsatisfiable),
            ("bytes=-0", ByteRange::Unsatisfiable),
            ("Bytes= ,2-5,", ByteRange::Part(2, 6)),
            ("bytes=2 - 5", ByteRange::Whole),
            ("bytes=,", ByteRange::Whole),
            ("bytes=5-2", ByteRange::Whole),
            ("bytes=0-1,3-4", ByteRange::Whole),
            ("bytes=-", ByteRange::Whole),
            ("bytes=a-b", ByteRange::Whole),
            ("bytes=+1-2", ByteRange::Whole),
            ("lines=1-2", ByteRange::Whole),
        ] {
            assert_eq!(byte_range(Some(header), 10), expected, "{header}");
        }
        assert_eq!(byte_range(None, 10), ByteRange::Whole);
        assert_eq!(byte_range(Some("bytes=0-"), 0), ByteRange::Whole);
    }
}
