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
    /// Nothing that is known here.
    Unknown,
}

/// The bare status probe.
const STATUS_PROBE: &[u8] = b"STATUS_REQUEST";

/// The methods of HTTP, each with the blank that ends it. `PRI` begins HTTP/2, which is told in HTTP/1.1 that
/// it is not spoken here.
const HTTP_METHODS: [&[u8]; 10] = [
    b"GET ",
    b"HEAD ",
    b"POST ",
    b"PUT ",
    b"DELETE ",
    b"OPTIONS ",
    b"PATCH ",
    b"TRACE ",
    b"CONNECT ",
    b"PRI ",
];

/// Decides by the first bytes of a connection; `None` where they are too few to tell. Blank lines before
/// the first byte that counts are allowed.
pub fn recognise(head: &[u8]) -> Option<Dialect> {
    let head = head.trim_ascii_start();
    match head.first()? {
        b'{' => Some(Dialect::JsonLines),
        _ if head.starts_with(STATUS_PROBE) => Some(Dialect::StatusProbe),
        _ if HTTP_METHODS.iter().any(|method| head.starts_with(method)) => Some(Dialect::Http),
        _ if STATUS_PROBE.starts_with(head) => None,
        _ if HTTP_METHODS.iter().any(|method| method.starts_with(head)) => None,
        _ => Some(Dialect::Unknown),
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
            (b"STATION", Some(Dialect::Unknown)),
            (b"GET / HTTP/1.1\r\n", Some(Dialect::Http)),
            (b"\r\nOPTIONS *", Some(Dialect::Http)),
            (b"PRI * HTTP/2.0\r\n", Some(Dialect::Http)),
            (b"GE", None),
            (b"P", None),
            (b"PATCH", None),
            (b"PING", Some(Dialect::Unknown)),
            (b"GETTING", Some(Dialect::Unknown)),
            (b"get / HTTP/1.1\r\n", Some(Dialect::Unknown)),
            (b"\x16\x03\x01", Some(Dialect::Unknown)),
            (b"[1]", Some(Dialect::Unknown)),
        ] {
            assert_eq!(recognise(head), dialect, "{:?}", String::from_utf8_lossy(head));
        }
    }
}
