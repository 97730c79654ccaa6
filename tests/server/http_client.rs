//! An HTTP client that sends exactly what it is told, byte by byte if needed, and reads answers strictly.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, TcpStream},
};

use serde_json::Value;

use crate::one_server::PATIENCE;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// A header, which is there once.
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        let mut values = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let (_, value) = values.next().unwrap_or_else(|| panic!("no {name}: {self:?}"));
        assert!(values.next().is_none(), "two of {name}: {self:?}");
        value
    }

    pub fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name))
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// A connection.
pub struct Http {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Http {
    pub fn connect(port: u16) -> Http {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Http { stream, buffer: Vec::new() }
    }

    /// Whether something has come that was not read yet.
    pub fn has_answer(&mut self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let has_answer = self.stream.peek(&mut [0]).is_ok_and(|length| length > 0);
        self.stream.set_nonblocking(false).unwrap();
        has_answer
    }

    /// All that comes until the end.
    pub fn rest(mut self) -> String {
        let mut bytes = std::mem::take(&mut self.buffer);
        let _ = self.stream.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub fn send(&mut self, text: &str) {
        self.send_bytes(text.as_bytes()).unwrap();
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub fn close_half(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// The next bytes; none at the end.
    fn more(&mut self) -> usize {
        let mut piece = [0; 4_096];
        match self.stream.read(&mut piece) {
            Ok(length) => {
                self.buffer.extend_from_slice(&piece[..length]);
                length
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
            Err(error) => panic!("{error}"),
        }
    }

    /// Exactly this many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            assert!(self.more() > 0, "the connection ended after {:?}", self.buffer);
        }
        self.buffer.drain(..count).collect()
    }

    /// Whether nothing more comes, and the other end has closed.
    pub fn is_closed(&mut self) -> bool {
        self.buffer.is_empty() && self.more() == 0
    }

    /// The head of an answer.
    pub fn head(&mut self) -> Answer {
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end;
            }
            assert!(self.more() > 0, "no answer but {:?}", String::from_utf8_lossy(&self.buffer));
        };
        let head = String::from_utf8(self.bytes(end + 4)).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let first = lines.next().unwrap();
        assert!(first.starts_with("HTTP/1.1 "), "{first}");
        let headers = lines.map(|line| line.split_once(": ").map(|(a, b)| (a.into(), b.into())).unwrap());
        Answer { status: first[9..12].parse().unwrap(), headers: headers.collect(), body: Vec::new() }
    }

    /// An answer with its body.
    pub fn answer(&mut self) -> Answer {
        let mut answer = self.head();
        let length = answer.header("Content-Length").parse().unwrap();
        assert_eq!(answer.header("X-Content-Type-Options"), "nosniff");
        assert!(answer.header("Content-Security-Policy").contains("default-src 'none'"));
        answer.body = self.bytes(length);
        answer
    }

    /// Asks for a path.
    pub fn get(&mut self, path: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        self.answer()
    }
}
