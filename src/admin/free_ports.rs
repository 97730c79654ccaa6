//! Ports for servers that come and go.

use std::{
    io,
    net::{TcpListener, UdpSocket},
    ops::Range,
};

use crate::server::ports::PORTS;

/// Below what systems give to outgoing connections (32768 and up on Linux, 49152 elsewhere): a port from
/// there may be free now, and belong to a connection just when a killed server wants it back.
const RANGE: Range<u16> = 10_000..32_000;
/// Draws before giving up.
const TRIES: usize = 10_000;

/// Base ports: all their ports are free at this moment, over TCP and UDP, and do not meet.
///
/// # Errors
/// There are none, or the system gives no random numbers.
pub fn free_base_ports(count: usize) -> io::Result<Vec<u16>> {
    // The sockets are kept until all ports are found, so that no two servers get the same.
    let mut held = Vec::new();
    let mut bases = Vec::new();
    for _ in 0..TRIES {
        if bases.len() == count {
            return Ok(bases);
        }
        let base = random_port()?;
        let bind = |port: u16| -> io::Result<(TcpListener, UdpSocket)> {
            Ok((TcpListener::bind(("127.0.0.1", port))?, UdpSocket::bind(("127.0.0.1", port))?))
        };
        let bound = PORTS.iter().filter_map(|port| port.of(base)).map(bind).collect::<io::Result<Vec<_>>>();
        if let Ok(sockets) = bound {
            held.extend(sockets);
            bases.push(base);
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, format!("no {count} free base ports in {RANGE:?}")))
}

fn random_port() -> io::Result<u16> {
    let mut bytes = [0; 2];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(RANGE.start + u16::from_le_bytes(bytes) % (RANGE.end - RANGE.start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_different_servers_do_not_meet() {
        let bases = free_base_ports(5).unwrap();
        let ports = bases.iter().flat_map(|&base| PORTS.map(|port| port.of(base).unwrap()));
        let mut all: Vec<u16> = ports.collect();
        assert!(all.iter().all(|port| (10_000..32_768).contains(port)), "{all:?}");
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 5 * PORTS.len());
    }
}
