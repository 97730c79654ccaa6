//! The ports of a server, all counted from its base port.

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Port {
    /// TCP, base + 0: clients, in every dialect.
    Client,
    /// UDP, base + 10: clients that look for a server.
    Discovery,
    /// UDP, base + 20: heartbeats, ring tokens, announcements.
    Datagram,
    /// TCP, base + 30: links between servers.
    Peer,
    /// UDP, base + 40: heartbeats by multicast.
    Multicast,
}

pub const PORTS: [Port; 5] = [Port::Client, Port::Discovery, Port::Datagram, Port::Peer, Port::Multicast];

impl Port {
    /// The largest offset from the base port.
    pub const OFFSET_MAX: u16 = 40;

    /// Its number on a server with this base port; `None` if that is no port number.
    pub fn of(self, base: u16) -> Option<u16> {
        let offset = match self {
            Port::Client => 0,
            Port::Discovery => 10,
            Port::Datagram => 20,
            Port::Peer => 30,
            Port::Multicast => Port::OFFSET_MAX,
        };
        if base == 0 { None } else { base.checked_add(offset) }
    }

    /// Whether it is a TCP port; else it is a UDP port.
    pub fn is_tcp(self) -> bool {
        matches!(self, Port::Client | Port::Peer)
    }

    /// What it is called in messages.
    pub fn name(self) -> &'static str {
        match self {
            Port::Client => "clients, TCP",
            Port::Discovery => "discovery, UDP",
            Port::Datagram => "heartbeats and election, UDP",
            Port::Peer => "peer links, TCP",
            Port::Multicast => "heartbeats by multicast, UDP",
        }
    }
}
