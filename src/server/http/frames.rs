//! WebSocket frames from a client (RFC 6455), put together to messages. Pure: bytes in, messages out.
//!
//! The library's own `WebSocket` must own both directions of a socket, but here a fan-out thread writes. So
//! only its codec of heads is used, and the rules for what clients may send are here.

use std::io::Cursor;

use tungstenite::protocol::frame::{
    FrameHeader,
    coding::{CloseCode, Control, Data, OpCode},
};

/// Longest payload of a control frame.
const CONTROL_BYTES: u64 = 125;
/// Capacity that an idle connection may keep.
const IDLE_BYTES: usize = 4 * 1024;

#[derive(Debug, PartialEq, Eq)]
pub enum ClientFrame {
    /// A whole text message.
    Text(String),
    /// A ping, to be answered with the same payload.
    Ping(Vec<u8>),
    /// A close, with the code to answer with; nothing comes after it.
    Close(u16),
}

/// Why a frame is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Protocol(&'static str),
    /// A message that is not text.
    Binary,
    NotUtf8,
    /// A message over the limit.
    TooLong,
}

impl Fault {
    /// The code and the words to close with.
    pub fn close(self) -> (u16, &'static str) {
        match self {
            Fault::Protocol(reason) => (1002, reason),
            Fault::Binary => (1003, "messages are text here"),
            Fault::NotUtf8 => (1007, "the message is not UTF-8"),
            Fault::TooLong => (1009, "the message is too long"),
        }
    }
}

/// Puts frames together. Holds at most one frame, and what is there of one message, no longer than the limit.
#[derive(Debug)]
pub struct Frames {
    limit: usize,
    buffer: Vec<u8>,
    /// The place in `buffer` at which the next frame begins.
    start: usize,
    message: Vec<u8>,
    in_message: bool,
}

impl Frames {
    /// For messages of up to `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Frames { limit, buffer: Vec::new(), start: 0, message: Vec::new(), in_message: false }
    }

    /// Takes the next bytes. Then call [`Frames::next_said`] until it gives nothing.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete frame or message. After a fault nothing that follows can be trusted.
    pub fn next_said(&mut self) -> Result<Option<ClientFrame>, Fault> {
        loop {
            let unread = &self.buffer[self.start..];
            let mut cursor = Cursor::new(unread);
            let parsed = FrameHeader::parse(&mut cursor);
            let Some((header, length)) = parsed.map_err(|_| Fault::Protocol("a frame of no known kind"))?
            else {
                self.tidy();
                return Ok(None);
            };
            let head = cursor.position() as usize;
            let mask = self.check(&header, length, head)?;
            // No longer than the limit, as was just checked.
            let length = length as usize;
            if unread.len() - head < length {
                self.tidy();
                return Ok(None);
            }
            let body = self.start + head..self.start + head + length;
            self.start = body.end;
            for (place, byte) in self.buffer[body.clone()].iter_mut().enumerate() {
                *byte ^= mask[place % 4];
            }
            let payload = &self.buffer[body];
            match header.opcode {
                OpCode::Data(_) => {
                    self.message.extend_from_slice(payload);
                    self.in_message = !header.is_final;
                    if header.is_final {
                        let text = String::from_utf8(std::mem::take(&mut self.message));
                        return text.map(|text| Some(ClientFrame::Text(text))).map_err(|_| Fault::NotUtf8);
                    }
                }
                OpCode::Control(Control::Ping) => return Ok(Some(ClientFrame::Ping(payload.to_vec()))),
                OpCode::Control(Control::Close) => return Ok(Some(ClientFrame::Close(close_code(payload)?))),
                OpCode::Control(_) => {}
            }
        }
    }

    /// Whether a frame with this head may come now; gives its mask.
    fn check(&self, header: &FrameHeader, length: u64, head: usize) -> Result<[u8; 4], Fault> {
        let wrong = |reason| Err(Fault::Protocol(reason));
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return wrong("an extension that was not agreed on");
        }
        let Some(mask) = header.mask else { return wrong("a frame of a client must be masked") };
        if header.len(length) != head {
            return wrong("a length that could be written shorter");
        }
        match header.opcode {
            OpCode::Control(_) if !header.is_final => wrong("a control frame in fragments"),
            OpCode::Control(_) if length > CONTROL_BYTES => wrong("a control frame that is too long"),
            OpCode::Control(_) => Ok(mask),
            OpCode::Data(Data::Continue) if !self.in_message => wrong("a continuation of nothing"),
            OpCode::Data(Data::Text | Data::Binary) if self.in_message => wrong("a message inside another"),
            OpCode::Data(Data::Binary) => Err(Fault::Binary),
            OpCode::Data(_) if length > (self.limit - self.message.len()) as u64 => Err(Fault::TooLong),
            OpCode::Data(_) => Ok(mask),
        }
    }

    /// Drops the bytes that are used up.
    fn tidy(&mut self) {
        self.buffer.drain(..self.start);
        self.start = 0;
        if self.buffer.is_empty() && self.buffer.capacity() > IDLE_BYTES {
            self.buffer = Vec::new();
        }
    }
}

/// The code to answer a close with: the same, or "normal" if there is none.
fn close_code(payload: &[u8]) -> Result<u16, Fault> {
    let (code, reason) = match payload {
        [] => return Ok(1000),
        [_] => return Err(Fault::Protocol("half a close code")),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
    };
    if std::str::from_utf8(reason).is_err() {
        return Err(Fault::NotUtf8);
    }
    if CloseCode::from(code).is_allowed() { Ok(code) } else { Err(Fault::Protocol("no close code")) }
}

