//! The interface of a disk. `crate::storage` implements it with SQLite, and for tests in memory.
//!
//! **The promise:** when [`Storage::commit`] has returned `Ok`, what the batch says of the *log* survives a
//! power cut: entries, term and vote, what is remembered of other servers, the cluster. When it has not
//! returned, all of that or nothing of it does. Everything else rests on this.
//!
//! What the batch says of the *state* is written behind, in order ([`Storage::saved`]). A power cut may take
//! it away, and with it what was written to the state after it: then the state is that of an earlier applied
//! index, and the log has the entries behind it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    io::Read,
    ops::Range,
    sync::Arc,
};

use serde_json::value::RawValue;

pub use crate::protocol::{file::FileId, room_id::RoomId};
use crate::protocol::{
    name::{ServerId, UserKey},
    peer::{ConfState, DataMark, Founder, LogEntry, LogMark, NodeId, RowContent, RowKey, SnapshotHead},
    status::Progress,
};

/// Whose data this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The configured id of the server whose folder this is.
    pub server_id: ServerId,
    /// The incarnation: drawn at random when the folder was made.
    pub node_id: NodeId,
    /// The number of this run: each opening of the folder adds a random step of at least one, which is
    /// synced already. So a start from an old copy does not get the number of a run that the copy forgot.
    pub boot: u64,
    /// The cluster, once there is one.
    pub cluster: Option<Cluster>,
}

/// The cluster that data belongs to.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Cluster {
    pub cluster_id: u64,
    /// Its first servers: the configuration at log index 0.
    pub founders: Vec<Founder>,
}

/// The persistent state of Raft (section 5) besides the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HardState {
    /// The newest term promised.
    pub term: u64,
    /// Who got this server's vote in that term.
    pub vote: Option<NodeId>,
    /// How far the log was known to be committed. May lag; never ahead of the log.
    pub commit: u64,
}

/// How far the log is contained in the state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applied {
    /// The last entry applied.
    pub index: u64,
    /// The term of that entry.
    pub term: u64,
    /// The servers that count, as of that entry.
    pub conf: ConfState,
}

/// One row of replicated state: a key and its value, or its removal.
///
/// The first byte of the key tells whose it is: below 16 the replica's, from 16 on the chat state's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub key: Vec<u8>,
    /// The value; `None` removes the row.
    pub value: Option<Vec<u8>>,
}

/// One event of a room as it is kept. Storing the same (room, seq) again replaces it.
#[derive(Debug, Clone)]
pub struct EventRow {
    pub room: RoomId,
    /// Its place in the room.
    pub seq: u64,
    /// The log entry that made it.
    pub index: u64,
    /// The leader's time at proposal.
    pub created_at_ms: u64,
    pub author: UserKey,
    /// Its JSON as clients get it (`protocol::Event`).
    pub json: Arc<RawValue>,
}

/// A piece of a file. Storing the same (file, number) again replaces it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkRow {
    pub file: FileId,
    /// Its place in the file.
    pub number: u32,
    pub bytes: Arc<[u8]>,
}

/// What is written at once: first what it says of the log, then what it says of the state.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Log entries, in order and without a hole. What the log holds from the first one's index on is
    /// replaced.
    pub entries: Vec<LogEntry>,
    /// Term, vote and commit index, where they changed.
    pub hard_state: Option<HardState>,
    /// Rows of state, in order: of two with the same key the later counts.
    pub rows: Vec<Row>,
    /// Events, in order. One with the room and seq of an older one replaces it, in searches as well.
    pub events: Vec<EventRow>,
    /// Rooms with a number: the events below that number are removed, also those of this batch. From the
    /// commit on they cannot be read; their rows and their text are wiped in slices, by this commit and later
    /// ones.
    pub expired: Vec<(RoomId, u64)>,
    /// Pieces of files, in order.
    pub chunks: Vec<ChunkRow>,
    /// Files that are removed with all their chunks, also those of this batch. As with `expired`, from the
    /// commit on they cannot be read, and they are wiped in slices. No chunk of such a file comes later.
    pub removed_files: Vec<FileId>,
    /// How far the rows, events and files above bring the state. Always set together with them.
    pub applied: Option<Applied>,
    /// Entries up to and including this one may be removed from the log, once the state that contains them is
    /// durable.
    pub compact_to: Option<u64>,
    /// The cluster that this data belongs to from now on, if it belonged to none.
    pub cluster: Option<Cluster>,
    /// The last known marks of other servers' data.
    pub peer_marks: Vec<(ServerId, DataMark)>,
}

