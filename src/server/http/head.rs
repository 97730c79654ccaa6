//! The head of a request, read strictly.
//!
//! A proxy may stand between a client and this server. If the two read the same bytes differently, a client
//! can smuggle a request past the proxy. So whatever can be read in two ways is refused, and the connection
//! ends: line ends that are not CR LF, folded headers, a length that is said twice or oddly, a length
//! together with an encoding. Pure: bytes in, a head or a refusal out.

use std::borrow::Cow;

use super::{
    method::Method,
    request_error::RequestError,
    target::{self, Target},
};

#[derive(Debug, Clone, Copy)]
pub struct HeadLimits {
    /// Its length, in bytes.
    pub bytes: usize,
    pub headers: usize,
}

/// A request without its body.
#[derive(Debug, PartialEq)]
pub struct Head {
    pub method: Method,
    pub target: Target,
    /// The host that is addressed: from the target if it names one, else from the header `Host`. Empty in
    /// HTTP/1.0 without either.
    pub host: String,
    /// Whether the other end can get more answers on this connection.
    pub keeps_alive: bool,
    /// Whether it is HTTP/1.1, and not 1.0.
    pub is_1_1: bool,
    /// How long the body is; 0 when it comes in chunks.
    pub body_bytes: u64,
    /// Whether the body comes in chunks, and its length is known at its end only.
    pub is_chunked: bool,
    /// Whether the body only comes once it is asked for.
    pub expects_continue: bool,
    /// Names in lower case.
    headers: Vec<(String, String)>,
}

const fn bad<T>(status: u16, reason: &'static str) -> Result<T, RequestError> {
    Err(RequestError { status, reason })
}

/// Reads the head at the start of `bytes`, and says how long it is, blank lines before it included; `None` if
/// it is not complete.
pub fn parse(bytes: &[u8], limits: HeadLimits) -> Result<Option<(Head, usize)>, RequestError> {
    let blank = bytes.chunks_exact(2).take_while(|pair| pair == b"\r\n").count() * 2;
    let rest = &bytes[blank..];
    let end = find_end(rest)?;
    if end.unwrap_or(bytes.len()) > limits.bytes {
        let has_target = rest.iter().take(limits.bytes).any(|&byte| byte == b'\n');
        return if has_target {
            bad(431, "the head of the request is too long")
        } else {
            bad(414, "the target of the request is too long")
        };
    }
    let Some(end) = end else { return Ok(None) };
    let text = as_1_1(&rest[..end]);
    let mut headers = vec![httparse::EMPTY_HEADER; limits.headers];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(&text) {
        Ok(httparse::Status::Complete(length)) if length == end => {}
        Ok(_) => return bad(400, "the head of the request has no form"),
        Err(httparse::Error::TooManyHeaders) => return bad(431, "the request has too many headers"),
        Err(httparse::Error::Version) => return bad(505, "HTTP/1.1 is spoken here"),
        Err(httparse::Error::HeaderName) => return bad(400, "the name of a header has no form"),
        Err(_) => return bad(400, "the head of the request has no form"),
    }
    head_of(&request).map(|head| Some((head, blank + end)))
}

/// A head with a later minor version of HTTP/1 is read as one of HTTP/1.1 (RFC 9110, 2.5).
fn as_1_1(head: &[u8]) -> Cow<'_, [u8]> {
    let end = head.iter().position(|byte| *byte == b'\r').unwrap_or(0);
    match head[..end].strip_suffix(b"2").or_else(|| {
        let is_later = head[..end].last().is_some_and(|minor| (b'3'..=b'9').contains(minor));
        is_later.then(|| &head[..end - 1])
    }) {
        Some(line) if line.ends_with(b" HTTP/1.") => [line, b"1", &head[end..]].concat().into(),
        _ => head.into(),
    }
}

/// The end of the head, behind its blank line. Every line must end with CR LF.
fn find_end(bytes: &[u8]) -> Result<Option<usize>, RequestError> {
    let mut line_start = 0;
    for (place, &byte) in bytes.iter().enumerate() {
        let after_cr = place > line_start && bytes[place - 1] == b'\r';
        match byte {
            b'\n' if !after_cr => return bad(400, "a line of the head does not end with CR LF"),
            b'\n' if place == line_start + 1 => return Ok(Some(place + 1)),
            b'\n' => line_start = place + 1,
            _ if after_cr => return bad(400, "a line of the head has a CR in it"),
            _ => {}
        }
    }
    Ok(None)
}

