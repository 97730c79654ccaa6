//! Where the configured servers are. Names are looked up by whoever connects, and the result is kept, so
//! that nothing that is in a hurry waits for a name server.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
};

use parking_lot::RwLock;

use crate::{
    protocol::name::ServerId,
    replica::config::ServerEntry,
    server::{config::Config, ports::Port},
};

/// The addresses of the other servers.
#[derive(Debug)]
pub struct Addresses {
    servers: BTreeMap<ServerId, ServerEntry>,
    found: RwLock<BTreeMap<ServerId, IpAddr>>,
    /// Whether this server's sockets speak IPv6.
    is_v6: bool,
}

impl Addresses {
    /// Of the servers of a configuration. Those that need no name server are known at once.
    pub fn new(config: &Config) -> Self {
        let servers = config.peers().map(|server| (server.server_id.clone(), server.clone())).collect();
        let addresses = Addresses { servers, found: RwLock::default(), is_v6: config.peer_ip.is_ipv6() };
        for (server_id, server) in &addresses.servers {
            if server.host.parse::<IpAddr>().is_ok() || server.host.eq_ignore_ascii_case("localhost") {
                // Should it fail all the same, whoever connects looks again and says so.
                let _ = addresses.look_up(server_id);
            }
        }
        addresses
    }

    /// Where a port of a server is, as far as is known.
    pub fn of(&self, server_id: &ServerId, port: Port) -> Option<SocketAddr> {
        let ip = *self.found.read().get(server_id)?;
        Some(SocketAddr::new(ip, port.of(self.servers.get(server_id)?.port)?))
    }

    /// Whether a configured server is at this address, as far as is known.
    pub fn is_known(&self, ip: IpAddr) -> bool {
        self.found.read().values().any(|known| *known == ip)
    }

    /// Looks a server's host up, however long that takes.
    pub fn look_up(&self, server_id: &ServerId) -> io::Result<()> {
        let unknown = || io::Error::new(io::ErrorKind::NotFound, "no address of this server's kind");
        let server = self.servers.get(server_id).ok_or_else(unknown)?;
        let found: Vec<_> = (server.host.as_str(), server.port).to_socket_addrs()?.collect();
        let fitting = found.iter().find(|address| address.is_ipv6() == self.is_v6);
        let ip = fitting.ok_or_else(unknown)?.ip();
        self.found.write().insert(server_id.clone(), ip);
        Ok(())
    }
}
