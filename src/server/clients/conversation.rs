//! One connection of a client, whatever its dialect: what is read from it goes to the replica.

use std::{io, net::IpAddr, sync::Arc, time::Instant};

use crate::{
    json,
    protocol::{
        envelope::{BadRequest, RequestHead},
        refusal::{Code, Refusal},
    },
    replica::io::Input,
};

use super::{
    Client,
    connection_info::ConnectionInfo,
    stream::{READ_BYTES, Stream},
};
use crate::server::server_handle::{ServerHandle, ServerStopping};

/// One connection, whatever its dialect.
pub struct Conversation<'a> {
    pub server: &'a ServerHandle,
    pub client: Arc<Client>,
    pub stream: Arc<Stream>,
    /// The client's address, from the socket or from a trusted proxy.
    pub addr: Option<IpAddr>,
    /// When its first request must be there.
    pub deadline: Instant,
    /// Whether the replica knows of the connection.
    is_open: bool,
}

impl Drop for Conversation<'_> {
    fn drop(&mut self) {
        self.client.cut();
        self.server.context.clients.remove(self.client.conn);
        if self.is_open {
            // Without a replica, no thread needs to know.
            let _ = self.server.send(Input::Closed { conn: self.client.conn });
        }
    }
}

impl<'a> Conversation<'a> {
    /// The replica hears of it later, see [`Conversation::open`]. Its first request must be there by
    /// `deadline`.
    pub fn new(
        server: &'a ServerHandle,
        client: Arc<Client>,
        stream: Arc<Stream>,
        deadline: Instant,
    ) -> Conversation<'a> {
        let addr = stream.peer().map(|addr| addr.to_canonical());
        Conversation { server, client, addr, stream, deadline, is_open: false }
    }

    /// A trusted proxy gives the client's address. Refused if there are too many connections from there.
    pub fn comes_from(&mut self, addr: IpAddr) -> Result<(), Refusal> {
        if self.addr == Some(addr) {
            return Ok(());
        }
        self.addr = Some(addr);
        if self.server.context.clients.comes_from(self.client.conn, addr) {
            return Ok(());
        }
        Err(Refusal::new(Code::Overloaded, "there are too many connections from this address"))
    }

    /// The client's address, and what else is known before any login.
    pub fn info(&self) -> ConnectionInfo {
        ConnectionInfo {
            addr: self.addr,
            reserved_until: self.client.is_reserved().then_some(self.deadline),
            is_encrypted: self.stream.is_encrypted(),
        }
    }

    /// Tells the replica of this connection, if it does not know of it.
    pub fn open(&mut self) -> Result<(), ServerStopping> {
        if !self.is_open {
            let ConnectionInfo { addr, reserved_until, .. } = self.info();
            let reserved = reserved_until.is_some();
            self.server.send(Input::Opened { conn: self.client.conn, addr, reserved })?;
            self.is_open = true;
        }
        Ok(())
    }

    /// Whether the replica knows of the connection.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Reads a request in JSON and hands it to the replica. A request that no other may overtake has been
    /// answered when this returns.
    pub fn hand_over(&mut self, line: &[u8]) -> Result<(), ServerStopping> {
        self.open()?;
        let request = json::read_request(line, &self.server.context.config().replica.limits);
        self.server.hand_over(&self.client, request, line.len(), None)
    }

    /// Hands the refusal of what is no request to the replica, which answers it in its turn.
    pub fn refuse(&mut self, refusal: Refusal) -> Result<(), ServerStopping> {
        self.open()?;
        let request = (RequestHead::default(), Err(BadRequest::Envelope(refusal)));
        self.server.hand_over(&self.client, request, 0, None)
    }

    /// Throws away what still comes, until the fan-out has written the last line and ends the connection.
    pub fn drain(&self) -> io::Result<()> {
        let mut buffer = [0; READ_BYTES];
        while self.stream.read(&mut buffer)? > 0 {}
        Ok(())
    }
}
