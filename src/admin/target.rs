//! Which servers to ask.

use std::{fmt, path::Path, str::FromStr};

use crate::{
    config::ServerEntry,
    server::{
        config::file::ConfigFile,
        program::server_address::{AddressError, ServerAddress, host_and_port},
    },
    tls::client::Trust,
};

use super::error::UsageError;

/// A server's client address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The configured id, if it is known before the server has answered.
    pub server_id: Option<String>,
    /// A name or an address.
    pub host: String,
    pub port: u16,
    /// Whose certificates are believed; nothing is encrypted without.
    pub trust: Option<Trust>,
}

impl Target {
    /// The three servers of a cluster without any configuration.
    pub fn defaults() -> Vec<Target> {
        let target = |number: u16| Target {
            server_id: Some(format!("server{number}")),
            host: "localhost".into(),
            port: 7999 + number,
            trust: None,
        };
        (1..=3).map(target).collect()
    }

    /// The servers of a configuration file of `syncnet-server`.
    ///
    /// # Errors
    /// It cannot be read, or no server would take it.
    pub fn from_config(path: &Path) -> Result<Vec<Target>, UsageError> {
        let target = |server: ServerEntry| Target {
            server_id: Some(server.server_id.to_string()),
            host: server.host,
            port: server.port,
            trust: None,
        };
        Ok(ConfigFile::load(path).map_err(UsageError::settings)?.servers.into_iter().map(target).collect())
    }

    /// Its name in a table: its id, else its address.
    pub fn label(&self) -> String {
        self.server_id.clone().unwrap_or_else(|| self.to_string())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl From<ServerAddress> for Target {
    fn from(address: ServerAddress) -> Target {
        let ServerAddress { server_id, host, port } = address;
        Target { server_id: Some(server_id.to_string()), host, port, trust: None }
    }
}

impl FromStr for Target {
    type Err = AddressError;

    /// Reads `host:port`, with an IPv6 address in brackets, or `id=host:port`, as servers are told.
    fn from_str(text: &str) -> Result<Target, AddressError> {
        if text.contains('=') {
            return text.parse().map(|address: ServerAddress| address.into());
        }
        let (host, port) = host_and_port(text)?;
        Ok(Target { server_id: None, host, port, trust: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for text in ["localhost:8000", "192.168.1.4:8001", "[::1]:8002"] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        for text in ["", "localhost", ":8000", "localhost:0", "localhost:65536", "::1:8000", "a:b:1"] {
            text.parse::<Target>().unwrap_err();
        }
        let target: Target = "server2=10.0.0.2:8000".parse().unwrap();
        assert_eq!((target.label(), target.to_string()), ("server2".into(), "10.0.0.2:8000".into()));
    }

    #[test]
    fn a_configuration_names_its_servers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(
            &path,
            r#"{"servers":[{"server_id":"a","host":"10.0.0.1","port":9000,"ring_position":0}],"timing":{}}"#,
        )
        .unwrap();
        let targets = Target::from_config(&path).unwrap();
        assert_eq!((targets[0].label(), targets[0].to_string()), ("a".into(), "10.0.0.1:9000".into()));
        std::fs::write(&path, "{").unwrap();
        assert!(Target::from_config(&path).unwrap_err().to_string().contains("config.json"));
    }
}
