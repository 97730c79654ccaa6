//! A backup of the data folder of a server that does not run: for a cluster that has lost its majority.
//!
//! The state in a folder is a little behind its log, and only a majority could say which of the log's last
//! entries are committed. All of them count here. What was acknowledged and reached this server is among
//! them; what was not acknowledged may have happened, too.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::{
    file::{BackupHead, Sealing},
    restore::{CHAT_ROWS, RestoreError, Restored, fresh_node_id, look_over},
};
use crate::{
    chat::State,
    disk::{Batch, Reader, Storage, StorageError},
    protocol::name::ServerId,
    replica::replay::replay,
    storage::{OpenError, SqliteStorage},
};

/// Most bytes of entries that are applied in one transaction.
const TOGETHER_BYTES: u64 = 4 * 1024 * 1024;

/// Why nothing was saved.
#[derive(Debug, Error)]
pub enum RescueError {
    #[error("there is no server's data in {}", .0.display())]
    NoData(PathBuf),
    #[error("{0}")]
    Folder(#[from] OpenError),
    #[error("{0}")]
    Storage(#[from] StorageError),
    #[error("{0}")]
    Copy(#[from] RestoreError),
    #[error("the backup cannot be written: {0}")]
    Write(#[from] io::Error),
}

/// Writes a backup of all that the folder of `server_id` holds. The folder stays as it is, and a server that
/// runs keeps it to itself. A copy is made in the folder `beside` meanwhile.
///
/// # Errors
/// The folder cannot be used, or the disk is full.
pub fn rescue(
    dir: &Path,
    server_id: &ServerId,
    made_at_ms: u64,
    beside: &Path,
    into: &mut impl Write,
) -> Result<Restored, RescueError> {
    if !SqliteStorage::is_in(dir) {
        return Err(RescueError::NoData(dir.to_owned()));
    }
    let node_id = || fresh_node_id().map_err(RestoreError::Chance);
    let storage = SqliteStorage::open(dir, server_id, node_id()?)?;
    let loaded = storage.load()?;
    let (head, mut content) = storage.reader()?.snapshot()?;
    let folder = tempfile::Builder::new().prefix(".rescuing-").tempdir_in(beside)?;
    let mut copy = SqliteStorage::open(folder.path(), server_id, node_id()?)?;
    copy.restore(&head, content.as_mut(), &mut |_| Ok(Vec::new()))
        .map_err(|error| RestoreError::Read(error.into()))?;
    // Only the data of a cluster has a snapshot.
    copy.commit(Batch { cluster: loaded.identity.cluster, ..Batch::default() })?;
    let rows =
        loaded.rows.into_iter().filter(|(key, _)| key.first().is_some_and(|table| *table >= CHAT_ROWS));
    let mut state = State::load(rows).map_err(RestoreError::State)?;
    let (mut next, end) = (head.index + 1, loaded.last.last_log_index + 1);
    while next < end {
        let entries = storage.entries(next, end, TOGETHER_BYTES)?;
        next = entries.last().map_or(end, |last| last.index + 1);
        replay(&mut copy, &mut state, &head.conf, entries)?;
    }
    let (snapshot, content) = copy.reader()?.snapshot()?;
    let cluster_name = format!("the folder of {server_id}");
    let program = env!("CARGO_PKG_VERSION").into();
    let head = BackupHead { made_at_ms, cluster_name, server_id: server_id.clone(), program, snapshot };
    io::copy(&mut Sealing::new(&head, content), into)?;
    Ok(look_over(&copy, head)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::{
        backup::{restore, verify},
        chat::{
            Authority, Command, Origin, Proposal,
            command::{Join, Say},
            entry::encode_entry,
        },
        disk::{Cluster, HardState},
        protocol::{
            name::{RoomName, UserName},
            peer::{ConfState, LogEntry, LogEntryKind, NodeId},
            request::Destination,
        },
    };

    fn entry(index: u64, command: Command) -> LogEntry {
        let user = UserName::new("alice").unwrap();
        let proposal =
            Proposal { user, authority: Authority::Guest, lamport_timestamp: 0, command, room: None };
        let origin = Origin { node_id: NodeId(7), boot: 1, seq: index };
        let data = encode_entry(origin, 1_763_677_200_000, &proposal.encode());
        LogEntry { term: 1, index, kind: LogEntryKind::Command, data, opaque: Vec::new() }
    }

    fn log() -> Vec<LogEntry> {
        let lobby = RoomName::new("lobby").unwrap();
        let say = |text: String| Say {
            to: Destination::Room(lobby.clone()),
            client_msg_id: text.clone(),
            body: text,
            reply_to: None,
            file_id: None,
            is_here: false,
        };
        let join = entry(1, Join::new(lobby.clone()).into());
        let said = (2..=5).map(|index| entry(index, say(format!("message {index}")).into()));
        [join].into_iter().chain(said).collect()
    }

    #[test]
    fn what_is_in_the_log_and_not_yet_in_the_state_is_saved_and_the_folder_stays() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let server_id = ServerId::new("server1").unwrap();
        let save = || {
            let mut backup = Vec::new();
            rescue(&data, &server_id, 5, folder.path(), &mut backup).map(|restored| (restored, backup))
        };
        assert!(matches!(save(), Err(RescueError::NoData(_))));
        assert!(!data.exists());
        let mut storage = SqliteStorage::open(&data, &server_id, NodeId(7)).unwrap();
        let cluster = Some(Cluster { cluster_id: 3, founders: Vec::new() });
        storage.commit(Batch { cluster, ..Batch::default() }).unwrap();
        let (mut applied, later) = (log(), log().split_off(2));
        applied.truncate(2);
        replay(&mut storage, &mut State::default(), &ConfState::default(), applied).unwrap();
        let hard_state = Some(HardState { term: 1, vote: None, commit: 2 });
        storage.commit(Batch { entries: later, hard_state, ..Batch::default() }).unwrap();
        assert!(matches!(save(), Err(RescueError::Folder(_))), "the server runs");
        drop(storage);
        let (restored, backup) = save().unwrap();
        assert_eq!((restored.rooms, restored.messages, restored.head.snapshot.index), (1, 4, 5));
        assert_eq!(verify(&backup[..], folder.path()).unwrap().messages, 4);
        let again = restore(&backup[..], &folder.path().join("new"), &server_id).unwrap();
        assert_eq!(again.messages, 4);
        let loaded = SqliteStorage::open(&data, &server_id, NodeId(8)).unwrap().load().unwrap();
        assert_eq!((loaded.applied.index, loaded.hard_state.commit, loaded.last.last_log_index), (2, 2, 5));
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().flatten().collect();
        assert_eq!(left.len(), 2, "{left:?}");
    }
}