fn head_of(request: &httparse::Request<'_, '_>) -> Result<Head, RequestError> {
    let mut headers = Vec::with_capacity(request.headers.len());
    for header in request.headers.iter() {
        // Bytes above 0x7f have no meaning of their own (RFC 9110, 5.5): if a value is not UTF-8, each byte
        // becomes one character.
        let value = match std::str::from_utf8(header.value) {
            Ok(value) => value.to_owned(),
            Err(_) => header.value.iter().map(|byte| char::from(*byte)).collect(),
        };
        headers.push((header.name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()));
    }
    let method = Method::of(request.method.unwrap_or_default());
    if method == Method::Unknown {
        return bad(501, "this is no method of HTTP that is known here");
    }
    let is_1_1 = request.version == Some(1);
    let (target, authority) = target::parse(request.path.unwrap_or_default(), method)?;
    let mut head = Head {
        method,
        target,
        host: String::new(),
        keeps_alive: false,
        is_1_1,
        body_bytes: 0,
        is_chunked: false,
        expects_continue: false,
        headers,
    };
    head.host = head.find_host(authority)?;
    (head.body_bytes, head.is_chunked) = match head.find_body()? {
        Some(length) => (length, false),
        None => (0, true),
    };
    head.keeps_alive = is_1_1 && !head.lists("connection", "close");
    head.expects_continue = match head.once("expect")? {
        Some(expected) if is_1_1 && expected.eq_ignore_ascii_case("100-continue") => {
            head.body_bytes > 0 || head.is_chunked
        }
        Some(_) if is_1_1 => return bad(417, "only 100-continue can be expected"),
        _ => false,
    };
    Ok(head)
}

impl Head {
    /// The values of a header, whose name is given in lower case.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The value of a header that may stand there once.
    pub fn once(&self, name: &str) -> Result<Option<&str>, RequestError> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (_, Some(_)) => bad(400, "a header that may stand there once is there twice"),
            (value, None) => Ok(value),
        }
    }

    /// Whether a header that is a list has `word` in it, in any case.
    pub fn lists(&self, name: &str, word: &str) -> bool {
        self.all(name).flat_map(|value| value.split(',')).any(|item| item.trim().eq_ignore_ascii_case(word))
    }

    /// The token of `Authorization: Bearer`.
    pub fn bearer(&self) -> Option<&str> {
        self.credentials("bearer")
    }

    /// The credentials in `Authorization` for this scheme.
    pub fn credentials(&self, scheme: &str) -> Option<&str> {
        let (given, credentials) = self.once("authorization").ok()??.split_once(' ')?;
        given.eq_ignore_ascii_case(scheme).then_some(credentials.trim()).filter(|text| !text.is_empty())
    }

    fn find_host(&self, authority: Option<String>) -> Result<String, RequestError> {
        let host = match self.once("host")? {
            // Empty when what is addressed has no host (RFC 9110, 7.2).
            Some(host) if !host.is_empty() && !is_authority(host) => {
                return bad(400, "the header Host has no form");
            }
            None if self.is_1_1 => return bad(400, "HTTP/1.1 needs a header Host"),
            host => host.unwrap_or_default(),
        };
        match authority {
            Some(authority) if !is_authority(&authority) => bad(400, "the target names no host"),
            // The target counts more than the header (RFC 9112, 3.2.2).
            Some(authority) => Ok(authority),
            None => Ok(host.to_owned()),
        }
    }

    /// How long the body is; `None` when it comes in chunks.
    fn find_body(&self) -> Result<Option<u64>, RequestError> {
        let length = self.once("content-length")?;
        if self.all("transfer-encoding").next().is_some() {
            return match self.once("transfer-encoding")? {
                _ if length.is_some() => bad(400, "a body has a length or an encoding, not both"),
                _ if !self.is_1_1 => bad(400, "HTTP/1.0 has no transfer encodings"),
                Some(encoding) if encoding.eq_ignore_ascii_case("chunked") => Ok(None),
                _ => bad(501, "this transfer encoding is not known here"),
            };
        }
        match length {
            None => Ok(Some(0)),
            // Twenty digits may be more than 64 bits.
            Some(digits)
                if (1..=19).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) =>
            {
                digits.parse().map(Some).or(bad(413, "no body is that long"))
            }
            Some(_) => bad(400, "Content-Length is not a number"),
        }
    }
}

