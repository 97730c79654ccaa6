//! The disk of one server: a `medium`, and a record of what was made durable. It outlives the process that
//! writes to it.
//!
//! `commit` returns at once here; how long the sync took is added up in `busy`, and the server's outputs
//! are held back for that time. So a crash in between loses the outputs and keeps the data.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    io::Read,
    ops::Range,
    rc::Rc,
};

use serde_json::Value;
use syncnet::{
    chat::{Command, Entry, command::Say},
    disk::{
        Applied, Batch, DamagedRow, EventRange, EventRow, HardState, InstallError, Loaded, Reader, RoomId,
        Saved, Storage, StorageError,
    },
    protocol::{
        name::ServerId,
        peer::{ConfState, LogEntry, LogEntryKind, LogMark, NodeId, RowContent, RowKey, SnapshotHead},
    },
    storage::OpenError,
};

use crate::{
    checker::{Counting, LogLine, Synced},
    medium::{Image, Medium},
    queue::Micros,
    random::Random,
    scenario::DiskSpeed,
    upgrading::NEW,
};

/// The point of its disk work at which a process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashPoint {
    /// Before the transaction is synced: nothing of it survives, or all of it if it was almost done.
    BeforeCommit,
    /// After it is synced, before anything is said about it.
    AfterCommit,
    /// While some of what is to be said about it has been said.
    WhileSpeaking,
}

/// A fault of a disk, after a number of commits without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFault {
    /// The process dies at this point of a commit.
    Crash(CrashPoint, u32),
    /// A write fails.
    Write(u32),
    /// A sync fails: what was written is in doubt from then on.
    Sync(u32),
}

/// What is known of a disk without reading it.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The incarnation, once there is one.
    pub node_id: Option<NodeId>,
    /// Term and vote.
    pub hard_state: HardState,
    /// The last entry of the log.
    pub last: LogMark,
    /// How far the state goes.
    pub applied: Applied,
}

/// A copy of a disk, to be put back later.
#[derive(Clone)]
pub struct Copy {
    image: Image,
    pub known: Known,
}

/// What a commit or an install changes.
#[derive(Debug, Default)]
struct Change {
    synced: Synced,
    committed: Vec<LogEntry>,
    last: Option<LogMark>,
    hard_state: Option<HardState>,
    applied: Option<Applied>,
    rooms: BTreeSet<RoomId>,
}

/// A disk: what it holds, how fast it is, and what goes wrong with it.
pub struct Disk {
    medium: Medium,
    pub known: Known,
    rooms: BTreeSet<RoomId>,
    speed: DiskSpeed,
    random: Random,
    fault: Option<DiskFault>,
    /// Whether what it holds is damaged or in doubt.
    is_doubtful: bool,
    /// Whether a row of it is damaged.
    is_decayed: bool,
    /// Whether the process died in a commit, and where.
    pub crashed: Option<CrashPoint>,
    /// Whether the crash in a commit takes the power with it.
    pub loses_power: bool,
    /// The change of the commit in which a process died; the next start shows whether it survived.
    in_flight: Option<Change>,
    /// How long the commits took since this was last taken.
    pub busy: Micros,
    /// The part of the next commit's time that is over already.
    begun: Micros,
    /// What became durable since this was last taken.
    pub synced: Vec<Synced>,
    /// The log entries that were ever applied here, by their place: an applied entry is committed, even if a
    /// log held another one at that place before, or another server holds one of a newer term that was never
    /// committed.
    pub committed: BTreeMap<u64, LogEntry>,
}

impl Disk {
    /// An empty disk.
    pub fn new(medium: Medium, speed: DiskSpeed, random: Random) -> Disk {
        Disk {
            medium,
            known: Known::default(),
            rooms: BTreeSet::new(),
            speed,
            random,
            fault: None,
            is_doubtful: false,
            is_decayed: false,
            crashed: None,
            loses_power: false,
            in_flight: None,
            busy: 0,
            begun: 0,
            synced: Vec::new(),
            committed: BTreeMap::new(),
        }
    }

    /// A copy of what a power cut at this moment would leave.
    pub fn copy(&self) -> Copy {
        Copy { image: self.medium.image(), known: self.known.clone() }
    }

    /// Replaces its content by a copy.
    pub fn put_back(&mut self, copy: Copy) {
        self.medium.restore(&copy.image);
        self.known = copy.known;
        self.is_doubtful = false;
        self.is_decayed = false;
        self.in_flight = None;
    }

