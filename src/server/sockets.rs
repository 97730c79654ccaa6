//! All sockets of a server, bound before anything else is started.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::{config::Config, config_file::Transport, datagrams::join_multicast, ports::Port};

/// Connections that the system may hold until they are accepted: after a failover everybody comes at once.
const BACKLOG: i32 = 4_096;

/// The sockets of a server.
pub struct Sockets {
    /// For clients.
    pub clients: TcpListener,
    /// For clients that look for a server.
    pub discovery: UdpSocket,
    /// For heartbeats and election.
    pub datagrams: UdpSocket,
    /// For peer links.
    pub peers: TcpListener,
    /// For heartbeats by multicast, where they are configured.
    pub multicast: Option<UdpSocket>,
}

impl Sockets {
    /// Binds all ports of a configured server. The error is one sentence that names the port.
    pub fn bind(config: &Config) -> Result<Sockets, String> {
        let multicast = match config.heartbeat.transport {
            Transport::Broadcast => None,
            Transport::Multicast => {
                let socket = bind_udp(config, Port::Multicast, any(config.peer_ip))?;
                Some(join_multicast(config, socket).map_err(|error| {
                    format!(
                        "the multicast group {} cannot be joined: {error}",
                        config.heartbeat.multicast_group
                    )
                })?)
            }
        };
        Ok(Sockets {
            clients: listen(config, Port::Client, config.client_ip)?,
            // Broadcasts are not delivered to a socket that is bound to one address.
            discovery: bind_udp(config, Port::Discovery, any(config.client_ip))?,
            datagrams: bind_udp(config, Port::Datagram, config.peer_ip)?,
            peers: listen(config, Port::Peer, config.peer_ip)?,
            multicast,
        })
    }

    /// Where the server listens, in words.
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
        bound
            .into_iter()
            .map(|(address, port)| match address {
                Ok(address) => format!("{address} ({})", port.name()),
                Err(error) => format!("a port whose address is not known: {error} ({})", port.name()),
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

fn listen(config: &Config, port: Port, ip: IpAddr) -> Result<TcpListener, String> {
    let address = address(config, port, ip);
    let bind = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // A port whose last owner died a moment ago is free; Windows would share one with a living owner.
        #[cfg(unix)]
        socket.set_reuse_address(true)?;
        socket.bind(&SockAddr::from(address))?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    bind().map_err(|error| taken(config, port, address, &error))
}

fn bind_udp(config: &Config, port: Port, ip: IpAddr) -> Result<UdpSocket, String> {
    let address = address(config, port, ip);
    UdpSocket::bind(address).map_err(|error| taken(config, port, address, &error))
}

fn taken(config: &Config, port: Port, address: SocketAddr, error: &io::Error) -> String {
    format!("{} cannot listen on {address} ({}): {error}", config.server_id(), port.name())
}
