//! The file in a form (`multipart/form-data`, RFC 7578) that comes piece by piece. Pure: bytes in, the bytes
//! of the file out. Of a form with several parts the first file counts, and the first field `text`.
//!
//! Lines end with CR LF, or all with LF, as scripts write them.

use super::{
    multipart::{PartHead, file_name, parameter},
    request_error::RequestError,
};

/// Longest head of a part.
const HEAD_MAX: usize = 16 * 1024;
/// The field with the text of the message that is to show the file.
const TEXT: &str = "text";
/// Longest white space behind a boundary.
const BLANKS_MAX: usize = 256;

/// A form of which some has been read.
#[derive(Debug)]
pub struct FormFile {
    /// What ends a part: a line end and the boundary.
    delimiter: Vec<u8>,
    /// The end of a line; not known before the first boundary.
    line_end: Option<&'static [u8]>,
    state: ParserState,
    /// Bytes that are not used yet; never more than the head of a part.
    rest: Vec<u8>,
    found: Option<Found>,
    text: Option<Vec<u8>>,
}

/// What the form says of its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name, if the form has one; the folders of a path are cut off.
    pub name: Option<String>,
    /// Its type, if the form has one.
    pub content_type: Option<String>,
    /// The text of the message that is to show it, if the form has one.
    pub text: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ParserState {
    /// Before the first part, or in a part that is no file; it is thrown away.
    Aside,
    /// Directly behind a boundary.
    Boundary,
    Head,
    File,
    /// In the field `text`.
    Text,
    End,
}

const BAD: RequestError = RequestError { status: 400, reason: "the form is malformed" };

impl FormFile {
    pub fn new(boundary: &str) -> Self {
        // The first boundary may be the first line, and says how lines end.
        FormFile {
            delimiter: [b"\n--", boundary.as_bytes()].concat(),
            line_end: None,
            state: ParserState::Aside,
            rest: b"\n".to_vec(),
            found: None,
            text: None,
        }
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
        let no_file = RequestError { status: 400, reason: "the form has no file: curl -F file=@FILE" };
        let text = self.text.map(|text| String::from_utf8_lossy(&text).into_owned());
        self.found.map(|found| Found { text, ..found }).ok_or(no_file)
    }

    /// What comes behind the head that ends at `end`.
    fn next_part(&mut self, end: usize) -> ParserState {
        let head = PartHead::new(&self.rest[..end]);
        if self.text.is_none() && is_text(&head) {
            self.text = Some(Vec::new());
            return ParserState::Text;
        }
        match file_of(&head) {
            Some(found) if self.found.is_none() => {
                self.found = Some(found);
                ParserState::File
            }
            _ => ParserState::Aside,
        }
    }

    /// Makes one step; returns whether another one may be possible.
    fn advance(&mut self, file: &mut Vec<u8>) -> Result<bool, RequestError> {
        match self.state {
            ParserState::Aside | ParserState::File | ParserState::Text => {
                let end = find(&self.rest, &self.delimiter);
                // The bytes so far may end with the beginning of a boundary.
                let held = self.delimiter.len() - 1;
                let part = end.unwrap_or_else(|| self.rest.len().saturating_sub(held));
                match (self.state, &mut self.text) {
                    (ParserState::File, _) => file.extend_from_slice(&self.rest[..part]),
                    (ParserState::Text, Some(text)) => text.extend_from_slice(&self.rest[..part]),
                    _ => {}
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
                let line_end: &'static [u8] = match &self.rest[blanks..] {
                    [b'\r', b'\n', ..] => b"\r\n",
                    [b'\n', ..] => b"\n",
                    [] | [b'\r'] | [b'-'] if blanks < BLANKS_MAX => return Ok(false),
                    _ => return Err(BAD),
                };
                let known = *self.line_end.get_or_insert_with(|| {
                    self.delimiter.splice(..1, line_end.iter().copied());
                    line_end
                });
                if known != line_end {
                    return Err(BAD);
                }
                // The line end stays, so that the end of an empty head looks like that of any other.
                self.rest.drain(..blanks);
                self.state = ParserState::Head;
                Ok(true)
            }
            ParserState::Head => {
                let blank_line = self.line_end.unwrap_or(b"\r\n").repeat(2);
                match find(&self.rest, &blank_line) {
                    Some(end) => {
                        self.state = self.next_part(end);
                        self.rest.drain(..end + blank_line.len());
                        Ok(true)
                    }
                    None if self.rest.len() > HEAD_MAX => Err(BAD),
                    None => Ok(false),
                }
            }
            ParserState::End => {
                self.rest.clear();
                Ok(false)
            }
        }
    }
}

/// What the head of a part says of the file in it; `None` if it is another field.
fn file_of(head: &PartHead) -> Option<Found> {
    let disposition = head.get("content-disposition")?;
    let path = file_name(&disposition);
    if path.is_none() && parameter(&disposition, "name").as_deref() != Some("file") {
        return None;
    }
    let name = path.and_then(|path| path.rsplit(['/', '\\']).next().map(str::to_owned));
    let name = name.filter(|name| !name.is_empty());
    let content_type = head.get("content-type").filter(|given| !given.is_empty());
    Some(Found { name, content_type, text: None })
}

/// Whether a part is the field `text`.
fn is_text(head: &PartHead) -> bool {
    let disposition = head.get("content-disposition").unwrap_or_default();
    file_name(&disposition).is_none() && parameter(&disposition, "name").as_deref() == Some(TEXT)
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

    fn found(name: Option<&str>, content_type: Option<&str>, text: Option<&str>) -> Found {
        let [name, content_type, text] = [name, content_type, text].map(|text| text.map(str::to_owned));
        Found { name, content_type, text }
    }

    #[test]
    fn the_first_file_is_found_however_the_form_is_cut() {
        for (form, content, expected) in [
            (
                &b"--b\r\nContent-Disposition: form-data; name=\"x\"; filename=\"dir/a.txt\"\r\nContent-Type: text/plain\r\n\r\none\r\n--\r\n--a\r\n--b--\r\n"[..],
                &b"one\r\n--\r\n--a"[..],
                found(Some("a.txt"), Some("text/plain"), None),
            ),
            (
                b"preamble\r\n--b \t\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\nhello\r\n--b\r\ncontent-disposition: form-data; name=f; filename=\"C:\\\\y\"\r\n\r\n\r\n--b\r\nContent-Disposition: form-data; name=g; filename=z\r\n\r\nsecond\r\n--b--epilogue\r\n--b\r\n",
                b"",
                found(Some("y"), None, Some("hello")),
            ),
            (
                b"--b\r\n\r\nno head\r\n--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nby name\r\n--b--",
                b"by name",
                found(None, None, None),
            ),
            (
                // Only LF, a head in several lines, and the text behind the file.
                b"preamble\n--b\nContent-Disposition: form-data;\n name=x;\n filename*=UTF-8''%C3%A4.txt\n\none\r\ntwo\n--a\n--b\n\
                Content-Disposition: form-data; name=text\n\nlook\nhere\n--b\n\
                Content-Disposition: form-data; name=text\n\nnot this\n--b--\n",
                b"one\r\ntwo\n--a",
                found(Some("\u{e4}.txt"), None, Some("look\nhere")),
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
            b"--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nx\r\n--b\nother line ends\n--b--",
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
