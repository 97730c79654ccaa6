//! The handshake of a peer link: both ends prove that they have the cluster secret, and say who they are.
//!
//! Noise `NNpsk0` (revision 34, section 9): the pre-shared key is in the first message already, so a
//! stranger gets no answer; the ephemeral keys of both ends are in every later one, so nothing that was
//! recorded can be replayed. The first message itself could be replayed, so the accepting end trusts the
//! other only after it has read one record of the transport phase.

use std::{
    fmt,
    io::{self, Read, Write},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use snow::{Builder, HandshakeState, StatelessTransportState};

use crate::protocol::{
    datagram::Run,
    name::ServerId,
    peer::{PEER_NEWEST, PEER_OLDEST},
    secret::{ClusterSecret, KEY_BYTES, LINK_LABEL},
};

use super::record::{read_record, seal_record};

const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s";
/// What every link begins with, in clear, so that another program or version can be named as such. Behind it
/// come the oldest and the newest version that the end speaks.
const MAGIC: &[u8; 6] = b"SyncNL";
const PREAMBLE_BYTES: usize = MAGIC.len() + 4;
/// Longest message of the handshake; names are short.
const HELLO_BYTES: usize = 512;

/// Who this server is on its links, and the key that proves it.
#[derive(Clone)]
pub struct Credentials {
    key: [u8; KEY_BYTES],
    pub me: ServerId,
    pub run: Run,
}

impl Credentials {
    /// Derives the key of the links of the cluster named `cluster`.
    pub fn new(secret: &ClusterSecret, cluster: &str, me: ServerId, run: Run) -> Self {
        Credentials { key: secret.derive(LINK_LABEL, cluster), me, run }
    }
}

/// What each end says of itself, encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    pub from: ServerId,
    /// Whom it expects at the other end; the accepting end says whom it answers.
    pub to: ServerId,
    pub run: Run,
}

/// The keys of a link that stands.
pub struct Session {
    /// Encrypts and decrypts; the counters belong to the reader and the writer.
    pub(super) keys: Arc<StatelessTransportState>,
    pub(super) records_read: u64,
    pub(super) records_written: u64,
    /// Who is at the other end.
    pub greeting: Greeting,
}

/// Why a link does not stand.
#[derive(Debug)]
pub enum HandshakeError {
    /// The connection failed or was closed.
    Io(io::Error),
    /// The other end was refused; one sentence that says why.
    Refused(String),
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HandshakeError::Io(error) => write!(f, "the connection failed during the handshake: {error}"),
            HandshakeError::Refused(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for HandshakeError {}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        HandshakeError::Io(error)
    }
}

fn refused(reason: impl Into<String>) -> HandshakeError {
    HandshakeError::Refused(reason.into())
}

/// The end that dialled: proves who it is, and checks that it is `to` that answers.
pub fn dial<S: Read + Write>(
    stream: &mut S,
    credentials: &Credentials,
    to: &ServerId,
) -> Result<Session, HandshakeError> {
    let mine = preamble();
    stream.write_all(&mine)?;
    let theirs = read_preamble(stream)?;
    let mut noise = noise(credentials, true, &[mine, theirs].concat());
    send(stream, &mut noise, &greeting(credentials, to))?;
    let greeting = receive(stream, &mut noise)?;
    if greeting.from != *to || greeting.to != credentials.me {
        let reason = format!("{} answers where {to} is configured; compare host and port", greeting.from);
        return Err(refused(reason));
    }
    let mut session = session(noise, greeting);
    let mut confirmation = Vec::new();
    seal_record(&session.keys, session.records_written, &[], &mut confirmation);
    session.records_written += 1;
    stream.write_all(&confirmation)?;
    Ok(session)
}

/// The end that accepted. The caller must check against its configuration whether the other may link.
pub fn accept<S: Read + Write>(stream: &mut S, credentials: &Credentials) -> Result<Session, HandshakeError> {
    let theirs = read_preamble(stream)?;
    let mine = preamble();
    stream.write_all(&mine)?;
    let mut noise = noise(credentials, false, &[theirs, mine].concat());
    let greeting = receive(stream, &mut noise)?;
    if greeting.to != credentials.me {
        let reason = format!("{} looks for {} here; compare host and port", greeting.from, greeting.to);
        return Err(refused(reason));
    }
    send(stream, &mut noise, &self::greeting(credentials, &greeting.from))?;
    let mut session = session(noise, greeting);
    if !read_record(stream, &session.keys, session.records_read, &mut Vec::new(), &mut Vec::new())? {
        return Err(HandshakeError::Io(io::ErrorKind::UnexpectedEof.into()));
    }
    session.records_read += 1;
    Ok(session)
}

