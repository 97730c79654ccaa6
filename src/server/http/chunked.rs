//! Bodies in chunks (RFC 9112, 7.1), read strictly and within bounds. Pure: bytes in, the bytes of the body
//! out.

use super::request_error::RequestError;

/// Longest line of a size with its extensions, or of a trailer.
const LINE_MAX: usize = 1_024;
/// The most that is not the body itself. Without a limit a body of nothing but extensions would never end.
const ASIDE_MAX: usize = 64 * 1_024;
/// Most lines after the last chunk.
const TRAILERS_MAX: usize = 64;

/// A body of which some has been read.
#[derive(Debug)]
pub struct Chunked {
    state: DecoderState,
    /// Bytes of lines so far, without the digits of the sizes.
    aside: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DecoderState {
    Size,
    Data(u64),
    DataEnd,
    Trailers(usize),
    End,
}

const BAD: RequestError = RequestError { status: 400, reason: "a chunk of the body is malformed" };
const TOO_LONG: RequestError =
    RequestError { status: 400, reason: "the chunks of the body say too much beside it" };

impl Default for Chunked {
    fn default() -> Self {
        Chunked { state: DecoderState::Size, aside: 0 }
    }
}

impl Chunked {
    /// Whether the body is complete.
    pub fn is_at_end(&self) -> bool {
        self.state == DecoderState::End
    }

    /// Takes from the front of `bytes` what belongs to the body, and adds up to `most` bytes of it to `body`.
    /// Stops after `most` bytes, at the end of the body, or when it needs more bytes.
    pub fn take(&mut self, bytes: &mut Vec<u8>, body: &mut Vec<u8>, most: usize) -> Result<(), RequestError> {
        let mut rest = bytes.as_slice();
        let result = self.advance(&mut rest, body, most);
        let taken = bytes.len() - rest.len();
        bytes.drain(..taken);
        result
    }

    fn advance(&mut self, rest: &mut &[u8], body: &mut Vec<u8>, most: usize) -> Result<(), RequestError> {
        loop {
            self.state = match self.state {
                DecoderState::End => return Ok(()),
                DecoderState::Size => {
                    let Some(line) = self.line(rest)? else { return Ok(()) };
                    match size(line)? {
                        0 => DecoderState::Trailers(0),
                        size => DecoderState::Data(size),
                    }
                }
                DecoderState::Data(left) => {
                    let room = (most - body.len()) as u64;
                    let count = left.min(room).min(rest.len() as u64) as usize;
                    if count == 0 {
                        return Ok(());
                    }
                    body.extend_from_slice(&rest[..count]);
                    *rest = &rest[count..];
                    match left - count as u64 {
                        0 => DecoderState::DataEnd,
                        left => DecoderState::Data(left),
                    }
                }
                DecoderState::DataEnd => match rest {
                    [] | [b'\r'] => return Ok(()),
                    [b'\r', b'\n', behind @ ..] => {
                        *rest = behind;
                        DecoderState::Size
                    }
                    _ => return Err(BAD),
                },
                DecoderState::Trailers(count) => {
                    let Some(line) = self.line(rest)? else { return Ok(()) };
                    match line {
                        [] => DecoderState::End,
                        _ if count == TRAILERS_MAX => return Err(TOO_LONG),
                        line if is_field(line) => DecoderState::Trailers(count + 1),
                        _ => return Err(BAD),
                    }
                }
            }
        }
    }

    /// The next line without its end, once it is complete.
    fn line<'a>(&mut self, rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>, RequestError> {
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            return if rest.len() > LINE_MAX { Err(TOO_LONG) } else { Ok(None) };
        };
        let line = rest[..end].strip_suffix(b"\r").ok_or(BAD)?;
        // The digits of a size are not counted.
        self.aside += line.len().saturating_sub(16);
        if line.len() > LINE_MAX || self.aside > ASIDE_MAX {
            return Err(TOO_LONG);
        }
        let is_text = line.iter().all(|byte| *byte == b'\t' || *byte >= b' ' && *byte != 0x7f);
        *rest = &rest[end + 1..];
        if is_text { Ok(Some(line)) } else { Err(BAD) }
    }
}

