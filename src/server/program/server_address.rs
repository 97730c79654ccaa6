//! `server1=192.0.2.1:8000`: a server and its address, as it is written on command lines and in variables.

use std::str::FromStr;

use thiserror::Error;

use crate::protocol::name::{NoServerId, ServerId};

/// A server and a host and port of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddress {
    pub server_id: ServerId,
    /// A name or an IP address, without brackets.
    pub host: String,
    /// Never 0.
    pub port: u16,
}

/// Why a text is no address.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    #[error("{0:?} names no server: write ID=HOST:PORT, such as server1=192.0.2.1:8000")]
    NoId(String),
    #[error(transparent)]
    BadId(#[from] NoServerId),
    #[error("{0:?} is not an address: write host:port, such as localhost:8000")]
    NoPort(String),
}

impl FromStr for ServerAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (server_id, address) = text.split_once('=').ok_or_else(|| AddressError::NoId(text.into()))?;
        let server_id = ServerId::try_from(server_id.to_owned())?;
        let (host, port) = host_and_port(address)?;
        Ok(ServerAddress { server_id, host, port })
    }
}

/// Reads `host:port`, with an IPv6 address in brackets.
///
/// # Errors
/// [`AddressError::NoPort`].
pub fn host_and_port(text: &str) -> Result<(String, u16), AddressError> {
    let wrong = || AddressError::NoPort(text.into());
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = bracketed.unwrap_or(host);
    if host.is_empty() || (bracketed.is_none() && host.contains(':')) {
        return Err(wrong());
    }
    let port = port.parse().ok().filter(|&port| port != 0).ok_or_else(wrong)?;
    Ok((host.into(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        for (text, server_id, host, port) in [
            ("server1=192.0.2.1:8000", "server1", "192.0.2.1", 8000),
            ("a=chat.example.org:1", "a", "chat.example.org", 1),
            ("a=[2001:db8::1]:8000", "a", "2001:db8::1", 8000),
        ] {
            let address: ServerAddress = text.parse().unwrap();
            let (id, got) = (address.server_id.as_str(), (address.host.as_str(), address.port));
            assert_eq!((id, got), (server_id, (host, port)));
        }
    }

    #[test]
    fn what_is_no_address_is_named() {
        for (text, named) in [
            ("", "\"\" names no server"),
            ("192.0.2.1:8000", "names no server"),
            ("a b=h:1", "a b"),
            ("=h:1", "server id"),
            ("a=h", "\"h\" is not an address"),
            ("a=h:0", "\"h:0\" is not"),
            ("a=:8000", "\":8000\" is not"),
            ("a=2001:db8::1:8000", "is not an address"),
        ] {
            let error = text.parse::<ServerAddress>().unwrap_err().to_string();
            assert!(error.contains(named) && !error.contains('\n'), "{text}: {error}");
        }
    }
}
