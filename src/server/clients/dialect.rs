//! Which dialect a connection speaks: its first bytes decide.

/// What a client port understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// JSON objects, one a line.
    JsonLines,
    /// The bare status probe `STATUS_REQUEST`.
    StatusProbe,
    /// HTTP/1.1, and inside it WebSocket.
    Http,
    /// TLS, and inside it any of these.
    Tls,
    Unknown,
}

/// The bare status probe.
const STATUS_PROBE: &[u8] = b"STATUS_REQUEST";

/// The first byte of a handshake of TLS.
const TLS_HANDSHAKE: u8 = 0x16;

/// The methods of HTTP. `PRI` begins HTTP/2, which is told in HTTP/1.1 that
/// it is not spoken here.
const HTTP_METHODS: [&[u8]; 10] =
    [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE", b"CONNECT", b"PRI"];

/// Decides by the first bytes of a connection; `None` if they are too few to tell. Blank lines before
/// the first byte that counts are allowed.
pub fn recognise(head: &[u8]) -> Option<Dialect> {
    let head = head.trim_ascii_start();
    match head.first()? {
        b'{' => Some(Dialect::JsonLines),
        &TLS_HANDSHAKE => Some(Dialect::Tls),
        _ if head.starts_with(STATUS_PROBE) => Some(Dialect::StatusProbe),
        _ if HTTP_METHODS.iter().any(|method| is_word(head, method)) => Some(Dialect::Http),
        _ if STATUS_PROBE.starts_with(head) => None,
        _ if HTTP_METHODS.iter().any(|method| method.starts_with(head)) => None,
        _ => other_method(head),
    }
}

/// Longest method of HTTP that is waited for.
const METHOD_MAX: usize = 128;
/// Longest first line of HTTP with a method that is not known here.
const FIRST_LINE_MAX: usize = 8 * 1024;

/// Whether a byte may be in the name of a method.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether `head` begins with this method and goes on behind it: a tab in the place of the blank is bad HTTP,
/// and no JSON.
fn is_word(head: &[u8], method: &[u8]) -> bool {
    let next = head.strip_prefix(method).and_then(|rest| rest.first());
    next.is_some_and(|&byte| !is_token(byte) && !b"\r\n".contains(&byte))
}

/// Whether it is HTTP with another method: its first line says so at its end.
fn other_method(head: &[u8]) -> Option<Dialect> {
    let method = head.iter().take_while(|&&byte| is_token(byte)).count();
    match head[method..] {
        _ if !(1..=METHOD_MAX).contains(&method) => return Some(Dialect::Unknown),
        [b' ' | b'\t', b'/' | b'*' | b'h', ..] => {}
        // The version may come in pieces.
        [] | [b' ' | b'\t'] => return None,
        _ => return Some(Dialect::Unknown),
    }
    match head.iter().position(|byte| *byte == b'\n') {
        Some(end) => {
            let line = head[..end].trim_ascii_end();
            let version = line.len().checked_sub(9).map(|start| &line[start..]);
            let is_http = version.is_some_and(
                |version| matches!(version, [b' ' | b'\t', version @ ..] if version.starts_with(b"HTTP/")),
            );
            Some(if is_http { Dialect::Http } else { Dialect::Unknown })
        }
        None if head.len() > FIRST_LINE_MAX => Some(Dialect::Unknown),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_decide() {
        for (head, dialect) in [
            (b"".as_slice(), None),
            (b"\r\n\n ", None),
            (b"{", Some(Dialect::JsonLines)),
            (b"\r\n\n{\"msg", Some(Dialect::JsonLines)),
            (b"STAT", None),
            (b"STATUS_REQUEST", Some(Dialect::StatusProbe)),
            (b"STATUS_REQUEST\n", Some(Dialect::StatusProbe)),
            (b"STATION", None),
            (b"STATION\n", Some(Dialect::Unknown)),
            (b"GET / HTTP/1.1\r\n", Some(Dialect::Http)),
            (b"\r\nOPTIONS *", Some(Dialect::Http)),
            (b"PRI * HTTP/2.0\r\n", Some(Dialect::Http)),
            (b"GE", None),
            (b"P", None),
            (b"PATCH", None),
            (b"PING", None),
            (b"PING ", None),
            (b"PING\r\n", Some(Dialect::Unknown)),
            (b"GETTING x", Some(Dialect::Unknown)),
            (&[b'X'; 129], Some(Dialect::Unknown)),
            (b"get / HTTP/1.1\r\n", Some(Dialect::Http)),
            (b"GET\t/ HTTP/1.1\r\n", Some(Dialect::Http)),
            (b"GET/ HTTP/1.1\r\n", Some(Dialect::Http)),
            (b"GET\r\n", Some(Dialect::Unknown)),
            (b"GET", None),
            (b"PROPFIND\t/\tHTTP/1.1\r\n", Some(Dialect::Http)),
            (b"PROPFIND / HTTP/1.1\r\n", Some(Dialect::Http)),
            (b"FOO * HTTP/1.0\n", Some(Dialect::Http)),
            (b"FOO /bar", None),
            (b"FOO /bar\n", Some(Dialect::Unknown)),
            (b"hello /bar\r\n", Some(Dialect::Unknown)),
            (b"\x16\x03\x01", Some(Dialect::Tls)),
            (b"[1]", Some(Dialect::Unknown)),
        ] {
            assert_eq!(recognise(head), dialect, "{:?}", String::from_utf8_lossy(head));
        }
    }
}