    /// Removes everything, as if the folder had been deleted or set aside.
    pub fn wipe(&mut self) {
        self.medium.wipe();
        self.known = Known::default();
        self.fault = None;
        self.is_doubtful = false;
        self.is_decayed = false;
        self.in_flight = None;
    }

    /// The process is about to end in order.
    pub fn close(&mut self) {
        self.medium.close();
    }

    /// The process is dead and about to be dropped. Without power, what was not synced is gone as well.
    pub fn die(&mut self, has_power: bool) {
        if has_power {
            self.medium.kill();
        } else {
            self.medium.cut_power(&self.random);
        }
    }

    /// From now on it reports every sync as done without doing it.
    pub fn lie(&mut self) {
        self.medium.lie();
    }

    /// Flips a bit somewhere.
    pub fn damage(&mut self) {
        self.is_doubtful |= self.medium.damage(&mut self.random);
    }

    /// A row decays under a running process.
    pub fn decay(&mut self, random: &mut Random) {
        self.is_decayed |= self.medium.decay(random);
    }

    /// All of it was read and nothing is damaged.
    pub fn is_whole_again(&mut self) {
        self.is_decayed = false;
    }

    /// Sets the next fault.
    pub fn set_fault(&mut self, fault: Option<DiskFault>) {
        self.fault = fault;
    }

    /// Whether what it holds is damaged or in doubt.
    pub fn is_doubtful(&self) -> bool {
        self.is_doubtful || self.is_decayed
    }

    /// Whether what it holds will not survive for certain.
    pub fn is_in_danger(&self) -> bool {
        self.is_doubtful() || matches!(self.fault, Some(DiskFault::Sync(_)))
    }

    /// From now on nothing is written behind, so that what is on the disk can be compared.
    pub fn write_at_once(&self) {
        self.medium.write_at_once();
    }

    /// Changes its speed.
    pub fn set_speed(&mut self, speed: DiskSpeed) {
        self.speed = speed;
    }

    /// Reads beside the writer.
    pub fn reader(&self) -> Result<&dyn Reader, StorageError> {
        self.medium.reader()
    }

    /// The rooms whose events were written here.
    pub fn rooms(&self) -> &BTreeSet<RoomId> {
        &self.rooms
    }

    /// All events of `room`, in the order of `seq`.
    pub fn events(&self, room: RoomId) -> Result<Vec<EventRow>, StorageError> {
        let all = EventRange {
            after: 0,
            before: u64::MAX,
            oldest_first: true,
            limit: usize::MAX,
            max_bytes: usize::MAX,
        };
        self.reader()?.events(room, &all)
    }

    /// A commit is about to begin. Gives the time until it is on the disk; a crash in between loses it.
    pub fn approach(&mut self) -> Micros {
        self.begun = self.random.between(0, self.speed.sync_min);
        self.begun
    }

    /// Counts down to the fault; gives it if it is due.
    fn take_due_fault(&mut self) -> Option<DiskFault> {
        use DiskFault::{Crash, Sync, Write};
        match &mut self.fault {
            Some(Crash(_, 0) | Write(0) | Sync(0)) => self.fault.take(),
            Some(Crash(_, after) | Write(after) | Sync(after)) => {
                *after -= 1;
                None
            }
            None => None,
        }
    }

    /// Before a commit: its fault begins here.
    fn begin(&mut self) -> Result<(), StorageError> {
        let is_dead = || StorageError::Failed("the process is dead".into());
        if self.crashed.is_some() {
            return Err(is_dead());
        }
        let takes = self.random.between(self.speed.sync_min, self.speed.sync_max);
        self.busy += takes.saturating_sub(std::mem::take(&mut self.begun));
        match self.take_due_fault() {
            None => {}
            Some(DiskFault::Crash(point, _)) => {
                self.crashed = Some(point);
                if point == CrashPoint::BeforeCommit {
                    if !self.medium.die_in_commit(&mut self.random) {
                        return Err(is_dead());
                    }
                    self.loses_power = self.random.chance(0.5);
                }
            }
            Some(DiskFault::Write(_)) => self.medium.fail_write(),
            Some(DiskFault::Sync(_)) => {
                self.is_doubtful = true;
                self.medium.fail_sync();
            }
        }
        Ok(())
    }

