//! What servers say to each other over a peer link, after the link has proved who is at its other end.
//!
//! Binary (postcard), because both ends are ours. The consensus library's own messages have their mirror
//! here, so that its protobuf never meets bytes from outside (RUSTSEC-2024-0437).

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use super::{
    binary::{self, DecodeError},
    directory::Directory,
    file::FileId,
    name::{RoomKey, ServerId, UserKey, UserName},
    report::Report,
    rules::{KnownRules, RulesVersion},
};

/// The oldest version of this module's encoding that is still spoken. Two ends speak the newest that both
/// know (`server/peer/handshake.rs`).
pub const PEER_OLDEST: u16 = 5;
/// The newest version of this module's encoding. A message that an older version does not have is only sent
/// on links that speak a newer one.
pub const PEER_NEWEST: u16 = 5;
/// Largest encoded message. A consensus message carries up to 1 MiB of entries and one entry more.
pub const PEER_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// One incarnation of a server's data: a random number drawn when its data folder was first made.
///
/// It is the server's name within consensus. A server that lost its data comes back under a new one,
/// because the old one may have voted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u64);

impl std::fmt::Display for NodeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// How far a server's synced log and vote are. Within one incarnation it never goes back, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct LogMark {
    /// The term of the last entry.
    pub last_log_term: u64,
    /// The index of the last entry.
    pub last_log_index: u64,
}

/// What a server says of its data when a link comes up, and in each heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataMark {
    /// The cluster its data belongs to; `None` before the first meeting.
    pub cluster_id: Option<u64>,
    pub node_id: NodeId,
    /// The number of this run of its data folder; it grows with every start, not always by one.
    pub boot: u64,
    /// The term it has promised.
    pub term: u64,
    /// Its synced log.
    pub log: LogMark,
}

/// A server of a cluster and the incarnation that counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Founder {
    pub server_id: ServerId,
    pub node_id: NodeId,
}

/// A message between servers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum PeerMessage {
    /// The first message on every link in both directions.
    Hello {
        /// What the sender's data is.
        data: DataMark,
        /// What the sender's program knows.
        rules: KnownRules,
    },
    /// The receiver's data is older than what the sender has seen of it: it must not be used.
    Doubt {
        /// The incarnation that is meant.
        node_id: NodeId,
        /// What was seen, in one sentence.
        reason: String,
    },
    /// The sender has no data, the cluster has: let it in under this incarnation.
    Join {
        server_id: ServerId,
        node_id: NodeId,
    },
    /// The answer to a `Hello`: the cluster is this, and nothing that the sender has seen speaks against the
    /// receiver's data. A receiver without data belongs to the cluster from now on: as one of the founders if
    /// its incarnation is among them, else as one that has to `Join`.
    Welcome {
        cluster_id: u64,
        founders: Vec<Founder>,
    },
    /// Which users have connections open at the sender.
    Presence {
        /// Whether `online` is the whole list; else a change to what was said before.
        whole: bool,
        online: Vec<UserKey>,
        /// Those of them who say that they are not at the keyboard.
        away: Vec<UserKey>,
        /// Those who no longer have any.
        offline: Vec<UserKey>,
    },
    /// A user of the sender's is typing. May be lost.
    Typing {
        user: UserName,
        room: RoomKey,
    },
    Raft(Box<RaftMessage>),
    /// Proposals of the sender's clients, in order, for the leader to propose.
    Forward {
        node_id: NodeId,
        boot: u64,
        /// The number of the first proposal; the others follow without a hole.
        first_seq: u64,
        /// Encoded commands.
        commands: Vec<Vec<u8>>,
    },
    /// A snapshot begins; its chunks follow on the same link.
    SnapshotBegin(SnapshotHead),
    /// Some bytes of the snapshot.
    SnapshotChunk {
        /// The place of these bytes in the snapshot.
        offset: u64,
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// The snapshot is complete.
    SnapshotEnd {
        /// SHA-256 of all its bytes.
        sha256: [u8; 32],
    },
    /// The state of the sender.
    Report(Box<Report>),
    /// Which servers the cluster has, as the sender has applied it. An answer, too, to a server that links
    /// and is not among them, or should not be the one that dials.
    Servers {
        /// The sender's cluster; `None` before the first meeting.
        cluster_id: Option<u64>,
        /// All of them.
        servers: Directory,
    },
    /// A row of the sender's state is damaged: send it, if it is whole at the receiver.
    RowWanted(RowKey),
    /// A row as the sender has it now, which may be another version of it than the receiver's.
    Row {
        key: RowKey,
        content: RowContent,
    },
}

