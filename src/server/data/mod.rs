//! The data folder of a server: opened, set aside, read beside its writer.

pub mod backups;
pub mod query;
pub mod readers;
pub mod scrub;

use std::{fmt::Display, sync::Arc};

use crate::{
    config::ReplicaConfig,
    disk::StorageError,
    protocol::{directory::Directory, peer::NodeId},
    replica::Replica,
    storage::{OpenError, SqliteReader, SqliteStorage, folder},
};

use super::{config::Config, machine::clock::Clock, metrics::Metrics};

/// Exit status of a process whose disk has failed.
const EXIT_DISK_FAILED: i32 = 3;
/// Exit status of a server that the cluster has no more. To start it again changes nothing.
const EXIT_REMOVED: i32 = 4;

/// Opens the replica on its data folder, for a cluster of `servers` unless the folder knows newer ones. If
/// the data is in doubt it is set aside, and the server begins without any, under a new incarnation, to be
/// rebuilt from the others.
///
/// # Errors
/// An operator has to do something, or the disk fails.
pub fn open(
    config: &Config,
    servers: &Directory,
    clock: Clock,
    metrics: &Arc<Metrics>,
) -> Result<Replica<SqliteStorage>, OpenError> {
    match try_open(config, servers, clock, metrics) {
        Err(OpenError::Storage(error)) if let Some(reason) = error.doubt() => {
            metrics.quarantines.inc();
            log::error!("this server begins without data and is rebuilt from the others: {reason}");
            set_aside(config)?;
            try_open(config, servers, clock, metrics)
        }
        result => result,
    }
}

fn try_open(
    config: &Config,
    servers: &Directory,
    clock: Clock,
    metrics: &Arc<Metrics>,
) -> Result<Replica<SqliteStorage>, OpenError> {
    let mut storage = SqliteStorage::open(&config.data_dir, config.server_id(), fresh_node_id()?)?;
    let metrics = Arc::clone(metrics);
    storage.time_appends(move |took| metrics.log_sync.observe(took.as_secs_f64()));
    let config = ReplicaConfig { servers: servers.clone(), ..config.replica.clone() };
    Ok(Replica::open(config, storage, clock.now())?)
}

/// A name for a new incarnation. Never 0, which means "no server" to the consensus library.
fn fresh_node_id() -> Result<NodeId, OpenError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| {
        OpenError::Refused(format!("the system gives no random numbers for a new incarnation: {error}"))
    })?;
    Ok(NodeId(u64::from_le_bytes(bytes).max(1)))
}

/// Sets the data in the folder aside. No thread may have it open.
pub fn set_aside(config: &Config) -> Result<(), OpenError> {
    let aside = folder::set_aside(&config.data_dir)?;
    log::warn!("the data was set aside in {}", aside.display());
    Ok(())
}

/// Readers beside the replica.
pub fn readers(replica: &Replica<SqliteStorage>, count: usize) -> Result<Vec<SqliteReader>, StorageError> {
    (0..count).map(|_| replica.storage().reader()).collect()
}

/// Ends the process, because the cluster has this server no more.
pub fn end_removed(why: &str) -> ! {
    log::error!("{why}");
    log::logger().flush();
    std::process::exit(EXIT_REMOVED)
}

/// Ends the process at once, because its disk cannot be relied on. Nothing more is sent.
pub fn end_process(why: &dyn Display) -> ! {
    log::error!("the process ends at once: {why}");
    log::logger().flush();
    std::process::exit(EXIT_DISK_FAILED)
}