#[cfg(test)]
#[path = "../../../tests/support/client_frame.rs"]
mod client_frame;

#[cfg(test)]
mod tests {
    use super::{client_frame::client_frame, *};
    use crate::chance::Chance;

    const LIMIT: usize = 70_000;

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        client_frame(first, [1, 2, 3, 254], payload)
    }

    fn read(bytes: &[u8], step: usize) -> Result<Vec<ClientFrame>, Fault> {
        let mut frames = Frames::new(LIMIT);
        let mut all = Vec::new();
        for piece in bytes.chunks(step) {
            frames.push(piece);
            while let Some(said) = frames.next_said()? {
                all.push(said);
            }
            assert!(frames.buffer.len() <= LIMIT + 14 + step);
        }
        Ok(all)
    }

    #[test]
    fn messages_are_the_same_however_the_stream_is_cut() {
        let long = "ä".repeat(LIMIT / 2);
        let stream = [
            frame(0x81, b"{}"),
            frame(0x01, "ha\u{e9}".as_bytes().get(..3).unwrap()),
            frame(0x89, b"are you there"),
            frame(0x00, b""),
            frame(0x8a, b"a pong without a ping"),
            frame(0x80, "ha\u{e9}llo".as_bytes().get(3..).unwrap()),
            frame(0x81, b""),
            frame(0x81, &[b'x'; 126]),
            frame(0x81, long.as_bytes()),
            frame(0x88, b"\x03\xe9bye"),
        ]
        .concat();
        let expected = [
            ClientFrame::Text("{}".into()),
            ClientFrame::Ping(b"are you there".to_vec()),
            ClientFrame::Text("haéllo".into()),
            ClientFrame::Text(String::new()),
            ClientFrame::Text("x".repeat(126)),
            ClientFrame::Text(long),
            ClientFrame::Close(1001),
        ];
        for step in [1, 2, 7, 4_096, stream.len()] {
            assert_eq!(read(&stream, step).unwrap(), expected, "in pieces of {step}");
        }
    }

    #[test]
    fn what_clients_must_not_send_is_a_fault() {
        let protocol = |bytes: &[u8]| match read(bytes, 3) {
            Err(Fault::Protocol(_)) => {}
            other => panic!("{bytes:?}: {other:?}"),
        };
        protocol(b"\x81\x02{}");
        protocol(b"\x89\x00");
        for first in [0xc1, 0xa1, 0x91, 0x83, 0x87, 0x8b, 0x8f, 0x80, 0x00, 0x09, 0x08, 0x0a] {
            protocol(&frame(first, b"x"));
        }
        protocol(&frame(0x89, &[b'x'; 126]));
        protocol(&frame(0x88, b"\x03"));
        for code in [0_u16, 999, 1004, 1005, 1006, 1015, 2000, 5000, 65_535] {
            protocol(&frame(0x88, &code.to_be_bytes()));
        }
        protocol(&[frame(0x01, b"a"), frame(0x81, b"b")].concat());
        protocol(&[frame(0x01, b"a"), frame(0x82, b"b")].concat());
        // Five in two bytes, and in eight.
        protocol(b"\x81\xfe\x00\x05\x00\x00\x00\x00hello");
        protocol(b"\x81\xff\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00hello");
        assert_eq!(read(&frame(0x82, b"x"), 9), Err(Fault::Binary));
        assert_eq!(read(&frame(0x02, b"x"), 9), Err(Fault::Binary));
        assert_eq!(read(&frame(0x81, b"\xff"), 9), Err(Fault::NotUtf8));
        assert_eq!(read(&frame(0x88, b"\x03\xe8\xff"), 9), Err(Fault::NotUtf8));
    }

    #[test]
    fn a_message_over_the_limit_is_refused_before_it_is_there() {
        let huge = frame(0x81, &vec![b'x'; LIMIT + 1]);
        assert_eq!(read(&huge[..14], 14), Err(Fault::TooLong));
        assert_eq!(read(b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", 14), Err(Fault::TooLong));
        let parts = [frame(0x01, &vec![b'x'; LIMIT]), frame(0x00, b""), frame(0x80, b"x")].concat();
        assert_eq!(read(&parts, 4_096), Err(Fault::TooLong));
    }

    #[test]
    fn an_idle_connection_keeps_no_large_buffer() {
        let mut frames = Frames::new(LIMIT);
        frames.push(&frame(0x81, &[b'x'; 50_000]));
        assert!(frames.next_said().unwrap().is_some());
        assert_eq!(frames.next_said(), Ok(None));
        assert!(frames.buffer.capacity() <= IDLE_BYTES && frames.message.capacity() <= IDLE_BYTES);
    }

    #[test]
    fn rubbish_is_a_fault_or_waits_for_more() {
        let mut chance = Chance(3);
        for _ in 0..20_000 {
            let mut bytes = frame(0x81, b"hello");
            for _ in 0..1 + chance.below(4) {
                let place = chance.below(bytes.len() as u64) as usize;
                bytes[place] = chance.below(256) as u8;
            }
            bytes.extend(frame(0x81, b"more"));
            let (at_once, in_pieces) = (read(&bytes, bytes.len()), read(&bytes, 1));
            assert_eq!(at_once, in_pieces, "{bytes:?}");
        }
    }
}