/// A row of the replicated state, on any server's disk.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RowKey {
    State(Vec<u8>),
    Event { room: u64, seq: u64 },
    Chunk { file: FileId, number: u32 },
}

impl std::fmt::Display for RowKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RowKey::State(key) => write!(f, "the state row with key {}", HEXLOWER.encode(key)),
            RowKey::Event { room, seq } => write!(f, "event {seq} of room {room}"),
            RowKey::Chunk { file, number } => write!(f, "piece {number} of file {file}"),
        }
    }
}

/// What a row holds besides its key, byte for byte as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RowContent {
    State(Vec<u8>),
    Event {
        /// The log entry that made it.
        index: u64,
        created_at_ms: u64,
        /// The newest time of the room's events up to this one.
        newest_ms: u64,
        author: Vec<u8>,
        json: Vec<u8>,
    },
    Chunk(Vec<u8>),
}

impl LogEntry {
    /// How many bytes of data it holds.
    pub fn size(&self) -> usize {
        self.data.len() + self.opaque.len()
    }
}

/// The head of a snapshot, sent before its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotHead {
    /// The cluster it belongs to.
    pub cluster_id: u64,
    /// The sender's term: the receiver keeps its own vote, but must not be ahead.
    pub term: u64,
    /// The last entry it contains.
    pub index: u64,
    /// The term of that entry.
    pub index_term: u64,
    /// The servers that count, at that entry.
    pub conf: ConfState,
    /// The rules that its receiver has to know.
    pub rules: RulesVersion,
}

/// The servers that count, by incarnation.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ConfState {
    /// They vote.
    pub voters: Vec<NodeId>,
    /// They are sent the log and do not vote.
    pub learners: Vec<NodeId>,
    /// During a change: the voters before it, whose majority counts as well.
    pub voters_outgoing: Vec<NodeId>,
    /// During a change: voters before it that become learners after it.
    pub learners_next: Vec<NodeId>,
    /// Whether the change ends by itself.
    pub auto_leave: bool,
}

/// One entry of the replicated log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// The term of the leader that proposed it.
    pub term: u64,
    pub index: u64,
    pub kind: LogEntryKind,
    /// An encoded command (`Command`) or an encoded configuration change (`Configure`).
    #[serde(with = "serde_bytes")]
    pub data: Vec<u8>,
    /// Bytes that only the consensus library reads.
    pub opaque: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LogEntryKind {
    /// A command for the chat state, or nothing if `data` is empty.
    Command,
    /// A change of the servers that count; if `data` is empty, the end of such a change.
    Configure,
}

/// The mirror of the consensus library's message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RaftMessage {
    /// The type of the message, numbered as in the library.
    pub kind: u8,
    pub to: NodeId,
    pub from: NodeId,
    pub term: u64,
    /// The term of the entry at `index`.
    pub log_term: u64,
    /// A place in the log.
    pub index: u64,
    /// Entries that follow it.
    pub entries: Vec<LogEntry>,
    /// The sender's commit index.
    pub commit: u64,
    /// The term of the entry there.
    pub commit_term: u64,
    pub reject: bool,
    /// A hint at which index the logs differ.
    pub reject_hint: u64,
    /// The index a snapshot was asked for.
    pub request_snapshot: u64,
    /// Given back as it is.
    pub context: Vec<u8>,
}

#[cfg(test)]
impl RaftMessage {
    /// One that says nothing but its term, for tests to add to.
    pub fn empty(from: NodeId, to: NodeId, term: u64) -> RaftMessage {
        RaftMessage {
            kind: 0,
            to,
            from,
            term,
            log_term: 0,
            index: 0,
            entries: Vec::new(),
            commit: 0,
            commit_term: 0,
            reject: false,
            reject_hint: 0,
            request_snapshot: 0,
            context: Vec::new(),
        }
    }
}

pub fn encode(message: &PeerMessage) -> Vec<u8> {
    postcard::to_stdvec(message).expect("plain data always encodes")
}

/// Decodes a message. Bytes that are left over are an error.
pub fn decode(bytes: &[u8]) -> Result<PeerMessage, DecodeError> {
    binary::decode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_round_trip_and_refuse_rests() {
        let message =
            PeerMessage::Forward { node_id: NodeId(7), boot: 2, first_seq: 3, commands: vec![vec![1, 2]] };
        let mut bytes = encode(&message);
        assert_eq!(decode(&bytes).unwrap(), message);
        bytes.push(0);
        decode(&bytes).unwrap_err();
        decode(&[255; 9]).unwrap_err();
    }
}