    /// After a commit.
    fn end<E>(&mut self, stored: Result<(), E>, change: Change) -> Result<(), E> {
        match (&stored, self.crashed) {
            (Ok(()), crashed) => {
                if crashed == Some(CrashPoint::BeforeCommit) {
                    // It was done before the process could die in it.
                    self.crashed = Some(CrashPoint::AfterCommit);
                }
                self.record(change);
            }
            (Err(_), Some(_)) => self.in_flight = Some(change),
            (Err(_), None) => {}
        }
        stored
    }

    fn record(&mut self, change: Change) {
        let Change { synced, committed, last, hard_state, applied, rooms } = change;
        self.committed.extend(committed.into_iter().map(|entry| (entry.index, entry)));
        let known = &mut self.known;
        known.last = last.unwrap_or(known.last);
        known.hard_state = hard_state.unwrap_or(known.hard_state);
        if let Some(applied) = applied {
            known.applied = applied;
        }
        self.rooms.extend(rooms);
        self.synced.push(synced);
    }
}

impl Change {
    fn by_batch(batch: &Batch, committed: Vec<LogEntry>) -> Change {
        let mut change = Change { committed, ..Change::default() };
        let synced = &mut change.synced;
        for entry in &batch.entries {
            synced.entries.push((entry.index, log_line(entry)));
            change.last = Some(LogMark { last_log_term: entry.term, last_log_index: entry.index });
        }
        if let Some(hard_state) = batch.hard_state {
            change.hard_state = Some(hard_state);
            synced.vote = Some((hard_state.term, hard_state.vote.map(|vote| vote.0)));
        }
        for event in &batch.events {
            change.rooms.insert(event.room);
            let json: Value = serde_json::from_str(event.json.get()).unwrap_or_default();
            synced.events.push((event.index, json));
        }
        if let Some(applied) = &batch.applied {
            change.applied = Some(applied.clone());
            synced.applied = Some((applied.index, counting(&applied.conf)));
        }
        change
    }

    fn by_install(head: &SnapshotHead, hard_state: HardState) -> Change {
        Change {
            committed: Vec::new(),
            last: Some(LogMark { last_log_term: head.index_term, last_log_index: head.index }),
            applied: Some(Applied { index: head.index, term: head.index_term, conf: head.conf.clone() }),
            hard_state: Some(hard_state),
            synced: Synced {
                installed: Some(head.index),
                vote: Some((hard_state.term, hard_state.vote.map(|vote| vote.0))),
                applied: Some((head.index, counting(&head.conf))),
                ..Synced::default()
            },
            rooms: BTreeSet::new(),
        }
    }

    /// What of it a start found on the disk. The log is written first, all of it or nothing; then the state,
    /// which a power cut may take away again.
    fn found_in(self, loaded: &Loaded) -> Option<Change> {
        let promise = |state: HardState| (state.term, state.vote);
        let is_in_log = self.last.is_none_or(|last| last == loaded.last)
            && self.hard_state.is_none_or(|state| promise(state) == promise(loaded.hard_state));
        let is_in_state = self.applied.as_ref().is_none_or(|applied| *applied == loaded.applied);
        if is_in_log && is_in_state {
            return Some(self);
        }
        if !is_in_log || self.synced.installed.is_some() {
            return None;
        }
        let Change { last, hard_state, synced: Synced { entries, vote, .. }, .. } = self;
        Some(Change {
            last,
            hard_state,
            synced: Synced { entries, vote, ..Synced::default() },
            ..Change::default()
        })
    }
}

/// What the judge is told of an entry. Only this needs the product's format of commands.
fn log_line(entry: &LogEntry) -> LogLine {
    let content = entry.data.iter().chain(&entry.opaque).fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let decoded = match entry.kind {
        LogEntryKind::Command => Entry::decode(&entry.data, NEW).ok(),
        LogEntryKind::Configure => None,
    };
    let message = decoded.and_then(|Entry { proposal, .. }| match proposal.command {
        Command::Say(Say { client_msg_id, .. }) => {
            Some((proposal.user.key().as_str().to_owned(), client_msg_id))
        }
        _ => None,
    });
    LogLine { term: entry.term, content, message, configures: entry.kind == LogEntryKind::Configure }
}

/// What the judge is told of those that count.
pub fn counting(conf: &ConfState) -> Counting {
    let numbers = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect();
    Counting {
        voters: numbers(&conf.voters),
        outgoing: numbers(&conf.voters_outgoing),
        learners: numbers(&conf.learners),
    }
}

