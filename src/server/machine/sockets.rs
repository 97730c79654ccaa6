//! All sockets of a server, bound before anything else is started.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use thiserror::Error;

use super::ports::Port;
use crate::protocol::name::ServerId;
use crate::server::{
    config::{Config, file::Transport},
    datagrams::join_multicast,
};

/// Connections that the system may hold until they are accepted: after a failover all clients come at once.
const BACKLOG: i32 = 4_096;

/// Why a server does not get its sockets.
#[derive(Debug, Error)]
pub enum BindError {
    /// A port is taken, or not allowed to this process.
    #[error("{server_id} cannot listen on {address} ({what}): {source}")]
    Port {
        server_id: ServerId,
        /// Where it was to listen.
        address: SocketAddr,
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// The multicast group cannot be joined.
    #[error("the multicast group {group} cannot be joined: {source}")]
    Group {
        group: IpAddr,
        /// What the system says.
        source: io::Error,
    },
}

pub struct Sockets {
    pub clients: TcpListener,
    /// For clients that look for a server.
    pub discovery: UdpSocket,
    /// For heartbeats and election.
    pub datagrams: UdpSocket,
    pub peers: TcpListener,
    /// For heartbeats by multicast, if they are configured.
    pub multicast: Option<UdpSocket>,
    /// For monitoring, if it has a port of its own.
    pub metrics: Option<TcpListener>,
}

impl Sockets {
    /// Binds all ports of a configured server.
    pub fn bind(config: &Config) -> Result<Sockets, BindError> {
        let multicast = match config.heartbeat.transport {
            Transport::Broadcast => None,
            Transport::Multicast => {
                let socket = bind_udp(config, Port::Multicast, any(config.peer_ip))?;
                let group = config.heartbeat.group(config.peer_ip);
                let joined = join_multicast(config, socket);
                Some(joined.map_err(|source| BindError::Group { group, source })?)
            }
        };
        let metrics = config.metrics.listen.map(|address| {
            bind_tcp(address).map_err(|source| taken(config, "metrics.listen", address, source))
        });
        Ok(Sockets {
            metrics: metrics.transpose()?,
            clients: listen(config, Port::Client, config.client_ip)?,
            // Broadcasts are not delivered to a socket that is bound to one address.
            discovery: bind_udp(config, Port::Discovery, any(config.client_ip))?,
            datagrams: bind_udp(config, Port::Datagram, config.peer_ip)?,
            peers: listen(config, Port::Peer, config.peer_ip)?,
            multicast,
        })
    }

    /// The addresses on which the server listens, in words.
    pub fn describe(&self) -> Vec<String> {
        let tcp = |listener: &TcpListener, port: Port| (listener.local_addr(), port);
        let udp = |socket: &UdpSocket, port: Port| (socket.local_addr(), port);
        let mut bound = vec![
            tcp(&self.clients, Port::Client),
            udp(&self.discovery, Port::Discovery),
            udp(&self.datagrams, Port::Datagram),
            tcp(&self.peers, Port::Peer),
        ];
        bound.extend(self.multicast.as_ref().map(|socket| udp(socket, Port::Multicast)));
        let bound = bound.into_iter().map(|(address, port)| (address, port.name()));
        let metrics = self.metrics.iter().map(|listener| (listener.local_addr(), "metrics"));
        bound
            .chain(metrics)
            .map(|(address, name)| match address {
                Ok(address) => format!("{address} ({name})"),
                Err(error) => format!("a port whose address is not known: {error} ({name})"),
            })
            .collect()
    }
}

/// All addresses of the same kind as `ip`.
fn any(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn address(config: &Config, port: Port, ip: IpAddr) -> SocketAddr {
    let number = port.of(config.me().port).expect("the configuration was checked");
    SocketAddr::new(ip, number)
}

fn listen(config: &Config, port: Port, ip: IpAddr) -> Result<TcpListener, BindError> {
    let address = address(config, port, ip);
    bind_tcp(address).map_err(|source| taken(config, port.name(), address, source))
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A port whose last owner died a moment ago is free; Windows would share one with a living owner.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn bind_udp(config: &Config, port: Port, ip: IpAddr) -> Result<UdpSocket, BindError> {
    let address = address(config, port, ip);
    UdpSocket::bind(address).map_err(|source| taken(config, port.name(), address, source))
}

fn taken(config: &Config, what: &'static str, address: SocketAddr, source: io::Error) -> BindError {
    BindError::Port { server_id: config.server_id().clone(), what, address, source }
}
