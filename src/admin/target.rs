//! Which servers to ask.

use std::{fmt, path::Path, str::FromStr};

use crate::{replica::config::ServerEntry, server::config_file::ConfigFile};

/// A server's client address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The configured id where it is known before the server has answered.
    pub server_id: Option<String>,
    /// A name or an address.
    pub host: String,
    /// The client port.
    pub port: u16,
}

impl Target {
    /// The three servers of a cluster without any configuration.
    pub fn defaults() -> Vec<Target> {
        let target = |number: u16| Target {
            server_id: Some(format!("server{number}")),
            host: "localhost".into(),
            port: 7999 + number,
        };
        (1..=3).map(target).collect()
    }

    /// The servers of a configuration file of `syncnet-server`.
    pub fn from_config(path: &Path) -> Result<Vec<Target>, String> {
        let target = |server: ServerEntry| Target {
            server_id: Some(server.server_id.to_string()),
            host: server.host,
            port: server.port,
        };
        Ok(ConfigFile::load(path)?.servers.into_iter().map(target).collect())
    }

    /// What to call it in a table: its id, else its address.
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

impl FromStr for Target {
    type Err = String;

    /// Reads `host:port`, with an IPv6 address in brackets.
    fn from_str(text: &str) -> Result<Target, String> {
        let wrong = || format!("{text:?} is not an address: write host:port, such as localhost:8000");
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bracketed.unwrap_or(host);
        if host.is_empty() || (bracketed.is_none() && host.contains(':')) {
            return Err(wrong());
        }
        let port = port.parse().ok().filter(|&port| port != 0).ok_or_else(wrong)?;
        Ok(Target { server_id: None, host: host.into(), port })
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
        assert!(Target::from_config(&path).unwrap_err().contains("config.json"));
    }
}
