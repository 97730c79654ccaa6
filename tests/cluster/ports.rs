//! Base ports for servers.

use std::net::{TcpListener, UdpSocket};

/// The offsets from a base port at which a server listens, over TCP or UDP.
const OFFSETS: [u16; 5] = [0, 10, 20, 30, 40];
/// Below what systems give to outgoing connections. A port from there would be free now and taken by a
/// client's connection just when a killed server wants it back.
const RANGE: std::ops::Range<u16> = 12_000..32_000;

/// So many base ports whose offsets are all free at this moment and do not meet.
pub fn free_base_ports(count: usize) -> Vec<u16> {
    // The sockets are kept until all ports are found, so that no two servers get the same.
    let mut held = Vec::new();
    let mut bases = Vec::new();
    for _ in 0..10_000 {
        if bases.len() == count {
            return bases;
        }
        let base = random_port();
        let bind = |offset: u16| {
            let address = ("127.0.0.1", base + offset);
            Some((TcpListener::bind(address).ok()?, UdpSocket::bind(address).ok()?))
        };
        if let Some(sockets) = OFFSETS.into_iter().map(bind).collect::<Option<Vec<_>>>() {
            held.extend(sockets);
            bases.push(base);
        }
    }
    panic!("no {count} free base ports in {RANGE:?}");
}

fn random_port() -> u16 {
    let mut bytes = [0; 2];
    getrandom::fill(&mut bytes).expect("the system has randomness");
    RANGE.start + u16::from_le_bytes(bytes) % (RANGE.end - RANGE.start)
}

#[test]
fn ports_of_different_servers_do_not_meet() {
    let mut all: Vec<u16> =
        free_base_ports(5).iter().flat_map(|base| OFFSETS.map(|offset| base + offset)).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 25);
}
