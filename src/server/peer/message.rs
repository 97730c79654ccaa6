//! Peer messages on an encrypted stream.
//!
//! The contents of the records (`record`), put together, are a stream of messages: four bytes of
//! length (little endian), then the encoded message. So many small messages share a record, and a large one
//! is cut into several.

use std::{
    io::{self, BufReader, Read, Write},
    net::TcpStream,
    sync::Arc,
};

use snow::StatelessTransportState;
#[cfg(unix)]
use socket2::SockRef;

use crate::protocol::peer::{self, PEER_MESSAGE_BYTES, PeerMessage};

use super::{
    handshake::Session,
    record::{CONTENT_BYTES, RECORD_BYTES, invalid, read_record, seal_record},
};

/// Capacity that a buffer keeps; it may grow larger for a moment.
const KEEP_BYTES: usize = 256 * 1024;

/// Writes messages to a link.
pub struct MessageWriter<W> {
    stream: W,
    keys: Arc<StatelessTransportState>,
    records: u64,
    content: Vec<u8>,
    sealed: Vec<u8>,
    /// How many bytes of `sealed` are written.
    written: usize,
}

/// A stream that can be written to without waiting.
pub trait WriteNow {
    /// Writes what the stream takes at once, and gives how many bytes that were.
    ///
    /// # Errors
    /// `WouldBlock`: it takes nothing now.
    fn write_now(&self, bytes: &[u8]) -> io::Result<usize>;
}