fn greeting(credentials: &Credentials, to: &ServerId) -> Greeting {
    Greeting { from: credentials.me.clone(), to: to.clone(), run: credentials.run }
}

fn preamble() -> [u8; PREAMBLE_BYTES] {
    let mut preamble = [0; PREAMBLE_BYTES];
    let (magic, versions) = preamble.split_at_mut(MAGIC.len());
    magic.copy_from_slice(MAGIC);
    versions[..2].copy_from_slice(&PEER_OLDEST.to_be_bytes());
    versions[2..].copy_from_slice(&PEER_NEWEST.to_be_bytes());
    preamble
}

/// The preamble of the other end, if both ends know a version of the protocol.
fn read_preamble(stream: &mut impl Read) -> Result<[u8; PREAMBLE_BYTES], HandshakeError> {
    let mut theirs = [0; PREAMBLE_BYTES];
    stream.read_exact(&mut theirs)?;
    let (magic, versions) = theirs.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err(refused("the other end does not speak the protocol of peer links"));
    }
    let oldest = u16::from_be_bytes([versions[0], versions[1]]);
    let newest = u16::from_be_bytes([versions[2], versions[3]]);
    if newest < PEER_OLDEST || oldest > PEER_NEWEST {
        let reason = format!(
            "the other end speaks versions {oldest} to {newest} of the peer protocol and this server {PEER_OLDEST} to \
             {PEER_NEWEST}; upgrade the older of the two"
        );
        return Err(refused(reason));
    }
    Ok(theirs)
}

/// The prologue, the preambles of the end that dials and of the one that accepts, cannot be changed on the
/// way.
fn noise(credentials: &Credentials, dials: bool, prologue: &[u8]) -> HandshakeState {
    let build = || {
        let builder = Builder::new(PATTERN.parse()?).psk(0, &credentials.key)?.prologue(prologue)?;
        if dials { builder.build_initiator() } else { builder.build_responder() }
    };
    build().expect("the pattern is well-formed and its parts are compiled in")
}

fn send(
    stream: &mut impl Write,
    noise: &mut HandshakeState,
    greeting: &Greeting,
) -> Result<(), HandshakeError> {
    let payload = postcard::to_stdvec(greeting).expect("plain data always encodes");
    let mut frame = [0; 2 + HELLO_BYTES];
    let length = noise
        .write_message(&payload, &mut frame[2..])
        .expect("a greeting fits and it is this end's turn to speak");
    frame[..2].copy_from_slice(&(length as u16).to_be_bytes());
    stream.write_all(&frame[..2 + length])?;
    Ok(())
}

fn receive(stream: &mut impl Read, noise: &mut HandshakeState) -> Result<Greeting, HandshakeError> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let length = usize::from(u16::from_be_bytes(length));
    if length > HELLO_BYTES {
        return Err(refused("the other end's greeting is too long"));
    }
    let mut frame = [0; HELLO_BYTES];
    stream.read_exact(&mut frame[..length])?;
    let mut payload = [0; HELLO_BYTES];
    let length = noise.read_message(&frame[..length], &mut payload).map_err(|_| {
        refused(
            "the other end has another cluster secret or another cluster_name; compare both on all servers",
        )
    })?;
    postcard::from_bytes(&payload[..length]).map_err(|_| refused("the other end's greeting does not decode"))
}

fn session(noise: HandshakeState, greeting: Greeting) -> Session {
    let keys = noise.into_stateless_transport_mode().expect("both messages of the handshake are done");
    Session { keys: Arc::new(keys), records_read: 0, records_written: 0, greeting }
}

#[cfg(test)]
pub(super) mod tests {
    use std::{
        net::{TcpListener, TcpStream},
        thread,
        time::Duration,
    };

    use super::*;
    use crate::protocol::peer::NodeId;

    fn credentials(secret: u8, cluster: &str, me: &str) -> Credentials {
        let secret = ClusterSecret::from_bytes([secret; KEY_BYTES]);
        let run = Run { node_id: NodeId(secret.derive("x", me)[0].into()), boot: 1 };
        Credentials::new(&secret, cluster, ServerId::new(me).unwrap(), run)
    }

