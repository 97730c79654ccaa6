//! The options that say which cluster is meant.

use std::path::PathBuf;

use clap::Args;

use crate::{
    server::{config::file::ConfigFile, program::environment},
    tls::client::Trust,
};

use super::{error::UsageError, target::Target};

/// Which cluster is meant.
#[derive(Debug, Args)]
pub struct ClusterArgs {
    /// The servers' client addresses [default: $SYNCNET_SERVERS, else those of the configuration file
    /// $SYNCNET_CONFIG, else localhost:8000,localhost:8001,localhost:8002]
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "HOST:PORT,...",
        conflicts_with = "config",
        global = true
    )]
    servers: Vec<Target>,
    /// Take the servers from a configuration file of `syncnet-server`.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Encrypt, and believe the authorities that this machine knows.
    #[arg(long, global = true)]
    tls: bool,
    /// Encrypt, and believe the authorities in this file [default: $SYNCNET_CA]
    #[arg(long, value_name = "FILE", global = true)]
    ca: Option<PathBuf>,
}

impl ClusterArgs {
    /// The name of the cluster, which is part of what proves that this is an operator: that of the
    /// configuration file, else that of the environment, else the default one.
    pub fn cluster_name(&self) -> Result<String, UsageError> {
        if let Some(path) = &self.config {
            return Ok(ConfigFile::load(path).map_err(UsageError::settings)?.cluster_name);
        }
        if let Some(name) = environment::value("SYNCNET_CLUSTER_NAME") {
            return Ok(name);
        }
        match environment::value("SYNCNET_CONFIG") {
            Some(path) => Ok(ConfigFile::load(path.as_ref()).map_err(UsageError::settings)?.cluster_name),
            None => Ok(ConfigFile::default().cluster_name),
        }
    }

    /// The servers that were named, else those that the environment names, else those of a cluster without
    /// configuration.
    ///
    /// # Errors
    /// One sentence that says what of it cannot be read.
    pub fn targets(self) -> Result<Vec<Target>, UsageError> {
        let trust = Trust::wanted(self.tls, self.ca.as_deref())?;
        let targets = self.named()?;
        Ok(targets.into_iter().map(|target| Target { trust: trust.clone(), ..target }).collect())
    }

    fn named(self) -> Result<Vec<Target>, UsageError> {
        if let Some(path) = self.config {
            return Target::from_config(&path);
        }
        if !self.servers.is_empty() {
            return Ok(self.servers);
        }
        if let Some(servers) = environment::value("SYNCNET_SERVERS") {
            let wrong = |source| UsageError::Variable { variable: "SYNCNET_SERVERS", source };
            return servers.split(',').map(|server| server.parse().map_err(wrong)).collect();
        }
        match environment::value("SYNCNET_CONFIG") {
            Some(path) => Target::from_config(path.as_ref()),
            None => Ok(Target::defaults()),
        }
    }
}
