//! Which pages may open a WebSocket here.
//!
//! A browser lets any page open a WebSocket to anywhere, and says in `Origin` where the page is from. Without
//! this check a stranger's page could send requests here in the name of the user who looks at it. A program
//! that is no browser sends no `Origin`, and is not checked.
//!
//! A page of this server itself is one whose host is the one that was asked for. That proves nothing if the
//! host is a name that a stranger owns: it may lead to the stranger's page first and here a moment later (DNS
//! rebinding). So the name must be one that no stranger can own, or that is in the configuration.
//!
//! Pages of the cluster's other servers may open one, too: if its server is gone, a page goes on with another
//! one.

use std::net::IpAddr;

use super::head::Head;
use crate::config::ServerEntry;

/// Ends of names that are never looked up outside of the local network.
const LOCAL_ENDS: [&str; 5] = [".localhost", ".local", ".lan", ".internal", ".home.arpa"];

/// The origin of a page: scheme, host, port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

impl Origin {
    /// Reads an origin as browsers write it; `null` is none, nor is a text with more in it.
    pub fn parse(text: &str) -> Option<Origin> {
        let (scheme, authority) = text.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let default_port = match scheme.as_str() {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        let (host, port) = host_and_port(authority)?;
        Some(Origin { scheme, host, port: port.unwrap_or(default_port) })
    }

    /// Whether no stranger can have pages there: an address, a name of the local network, or a host of the
    /// cluster.
    fn is_at_home(&self, servers: &[ServerEntry]) -> bool {
        bare(&self.host).parse::<IpAddr>().is_ok()
            || !self.host.contains('.')
            || LOCAL_ENDS.iter().any(|end| self.host.ends_with(end))
            || servers.iter().any(|server| server.client_address().0.eq_ignore_ascii_case(&self.host))
    }

    /// Whether it is the client port of a server of the cluster, as seen by a client that addressed this one
    /// as `host`.
    fn is_server(&self, host: &str, servers: &[ServerEntry]) -> bool {
        let asked = host_and_port(host).map(|(host, _)| host).unwrap_or_default();
        let told = servers.iter().map(ServerEntry::client_address);
        told.filter(|(_, port)| *port == self.port).any(|(server_host, _)| {
            let is_here = is_this_machine(server_host)
                && (is_this_machine(&self.host) || asked == self.host && self.is_at_home(servers));
            is_here || bare(server_host).eq_ignore_ascii_case(bare(&self.host))
        })
    }

    /// Whether it is the server that was addressed as `host`. A proxy may have taken TLS off, so the scheme
    /// only gives the default port.
    fn is_host(&self, host: &str) -> bool {
        let default_port = if self.scheme == "https" { 443 } else { 80 };
        host_and_port(host)
            .is_some_and(|(host, port)| host == self.host && port.unwrap_or(default_port) == self.port)
    }
}

/// An address of IPv6 without its brackets; any other host as it is.
fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Whether a host means "this machine" to any reader, or all addresses of a listener.
fn is_this_machine(host: &str) -> bool {
    let is_own = |ip: IpAddr| ip.is_loopback() || ip.is_unspecified();
    host.eq_ignore_ascii_case("localhost") || bare(host).parse().is_ok_and(is_own)
}

/// The host at which a page finds a server of the cluster. If a server is configured as "this machine", a
/// page finds it at the page's own host.
pub fn host_for_page<'a>(server_host: &'a str, page_host: &'a str) -> &'a str {
    if is_this_machine(server_host) { page_host } else { server_host }
}

/// A host in lower case, and its port if it has one.
fn host_and_port(authority: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match authority.rfind(':') {
        // A colon inside of brackets belongs to an address of IPv6.
        Some(colon) if !authority[colon..].contains(']') => {
            let digits = &authority[colon + 1..];
            let is_port = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            (&authority[..colon], Some(is_port.then(|| digits.parse().ok())??))
        }
        _ => (authority, None),
    };
    let is_bracketed = host.starts_with('[') && host.ends_with(']');
    let is_fit = |byte: u8| {
        byte.is_ascii_alphanumeric() || b".-_".contains(&byte) || (is_bracketed && b"[]:".contains(&byte))
    };
    let is_host = !host.is_empty() && host.bytes().all(is_fit);
    is_host.then(|| (host.to_ascii_lowercase(), port))
}

/// Whether `host`, which a request was sent to, is no name that a stranger can own. A program that names no
/// host is no browser, so no stranger's page has sent it here.
pub fn is_home(host: &str, servers: &[ServerEntry]) -> bool {
    let origin = |(host, port): (String, Option<u16>)| Origin {
        scheme: "http".into(),
        host,
        port: port.unwrap_or(80),
    };
    host.is_empty() || host_and_port(host).map(origin).is_some_and(|origin| origin.is_at_home(servers))
}

/// Whether a request may open a WebSocket: it is from no page, or from one of this server, of another server
/// of the cluster or of `allowed`.
pub fn may_open(head: &Head, allowed: &[Origin], servers: &[ServerEntry]) -> bool {
    head.all("origin").next().is_none() || is_known(head, allowed, servers)
}

/// Whether a request is from a page that may act for users here.
pub fn is_known(head: &Head, allowed: &[Origin], servers: &[ServerEntry]) -> bool {
    let mut origins = head.all("origin");
    let (Some(text), None) = (origins.next(), origins.next()) else { return false };
    Origin::parse(text).is_some_and(|origin| {
        allowed.contains(&origin)
            || (origin.is_host(&head.host) && origin.is_at_home(servers))
            || origin.is_server(&head.host, servers)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        protocol::name::ServerId,
        server::http::head::{HeadLimits, parse},
    };

    fn servers() -> Vec<ServerEntry> {
        let entry = |(place, host): (usize, &str)| {
            let server_id = ServerId::new(&format!("server{place}")).unwrap();
            ServerEntry::new(server_id, host, 7000 + place as u16, place as u32)
        };
        let mut servers: Vec<_> = ["10.0.0.1", "Chat.Example", "localhost", "container"]
            .into_iter()
            .enumerate()
            .map(entry)
            .collect();
        servers[3].client_host = Some("outside.example".into());
        servers[3].client_port = Some(9000);
        servers
    }

    fn opens(host: &str, origin: &str, allowed: &[&str]) -> bool {
        let text = format!("GET /ws HTTP/1.1\r\nHost: {host}\r\n{origin}\r\n");
        let head = parse(text.as_bytes(), HeadLimits { bytes: 1_000, headers: 9 }).unwrap().unwrap().0;
        let allowed: Vec<_> = allowed.iter().map(|text| Origin::parse(text).unwrap()).collect();
        may_open(&head, &allowed, &servers())
    }

    #[test]
    fn own_pages_and_programs_may_and_strangers_may_not() {
        for (host, origin, may) in [
            ("localhost:8000", "", true),
            ("localhost:8000", "Origin: http://localhost:8000\r\n", true),
            ("LOCALHOST:8000", "Origin: http://localhost:8000\r\n", true),
            ("chat.example", "Origin: https://chat.example\r\n", true),
            ("chat.example", "Origin: http://chat.example\r\n", true),
            ("chat.example:443", "Origin: https://chat.example\r\n", true),
            ("[::1]:8000", "Origin: http://[::1]:8000\r\n", true),
            ("192.168.1.7:8000", "Origin: http://192.168.1.7:8000\r\n", true),
            ("tower:8000", "Origin: http://tower:8000\r\n", true),
            ("tower.local:8000", "Origin: http://tower.local:8000\r\n", true),
            ("tower.home.arpa", "Origin: http://tower.home.arpa\r\n", true),
            // A name of a stranger that leads here.
            ("evil.example:8000", "Origin: http://evil.example:8000\r\n", false),
            ("local.evil.example", "Origin: http://local.evil.example\r\n", false),
            ("192.168.1.7.evil.example", "Origin: http://192.168.1.7.evil.example\r\n", false),
            ("sub.chat.example", "Origin: http://sub.chat.example\r\n", false),
            ("localhost:8000", "Origin: http://localhost:8001\r\n", false),
            ("localhost:8000", "Origin: http://localhost\r\n", false),
            ("localhost:8000", "Origin: http://evil.example\r\n", false),
            ("localhost:8000", "Origin: http://localhost:8000.evil.example\r\n", false),
            ("localhost:8000", "Origin: http://localhost:8000/\r\n", false),
            ("localhost:8000", "Origin: http://evil.example#localhost:8000\r\n", false),
            ("localhost:8000", "Origin: http://a@localhost:8000\r\n", false),
            // Other servers of the cluster, at their own ports.
            ("10.0.0.1:7000", "Origin: http://chat.example:7001\r\n", true),
            ("10.0.0.1:7000", "Origin: http://localhost:7002\r\n", true),
            ("10.0.0.1:7000", "Origin: http://127.0.0.1:7002\r\n", true),
            ("tower:7000", "Origin: http://tower:7002\r\n", true),
            // At the address that clients are told, not the one that its peers use.
            ("10.0.0.1:7000", "Origin: http://outside.example:9000\r\n", true),
            ("10.0.0.1:7000", "Origin: http://container:7003\r\n", false),
            ("10.0.0.1:7000", "Origin: http://tower:7002\r\n", false),
            ("evil.example:7000", "Origin: http://evil.example:7002\r\n", false),
            ("10.0.0.1:7000", "Origin: http://chat.example:7002\r\n", false),
            ("10.0.0.1:7000", "Origin: http://chat.example:7003\r\n", false),
            ("10.0.0.1:7000", "Origin: http://10.0.0.2:7000\r\n", false),
            ("localhost:8000", "Origin: null\r\n", false),
            ("localhost:8000", "Origin:\r\n", false),
            ("localhost:8000", "Origin: file://localhost:8000\r\n", false),
            ("localhost:8000", "Origin: http://localhost:8000\r\nOrigin: http://localhost:8000\r\n", false),
        ] {
            assert_eq!(opens(host, origin, &[]), may, "{host} {origin}");
        }
    }

    #[test]
    fn configured_pages_may() {
        let allowed = ["https://chat.example", "http://localhost:3000"];
        assert!(opens("localhost:8000", "Origin: https://chat.example\r\n", &allowed));
        assert!(opens("localhost:8000", "Origin: https://CHAT.example:443\r\n", &allowed));
        assert!(!opens("localhost:8000", "Origin: http://chat.example\r\n", &allowed));
        assert!(!opens("localhost:8000", "Origin: http://localhost:3001\r\n", &allowed));
        assert!(opens("evil.example", "Origin: http://evil.example\r\n", &["http://evil.example"]));
    }
}
