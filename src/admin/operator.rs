//! The options of every command that needs an operator.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use crate::{
    protocol::operator::OperatorKey,
    server::{
        config::load_secret,
        program::{args::DATA_DIR, environment},
    },
};

use super::{cluster::ClusterArgs, error::UsageError, target::Target};

/// Which cluster, and what proves that this is its operator.
#[derive(Debug, Args)]
pub struct OperatorArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// The file with the cluster's secret, which proves that this is an operator [default:
    /// $SYNCNET_SECRET_FILE, else cluster.secret in the folder $SYNCNET_DATA_DIR or data]
    #[arg(long, global = true, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// How long to wait for an answer.
    #[arg(long, global = true, value_name = "MS", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    timeout_ms: u64,
}

/// The same, read and checked.
#[derive(Debug)]
pub struct Operator {
    pub targets: Vec<Target>,
    pub key: OperatorKey,
    /// How long an answer may take.
    pub timeout: Duration,
}

impl OperatorArgs {
    /// Reads the files that are named.
    ///
    /// # Errors
    /// One of them is missing or cannot be used.
    pub fn load(self) -> Result<Operator, UsageError> {
        let OperatorArgs { cluster, secret_file, timeout_ms } = self;
        let secret_file =
            secret_file.or_else(|| environment::value("SYNCNET_SECRET_FILE").map(PathBuf::from));
        let data_dir = environment::value("SYNCNET_DATA_DIR").unwrap_or_else(|| DATA_DIR.into());
        let secret = load_secret(secret_file.as_deref(), data_dir.as_ref()).map_err(UsageError::settings)?;
        let secret = secret.ok_or(UsageError::NoSecret(data_dir))?;
        let key = OperatorKey::new(&secret, &cluster.cluster_name()?);
        Ok(Operator { targets: cluster.targets()?, key, timeout: Duration::from_millis(timeout_ms) })
    }
}
