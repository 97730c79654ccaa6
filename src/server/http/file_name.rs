//! What a browser is told of a file: its name, and whether it may be shown.
//!
//! Users may post anything as a file. If the browser showed it as what it claims to be, it could be a page
//! that acts in the name of the user who opens it. So only types that carry no scripts are shown; all others
//! are saved.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::protocol::text::is_harmful;

/// Characters that must be encoded in a parameter: all but `attr-char` of RFC 5987.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// Types that are shown, each with what is said of it.
const SHOWN: [(&str, &str); 9] = [
    ("image/png", "image/png"),
    ("image/jpeg", "image/jpeg"),
    ("image/gif", "image/gif"),
    ("image/webp", "image/webp"),
    ("audio/mpeg", "audio/mpeg"),
    ("audio/ogg", "audio/ogg"),
    ("video/mp4", "video/mp4"),
    ("video/webm", "video/webm"),
    ("text/plain", "text/plain; charset=utf-8"),
];
/// The type of all others.
const SAVED: &str = "application/octet-stream";

/// How a file of this name and type is given: `Content-Type` and `Content-Disposition`.
pub fn disposition(name: &str, content_type: &str) -> (&'static str, String) {
    let essence = essence(content_type);
    let shown = SHOWN.iter().find(|(known, _)| *known == essence).map(|(_, said)| *said);
    let name = safe_name(name);
    let plain: String = name.chars().map(|letter| if is_plain(letter) { letter } else { '_' }).collect();
    let how = if shown.is_some() { "inline" } else { "attachment" };
    let encoded = utf8_percent_encode(&name, ENCODED);
    (shown.unwrap_or(SAVED), format!("{how}; filename=\"{plain}\"; filename*=UTF-8''{encoded}"))
}

/// A type without its parameters, in lower case.
pub fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// A name that is a name and no path, and looks like what it is.
fn safe_name(name: &str) -> String {
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let name: String = name.chars().filter(|letter| !is_harmful(*letter)).collect();
    let name = name.trim_matches(|letter: char| letter.is_whitespace() || letter == '.');
    if name.is_empty() { "file".into() } else { name.into() }
}

fn is_plain(letter: char) -> bool {
    letter == ' ' || (letter.is_ascii_graphic() && !matches!(letter, '"' | '\\' | '%' | ';'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_in_both_ways() {
        for (name, expected) in [
            ("a.png", "inline; filename=\"a.png\"; filename*=UTF-8''a.png"),
            ("hä?.png", "inline; filename=\"h_?.png\"; filename*=UTF-8''h%C3%A4%3F.png"),
            ("a\"b;c.png", "inline; filename=\"a_b_c.png\"; filename*=UTF-8''a%22b%3Bc.png"),
            ("../../etc/passwd", "inline; filename=\"passwd\"; filename*=UTF-8''passwd"),
            ("C:\\x\\y", "inline; filename=\"y\"; filename*=UTF-8''y"),
            ("..", "inline; filename=\"file\"; filename*=UTF-8''file"),
            ("", "inline; filename=\"file\"; filename*=UTF-8''file"),
            (
                "a\r\nSet-Cookie: b",
                "inline; filename=\"aSet-Cookie: b\"; filename*=UTF-8''aSet-Cookie%3A%20b",
            ),
            ("\u{202e}gpj.exe", "inline; filename=\"gpj.exe\"; filename*=UTF-8''gpj.exe"),
        ] {
            assert_eq!(disposition(name, "image/png").1, expected, "{name:?}");
        }
    }

    #[test]
    fn only_what_carries_no_scripts_is_shown() {
        for (given, said) in [
            ("image/png", "image/png"),
            ("Image/JPEG; x=y", "image/jpeg"),
            ("text/plain; charset=utf-16", "text/plain; charset=utf-8"),
            ("text/html", SAVED),
            ("image/svg+xml", SAVED),
            ("application/xhtml+xml", SAVED),
            ("application/pdf", SAVED),
            ("text/plain, text/html", SAVED),
            ("", SAVED),
        ] {
            let (content_type, how) = disposition("x", given);
            assert_eq!(content_type, said, "{given}");
            assert_eq!(how.starts_with("attachment"), said == SAVED, "{given}");
        }
    }
}
