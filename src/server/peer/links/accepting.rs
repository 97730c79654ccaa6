//! Links that others make: a handshake for each connection to the peer port, and an answer to one that should
//! not link.

use std::{
    io,
    net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use thiserror::Error;

use crate::{
    protocol::name::ServerId,
    server::peer::{
        attempts::Complaints,
        handshake::{self, HandshakeError, Session},
        hurried::Hurried,
        link::tune,
        message::MessageWriter,
    },
};

use super::{HANDSHAKE_TIMEOUT, Links};

/// Handshakes of accepted connections at the same time; further ones are closed.
const HANDSHAKES_MAX: usize = 64;
/// How many of these may be from unknown addresses, so that a flood of strangers leaves room for the servers.
const STRANGERS_MAX: usize = 16;

/// Why a connection to the peer port became no link.
#[derive(Debug, Error)]
enum NotLinked {
    #[error("{0}")]
    Refused(String),
    #[error("{0} is not among the configured servers")]
    Stranger(ServerId),
    #[error("{0} dials although its ring position is higher here; compare the configurations")]
    Dials(ServerId),
    #[error(transparent)]
    Socket(#[from] io::Error),
}

impl Links {
    pub(super) fn keep_accepting(self: Arc<Self>, listener: &TcpListener) {
        let mut complaints = Complaints::default();
        loop {
            let accepted = listener.accept();
            if self.stop.is_set() {
                return;
            }
            match accepted {
                Ok((stream, from)) => self.greet(stream, from),
                Err(error) => {
                    complaints.say(&format!("accepting a peer failed: {error}"));
                    // Most likely there are no descriptors left; a moment later there may be.
                    self.stop.wait(Duration::from_millis(20));
                }
            }
        }
    }

    /// Hands a connection to a thread of its own for the handshake, so that a silent one keeps no other
    /// waiting.
    fn greet(self: &Arc<Self>, stream: TcpStream, from: SocketAddr) {
        let room = if self.addresses.is_known(from.ip()) { HANDSHAKES_MAX } else { STRANGERS_MAX };
        if self.handshakes.fetch_add(1, Ordering::Relaxed) >= room {
            self.handshakes.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let links = self.clone();
        let body = move || {
            if let Err(refused) = links.accept(stream, from.ip()) {
                links.refusals.lock().count(from, &refused.to_string());
            }
            links.handshakes.fetch_sub(1, Ordering::Relaxed);
        };
        if let Err(error) = std::thread::Builder::new().name("peer-hello".into()).spawn(body) {
            self.handshakes.fetch_sub(1, Ordering::Relaxed);
            self.refusals.lock().count(from, &format!("there is no thread for it: {error}"));
        }
    }

    /// The handshake of an accepted connection. One that only connects and hangs up is no error.
    fn accept(&self, stream: TcpStream, ip: IpAddr) -> Result<(), NotLinked> {
        let credentials = self.credentials.read().clone();
        tune(&stream)?;
        let session = match handshake::accept(&mut Hurried::new(&stream, HANDSHAKE_TIMEOUT), &credentials) {
            Ok(session) => session,
            Err(HandshakeError::Io(error)) => {
                log::debug!("a connection to the peer port came to nothing: {error}");
                return Ok(());
            }
            Err(HandshakeError::Refused(reason)) => return Err(NotLinked::Refused(reason)),
        };
        stream.set_read_timeout(None)?;
        let from = &session.greeting.from;
        let peer = self.peers.read().get(from).cloned();
        // It may be to join, may have been removed, or know other ring positions than there are now.
        let Some(peer) = peer else {
            self.answer(&stream, &session);
            return Err(NotLinked::Stranger(from.clone()));
        };
        if peer.is_dialled {
            self.answer(&stream, &session);
            return Err(NotLinked::Dials(from.clone()));
        }
        // Its heartbeats must find it, and it is not dialled from here.
        self.addresses.heard_from(from, ip);
        // The later handshake shows which connection is alive.
        if let Some((old, run)) = &*peer.current.lock() {
            let _ = old.shutdown(Shutdown::Both);
            if run.node_id != session.greeting.run.node_id {
                log::warn!(
                    "{from} links under other data while its old link stands: are there two of that id?"
                );
            }
        }
        let mut accepted = (stream, session);
        while let Err(full) = peer.accepted.0.try_send(accepted) {
            let _ = peer.accepted.1.try_recv();
            accepted = full.into_inner();
        }
        Ok(())
    }

    /// Says which servers there are, to one that links and should not.
    fn answer(&self, stream: &TcpStream, session: &Session) {
        let mut writer = MessageWriter::new(stream, session);
        let fits = writer.push(&self.told.read());
        if let Err(error) = if fits { writer.flush() } else { Ok(()) } {
            log::debug!("{} was not told which servers there are: {error}", session.greeting.from);
        }
    }
}
