//! Proxies that may say for whom they speak: by headers of HTTP, or by the PROXY protocol before any dialect.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use thiserror::Error;

/// The first bytes of the PROXY protocol, version 1 and 2.
const VERSION_1: &[u8] = b"PROXY ";
const VERSION_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Longest line of version 1, with its end.
const LINE_MAX: usize = 107;
/// Longest part of version 2 behind its fixed head: addresses and extensions.
const EXTENSIONS_MAX: usize = 4_096;

/// The proxies that are believed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrustedProxies(Vec<IpNet>);

/// A text that is neither an address nor a network.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is no address and no network")]
pub struct NoAddress(pub String);

impl TrustedProxies {
    /// Reads addresses and networks.
    pub fn parse(texts: &[String]) -> Result<Self, NoAddress> {
        let networks = texts.iter().map(|text| {
            let address = || text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
            text.parse::<IpNet>().or_else(|_| address()).map_err(|_| NoAddress(text.clone()))
        });
        networks.collect::<Result<_, _>>().map(TrustedProxies)
    }

    /// Whether the proxy at this address is believed.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address.to_canonical()))
    }

    /// The client of a request that was received from `peer`: in the lists of hops, read from the right, the
    /// first that is no trusted proxy. Anything to the left of it can be invented.
    ///
    /// A proxy that writes one of the two headers may pass on what a client put into the other. So if they
    /// disagree neither is believed.
    pub fn client<'a>(
        &self,
        peer: IpAddr,
        x_forwarded_for: impl Iterator<Item = &'a str>,
        forwarded: impl Iterator<Item = &'a str>,
    ) -> IpAddr {
        if !self.contains(peer) {
            return peer;
        }
        let plain: Vec<Option<IpAddr>> =
            x_forwarded_for.flat_map(|value| value.split(',')).map(hop).collect();
        let named: Vec<Option<IpAddr>> =
            forwarded.flat_map(|value| value.split(',')).map(forwarded_hop).collect();
        match (plain.is_empty(), named.is_empty()) {
            (false, true) => self.first_stranger(peer, &plain),
            (true, false) => self.first_stranger(peer, &named),
            (true, true) => peer,
            (false, false) => {
                let (one, other) = (self.first_stranger(peer, &plain), self.first_stranger(peer, &named));
                if one == other { one } else { peer }
            }
        }
    }

    fn first_stranger(&self, peer: IpAddr, hops: &[Option<IpAddr>]) -> IpAddr {
        let mut nearest = peer;
        for hop in hops.iter().rev() {
            // Nothing is known beyond a hop that has no address.
            let Some(hop) = hop else { break };
            nearest = *hop;
            if !self.contains(nearest) {
                break;
            }
        }
        nearest
    }
}

/// An address as it is written in such lists: with or without brackets and a port.
fn hop(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(inside, _)| inside);
    let without_port = || text.rsplit_once(':').map(|(address, _)| address);
    let address = match bracketed {
        Some(address) => address.parse(),
        None => {
            text.parse().or_else(|error| without_port().ok_or(error)?.parse::<Ipv4Addr>().map(IpAddr::from))
        }
    };
    address.ok().map(|address: IpAddr| address.to_canonical())
}

/// The field `for` of an item of `Forwarded` (RFC 7239).
fn forwarded_hop(item: &str) -> Option<IpAddr> {
    item.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| hop(value))?
    })
}

/// What the PROXY protocol says at the start of a connection.
#[derive(Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// Nothing: the bytes are the client's.
    Nothing,
    /// More bytes are needed.
    Incomplete,
    /// The client's address, and the length of the header in bytes. No address if the proxy speaks for
    /// itself.
    Client(Option<IpAddr>, usize),
    Malformed,
}

/// Reads the start of a connection from a trusted proxy.
pub fn read(bytes: &[u8]) -> ProxyHeader {
    if bytes.starts_with(VERSION_1) {
        return version_1(bytes);
    }
    if bytes.starts_with(VERSION_2) {
        return version_2(bytes);
    }
    if VERSION_1.starts_with(bytes) || VERSION_2.starts_with(bytes) {
        return ProxyHeader::Incomplete;
    }
    ProxyHeader::Nothing
}