impl Batch {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        !self.changes_log() && !self.changes_state()
    }

    /// Whether it says something of the log, or of what must be durable with it.
    pub fn changes_log(&self) -> bool {
        !self.entries.is_empty() || self.hard_state.is_some() || !self.peer_marks.is_empty()
    }

    /// Whether it says something of the state.
    pub fn changes_state(&self) -> bool {
        !self.rows.is_empty()
            || !self.events.is_empty()
            || !self.expired.is_empty()
            || !self.chunks.is_empty()
            || !self.removed_files.is_empty()
            || self.applied.is_some()
            || self.compact_to.is_some()
            || self.cluster.is_some()
    }
}

/// Everything a start needs.
#[derive(Debug)]
pub struct Loaded {
    /// Whose data it is.
    pub identity: Identity,
    /// Term, vote, commit. The commit index is at least the applied index and at most the last index.
    pub hard_state: HardState,
    /// How far the state goes.
    pub applied: Applied,
    /// The entry before the first one kept: where the log was cut (index 0 and term 0 at the beginning).
    pub truncated: LogMark,
    /// The last entries of the log, as many as [`fits_tail`], in order and without a hole.
    pub tail: Vec<LogEntry>,
    /// The last entry (equal to `truncated` if the log is empty).
    pub last: LogMark,
    /// All rows of state, in the order of their keys.
    pub rows: Vec<(Vec<u8>, Vec<u8>)>,
    /// The last known marks of other servers' data.
    pub peer_marks: Vec<(ServerId, DataMark)>,
}

/// Most entries of the log that are kept in memory: a peer that is less behind costs no disk read.
pub const TAIL_ENTRIES: usize = 20_000;

/// Most bytes of them, but at least one entry.
pub const TAIL_BYTES: usize = 32 * 1024 * 1024;

/// Whether so many entries of so many bytes may be kept in memory.
pub fn fits_tail(entries: usize, bytes: usize) -> bool {
    entries <= 1 || (entries <= TAIL_ENTRIES && bytes <= TAIL_BYTES)
}

/// Why a call failed. Each of the two kinds has its own consequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorageError {
    /// Reading, writing or syncing failed. What is on the disk is unknown: the process must end without
    /// sending anything more.
    Failed(String),
    /// What was read is not what was written (checksum, order, bounds). The data must not be used: the
    /// server goes into quarantine and is rebuilt from the others.
    Doubtful(String),
    /// The same of one row of the state. Another server may have it whole.
    Damaged(DamagedRow),
}

/// A row that fails its checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedRow {
    pub key: RowKey,
    /// The checksum that is kept with it: what fits it is what the row was.
    pub crc: u32,
}

impl fmt::Display for DamagedRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} fails its checksum", self.key)
    }
}

impl StorageError {
    /// Why the data is in doubt, if that is what the error says.
    pub fn doubt(&self) -> Option<String> {
        match self {
            StorageError::Failed(_) => None,
            StorageError::Doubtful(what) => Some(what.clone()),
            StorageError::Damaged(row) => Some(row.to_string()),
        }
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StorageError::Failed(what) => write!(f, "the disk failed: {what}"),
            StorageError::Doubtful(what) => write!(f, "the data is in doubt: {what}"),
            StorageError::Damaged(row) => write!(f, "the data is in doubt: {row}"),
        }
    }
}

impl std::error::Error for StorageError {}

/// Why a snapshot was not installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstallError {
    /// Its content cannot be used: it is damaged, incomplete, or of a format that this program does not know.
    /// Nothing was changed.
    Unreadable(String),
    /// The receiver's own disk failed.
    Storage(StorageError),
}

impl From<StorageError> for InstallError {
    fn from(error: StorageError) -> Self {
        InstallError::Storage(error)
    }
}