/// Whether it can be a host with or without a port.
fn is_authority(text: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    (1..=255).contains(&text.len()) && text.bytes().all(is_fit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Chance;

    const LIMITS: HeadLimits = HeadLimits { bytes: 1_000, headers: 8 };

    fn read(text: &str) -> Head {
        let (head, length) = parse(text.as_bytes(), LIMITS).unwrap().expect("a whole head");
        assert_eq!(length, text.len());
        head
    }

    fn status(text: &str) -> u16 {
        parse(text.as_bytes(), LIMITS).expect_err(text).status
    }

    #[test]
    fn a_whole_head_is_read() {
        let head = read(
            "POST /files?room=a%20b HTTP/1.1\r\nHost: localhost:8000\r\nContent-Length: 12\r\n\
             Authorization: bearer abc\r\nExpect: 100-Continue\r\nX: \t y \r\n\r\n",
        );
        assert_eq!(head.method, Method::Post);
        assert_eq!(head.target.path, "/files");
        assert_eq!(head.host, "localhost:8000");
        assert_eq!((head.body_bytes, head.keeps_alive, head.expects_continue), (12, true, true));
        assert_eq!(head.bearer(), Some("abc"));
        assert_eq!(head.all("x").collect::<Vec<_>>(), ["y"]);
    }

    #[test]
    fn what_the_standard_allows_is_read() {
        let head =
            read("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\nExpect: 100-continue\r\n\r\n");
        assert!(head.is_chunked && head.expects_continue && head.body_bytes == 0);
        let head = read("GET / HTTP/1.2\r\nHost: a\r\n\r\n");
        assert!(head.is_1_1 && head.keeps_alive, "a later version of HTTP/1");
        assert_eq!(read("GET / HTTP/1.1\r\nHost:\r\n\r\n").host, "");
        let bytes = b"GET / HTTP/1.1\r\nHost: a\r\nX: caf\xe9\r\nY: caf\xc3\xa9\r\n\r\n";
        let (head, _) = parse(bytes, LIMITS).unwrap().unwrap();
        assert_eq!(head.all("x").chain(head.all("y")).collect::<Vec<_>>(), ["café", "café"]);
    }

    #[test]
    fn a_head_is_the_same_however_it_is_cut() {
        let text = b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGET /next";
        for end in 0..text.len() - 9 {
            assert_eq!(parse(&text[..end], LIMITS), Ok(None), "{end}");
        }
        let (_, length) = parse(text, LIMITS).unwrap().unwrap();
        assert_eq!(&text[length..], b"GET /next");
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for (text, expected) in [
            // Line ends.
            ("GET / HTTP/1.1\nHost: a\n\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\rX: b\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\n X: folded\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
            ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            // Names.
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: b\0\r\n\r\n", 400),
            // Lengths.
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5 5\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", 400),
            // Encodings.
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", 501),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n", 400),
            ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
            // Hosts.
            ("GET / HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400),
            // The first line.
            ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET /\r\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/1.12\r\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
            ("PRI * HTTP/2.0\r\n\r\n", 505),
            ("BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
            ("GET / HTTP/1.1\r\nHost: a\r\nExpect: a cake\r\n\r\n", 417),
        ] {
            assert_eq!(status(text), expected, "{text:?}");
        }
    }

    #[test]
    fn one_that_is_too_long_is_refused_before_it_ends() {
        let line = format!("GET /{}", "x".repeat(1_000));
        assert_eq!(status(&line), 414);
        let header = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(1_000));
        assert_eq!(status(&header), 431);
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "x: y\r\n".repeat(8));
        assert_eq!(status(&many), 431);
        // Blank lines without end are no head either.
        assert!(matches!(
            parse("\r\n".repeat(501).as_bytes(), LIMITS),
            Err(RequestError { status: 414, .. })
        ));
    }

    #[test]
    fn absolute_targets_name_their_host() {
        let head = read("GET http://chat.example:8000/healthz?x HTTP/1.1\r\nHost: other\r\n\r\n");
        assert_eq!((head.target.path.as_str(), head.host.as_str()), ("/healthz", "chat.example:8000"));
        assert_eq!(status("GET http://a@b/ HTTP/1.1\r\nHost: b\r\n\r\n"), 400);
        assert_eq!(status("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
        assert_eq!(read("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").target.path, "*");
        assert_eq!(status("GET * HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    }

    #[test]
    fn only_1_1_stays_open() {
        assert!(read("GET / HTTP/1.1\r\nHost: a\r\n\r\n").keeps_alive);
        assert!(!read("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n").keeps_alive);
        assert!(!read("GET / HTTP/1.0\r\n\r\n").keeps_alive);
        assert!(!read("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").keeps_alive);
    }

    /// Any bytes are read or refused, with the same result whether they come at once or in pieces.
    #[test]
    fn rubbish_is_refused_and_nothing_else_happens() {
        let parts = [
            "GET ",
            "/",
            "http://h/",
            " HTTP/1.0",
            "\r\n",
            "\n",
            "\r",
            "Host: a\r\n",
            "Host: a\r\n",
            "X: y\r\n",
            "X: y\r\n",
            "Content-Length: 3\r\n",
            "Content-Length: 4\r\n",
            "Transfer-Encoding: chunked\r\n",
            " ",
            "\t",
            ":",
            "x",
            "\0",
            "é",
            "Connection: close\r\n",
            "\r\n",
            "\r\n\r\n",
            "Expect: 100-continue\r\n",
        ];
        let mut chance = Chance(7);
        let mut whole = 0;
        for _ in 0..20_000 {
            let mut text = String::from("GET / HTTP/1.1\r\n");
            for _ in 0..chance.below(12) {
                text.push_str(chance.pick(&parts));
            }
            let at_once = parse(text.as_bytes(), LIMITS);
            whole += usize::from(matches!(at_once, Ok(Some(_))));
            let first = (0..=text.len()).map(|end| parse(&text.as_bytes()[..end], LIMITS));
            let in_pieces = first.into_iter().find(|read| !matches!(read, Ok(None))).unwrap_or(Ok(None));
            match (&at_once, &in_pieces) {
                // A later line may be wrong in a head that its own blank line has not ended.
                (Ok(at_once), Ok(in_pieces)) => assert_eq!(at_once, in_pieces, "{text:?}"),
                (Err(_), Err(_)) => {}
                _ => panic!("{text:?}: {at_once:?}, {in_pieces:?}"),
            }
        }
        assert!(whole > 50, "only {whole} heads were whole");
    }
}
