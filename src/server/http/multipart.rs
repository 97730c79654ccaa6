//! Forms with parts (`multipart/form-data`, RFC 7578), whole in memory. Pure.

use encoding_rs::Encoding;
use percent_encoding::percent_decode_str;

#[derive(Debug, PartialEq, Eq)]
pub struct Part<'a> {
    pub name: String,
    /// `Content-Type`; empty if the part has none.
    pub content_type: String,
    /// Its name, if it is a file.
    pub file_name: Option<String>,
    pub body: &'a [u8],
}

/// Parts of a form that are looked at.
const PARTS_MAX: usize = 64;

/// The parts between the lines of a boundary; `None` when it is no such form. A missing last line is passed
/// over. Lines end with CR LF, or all with LF, as scripts write them.
pub fn parts<'a>(body: &'a [u8], boundary: &str) -> Option<Vec<Part<'a>>> {
    let line = [b"--", boundary.as_bytes()].concat();
    let mut lines = body[find(body, &line)?..].split_inclusive(|byte| *byte == b'\n');
    let line_end: &[u8] = if lines.next()?.ends_with(b"\r\n") { b"\r\n" } else { b"\n" };
    let inner = [line_end, line.as_slice()].concat();
    let mut rest = if body.starts_with(&line) {
        &body[line.len()..]
    } else {
        &body[find(body, &inner)? + inner.len()..]
    };
    let mut parts = Vec::new();
    while !rest.starts_with(b"--") && parts.len() < PARTS_MAX {
        // Blanks may follow a boundary.
        let begin = find(rest, line_end)? + line_end.len();
        rest = &rest[begin..];
        let end = find(rest, &inner).unwrap_or(rest.len());
        parts.extend(part(&rest[..end], line_end));
        match rest.get(end + inner.len()..) {
            Some(next) => rest = next,
            None => break,
        }
    }
    (!parts.is_empty()).then_some(parts)
}

fn part<'a>(bytes: &'a [u8], line_end: &[u8]) -> Option<Part<'a>> {
    let blank = line_end.repeat(2);
    let end = find(bytes, &blank)?;
    let head = PartHead::new(&bytes[..end]);
    let disposition = head.get("content-disposition")?;
    let name = parameter(&disposition, "name")?;
    let file_name = file_name(&disposition);
    let content_type = head.get("content-type").unwrap_or_default();
    Some(Part { name, content_type, file_name, body: &bytes[end + blank.len()..] })
}

/// The head of a part.
pub struct PartHead(String);

impl PartHead {
    /// A line that begins with a blank goes on with the one before.
    pub fn new(bytes: &[u8]) -> Self {
        let head = String::from_utf8_lossy(bytes).replace("\r\n", "\n");
        PartHead(head.replace("\n ", " ").replace("\n\t", " "))
    }

    /// The value of the first header of this name.
    pub fn get(&self, wanted: &str) -> Option<String> {
        self.0.lines().find_map(|line| {
            let (header, value) = line.split_once(':')?;
            header.trim().eq_ignore_ascii_case(wanted).then(|| value.trim().to_owned())
        })
    }
}