/// A disk as the process that runs on it sees it.
pub struct ProcessDisk {
    storage: Box<dyn Storage>,
    disk: Rc<RefCell<Disk>>,
}

impl ProcessDisk {
    /// A process opens the disk.
    pub fn open(disk: &Rc<RefCell<Disk>>, server_id: &ServerId) -> Result<ProcessDisk, StorageError> {
        let mut inner = disk.borrow_mut();
        inner.crashed = None;
        let fresh_node_id = NodeId(inner.random.word());
        let storage = inner.medium.open(server_id, fresh_node_id).map_err(|error| match error {
            OpenError::Storage(error) => error,
            OpenError::Refused(why) => StorageError::Failed(why),
        })?;
        let loaded = storage.load()?;
        // All of it has been read.
        inner.is_doubtful = false;
        if let Some(change) = inner.in_flight.take().and_then(|change| change.found_in(&loaded)) {
            inner.record(change);
        }
        inner.known = Known {
            node_id: Some(loaded.identity.node_id),
            hard_state: loaded.hard_state,
            last: loaded.last,
            applied: loaded.applied,
        };
        drop(inner);
        Ok(ProcessDisk { storage, disk: disk.clone() })
    }

    /// The entries that `batch` is the first to apply, as the log has them with it. Looked up before the
    /// batch is written, which may drop them.
    fn committed_by(&self, batch: &Batch) -> Vec<LogEntry> {
        let Some(applied) = &batch.applied else { return Vec::new() };
        let (first, end) = (self.disk.borrow().known.applied.index + 1, applied.index + 1);
        let is_new = |entry: &&LogEntry| (first..end).contains(&entry.index);
        let new: Vec<LogEntry> = batch.entries.iter().filter(is_new).cloned().collect();
        let until = new.first().map_or(end, |entry| entry.index);
        // If a log cannot be read, the server deals with that; the others have the same entries.
        let mut committed = self.storage.entries(first, until.max(first), u64::MAX).unwrap_or_default();
        committed.extend(new);
        committed
    }
}

impl Storage for ProcessDisk {
    fn load(&self) -> Result<Loaded, StorageError> {
        self.storage.load()
    }

    fn commit(&mut self, batch: Batch) -> Result<(), StorageError> {
        let change = Change::by_batch(&batch, self.committed_by(&batch));
        self.disk.borrow_mut().begin()?;
        let stored = self.storage.commit(batch);
        self.disk.borrow_mut().end(stored, change)
    }

    fn saved(&mut self) -> Result<Saved, StorageError> {
        self.storage.saved()
    }

    fn is_saving(&self) -> bool {
        self.storage.is_saving()
    }

    fn wipe_if_idle(&mut self) -> Result<(), StorageError> {
        if self.storage.unwiped() == 0 {
            return self.storage.wipe_if_idle();
        }
        self.disk.borrow_mut().begin()?;
        let wiped = self.storage.wipe_if_idle();
        self.disk.borrow_mut().end(wiped, Change::default())
    }

    fn unwiped(&self) -> u64 {
        self.storage.unwiped()
    }

    fn entries(&self, low: u64, high: u64, max_bytes: u64) -> Result<Vec<LogEntry>, StorageError> {
        self.storage.entries(low, high, max_bytes)
    }

    fn event(&self, room: RoomId, seq: u64) -> Result<Option<EventRow>, StorageError> {
        self.storage.event(room, seq)
    }

    fn unwritten(&self, room: RoomId, seqs: Range<u64>) -> BTreeMap<u64, EventRow> {
        self.storage.unwritten(room, seqs)
    }

    fn first_since(&self, room: RoomId, at_ms: u64) -> Result<Option<u64>, StorageError> {
        self.storage.first_since(room, at_ms)
    }

    fn row(&self, key: &RowKey) -> Result<Option<RowContent>, StorageError> {
        self.storage.row(key)
    }

    fn repair(&mut self, row: &DamagedRow, content: RowContent) -> Result<bool, StorageError> {
        self.storage.repair(row, content)
    }

    fn install(
        &mut self,
        head: &SnapshotHead,
        hard_state: HardState,
        content: &mut dyn Read,
    ) -> Result<(), InstallError> {
        self.disk.borrow_mut().begin()?;
        let stored = self.storage.install(head, hard_state, content);
        self.disk.borrow_mut().end(stored, Change::by_install(head, hard_state))
    }
}