    /// Both ends of a connection.
    pub(crate) fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let a = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (b, _) = listener.accept().unwrap();
        for stream in [&a, &b] {
            // So that a broken test ends.
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        }
        (a, b)
    }

    type Outcome = Result<Session, HandshakeError>;

    fn meet(dialler: Credentials, expects: &str, acceptor: Credentials) -> (Outcome, Outcome) {
        let (mut a, mut b) = pair();
        let expects = ServerId::new(expects).unwrap();
        let dialling = thread::spawn(move || dial(&mut a, &dialler, &expects));
        let accepted = accept(&mut b, &acceptor);
        drop(b);
        (dialling.join().unwrap(), accepted)
    }

    #[test]
    fn ends_with_the_same_secret_meet() {
        let (dialled, accepted) = meet(credentials(1, "c", "a"), "b", credentials(1, "c", "b"));
        assert_eq!(dialled.unwrap().greeting.from.as_str(), "b");
        let accepted = accepted.unwrap();
        assert_eq!(accepted.greeting.from.as_str(), "a");
        assert_eq!(accepted.greeting.run, credentials(1, "c", "a").run);
    }

    #[test]
    fn another_secret_cluster_or_server_is_refused_in_a_sentence() {
        for (dialler, expects, named) in [
            (credentials(2, "c", "a"), "b", "secret"),
            (credentials(1, "d", "a"), "b", "cluster_name"),
            (credentials(1, "c", "a"), "x", "looks for x"),
        ] {
            let (dialled, accepted) = meet(dialler, expects, credentials(1, "c", "b"));
            assert!(dialled.is_err());
            let error = accepted.err().unwrap().to_string();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn another_program_is_named_as_such() {
        for (bytes, named) in
            [(b"GET / HTTP/1.1\r\n", "does not speak"), (b"SyncNL\x00\x01\x00\x02......", "versions 1 to 2")]
        {
            let (mut a, mut b) = pair();
            a.write_all(bytes).unwrap();
            let error = accept(&mut b, &credentials(1, "c", "b")).err().unwrap().to_string();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn ends_meet_that_know_a_version_in_common() {
        let of = |oldest: u16, newest: u16| {
            let preamble = [&MAGIC[..], &oldest.to_be_bytes(), &newest.to_be_bytes()].concat();
            read_preamble(&mut &preamble[..])
        };
        assert_eq!(of(PEER_OLDEST, PEER_NEWEST).unwrap(), preamble());
        for (oldest, newest) in [(PEER_NEWEST, PEER_NEWEST + 3), (1, PEER_OLDEST), (1, u16::MAX)] {
            assert!(of(oldest, newest).is_ok(), "{oldest} to {newest}");
        }
        for (oldest, newest) in [(PEER_NEWEST + 1, PEER_NEWEST + 1), (0, PEER_OLDEST - 1)] {
            let error = of(oldest, newest).unwrap_err().to_string();
            assert!(error.contains("upgrade the older"), "{error}");
        }
    }

    /// A recording of one link opens no other: the accepting end answers a replayed greeting, but
    /// the records that follow are of other keys.
    #[test]
    fn a_recorded_link_cannot_be_replayed() {
        let (mut a, b) = pair();
        let mut recorder = Recorder { inner: b, heard: Vec::new() };
        let dialling = thread::spawn(move || {
            dial(&mut a, &credentials(1, "c", "a"), &ServerId::new("b").unwrap()).map(drop)
        });
        accept(&mut recorder, &credentials(1, "c", "b")).map(drop).unwrap();
        dialling.join().unwrap().unwrap();
        let (mut a, mut b) = pair();
        a.write_all(&recorder.heard).unwrap();
        let error = accept(&mut b, &credentials(1, "c", "b")).err().unwrap();
        assert!(matches!(error, HandshakeError::Io(_)), "{error}");
    }

    struct Recorder {
        inner: TcpStream,
        heard: Vec<u8>,
    }

    impl Read for Recorder {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.inner.read(buffer)?;
            self.heard.extend_from_slice(&buffer[..length]);
            Ok(length)
        }
    }

    impl Write for Recorder {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.inner.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            self.inner.flush()
        }
    }
}