/// The name of the file in a part. Some libraries write names that are not ASCII as headers of HTTP have them
/// (RFC 8187), though forms should not.
pub fn file_name(disposition: &str) -> Option<String> {
    let encoded = || {
        let given = parameter(disposition, "filename*")?;
        let (charset, rest) = given.split_once('\'')?;
        let bytes: Vec<u8> = percent_decode_str(rest.split_once('\'')?.1).collect();
        Some(Encoding::for_label(charset.as_bytes())?.decode(&bytes).0.into_owned())
    };
    encoded().or_else(|| parameter(disposition, "filename"))
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// A parameter of a header such as `Content-Type`; its name is given in lower case.
pub fn parameter(header: &str, name: &str) -> Option<String> {
    let mut rest = header.split_once(';')?.1;
    loop {
        let (known, value) = rest.split_once('=')?;
        let value = value.trim_start();
        let (read, behind) = match value.strip_prefix('"') {
            Some(quoted) => {
                let (mut read, mut is_escaped, mut end) = (String::new(), false, quoted.len());
                for (at, char) in quoted.char_indices() {
                    match char {
                        // Of browsers and curl, a backslash before another character is one: `C:\dir\a.txt`.
                        '\\' if !is_escaped && quoted[at + 1..].starts_with(['"', '\\']) => is_escaped = true,
                        '"' if !is_escaped => {
                            end = at;
                            break;
                        }
                        char => {
                            read.push(char);
                            is_escaped = false;
                        }
                    }
                }
                (read, &quoted[end..])
            }
            None => {
                let end = value.find(';').unwrap_or(value.len());
                (value[..end].trim().to_owned(), &value[end..])
            }
        };
        if known.trim().trim_start_matches(';').trim().eq_ignore_ascii_case(name) {
            return Some(read);
        }
        rest = behind.split_once(';')?.1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_taken_apart() {
        let body = b"preamble\r\n--b\r\nContent-Type: text/plain\r\ncontent-disposition: form-data; name=\"a\"; \
            filename=\"x;y\"\r\n\r\none\r\ntwo\r\n--b  \r\nContent-Disposition: form-data; name=c\r\n\r\n\r\n--b--\r\nend";
        let found = parts(body, "b").unwrap();
        let shown: Vec<_> = found.iter().map(|part| (part.name.as_str(), part.body)).collect();
        assert_eq!(shown, [("a", &b"one\r\ntwo"[..]), ("c", b"")]);
        assert_eq!([&found[0].file_name, &found[1].file_name], [&Some("x;y".into()), &None]);
        assert_eq!(
            parts(b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\ncut", "b").unwrap()[0].body,
            b"cut"
        );
        for rubbish in [&b""[..], b"--b", b"--b--", b"--b\r\n", b"x", b"--b\r\nno head"] {
            assert_eq!(parts(rubbish, "b"), None, "{rubbish:?}");
        }
    }

    #[test]
    fn names_of_files_are_read_as_senders_write_them() {
        for (given, expected) in [
            ("form-data; name=f; filename=\"a b.txt\"", Some("a b.txt")),
            ("form-data; filename*=UTF-8''na%C3%AFve%20x.txt", Some("naïve x.txt")),
            ("form-data; filename=naive.txt; filename*=utf-8'en'na%C3%AFve.txt", Some("naïve.txt")),
            ("form-data; filename*=iso-8859-1''na%EFve.txt", Some("naïve.txt")),
            ("form-data; filename*=broken; filename=a.txt", Some("a.txt")),
            ("form-data; filename*=nonsense''x; filename=a.txt", Some("a.txt")),
            ("form-data; filename=\"C:\\dir\\new.txt\"", Some("C:\\dir\\new.txt")),
            ("form-data; filename=\"a\\\"b\\\\c.txt\"", Some("a\"b\\c.txt")),
            ("form-data; filename=\"\"", Some("")),
            ("form-data; name=f", None),
        ] {
            assert_eq!(file_name(given).as_deref(), expected, "{given}");
        }
    }

    #[test]
    fn a_line_of_a_head_may_go_on_in_the_next() {
        let head = PartHead::new(b"\r\nContent-Disposition: form-data;\r\n name=f;\r\n\tfilename=x\r\nX: y");
        assert_eq!(head.get("content-disposition").as_deref(), Some("form-data; name=f; filename=x"));
        assert_eq!(head.get("x").as_deref(), Some("y"));
    }

    #[test]
    fn parameters_are_found_by_name() {
        let header = "form-data; name=\"a\\\"b\"; FileName=x.txt ; z=\"1;2\"";
        assert_eq!(parameter(header, "name").as_deref(), Some("a\"b"));
        assert_eq!(parameter(header, "filename").as_deref(), Some("x.txt"));
        assert_eq!(parameter(header, "z").as_deref(), Some("1;2"));
        assert_eq!(parameter(header, "y"), None);
        assert_eq!(parameter("text/plain", "charset"), None);
    }
}
