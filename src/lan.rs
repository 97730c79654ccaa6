//! The networks that this machine is on, and datagrams that everybody there hears who wants to: broadcasts,
//! and multicast groups (RFC 1112, RFC 4291 section 2.7).
//!
//! A group is joined on each network interface by itself, and what is sent to it leaves by one. IPv6 has no
//! broadcast, so there it is the only way to ask a network.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket},
};

use if_addrs::{IfAddr, Ifv4Addr};
use socket2::SockRef;

/// Where clients that know no server ask, besides by broadcast. Of the local scope, which leaves no
/// organization (RFC 2365, section 6.1).
pub const DISCOVERY_V4: Ipv4Addr = Ipv4Addr::new(239, 255, 80, 10);
/// The same for IPv6: a group of the link that is assigned to nobody (RFC 4291, section 2.7).
pub const DISCOVERY_V6: Ipv6Addr = Ipv6Addr::new(0xff12, 0, 0, 0, 0, 0, 0, 0x8010);
/// How many routers a datagram for an IPv4 group passes.
pub const TTL: u32 = 2;

/// An address of this machine on a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interface {
    pub ip: IpAddr,
    /// The number of the network interface, as the system counts them; 0 if it does not say.
    pub index: u32,
    /// Where a datagram reaches all of the network; IPv6 has no such address.
    pub broadcast: Option<Ipv4Addr>,
}

/// The addresses by which this machine is on a network, without loopback; none if the system does not tell.
pub fn interfaces() -> Vec<Interface> {
    let known = if_addrs::get_if_addrs().unwrap_or_default().into_iter();
    let on_network = known.filter(|interface| !interface.is_loopback());
    on_network
        .map(|known| {
            let broadcast = if let IfAddr::V4(address) = &known.addr { broadcast_of(address) } else { None };
            Interface { ip: known.ip(), index: known.index.unwrap_or(0), broadcast }
        })
        .collect()
}

/// The broadcast address of a network, whether the system has set one or not. Networks of two addresses have
/// none (RFC 3021).
fn broadcast_of(address: &Ifv4Addr) -> Option<Ipv4Addr> {
    (address.prefixlen < 31).then(|| address.ip | !address.netmask)
}

/// The network on which others reach this machine at `ip`: the one with this address. If none has it, as
/// behind a translation of addresses, the only one of its kind; `None` if there are several, or none.
pub fn network_of(ip: IpAddr) -> Option<Interface> {
    let mut alike = interfaces();
    alike.retain(|interface| interface.ip.is_ipv4() == ip.is_ipv4());
    let with_ip = alike.iter().find(|interface| interface.ip == ip);
    // Each interface has an address of the link alone besides.
    let reaches_far = |interface: &&Interface| match interface.ip {
        IpAddr::V4(ip) => !ip.is_link_local(),
        IpAddr::V6(ip) => !ip.is_unicast_link_local(),
    };
    let far: Vec<&Interface> = alike.iter().filter(reaches_far).collect();
    with_ip.or(if let [only] = far[..] { Some(only) } else { None }).copied()
}

/// Joins a group on every interface of its kind that is there. One that was joined before stays so.
pub fn join_everywhere(socket: &UdpSocket, group: IpAddr) {
    for interface in interfaces() {
        let joined = match (group, interface.ip) {
            (IpAddr::V4(group), IpAddr::V4(ip)) => SockRef::from(socket).join_multicast_v4(&group, &ip),
            (IpAddr::V6(group), IpAddr::V6(_)) => socket.join_multicast_v6(&group, interface.index),
            _ => Ok(()),
        };
        // An interface that has several addresses is joined once.
        if let Err(error) = joined.or_else(unless_joined) {
            log::debug!("the group {group} is not heard at {}: {error}", interface.ip);
        }
    }
}

fn unless_joined(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::AddrInUse { Ok(()) } else { Err(error) }
}

/// Sends to a port of a group on every interface of its kind. What cannot be sent is lost, as any datagram
/// may be.
pub fn send_everywhere(socket: &UdpSocket, group: IpAddr, port: u16, bytes: &[u8]) {
    for interface in interfaces() {
        let to = match (group, interface.ip) {
            (IpAddr::V4(group), IpAddr::V4(ip)) => {
                if SockRef::from(socket).set_multicast_if_v4(&ip).is_err() {
                    continue;
                }
                SocketAddr::from((group, port))
            }
            (IpAddr::V6(group), IpAddr::V6(_)) => SocketAddrV6::new(group, port, 0, interface.index).into(),
            _ => continue,
        };
        if let Err(error) = socket.send_to(bytes, to) {
            log::debug!("nothing can be sent to {to}: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_more_than_two_has_a_broadcast_address() {
        let broadcast = |ip: [u8; 4], netmask: [u8; 4], prefixlen: u8| {
            broadcast_of(&Ifv4Addr { ip: ip.into(), netmask: netmask.into(), prefixlen, broadcast: None })
        };
        assert_eq!(broadcast([10, 80, 3, 7], [255, 255, 252, 0], 22), Some(Ipv4Addr::new(10, 80, 3, 255)));
        assert_eq!(broadcast([10, 80, 3, 7], [255, 255, 255, 254], 31), None);
        assert_eq!(broadcast([10, 80, 3, 7], [255, 255, 255, 255], 32), None);
    }
}