/// Adds the events of a room at these places; later ones replace earlier ones.
pub fn collect_events<'a>(
    into: &mut BTreeMap<u64, EventRow>,
    events: impl IntoIterator<Item = &'a EventRow>,
    room: RoomId,
    seqs: &Range<u64>,
) {
    let events = events.into_iter().filter(|event| event.room == room && seqs.contains(&event.seq));
    into.extend(events.map(|event| (event.seq, event.clone())));
}

/// The lowest seq of a room among events that were made at `at_ms` or later.
pub fn lowest_since<'a>(
    events: impl IntoIterator<Item = &'a EventRow>,
    room: RoomId,
    at_ms: u64,
) -> Option<u64> {
    let events = events.into_iter().filter(|event| event.room == room && event.created_at_ms >= at_ms);
    events.map(|event| event.seq).min()
}

/// What was written of the state since it was last asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Saved {
    /// How far the state on the disk goes now.
    pub applied: Option<Applied>,
    /// The last entry that was cut from the log.
    pub truncated: Option<LogMark>,
    /// Damage in the state that keeps what was committed from being written to it. That is tried again and
    /// again, and the log has it meanwhile.
    pub damage: Option<StorageError>,
}

/// The one writer of a server's disk. Owned by the replica.
pub trait Storage {
    /// Reads everything a start needs. Not to be called while something is being saved.
    fn load(&self) -> Result<Loaded, StorageError>;

    /// Writes `batch`. Returns only when what it says of the log is synced, or with the reason why it may not
    /// be. What it says of the state may be written later; if it names a cluster, that is written and synced
    /// as well.
    fn commit(&mut self, batch: Batch) -> Result<(), StorageError>;

    /// What was written of the state since this was last called.
    fn saved(&mut self) -> Result<Saved, StorageError>;

    /// Whether something of the state is still to be written. More of it may be committed all the same, and
    /// waits.
    fn is_saving(&self) -> bool {
        false
    }

    /// Wipes a slice of what is removed, as each commit to the state does, where there was none since this
    /// was last called. To be called now and then: without it deleted text would stay on the disk of a server
    /// to which nothing more is written.
    fn wipe_if_idle(&mut self) -> Result<(), StorageError>;

    /// About how many removed events are still to be wiped.
    fn unwiped(&self) -> u64;

    /// The progress of the index of searches, while it is being made anew.
    fn indexing(&self) -> Option<Progress> {
        None
    }

    /// The entries `low..high` of the log, fewer if they would pass `max_bytes` of data (at least one).
    fn entries(&self, low: u64, high: u64, max_bytes: u64) -> Result<Vec<LogEntry>, StorageError>;

    /// One committed event by its place in its room, be it written or not.
    fn event(&self, room: RoomId, seq: u64) -> Result<Option<EventRow>, StorageError>;

    /// The events of a room at these places that are committed and not written yet, each in its newest form.
    fn unwritten(&self, room: RoomId, seqs: Range<u64>) -> BTreeMap<u64, EventRow>;

    /// As [`Reader::first_since`], of all events that were committed, be they written or not.
    fn first_since(&self, room: RoomId, at_ms: u64) -> Result<Option<u64>, StorageError>;

    /// A row of the state as it is written, for a server that has it damaged.
    fn row(&self, key: &RowKey) -> Result<Option<RowContent>, StorageError>;

    /// Takes over what another server has of a damaged row, if the row's own checksum proves it to be what
    /// the row was. Returns whether it does. It is written behind, unless the row is another one by then.
    fn repair(&mut self, row: &DamagedRow, content: RowContent) -> Result<bool, StorageError>;

    /// Replaces state, events, files and log by a snapshot, in one step: afterwards the log is empty and
    /// begins after `head.index`, the state is the snapshot's, `applied` is its head, `cluster_id` is
    /// checked, and `hard_state` (this server's own term and vote) is stored. Identity and peer marks stay.
    ///
    /// `content` is what [`Reader::snapshot`] gave on another server, already checked to be complete;
    /// if a part of it does not fit its own checksums the result is `Unreadable` and nothing changed.
    fn install(
        &mut self,
        head: &SnapshotHead,
        hard_state: HardState,
        content: &mut dyn Read,
    ) -> Result<(), InstallError>;
}

