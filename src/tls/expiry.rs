//! When a certificate expires. Monitoring needs it, and the TLS library does not tell it.

use jiff::{civil::DateTime, tz::TimeZone};

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// The version, which the oldest certificates do without.
const VERSION: u8 = 0xa0;

/// The end of a certificate's validity (RFC 5280, 4.1.2.5), in seconds since the Unix epoch; `None` if it
/// cannot be read.
pub fn expires_s(der: &[u8]) -> Option<i64> {
    let mut certificate = Der(Der(der).take(SEQUENCE)?);
    let mut signed = Der(certificate.take(SEQUENCE)?);
    if signed.0.first() == Some(&VERSION) {
        signed.take(VERSION)?;
    }
    // Serial number, algorithm, issuer.
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        signed.take(tag)?;
    }
    let mut validity = Der(signed.take(SEQUENCE)?);
    validity.take_any()?;
    time(validity.take_any()?)
}

/// The rest of a DER encoding.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The content of the next value, whose tag must be this.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, content) = self.take_any()?;
        (found == tag).then_some(content)
    }

    fn take_any(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..0x80 => (usize::from(*first), rest),
            // The length is in so many bytes.
            _ => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let long = bytes.iter().try_fold(0_usize, |length, byte| {
                    length.checked_mul(256).map(|length| length + usize::from(*byte))
                })?;
                (long, rest)
            }
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, content))
    }
}

/// `YYMMDDHHMMSSZ`, of 1950 to 2049, or the same with four digits of the year.
fn time((tag, content): (u8, &[u8])) -> Option<i64> {
    let digits = std::str::from_utf8(content).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = digits.split_at_checked(2)?;
            let year: i16 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = digits.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    if rest.len() != 10 || !rest.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |place: usize| rest[2 * place..][..2].parse::<i8>().ok();
    let at = DateTime::new(year, part(0)?, part(1)?, part(2)?, part(3)?, part(4)?, 0).ok()?;
    Some(TimeZone::UTC.to_timestamp(at).ok()?.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = content.len();
        let head = if length < 128 {
            vec![tag, length as u8]
        } else {
            vec![tag, 0x82, (length >> 8) as u8, length as u8]
        };
        [head, content.to_vec()].concat()
    }

    fn certificate(end: &[u8], has_version: bool) -> Vec<u8> {
        let version = if has_version { value(VERSION, &value(INTEGER, &[2])) } else { Vec::new() };
        let begin = value(UTC_TIME, b"250101000000Z");
        let signed = [
            version,
            value(INTEGER, &[1]),
            value(SEQUENCE, &[0; 5]),
            value(SEQUENCE, &[0; 300]),
            value(SEQUENCE, &[&begin[..], end].concat()),
            value(SEQUENCE, b"the rest"),
        ];
        value(SEQUENCE, &[value(SEQUENCE, &signed.concat()), value(SEQUENCE, &[])].concat())
    }

    #[test]
    fn both_forms_of_time_are_read() {
        for (tag, text, seconds) in [
            (UTC_TIME, &b"251120222000Z"[..], 1_763_677_200),
            (UTC_TIME, b"700101000000Z", 0),
            (GENERALIZED_TIME, b"20501231235959Z", 2_556_143_999),
        ] {
            let end = value(tag, text);
            assert_eq!(expires_s(&certificate(&end, true)), Some(seconds));
            assert_eq!(expires_s(&certificate(&end, false)), Some(seconds));
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        let good = certificate(&value(UTC_TIME, b"251120222000Z"), true);
        // Cut within the time or before it; the bytes after it do not matter.
        for cut in 0..good.len() - 20 {
            assert_eq!(expires_s(&good[..cut]), None);
        }
        for text in
            [&b"251320222000Z"[..], b"2511202220Z", b"251120222000+0100", b"25112022200\xffZ", b"", b"Z"]
        {
            assert_eq!(expires_s(&certificate(&value(UTC_TIME, text), true)), None);
        }
        assert_eq!(expires_s(&[0x30, 0x89, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]), None);
    }
}