/// The size at the start of a line. Behind it only extensions may stand, which mean nothing here.
fn size(line: &[u8]) -> Result<u64, RequestError> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let behind = line[digits..].trim_ascii_start();
    if !(1..=15).contains(&digits) || !(behind.is_empty() && digits == line.len() || behind.starts_with(b";"))
    {
        return Err(BAD);
    }
    let text = std::str::from_utf8(&line[..digits]).map_err(|_| BAD)?;
    u64::from_str_radix(text, 16).map_err(|_| BAD)
}

/// Whether a line is a name and a value.
fn is_field(line: &[u8]) -> bool {
    let name =
        line.iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte));
    let length = name.count();
    length > 0 && line.get(length) == Some(&b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a body that comes in pieces of `step` bytes. Returns the body, what is left, and whether it
    /// ended.
    fn read(text: &[u8], step: usize) -> Result<(Vec<u8>, Vec<u8>, bool), RequestError> {
        let (mut chunked, mut body, mut bytes) = (Chunked::default(), Vec::new(), Vec::new());
        for piece in text.chunks(step) {
            bytes.extend_from_slice(piece);
            chunked.take(&mut bytes, &mut body, 1 << 20)?;
        }
        Ok((body, bytes, chunked.is_at_end()))
    }

    #[test]
    fn a_body_is_read_however_it_is_cut() {
        let text = b"4\r\nWiki\r\n006;a=\"b\";c\r\npedia \r\nE \t;x\r\nin \r\n\r\nchunks.\r\n0\r\nX: y\r\nZ:\r\n\r\nGET /";
        for step in [1, 2, 3, 7, 1_000] {
            let (body, left, is_end) = read(text, step).unwrap();
            assert_eq!((body.as_slice(), is_end), (&b"Wikipedia in \r\n\r\nchunks."[..], true), "{step}");
            assert!(b"GET /".ends_with(&left) && (step != 1_000 || left == b"GET /"));
        }
        assert_eq!(read(b"0\r\n\r\n", 1).unwrap(), (vec![], vec![], true));
    }

    #[test]
    fn no_more_is_taken_than_is_asked_for() {
        let (mut chunked, mut bytes) = (Chunked::default(), b"5\r\nabcde\r\n0\r\n\r\n".to_vec());
        let mut body = Vec::new();
        chunked.take(&mut bytes, &mut body, 3).unwrap();
        assert_eq!((body.as_slice(), chunked.is_at_end()), (&b"abc"[..], false));
        chunked.take(&mut bytes, &mut body, 5).unwrap();
        assert_eq!(body, b"abcde");
        chunked.take(&mut bytes, &mut body, 6).unwrap();
        assert!(chunked.is_at_end() && bytes.is_empty());
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for text in [
            "4\nWiki\r\n0\r\n\r\n",
            "4\r\nWiki0\r\n\r\n",
            "4\r\nWikipedia\r\n0\r\n\r\n",
            "4\r\nWiki\n0\r\n\r\n",
            "x\r\n",
            "\r\n",
            " 4\r\nWiki\r\n",
            "4 \r\nWiki\r\n",
            "+4\r\nWiki\r\n",
            "-1\r\n",
            "0x4\r\nWiki\r\n",
            "4,4\r\nWiki\r\n",
            "fffffffffffffffff\r\n",
            "4;\0\r\n",
            "4;a\rb\r\n",
            "0\r\nno field\r\n\r\n",
            "0\r\n folded: x\r\n\r\n",
            "0\r\n: x\r\n\r\n",
        ] {
            assert!(read(text.as_bytes(), 1_000).is_err(), "{text:?}");
            assert!(read(text.as_bytes(), 1).is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_is_said_beside_the_body_is_bounded() {
        let long = "x".repeat(2_000);
        assert!(read(format!("4;{long}\r\nWiki\r\n").as_bytes(), 100).is_err());
        assert!(read(format!("0\r\nX: {long}").as_bytes(), 100).is_err());
        let line = format!("1;{}\r\na\r\n", "x".repeat(900));
        assert!(read(line.repeat(100).as_bytes(), 1_000).is_err());
        assert!(read(format!("0\r\n{}", "X: y\r\n".repeat(65)).as_bytes(), 1_000).is_err());
        // Small chunks are slow, but allowed.
        let small = format!("{}0\r\n\r\n", "1\r\na\r\n".repeat(20_000));
        assert_eq!(read(small.as_bytes(), 4_096).unwrap().0.len(), 20_000);
    }
}