/// A view of a server's database for reading beside the writer; one per query thread.
///
/// It sees what was committed when the call began, and nothing of a batch under way.
pub trait Reader {
    /// The newest `limit` events of `room` that are above `after` and below `before`, or the oldest of them
    /// if `oldest_first` is set; always in the order of `seq`, without holes. Fewer if they would pass
    /// `max_bytes` (at least one).
    fn events(&self, room: RoomId, range: &EventRange) -> Result<Vec<EventRow>, StorageError>;

    /// The lowest seq in `room` whose event was created at `at_ms` or later; `None` if all are older. Later
    /// events may be older, if a leader's clock went back. If an event that is removed by now was not older,
    /// it is the first event that is left.
    fn first_since(&self, room: RoomId, at_ms: u64) -> Result<Option<u64>, StorageError>;

    /// Messages with certain words in them, newest first.
    fn search(&self, search: &Search) -> Result<Found, StorageError>;

    /// A piece of a file.
    fn chunk(&self, file: FileId, number: u32) -> Result<Option<Vec<u8>>, StorageError>;

    /// Reads the rows of the state that come after `above`, or from the first one on, until `max_bytes` are
    /// read, and checks each by itself.
    fn scrub(&self, above: Option<&RowKey>, max_bytes: usize) -> Result<Scrubbed, StorageError>;

    /// A consistent copy of the state, as of the applied index at the moment of the call.
    /// `head.term` is set to 0; the sender fills it in.
    fn snapshot(&self) -> Result<(SnapshotHead, Box<dyn Read + Send>), StorageError>;
}

/// What a slice of the state was found to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// How many rows were read.
    pub rows: u64,
    pub damaged: Vec<DamagedRow>,
    /// The last row that was read; `None` if there is none behind it.
    pub last: Option<RowKey>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRange {
    /// Only events above this seq.
    pub after: u64,
    /// Only events below this seq; `u64::MAX` for no bound.
    pub before: u64,
    /// Whether `limit` keeps the oldest of them; else the newest.
    pub oldest_first: bool,
    /// At most so many.
    pub limit: usize,
    /// At most so many bytes of JSON, but at least one event.
    pub max_bytes: usize,
}

/// What is searched, and where.
///
/// Only messages are found, by the words of their text as it is now. Case and accents do not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// What the user typed: words, all of which have to occur; `"several words"` in quotes, which have to
    /// follow one another; `begin*` for all words with that beginning. Nothing else has a meaning. No text is
    /// an error; an empty query finds nothing.
    pub query: String,
    /// Only in this room, which must also be one of `readable`.
    pub room: Option<RoomId>,
    /// The rooms that the asking user may read: nothing is found elsewhere.
    pub readable: Arc<BTreeSet<RoomId>>,
    /// Only by this author.
    pub author: Option<UserKey>,
    /// Only created at or after this time.
    pub since_ms: Option<u64>,
    /// Only created before this time.
    pub until_ms: Option<u64>,
    /// Only with a Lamport timestamp below this one: to go on where an earlier search ended.
    pub before_lamport: Option<u64>,
    /// At most so many hits.
    pub limit: usize,
}

/// What a search has found.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// The hits, newest first.
    pub hits: Vec<Hit>,
    /// Set if the search was ended because it took too long: it has seen everything with a Lamport timestamp
    /// at or above this one, so the same search with this as `before_lamport` goes on. If it is not below the
    /// `before_lamport` of this search (`u64::MAX` if there was none), it made no progress, and only a
    /// narrower search will.
    pub cut_at: Option<u64>,
    /// Set while the index is being made anew: messages that it does not have yet were not found.
    pub indexing: Option<Progress>,
}

/// One message that was found.
#[derive(Debug, Clone)]
pub struct Hit {
    pub row: EventRow,
    /// Its place among all messages, for `before_lamport`.
    pub lamport: u64,
    /// The part of its text around the first word that was found: plain text in one line, with `…` for what
    /// was left out. The words that were found are between `**` and `**`. These are the only asterisks: those
    /// of the text become `∗` (U+2217).
    pub snippet: String,
}
