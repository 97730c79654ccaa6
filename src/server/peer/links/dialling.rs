//! Links that this server makes, and its look at the ports of those that make theirs.

use std::{
    io::{self, Read},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use crossbeam_channel::RecvTimeoutError;

use crate::{
    election::membership::LinkEvent,
    protocol::{name::ServerId, peer::PeerMessage},
    server::{
        machine::ports::Port,
        peer::{
            attempts::{Attempts, Failure},
            handshake,
            hurried::Hurried,
            link::{PeerEvent, tune},
            message::MessageReader,
        },
    },
};

use super::{Accepted, HANDSHAKE_TIMEOUT, Links, Peer};

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// How long a look at a port waits for the other end to hang up.
const LOOK_TIMEOUT: Duration = Duration::from_millis(20);
/// How long a server waits without any link before it asks its peers which servers there are, and then how
/// often.
const ASK_FIRST: Duration = Duration::from_secs(1);
const ASK_EVERY: Duration = Duration::from_secs(2);
/// How many messages it reads until the answer comes.
const READ_MAX: usize = 16;

impl Links {
    pub(super) fn keep_dialling(&self, peer_id: &ServerId, peer: &Peer) {
        let mut attempts = Attempts::default();
        while !self.stop.wait(attempts.pause()) && !peer.is_over() {
            match self.dial(peer_id) {
                Ok((stream, session)) => attempts.link_ended(self.run(peer_id, peer, stream, session)),
                Err(failure) => {
                    attempts.failed(peer_id, &failure);
                    self.note(peer_id, &failure);
                }
            }
        }
    }

    fn dial(&self, peer_id: &ServerId) -> Result<Accepted, Failure> {
        let stream = self.connect(peer_id)?;
        let credentials = self.credentials.read().clone();
        let other = |error: &dyn std::fmt::Display| Failure::Other(error.to_string());
        tune(&stream).map_err(|error| other(&error))?;
        let session = handshake::dial(&mut Hurried::new(&stream, HANDSHAKE_TIMEOUT), &credentials, peer_id)
            .map_err(|error| other(&error))?;
        stream.set_read_timeout(None).map_err(|error| other(&error))?;
        Ok((stream, session))
    }

    fn connect(&self, peer_id: &ServerId) -> Result<TcpStream, Failure> {
        let address = self.address(peer_id)?;
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            // TCP can connect to itself when the port is one that the system hands out.
            Ok(stream) if stream.local_addr().ok() == stream.peer_addr().ok() => Err(Failure::PortRefuses),
            Ok(stream) => Ok(stream),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Err(Failure::PortRefuses),
            Err(error) => Err(Failure::Other(format!("{address} cannot be connected to: {error}"))),
        }
    }

    fn address(&self, peer_id: &ServerId) -> Result<SocketAddr, Failure> {
        if self.addresses.of(peer_id, Port::Peer).is_none() {
            let found = self.addresses.look_up(peer_id);
            found.map_err(|error| Failure::Other(format!("its host cannot be looked up: {error}")))?;
        }
        self.addresses
            .of(peer_id, Port::Peer)
            .ok_or_else(|| Failure::Other("its address is not known".into()))
    }

    /// Takes note of a failed attempt: tells the watcher of a port that refuses, and has the host looked up
    /// again, because the server may have moved.
    fn note(&self, peer_id: &ServerId, failure: &Failure) {
        if matches!(failure, Failure::PortRefuses) {
            (self.watcher)(peer_id, LinkEvent::Refused, None);
        }
        self.addresses.refresh(peer_id);
    }

    /// Runs the links that a peer dials. When one is lost, looks at the peer's port until a new link
    /// comes or the port refuses.
    ///
    /// A server to which none links may be no server of the cluster, yet or any more: it asks.
    pub(super) fn keep_waiting(&self, peer_id: &ServerId, peer: &Peer) {
        let accepted = &peer.accepted.1;
        let mut lost: Option<Attempts> = None;
        let mut ask_at = Instant::now() + ASK_FIRST;
        while !self.stop.is_set() && !peer.is_over() {
            let pause = lost.as_ref().map_or(Duration::from_millis(100), Attempts::pause);
            match accepted.recv_timeout(pause) {
                Ok((stream, session)) => {
                    lost.get_or_insert_default().link_ended(self.run(peer_id, peer, stream, session));
                    ask_at = Instant::now() + ASK_FIRST;
                }
                Err(RecvTimeoutError::Timeout) => {
                    if Instant::now() >= ask_at {
                        if self.is_alone() {
                            self.ask(peer_id);
                        }
                        ask_at = Instant::now() + ASK_EVERY;
                    }
                    if let Some(attempts) = &mut lost {
                        let failure = self.look(peer_id);
                        attempts.failed(peer_id, &failure);
                        self.note(peer_id, &failure);
                        if matches!(failure, Failure::PortRefuses) {
                            lost = None;
                        }
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn is_alone(&self) -> bool {
        self.peers.read().values().all(|peer| peer.current.lock().is_none())
    }

    /// Asks a peer which servers there are. It need not know this one, and need not answer.
    fn ask(&self, peer_id: &ServerId) {
        let Ok((stream, session)) = self.dial(peer_id) else { return };
        if stream.set_read_timeout(Some(HANDSHAKE_TIMEOUT)).is_err() {
            return;
        }
        // A peer that knows this server takes the connection for a link, and says other things first.
        let mut reader = MessageReader::new(&stream, &session);
        let said = (0..READ_MAX).map_while(|_| reader.read().ok().flatten());
        let answer = said.into_iter().find(|message| matches!(message, PeerMessage::Servers { .. }));
        if let Some(message) = answer {
            // No thread listens any more when the process ends.
            let _ = self.events.send(PeerEvent::Message { peer: peer_id.clone(), link: 0, message });
        }
    }

    /// Checks whether a process listens at the peer's port. An accepted connection proves nothing yet: a
    /// process that is ending hangs up a moment later.
    fn look(&self, peer_id: &ServerId) -> Failure {
        match self.connect(peer_id) {
            Err(failure) => failure,
            Ok(mut stream) => {
                let waited = stream.set_read_timeout(Some(LOOK_TIMEOUT));
                let _ = waited.and_then(|()| stream.read(&mut [0]));
                Failure::Other("its port is open and it has not dialled yet".into())
            }
        }
    }
}