fn version_1(bytes: &[u8]) -> ProxyHeader {
    let Some(end) = bytes.iter().take(LINE_MAX).position(|byte| *byte == b'\n') else {
        return if bytes.len() < LINE_MAX { ProxyHeader::Incomplete } else { ProxyHeader::Malformed };
    };
    let line = std::str::from_utf8(&bytes[..end]).ok().and_then(|line| line.strip_suffix('\r'));
    let words: Vec<&str> = line.unwrap_or_default().split(' ').collect();
    let port = |text: &str| text.parse::<u16>().is_ok();
    match words[..] {
        ["PROXY", "UNKNOWN", ..] => ProxyHeader::Client(None, end + 1),
        ["PROXY", family @ ("TCP4" | "TCP6"), from, to, from_port, to_port]
            if port(from_port) && port(to_port) =>
        {
            let address = |text: &str| match family {
                "TCP4" => text.parse::<Ipv4Addr>().map(IpAddr::from).ok(),
                _ => text.parse::<Ipv6Addr>().map(IpAddr::from).ok(),
            };
            match (address(from), address(to)) {
                (Some(from), Some(_)) => ProxyHeader::Client(Some(from.to_canonical()), end + 1),
                _ => ProxyHeader::Malformed,
            }
        }
        _ => ProxyHeader::Malformed,
    }
}

