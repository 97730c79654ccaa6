//! The file in a form (`multipart/form-data`, RFC 7578) that comes piece by piece. Pure: bytes in, the bytes
//! of the file out. Of a form with several parts the first file counts.

use super::{multipart::parameter, request_error::RequestError};

/// Longest head of a part.
const HEAD_MAX: usize = 16 * 1024;
/// Longest white space behind a boundary.
const BLANKS_MAX: usize = 256;

/// A form of which some has been read.
#[derive(Debug)]
pub struct FormFile {
    /// What ends a part: a line end and the boundary.
    delimiter: Vec<u8>,
    state: ParserState,
    /// Bytes that are not used yet; never more than the head of a part.
    rest: Vec<u8>,
    found: Option<Found>,
}

/// The name and type of the file in the form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name, if the form has one; the folders of a path are cut off.
    pub name: Option<String>,
    /// Its type, if the form has one.
    pub content_type: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ParserState {
    /// Before the first part, or in a part that is no file; it is thrown away.
    Aside,
    /// Directly behind a boundary.
    Boundary,
    Head,
    File,
    End,
}

const BAD: RequestError = RequestError { status: 400, reason: "the form is malformed" };

impl FormFile {
    pub fn new(boundary: &str) -> Self {
        let delimiter = [b"\r\n--", boundary.as_bytes()].concat();
        // The first boundary may be the first line.
        FormFile { delimiter, state: ParserState::Aside, rest: b"\r\n".to_vec(), found: None }
    }

    /// Takes the next bytes of the form and gives those of them that belong to the file.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Vec<u8>, RequestError> {
        self.rest.extend_from_slice(bytes);
        let mut file = Vec::new();
        while self.advance(&mut file)? {}
        Ok(file)
    }

    /// The form is over.
    pub fn end(self) -> Result<Found, RequestError> {
        if self.state != ParserState::End {
            return Err(RequestError { status: 400, reason: "the form ends before its last boundary" });
        }
        self.found.ok_or(RequestError { status: 400, reason: "the form has no file: curl -F file=@FILE" })
    }

    /// Makes one step; returns whether another one may be possible.
    fn advance(&mut self, file: &mut Vec<u8>) -> Result<bool, RequestError> {
        match self.state {
            ParserState::Aside | ParserState::File => {
                let end = find(&self.rest, &self.delimiter);
                // The bytes so far may end with the beginning of a boundary.
                let held = self.delimiter.len() - 1;
                let part = end.unwrap_or_else(|| self.rest.len().saturating_sub(held));
                if self.state == ParserState::File {
                    file.extend_from_slice(&self.rest[..part]);
                }
                self.rest.drain(..part + end.map_or(0, |_| self.delimiter.len()));
                if end.is_some() {
                    self.state = ParserState::Boundary;
                }
                Ok(end.is_some())
            }
            ParserState::Boundary if self.rest.starts_with(b"--") => {
                self.state = ParserState::End;
                Ok(true)
            }
            ParserState::Boundary => {
                let blanks = self.rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
                match &self.rest[blanks..] {
                    [b'\r', b'\n', ..] => {
                        // The line end stays, so that the end of an empty head looks like that of any other.
                        self.rest.drain(..blanks);
                        self.state = ParserState::Head;
                        Ok(true)
                    }
                    [] | [b'\r'] | [b'-'] if blanks < BLANKS_MAX => Ok(false),
                    _ => Err(BAD),
                }
            }
            ParserState::Head => match find(&self.rest, b"\r\n\r\n") {
                Some(end) => {
                    let found = file_of(&self.rest[..end]).filter(|_| self.found.is_none());
                    self.state = if found.is_some() { ParserState::File } else { ParserState::Aside };
                    self.found = self.found.take().or(found);
                    self.rest.drain(..end + 4);
                    Ok(true)
                }
                None if self.rest.len() > HEAD_MAX => Err(BAD),
                None => Ok(false),
            },
            ParserState::End => {
                self.rest.clear();
                Ok(false)
            }
        }
    }
}

/// What the head of a part says of the file in it; `None` if it is another field.
fn file_of(head: &[u8]) -> Option<Found> {
    let head = String::from_utf8_lossy(head);
    let header = |wanted: &str| {
        head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim().to_owned())
        })
    };
    let disposition = header("content-disposition")?;
    let path = parameter(&disposition, "filename");
    if path.is_none() && parameter(&disposition, "name").as_deref() != Some("file") {
        return None;
    }
    let name = path.and_then(|path| path.rsplit(['/', '\\']).next().map(str::to_owned));
    let name = name.filter(|name| !name.is_empty());
    Some(Found { name, content_type: header("content-type").filter(|given| !given.is_empty()) })
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(form: &[u8], step: usize) -> Result<(Vec<u8>, Found), RequestError> {
        let mut reading = FormFile::new("b");
        let mut file = Vec::new();
        for piece in form.chunks(step) {
            file.extend(reading.take(piece)?);
        }
        Ok((file, reading.end()?))
    }

    fn found(name: Option<&str>, content_type: Option<&str>) -> Found {
        Found { name: name.map(str::to_owned), content_type: content_type.map(str::to_owned) }
    }

    #[test]
    fn the_first_file_is_found_however_the_form_is_cut() {
        for (form, content, expected) in [
            (
                &b"--b\r\nContent-Disposition: form-data; name=\"x\"; filename=\"dir/a.txt\"\r\nContent-Type: text/plain\r\n\r\none\r\n--\r\n--a\r\n--b--\r\n"[..],
                &b"one\r\n--\r\n--a"[..],
                found(Some("a.txt"), Some("text/plain")),
            ),
            (
                b"preamble\r\n--b \t\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\nhello\r\n--b\r\ncontent-disposition: form-data; name=f; filename=\"C:\\\\y\"\r\n\r\n\r\n--b\r\nContent-Disposition: form-data; name=g; filename=z\r\n\r\nsecond\r\n--b--epilogue\r\n--b\r\n",
                b"",
                found(Some("y"), None),
            ),
            (
                b"--b\r\n\r\nno head\r\n--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nby name\r\n--b--",
                b"by name",
                found(None, None),
            ),
        ] {
            for step in [1, 2, 3, 5, 7, 64, 1_000] {
                let shown = String::from_utf8_lossy(form);
                assert_eq!(read(form, step), Ok((content.to_vec(), expected.clone())), "{step}: {shown}");
            }
        }
    }

    #[test]
    fn what_is_no_whole_form_with_a_file_is_refused() {
        for form in [
            &b""[..],
            b"rubbish",
            b"--b--",
            b"--b\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\nhello\r\n--b--\r\n",
            b"--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\ncut",
            b"--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\ncut\r\n--b",
            b"--bc\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nother boundary\r\n--b--",
        ] {
            let shown = String::from_utf8_lossy(form);
            assert!(read(form, 3).is_err(), "{shown}");
            assert!(read(form, 1_000).is_err(), "{shown}");
        }
        let endless = format!("--b\r\nX: {}", "x".repeat(20_000));
        assert_eq!(read(endless.as_bytes(), 100), Err(BAD));
    }
}
