//! What is on its way to one client, framed for its dialect.
//!
//! A client of JSON lines gets lines, each with its line end. For a WebSocket each line becomes one text
//! message, with a frame's head in front and without the line end. A line is serialised once, shared by all
//! its readers and never copied. A thread of this server gets the values themselves. Pongs and closes go
//! between messages, so that frames never mix.

use std::{collections::VecDeque, io::IoSlice, sync::Arc};

use tungstenite::protocol::frame::{
    FrameHeader,
    coding::{Control, Data, OpCode},
};

use crate::protocol::said::Said;

/// Lines written at once; systems allow about a thousand pieces, and a message is two.
const LINES: usize = 256;
/// The longest head of a frame that a server sends, which is never masked.
const HEAD_BYTES: usize = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    Lines,
    /// Each line as one text message of WebSocket.
    Messages,
    /// Not at all: it is given on as it is.
    Values,
}

/// Taken from the outbox and not written yet.
#[derive(Debug)]
pub struct Outgoing {
    framing: Framing,
    pieces: VecDeque<Piece>,
    /// Used with [`Framing::Values`] only.
    values: VecDeque<Arc<Said>>,
    /// How long they are together.
    bytes: usize,
    /// Bytes of the first piece that are written already.
    written: usize,
}

/// A line with the head of its frame.
#[derive(Debug)]
struct Piece {
    head: [u8; HEAD_BYTES],
    head_len: u8,
    body: Arc<[u8]>,
    body_len: usize,
}

impl Piece {
    fn len(&self) -> usize {
        usize::from(self.head_len) + self.body_len
    }

    fn line(body: Arc<[u8]>) -> Piece {
        Piece { head: [0; HEAD_BYTES], head_len: 0, body_len: body.len(), body }
    }

    fn frame(opcode: OpCode, body: Arc<[u8]>, body_len: usize) -> Piece {
        let mut head = [0; HEAD_BYTES];
        let mut rest = &mut head[..];
        let header = FrameHeader { opcode, ..FrameHeader::default() };
        header.format(body_len as u64, &mut rest).expect("a head without a mask is at most 10 bytes");
        let head_len = (HEAD_BYTES - rest.len()) as u8;
        Piece { head, head_len, body, body_len }
    }
}

impl Outgoing {
    pub fn new(framing: Framing) -> Self {
        Outgoing { framing, pieces: VecDeque::new(), values: VecDeque::new(), bytes: 0, written: 0 }
    }

    /// How much is left to be written.
    pub fn bytes(&self) -> usize {
        self.bytes - self.written
    }

    /// Its share of the memory that it holds, in bytes: a line that others hold as well is divided among
    /// them.
    pub fn share(&self) -> usize {
        let pieces = self.pieces.iter().map(|piece| piece.body.len() / Arc::strong_count(&piece.body));
        let values = self.values.iter().map(|said| said.bytes() / Arc::strong_count(said));
        pieces.sum::<usize>() + values.sum::<usize>()
    }

