//! Answers, and the headers that each of them has.

use serde_json::{Value, json};

use super::{date::http_date, request_error::RequestError};

/// Unless a route says otherwise, an answer may not run scripts, load anything, or be put into a frame.
pub const STRICT_CSP: &str =
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// An answer without a body.
    pub fn empty(status: u16) -> Self {
        Response { status, headers: Vec::new(), body: Vec::new() }
    }

    /// An answer that is a document or a file.
    pub fn bytes(content_type: &str, body: Vec<u8>) -> Self {
        Response { body, ..Response::empty(200) }.with("Content-Type", content_type)
    }

    /// An answer for people.
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        let body = text.into().into_bytes();
        Response { body, ..Response::empty(status) }.with("Content-Type", "text/plain; charset=utf-8")
    }

    /// An answer for programs.
    pub fn json(status: u16, value: &Value) -> Self {
        let body = format!("{value}\n").into_bytes();
        Response { body, ..Response::empty(status) }.with("Content-Type", "application/json")
    }

    /// Why there is no other answer.
    pub fn error(status: u16, code: &str, reason: &str) -> Self {
        Response::json(status, &json!({"error": {"code": code, "reason": reason}}))
    }

    /// With one more header. Characters that a header cannot have are left out of its value.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        let mut value = value.into();
        value.retain(|letter| !letter.is_control());
        self.headers.push((name, value));
        self
    }

    /// Its head, before a body of `length` bytes. `seconds` is the time, since the Unix epoch.
    pub fn head(&self, length: u64, seconds: u64, closes: bool) -> Vec<u8> {
        self.head_before(Some(length), seconds, closes)
    }

    /// Its head, before a body that ends with the connection.
    pub fn head_until_close(&self, seconds: u64) -> Vec<u8> {
        self.head_before(None, seconds, true)
    }

    fn head_before(&self, length: Option<u64>, seconds: u64, closes: bool) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason_phrase(self.status));
        let mut add = |name: &str, value: &str| {
            head.push_str(name);
            head.push_str(": ");
            head.push_str(value);
            head.push_str("\r\n");
        };
        if let Some(date) = http_date(seconds) {
            add("Date", &date);
        }
        for (name, value) in &self.headers {
            add(name, value);
        }
        // If the connection changes its protocol there is no body, and nothing that a browser reads.
        if self.status >= 200 {
            for (name, value) in [
                ("Cache-Control", "no-store"),
                ("Content-Security-Policy", STRICT_CSP),
                ("X-Content-Type-Options", "nosniff"),
                ("Referrer-Policy", "no-referrer"),
                ("Cross-Origin-Resource-Policy", "same-origin"),
            ] {
                if !self.headers.iter().any(|(known, _)| *known == name) {
                    add(name, value);
                }
            }
            if let Some(length) = length {
                add("Content-Length", &length.to_string());
            }
            if closes {
                add("Connection", "close");
            }
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}

impl From<RequestError> for Response {
    fn from(bad: RequestError) -> Self {
        let code = match bad.status {
            408 => "timeout",
            411 => "length_required",
            413 | 414 | 431 => "too_large",
            501 | 505 => "not_implemented",
            _ => "bad_request",
        };
        Response::error(bad.status, code, bad.reason)
    }
}

/// The words that go with a status.
fn reason_phrase(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        206 => "Partial Content",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        412 => "Precondition Failed",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_has_its_headers() {
        let head = String::from_utf8(Response::text(200, "ok").head(2, 784_111_777, true)).unwrap();
        for line in [
            "HTTP/1.1 200 OK",
            "Date: Sun, 06 Nov 1994 08:49:37 GMT",
            "Content-Length: 2",
            "X-Content-Type-Options: nosniff",
            "Cache-Control: no-store",
            "Connection: close",
        ] {
            assert!(head.lines().any(|found| found == line), "{line}: {head}");
        }
        assert!(head.ends_with("\r\n\r\n"));
    }

    #[test]
    fn a_header_ends_where_it_ends() {
        let response = Response::empty(200).with("Content-Disposition", "a\r\nSet-Cookie: b\u{0}c");
        let head = String::from_utf8(response.head(0, 0, false)).unwrap();
        assert!(head.contains("Content-Disposition: aSet-Cookie: bc\r\n"), "{head}");
        assert!(!head.contains("Connection"));
    }

    #[test]
    fn a_route_may_say_it_otherwise() {
        let response = Response::empty(200).with("Cache-Control", "private, no-cache");
        let head = String::from_utf8(response.head(0, 0, false)).unwrap();
        assert_eq!(head.matches("Cache-Control").count(), 1);
    }
}
