//! Ports for servers that come and go.
//!
//! A killed server wants its ports back, so ports that are free now are not enough: nobody else may take them
//! while it is down. All who look here (tests and benchmarks, in any number of processes) share the blocks
//! below. The last port of a block is its lock: whoever has bound it owns the block until its process ends.

use std::{
    io,
    net::{Ipv4Addr, TcpListener, UdpSocket},
    ops::Range,
};

use parking_lot::Mutex;

use crate::server::machine::ports::{PORTS, Port};

/// Below what systems give to outgoing connections (32768 and up on Linux, 49152 elsewhere).
const RANGE: Range<u16> = 10_000..32_000;
/// The ports of servers whose base ports follow each other, and the lock.
const BLOCK: u16 = Port::OFFSET_MAX + SERVERS_MAX + 1;
/// Offsets of a server's ports are so far apart, less the one for the lock.
const SERVERS_MAX: u16 = 9;

/// The locks of this process.
static LOCKS: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());

/// Base ports: all their ports are free at this moment, over TCP and UDP, and nobody else is given them until
/// this process ends.
///
/// # Errors
/// More than nine are wanted, no block is free, or the system gives no random numbers.
pub fn free_base_ports(count: usize) -> io::Result<Vec<u16>> {
    let count = u16::try_from(count).ok().filter(|&count| count <= SERVERS_MAX).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("{count} base ports, {SERVERS_MAX} are possible"))
    })?;
    let blocks = (RANGE.end - RANGE.start) / BLOCK;
    let first = random()? % blocks;
    for block in (first..blocks).chain(0..first) {
        let base = RANGE.start + block * BLOCK;
        let Ok(lock) = UdpSocket::bind((Ipv4Addr::LOCALHOST, base + BLOCK - 1)) else { continue };
        let bases: Vec<u16> = (base..base + count).collect();
        let mut ports =
            bases.iter().flat_map(|&base| PORTS.into_iter().filter_map(move |port| port.of(base)));
        if ports.all(is_free) {
            LOCKS.lock().push(lock);
            return Ok(bases);
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, format!("no {count} free base ports in {RANGE:?}")))
}

fn is_free(port: u16) -> bool {
    let address = (Ipv4Addr::LOCALHOST, port);
    TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
}

fn random() -> io::Result<u16> {
    let mut bytes = [0; 2];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(u16::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(bases: &[u16]) -> Vec<u16> {
        bases.iter().flat_map(|&base| PORTS.map(|port| port.of(base).unwrap())).collect()
    }

    #[test]
    fn ports_of_different_servers_do_not_meet() {
        let mut all = ports(&free_base_ports(usize::from(SERVERS_MAX)).unwrap());
        assert!(all.iter().all(|port| (10_000..32_768).contains(port)), "{all:?}");
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), usize::from(SERVERS_MAX) * PORTS.len());
        assert!(free_base_ports(usize::from(SERVERS_MAX) + 1).is_err());
    }

    /// As if the process had ended, for what was found so far would else be kept from the other tests.
    #[test]
    fn what_was_given_is_not_given_again_though_it_is_free() {
        let blocks = usize::from((RANGE.end - RANGE.start) / BLOCK);
        let held = LOCKS.lock().len();
        let mut all: Vec<u16> = (0..blocks / 2).flat_map(|_| free_base_ports(1).unwrap()).collect();
        LOCKS.lock().truncate(held);
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), blocks / 2);
    }
}
