//! What every command asks for that is an operator's.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use crate::{
    protocol::operator::OperatorKey,
    server::{args::DATA_DIR, config::load_secret},
};

use super::{command::ClusterArgs, target::Target};

/// Which cluster, and by what somebody proves to be its operator.
#[derive(Debug, Args)]
pub struct OperatorArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// The file with the cluster's secret, which proves that this is an operator [default: cluster.secret in
    /// the folder data]
    #[arg(long, global = true, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// How long to wait for an answer.
    #[arg(long, global = true, value_name = "MS", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    timeout_ms: u64,
}

/// The same, read and checked.
#[derive(Debug)]
pub struct Operator {
    /// The servers.
    pub targets: Vec<Target>,
    /// The proof.
    pub key: OperatorKey,
    /// How long an answer may take.
    pub timeout: Duration,
}

impl OperatorArgs {
    /// Reads the files that are named. The error is one sentence.
    pub fn load(self) -> Result<Operator, String> {
        let OperatorArgs { cluster, secret_file, timeout_ms } = self;
        let secret = load_secret(secret_file.as_deref(), DATA_DIR.as_ref())?.ok_or_else(|| {
            format!(
                "there is no {DATA_DIR}/cluster.secret here; name the file with --secret-file (a cluster \
                 without a secret has no operators)"
            )
        })?;
        let key = OperatorKey::new(&secret, &cluster.cluster_name()?);
        Ok(Operator { targets: cluster.targets()?, key, timeout: Duration::from_millis(timeout_ms) })
    }
}
