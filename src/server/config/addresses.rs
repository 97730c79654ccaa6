//! Where a server listens, and which hosts mean this machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::ServerEntry;

/// The address that a server's ports are bound to.
pub(super) fn listening_ip(bind: &Option<IpAddr>, me: &ServerEntry) -> IpAddr {
    let all = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    bind.unwrap_or(if is_loopback(&me.host) { loopback_like(all) } else { all })
}

/// The loopback address of the same kind as `ip`.
pub(super) fn loopback_like(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

/// Whether `host` means this machine and cannot be reached from any other.
pub(super) fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