    /// Whether nothing is left to be written.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.values.is_empty()
    }

    pub fn push(&mut self, said: Arc<Said>) {
        if self.framing == Framing::Values {
            self.bytes += said.bytes();
            self.values.push_back(said);
        } else {
            self.push_line(said.json());
        }
    }

    /// Appends a line, which ends with a line end.
    fn push_line(&mut self, line: Arc<[u8]>) {
        let piece = match self.framing {
            Framing::Lines | Framing::Values => Piece::line(line),
            Framing::Messages => {
                let length = line.strip_suffix(b"\n").map_or(line.len(), <[u8]>::len);
                Piece::frame(OpCode::Data(Data::Text), line, length)
            }
        };
        self.insert(self.pieces.len(), piece);
    }

    /// A pong goes before what has not begun to be written.
    pub fn push_pong(&mut self, payload: &[u8]) {
        let place = self.first_whole();
        let pong = Piece::frame(OpCode::Control(Control::Pong), payload.into(), payload.len());
        self.insert(place, pong);
    }

    /// A ping goes before what has not begun to be written.
    pub fn push_ping(&mut self) {
        let place = self.first_whole();
        self.insert(place, Piece::frame(OpCode::Control(Control::Ping), [].as_slice().into(), 0));
    }

    /// Throws away what has not begun to be written.
    pub fn drop_unbegun(&mut self) {
        let dropped = self.pieces.drain(self.first_whole()..);
        self.bytes -= dropped.map(|piece| piece.len()).sum::<usize>();
    }

    /// A close is the last thing that is ever written.
    pub fn push_close(&mut self, code: u16, reason: &str) {
        let mut payload = code.to_be_bytes().to_vec();
        payload.extend_from_slice(reason.as_bytes());
        let length = payload.len();
        let close = Piece::frame(OpCode::Control(Control::Close), payload.into(), length);
        self.insert(self.pieces.len(), close);
    }

    fn insert(&mut self, place: usize, piece: Piece) {
        self.bytes += piece.len();
        self.pieces.insert(place, piece);
    }

    /// The place of the first piece of which nothing is written.
    fn first_whole(&self) -> usize {
        usize::from(self.written > 0)
    }

    /// The bytes to be written next, in pieces.
    pub fn slices(&self) -> Vec<IoSlice<'_>> {
        let mut slices = Vec::with_capacity(2 * self.pieces.len().min(LINES));
        let mut skip = self.written;
        for piece in self.pieces.iter().take(LINES) {
            for part in [&piece.head[..usize::from(piece.head_len)], &piece.body[..piece.body_len]] {
                let skipped = skip.min(part.len());
                skip -= skipped;
                if skipped < part.len() {
                    slices.push(IoSlice::new(&part[skipped..]));
                }
            }
        }
        slices
    }

    pub fn advance(&mut self, bytes: usize) {
        self.written += bytes;
        while let Some(first) = self.pieces.front()
            && self.written >= first.len()
        {
            self.written -= first.len();
            self.bytes -= self.pieces.pop_front().map_or(0, |piece| piece.len());
        }
    }

    /// Takes the next value.
    pub fn take_value(&mut self) -> Option<Arc<Said>> {
        let said = self.values.pop_front()?;
        self.bytes -= said.bytes();
        Some(said)
    }

    /// Gives a value back that was taken: it is the next one again.
    pub fn give_back(&mut self, said: Arc<Said>) {
        self.bytes += said.bytes();
        self.values.push_front(said);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_out(outgoing: &mut Outgoing, step: usize) -> Vec<u8> {
        let mut wire = Vec::new();
        while !outgoing.is_empty() {
            let bytes: Vec<u8> = outgoing.slices().iter().flat_map(|slice| slice.to_vec()).collect();
            let count = step.min(bytes.len());
            wire.extend_from_slice(&bytes[..count]);
            outgoing.advance(count);
        }
        wire
    }

    #[test]
    fn lines_go_as_they_are_however_they_are_cut() {
        for step in [1, 2, 3, 100] {
            let mut outgoing = Outgoing::new(Framing::Lines);
            outgoing.push_line(b"{1}\n".as_slice().into());
            outgoing.push_line(b"{22}\n".as_slice().into());
            assert_eq!(write_out(&mut outgoing, step), b"{1}\n{22}\n");
        }
    }

    #[test]
    fn messages_have_heads_of_every_length() {
        for (length, head) in [
            (0, &[0x81, 0][..]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (65_535, &[0x81, 126, 255, 255]),
            (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut line = vec![b'x'; length];
            line.push(b'\n');
            let mut outgoing = Outgoing::new(Framing::Messages);
            outgoing.push_line(line.into());
            let wire = write_out(&mut outgoing, 1_000);
            assert_eq!(&wire[..head.len()], head);
            assert_eq!(wire.len(), head.len() + length);
            assert!(!wire.contains(&b'\n') || head.contains(&b'\n'));
        }
    }

    #[test]
    fn control_frames_never_stand_inside_a_message() {
        for cut in 0..7 {
            let mut outgoing = Outgoing::new(Framing::Messages);
            outgoing.push_line(b"abcd\n".as_slice().into());
            outgoing.push_line(b"late\n".as_slice().into());
            let mut wire: Vec<u8> = outgoing.slices().iter().flat_map(|slice| slice.to_vec()).collect();
            wire.truncate(cut);
            outgoing.advance(cut);
            outgoing.push_pong(b"p");
            wire.extend(write_out(&mut outgoing, 3));
            let (first, pong, late) = (b"\x81\x04abcd", b"\x8a\x01p", b"\x81\x04late");
            let whole = if matches!(cut, 1..=5) {
                [first.as_slice(), pong, late].concat()
            } else if cut == 0 {
                [pong.as_slice(), first, late].concat()
            } else {
                [first.as_slice(), pong, late].concat()
            };
            assert_eq!(wire, whole, "cut at {cut}");
        }
    }

    #[test]
    fn a_close_waits_for_what_is_begun_or_for_everything() {
        let fill = || {
            let mut outgoing = Outgoing::new(Framing::Messages);
            outgoing.push_line(b"ab\n".as_slice().into());
            outgoing.push_line(b"cd\n".as_slice().into());
            outgoing
        };
        let close = b"\x88\x04\x03\xe8ok";
        let mut outgoing = fill();
        outgoing.push_close(1000, "ok");
        assert_eq!(write_out(&mut outgoing, 5), [b"\x81\x02ab\x81\x02cd".as_slice(), close].concat());
        let mut outgoing = fill();
        outgoing.drop_unbegun();
        outgoing.push_close(1000, "ok");
        assert_eq!(write_out(&mut outgoing, 5), close);
        let mut outgoing = fill();
        outgoing.advance(1);
        outgoing.drop_unbegun();
        outgoing.push_close(1000, "ok");
        assert_eq!(write_out(&mut outgoing, 5), [b"\x02ab".as_slice(), close].concat());
    }
}
