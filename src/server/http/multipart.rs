//! Forms with parts (`multipart/form-data`, RFC 7578), whole in memory. Pure.

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
    let head = String::from_utf8_lossy(&bytes[..end]);
    let header = |wanted: &str| {
        head.lines().find_map(|line| {
            let (header, value) = line.split_once(':')?;
            header.trim().eq_ignore_ascii_case(wanted).then(|| value.trim().to_owned())
        })
    };
    let disposition = header("content-disposition")?;
    let name = parameter(&disposition, "name")?;
    let file_name = parameter(&disposition, "filename");
    let content_type = header("content-type").unwrap_or_default();
    Some(Part { name, content_type, file_name, body: &bytes[end + blank.len()..] })
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
                        '\\' if !is_escaped => is_escaped = true,
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
    fn parameters_are_found_by_name() {
        let header = "form-data; name=\"a\\\"b\"; FileName=x.txt ; z=\"1;2\"";
        assert_eq!(parameter(header, "name").as_deref(), Some("a\"b"));
        assert_eq!(parameter(header, "filename").as_deref(), Some("x.txt"));
        assert_eq!(parameter(header, "z").as_deref(), Some("1;2"));
        assert_eq!(parameter(header, "y"), None);
        assert_eq!(parameter("text/plain", "charset"), None);
    }
}