fn version_2(bytes: &[u8]) -> ProxyHeader {
    let Some([command, family, high, low]) = bytes.get(12..16).and_then(|head| head.first_chunk()) else {
        return ProxyHeader::Incomplete;
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if command >> 4 != 2 || command & 15 > 1 || length > EXTENSIONS_MAX {
        return ProxyHeader::Malformed;
    }
    let Some(addresses) = bytes.get(16..16 + length) else { return ProxyHeader::Incomplete };
    let address = match (command & 15, family >> 4) {
        // Version 2 has LOCAL for the proxy's own checks; other families than those of IP have no address
        // here.
        (1, 1) => match addresses.first_chunk::<12>() {
            Some([a, b, c, d, ..]) => Some(IpAddr::from([*a, *b, *c, *d])),
            None => return ProxyHeader::Malformed,
        },
        (1, 2) => match addresses.first_chunk::<36>().and_then(|both| both.first_chunk::<16>()) {
            Some(from) => Some(IpAddr::from(*from).to_canonical()),
            None => return ProxyHeader::Malformed,
        },
        _ => None,
    };
    ProxyHeader::Client(address, 16 + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn trusted() -> TrustedProxies {
        let texts = ["127.0.0.1", "10.0.0.0/8", "fd00::/8"].map(str::to_owned);
        TrustedProxies::parse(&texts).unwrap()
    }

    #[test]
    fn addresses_and_networks_are_trusted() {
        let trusted = trusted();
        for address in ["127.0.0.1", "10.255.0.1", "fd12::1", "::ffff:10.1.2.3"] {
            assert!(trusted.contains(ip(address)), "{address}");
        }
        for address in ["127.0.0.2", "11.0.0.1", "fe80::1"] {
            assert!(!trusted.contains(ip(address)), "{address}");
        }
        for wrong in ["localhost", "10.0.0.0/33", ""] {
            assert_eq!(TrustedProxies::parse(&[wrong.to_owned()]), Err(NoAddress(wrong.to_owned())));
        }
    }

    #[test]
    fn hops_are_read_from_the_right() {
        let client = |peer: &str, plain: &[&str], named: &[&str]| {
            trusted().client(ip(peer), plain.iter().copied(), named.iter().copied()).to_string()
        };
        assert_eq!(client("9.9.9.9", &["1.2.3.4"], &[]), "9.9.9.9", "a stranger's word");
        assert_eq!(client("127.0.0.1", &[], &[]), "127.0.0.1");
        assert_eq!(client("127.0.0.1", &["1.2.3.4"], &[]), "1.2.3.4");
        assert_eq!(client("127.0.0.1", &["6.6.6.6, 1.2.3.4"], &[]), "1.2.3.4", "the left can be invented");
        assert_eq!(client("127.0.0.1", &["6.6.6.6, 1.2.3.4, 10.0.0.7"], &[]), "1.2.3.4");
        assert_eq!(client("127.0.0.1", &["1.2.3.4", "10.0.0.7"], &[]), "1.2.3.4", "two headers are one list");
        assert_eq!(client("127.0.0.1", &["10.0.0.9,10.0.0.7"], &[]), "10.0.0.9");
        assert_eq!(client("127.0.0.1", &["1.2.3.4, unknown"], &[]), "127.0.0.1");
        assert_eq!(client("127.0.0.1", &["unknown, 10.0.0.7"], &[]), "10.0.0.7");
        assert_eq!(client("127.0.0.1", &["1.2.3.4:5678"], &[]), "1.2.3.4");
        assert_eq!(client("127.0.0.1", &["2001:db8::1"], &[]), "2001:db8::1");
        assert_eq!(client("127.0.0.1", &["[2001:db8::1]:99"], &[]), "2001:db8::1");
        let named = "for=6.6.6.6, For=\"[2001:db8::1]:99\";proto=https;by=x, for=10.0.0.7";
        assert_eq!(client("127.0.0.1", &[], &[named]), "2001:db8::1");
        assert_eq!(client("127.0.0.1", &[], &["for=_hidden"]), "127.0.0.1");
        assert_eq!(client("127.0.0.1", &["1.2.3.4"], &["for=1.2.3.4"]), "1.2.3.4");
        assert_eq!(
            client("127.0.0.1", &["1.2.3.4"], &["for=5.6.7.8"]),
            "127.0.0.1",
            "one of them is invented"
        );
    }

    #[test]
    fn the_proxy_protocol_is_read_in_both_versions() {
        let v2 = |command: u8, family: u8, rest: &[u8]| {
            let head = [VERSION_2, &[0x20 | command, family], &(rest.len() as u16).to_be_bytes()].concat();
            [head.as_slice(), rest].concat()
        };
        let v4 = v2(1, 0x11, &[1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 0, 2, 3, 0, 0]);
        let mut v6 = vec![0; 36];
        v6[15] = 1;
        for (bytes, address) in [
            (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n".to_vec(), Some("1.2.3.4")),
            (b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n".to_vec(), Some("2001:db8::1")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN a b c d\r\n".to_vec(), None),
            (v4, Some("1.2.3.4")),
            (v2(1, 0x21, &v6), Some("::1")),
            (v2(0, 0x11, &[9; 12]), None),
            (v2(0, 0, &[]), None),
            (v2(1, 0x31, &[9; 216]), None),
        ] {
            let length = bytes.len();
            let whole = [bytes.as_slice(), b"{\"msg_type\""].concat();
            assert_eq!(read(&whole), ProxyHeader::Client(address.map(ip), length), "{bytes:?}");
            for end in 0..length {
                assert_eq!(read(&whole[..end]), ProxyHeader::Incomplete, "{end} of {bytes:?}");
            }
        }
        for bytes in [
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n".to_vec(),
            b"PROXY TCP4 ::1 ::1 1 2\r\n".to_vec(),
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 99999\r\n".to_vec(),
            b"PROXY  TCP4 1.2.3.4 5.6.7.8 1 2\r\n".to_vec(),
            b"PROXY SCTP 1.2.3.4 5.6.7.8 1 2\r\n".to_vec(),
            [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 100]].concat(),
            v2(1, 0x11, &[1; 11]),
            v2(2, 0x11, &[1; 12]),
            v2(1, 0x11, &[1; 5_000]),
        ] {
            assert_eq!(read(&bytes), ProxyHeader::Malformed, "{bytes:?}");
        }
        for bytes in [&b"{"[..], b"GET / HTTP/1.1", b"PROX{", b"\r\n\r\n{", b"PUT "] {
            assert_eq!(read(bytes), ProxyHeader::Nothing, "{bytes:?}");
        }
    }
}