impl WriteNow for TcpStream {
    #[cfg(unix)]
    fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
        SockRef::from(self).send_with_flags(bytes, nix::libc::MSG_DONTWAIT)
    }

    /// Windows has no such flag: the thread that may wait writes everything.
    #[cfg(not(unix))]
    fn write_now(&self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

impl<W: WriteNow> MessageWriter<W> {
    /// Writes out what is in the buffer, as far as the stream takes it at once. Returns whether nothing is
    /// left.
    pub fn flush_now(&mut self) -> io::Result<bool> {
        self.seal();
        while self.written < self.sealed.len() {
            match self.stream.write_now(&self.sealed[self.written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(length) => self.written += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.begin_anew();
        Ok(true)
    }
}

impl<W: Write> MessageWriter<W> {
    /// Writes out what is in the buffer, and waits until the stream has taken it.
    pub fn flush(&mut self) -> io::Result<()> {
        self.seal();
        let result = self.stream.write_all(&self.sealed[self.written..]);
        self.begin_anew();
        result
    }
}

impl<W> MessageWriter<W> {
    /// For a link whose handshake is done.
    pub fn new(stream: W, session: &Session) -> Self {
        MessageWriter {
            stream,
            keys: session.keys.clone(),
            records: session.records_written,
            content: Vec::new(),
            sealed: Vec::new(),
            written: 0,
        }
    }

    /// Puts a message into the buffer; `false`, without doing so, if it is too large to be read at the other
    /// end.
    #[must_use]
    pub fn push(&mut self, message: &PeerMessage) -> bool {
        let bytes = peer::encode(message);
        if bytes.len() > PEER_MESSAGE_BYTES {
            return false;
        }
        self.content.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        self.content.extend_from_slice(&bytes);
        true
    }

    /// Bytes that were put into the buffer and are not encrypted yet.
    pub fn buffered(&self) -> usize {
        self.content.len()
    }

    /// Whether the stream has not taken everything that was encrypted.
    pub fn is_behind(&self) -> bool {
        self.written < self.sealed.len()
    }

    fn seal(&mut self) {
        for content in self.content.chunks(CONTENT_BYTES) {
            seal_record(&self.keys, self.records, content, &mut self.sealed);
            self.records += 1;
        }
        self.content.clear();
        self.content.shrink_to(KEEP_BYTES);
    }

    fn begin_anew(&mut self) {
        self.written = 0;
        self.sealed.clear();
        self.sealed.shrink_to(KEEP_BYTES);
    }
}

/// Reads messages from a link.
pub struct MessageReader<R> {
    stream: BufReader<R>,
    keys: Arc<StatelessTransportState>,
    records: u64,
    /// The record that is being read.
    record: Vec<u8>,
    /// Decrypted bytes; those before `start` are used up.
    content: Vec<u8>,
    start: usize,
}

impl<R: Read> MessageReader<R> {
    /// For a link whose handshake is done.
    pub fn new(stream: R, session: &Session) -> Self {
        MessageReader {
            stream: BufReader::with_capacity(RECORD_BYTES, stream),
            keys: session.keys.clone(),
            records: session.records_read,
            record: Vec::new(),
            content: Vec::new(),
            start: 0,
        }
    }

    /// Waits for the next message; `None` when the other end has closed the link.
    pub fn read(&mut self) -> io::Result<Option<PeerMessage>> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(Some(message));
            }
            self.content.drain(..self.start);
            self.start = 0;
            if self.content.is_empty() {
                self.content.shrink_to(KEEP_BYTES);
            }
            let (record, content) = (&mut self.record, &mut self.content);
            if !read_record(&mut self.stream, &self.keys, self.records, record, content)? {
                return if self.content.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
            self.records += 1;
        }
    }

    /// The next message, if it is complete.
    fn take(&mut self) -> io::Result<Option<PeerMessage>> {
        let Some((length, rest)) = self.content[self.start..].split_first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*length) as usize;
        if length > PEER_MESSAGE_BYTES {
            return Err(invalid(format!(
                "a message has {length} bytes, over the {PEER_MESSAGE_BYTES} allowed"
            )));
        }
        let Some(bytes) = rest.get(..length) else { return Ok(None) };
        let message = peer::decode(bytes).map_err(|error| invalid(format!("a message {error}")))?;
        self.start += 4 + length;
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::{Cell, RefCell},
        thread,
    };

    use super::*;
    use crate::{
        protocol::{datagram::Run, name::ServerId, peer::NodeId, secret::ClusterSecret},
        server::peer::handshake::{Credentials, accept, dial, tests::pair},
    };

    /// The sessions of both ends of one link.
    fn sessions() -> (Session, Session) {
        let credentials = |me: &str| {
            let run = Run { node_id: NodeId(1), boot: 1 };
            Credentials::new(&ClusterSecret::public(), "c", ServerId::new(me).unwrap(), run)
        };
        let (mut a, mut b) = pair();
        let dialling =
            thread::spawn(move || dial(&mut a, &credentials("a"), &ServerId::new("b").unwrap()).unwrap());
        let accepted = accept(&mut b, &credentials("b")).unwrap();
        (dialling.join().unwrap(), accepted)
    }

    fn chunk(size: usize) -> PeerMessage {
        PeerMessage::SnapshotChunk { offset: size as u64, bytes: vec![7; size] }
    }

    fn written(session: &Session, messages: &[PeerMessage]) -> Vec<u8> {
        let mut writer = MessageWriter::new(Vec::new(), session);
        for message in messages {
            assert!(writer.push(message));
        }
        writer.flush().unwrap();
        writer.stream
    }

    /// A stream that gives one byte at a time.
    struct Bytewise<'a>(&'a [u8]);

    impl Read for Bytewise<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.0.len().min(buffer.len()).min(1);
            buffer[..length].copy_from_slice(&self.0[..length]);
            self.0 = &self.0[length..];
            Ok(length)
        }
    }

    #[test]
    fn messages_of_every_size_arrive_in_order_even_bytewise() {
        let (ours, theirs) = sessions();
        let messages = [
            chunk(0),
            chunk(1),
            chunk(CONTENT_BYTES),
            chunk(300_000),
            PeerMessage::SnapshotEnd { sha256: [7; 32] },
        ];
        let bytes = written(&ours, &messages);
        let mut reader = MessageReader::new(Bytewise(&bytes), &theirs);
        for message in &messages {
            assert_eq!(reader.read().unwrap().as_ref(), Some(message));
        }
        assert_eq!(reader.read().unwrap(), None);
    }

    /// A stream that takes few bytes at a time, and nothing every other time.
    #[derive(Default)]
    struct Reluctant {
        taken: RefCell<Vec<u8>>,
        asked: Cell<usize>,
    }

    impl WriteNow for Reluctant {
        fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
            self.asked.set(self.asked.get() + 1);
            if self.asked.get().is_multiple_of(2) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let length = bytes.len().min(1_000);
            self.taken.borrow_mut().extend_from_slice(&bytes[..length]);
            Ok(length)
        }
    }

    #[test]
    fn what_the_stream_does_not_take_at_once_leaves_later_and_in_order() {
        let (ours, theirs) = sessions();
        let messages: Vec<PeerMessage> = (1..40).map(|number| chunk(number * 100)).collect();
        let mut writer = MessageWriter::new(Reluctant::default(), &ours);
        for message in &messages {
            assert!(writer.push(message));
            assert_eq!(writer.flush_now().unwrap(), !writer.is_behind());
        }
        assert!(writer.is_behind());
        while !writer.flush_now().unwrap() {}
        let bytes = writer.stream.taken.take();
        let mut reader = MessageReader::new(&*bytes, &theirs);
        for message in &messages {
            assert_eq!(reader.read().unwrap().as_ref(), Some(message));
        }
        assert_eq!(reader.read().unwrap(), None);
    }

    #[test]
    fn changed_repeated_and_cut_records_are_errors() {
        let (ours, theirs) = sessions();
        let bytes = written(&ours, &[chunk(10)]);
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            assert!(MessageReader::new(&*changed, &theirs).read().is_err(), "byte {place}");
        }
        let mut repeated = MessageReader::new(io::Cursor::new([&*bytes, &*bytes].concat()), &theirs);
        assert_eq!(repeated.read().unwrap(), Some(chunk(10)));
        assert!(repeated.read().is_err());
        for length in 1..bytes.len() {
            assert!(MessageReader::new(&bytes[..length], &theirs).read().is_err(), "{length} bytes");
        }
    }

    #[test]
    fn an_oversized_message_is_neither_sent_nor_kept() {
        let (ours, theirs) = sessions();
        let mut writer = MessageWriter::new(Vec::<u8>::new(), &ours);
        assert!(!writer.push(&chunk(PEER_MESSAGE_BYTES)));
        assert_eq!(writer.buffered(), 0);
        // An end that sends it all the same is cut off at the length already.
        let mut bytes = Vec::new();
        seal_record(&ours.keys, ours.records_written, &u32::MAX.to_le_bytes(), &mut bytes);
        let error = MessageReader::new(&*bytes, &theirs).read().unwrap_err();
        assert!(error.to_string().contains("4294967295 bytes"), "{error}");
    }
}
