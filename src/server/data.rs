//! The data folder of a server: opened, set aside, read beside its writer.

use std::fmt::Display;

use crate::{
    protocol::peer::NodeId,
    replica::{Replica, storage::StorageError},
    storage::{OpenError, SqliteReader, SqliteStorage, folder},
};

use super::{clock::Clock, config::Config};

/// Exit status of a process whose disk has failed.
const EXIT_DISK_FAILED: i32 = 3;

/// Opens the replica on its data folder. Where the data is in doubt it is set aside, and the server begins
/// without any, under a new incarnation, to be rebuilt from the others.
///
/// # Errors
/// One sentence: an operator has to do something, or the disk fails.
pub fn open(config: &Config, clock: Clock) -> Result<Replica<SqliteStorage>, String> {
    match try_open(config, clock) {
        Err(OpenError::Storage(StorageError::Doubtful(reason))) => {
            log::error!("this server begins without data and is rebuilt from the others: {reason}");
            set_aside(config)?;
            try_open(config, clock).map_err(|error| error.to_string())
        }
        result => result.map_err(|error| error.to_string()),
    }
}

fn try_open(config: &Config, clock: Clock) -> Result<Replica<SqliteStorage>, OpenError> {
    let storage = SqliteStorage::open(&config.data_dir, config.server_id(), fresh_node_id()?)?;
    Ok(Replica::open(config.replica.clone(), storage, clock.now())?)
}

/// A name for a new incarnation. Never 0, which means nobody to the consensus library.
fn fresh_node_id() -> Result<NodeId, OpenError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| {
        OpenError::Refused(format!("the system gives no random numbers for a new incarnation: {error}"))
    })?;
    Ok(NodeId(u64::from_le_bytes(bytes).max(1)))
}

/// Sets the data in the folder aside. Nobody may have it open. The error is one sentence.
pub fn set_aside(config: &Config) -> Result<(), String> {
    let aside = folder::set_aside(&config.data_dir).map_err(|error| error.to_string())?;
    log::warn!("the data was set aside in {}", aside.display());
    Ok(())
}

/// Readers beside the replica. The error is one sentence.
pub fn readers(replica: &Replica<SqliteStorage>, count: usize) -> Result<Vec<SqliteReader>, String> {
    let readers: Result<_, StorageError> = (0..count).map(|_| replica.storage().reader()).collect();
    readers.map_err(|error| error.to_string())
}

/// Ends the process at once, because its disk cannot be relied on. Nothing more is said to anybody.
pub fn end_process(why: &dyn Display) -> ! {
    log::error!("the process ends at once: {why}");
    log::logger().flush();
    std::process::exit(EXIT_DISK_FAILED)
}
