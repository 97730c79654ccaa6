//! The answers to commands.

use crate::{
    disk::RoomId,
    protocol::{
        answer::SentAnswer,
        event::Event,
        file::{FileId, FileInfo},
        name::{RoomName, UserName},
    },
};

/// The answer to a command that was allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Joined {
        /// The number of the room.
        room_id: RoomId,
        /// Its name, in the case it was created with.
        room: RoomName,
        /// Whether this command created it.
        created: bool,
        private: bool,
        topic: String,
        /// The user's role in it, in the word that `members` has for it.
        role: &'static str,
        /// The first event that it still has.
        first_seq: u64,
        /// Its newest event, that of the joining included.
        last_seq: u64,
    },
    /// To `Leave` and `DeleteRoom`.
    Left {
        /// The number of the room.
        room_id: RoomId,
        /// Its name, in the case in which it was given.
        room: RoomName,
    },
    /// To `Say` and `HookPost`.
    Sent(SentAnswer),
    /// To what changes something in a room.
    Placed {
        room: RoomName,
        /// The event that says so.
        seq: u64,
        /// Whether it was so already, and the event is an earlier one.
        duplicate: bool,
    },
    Invited {
        room: RoomName,
        /// The event that says so.
        seq: u64,
        /// Whether it was so already, and the event is an earlier one.
        duplicate: bool,
        /// Whether a user has ever used the name.
        is_known: bool,
    },
    /// To what changes an account.
    Account {
        /// Its name, in the case it was created with.
        username: UserName,
    },
    /// To `FileBegin` and `FileChunk`, and to `FileDelete` of an upload that was not ended.
    Receiving {
        file_id: FileId,
        /// How many bytes of it have arrived.
        received: u64,
    },
    /// To `FileEnd` and `FileDelete`.
    File(FileInfo),
    /// To what changes nothing that users see.
    Done,
    ServersChanged {
        /// The log entry that says so.
        version: u64,
    },
    /// To `Nothing`, and to commands of the cluster itself: no client waits for these.
    Nothing,
}

impl Reply {
    /// The answer that names the event.
    pub(super) fn placed(event: &Event) -> Reply {
        Reply::Placed { room: event.room.clone(), seq: event.seq, duplicate: false }
    }
}
