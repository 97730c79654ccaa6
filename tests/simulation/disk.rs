//! The disk of one server: the memory twin of the product's storage, with a memory of its own of what was
//! made durable. It outlives the process that writes to it.
//!
//! `commit` returns at once here; how long the sync took is added up in `busy`, and the server's outputs
//! are held back for that time. So a crash in between loses the outputs and keeps the data.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    io::Read,
    rc::Rc,
};

use serde_json::Value;
use syncnet::{
    chat::command::{self, Action, Command},
    protocol::{
        name::ServerId,
        peer::{LogEntry, LogEntryKind, LogMark, NodeId, SnapshotHead},
    },
    replica::storage::{
        Applied, Batch, EventRange, EventRow, HardState, Loaded, Reader, RoomId, Storage, StorageError,
    },
    storage::{CommitFault, Kept, MemoryDisk, MemoryImage, MemoryReader, MemoryStorage, OpenError},
};

use crate::{
    checker::{LogLine, Synced},
    queue::Micros,
    random::Random,
    scenario::DiskSpeed,
};

/// Where in its disk work a process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashPoint {
    /// Before the transaction is synced: nothing of it survives.
    BeforeCommit,
    /// After it is synced, before anything is said about it.
    AfterCommit,
    /// While some of what is to be said about it has been said.
    WhileSpeaking,
}

/// What goes wrong with a disk, after so many commits that go well.
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
    image: MemoryImage,
    pub known: Known,
}

/// A disk: what it holds, how fast it is, and what goes wrong with it.
pub struct Disk {
    memory: MemoryDisk,
    pub known: Known,
    rooms: BTreeSet<RoomId>,
    speed: DiskSpeed,
    random: Random,
    fault: Option<DiskFault>,
    /// Whether what it holds is damaged or in doubt.
    is_doubtful: bool,
    /// Whether the process died in a commit, and where.
    pub crashed: Option<CrashPoint>,
    /// How long the commits took since this was last taken.
    pub busy: Micros,
    /// What became durable since this was last taken.
    pub synced: Vec<Synced>,
    /// Every log entry that was ever written here, of each place that of the newest term, with its term.
    pub log: BTreeMap<u64, LogEntry>,
}

impl Disk {
    /// An empty disk.
    pub fn new(speed: DiskSpeed, random: Random) -> Disk {
        Disk {
            memory: MemoryDisk::new(),
            known: Known::default(),
            rooms: BTreeSet::new(),
            speed,
            random,
            fault: None,
            is_doubtful: false,
            crashed: None,
            busy: 0,
            synced: Vec::new(),
            log: BTreeMap::new(),
        }
    }

    /// A copy of what a power cut at this moment would leave.
    pub fn copy(&self) -> Copy {
        Copy { image: self.memory.image(), known: self.known.clone() }
    }

    /// Puts a copy in the place of what it holds.
    pub fn put_back(&mut self, copy: Copy) {
        self.memory.restore(&copy.image);
        self.known = copy.known;
        self.is_doubtful = false;
    }

    /// Everything is gone, as if the folder had been deleted or set aside.
    pub fn wipe(&mut self) {
        self.memory.wipe();
        self.known = Known::default();
        self.fault = None;
        self.is_doubtful = false;
    }

    /// The power is cut: what was not synced is gone.
    pub fn cut_power(&mut self) {
        self.memory.crash();
    }

    /// A bit flips somewhere.
    pub fn damage(&mut self) {
        let kind = self.random.pick(&[Kept::Meta, Kept::Log, Kept::State]);
        self.is_doubtful |= self.memory.corrupt(kind, self.random.word(), self.random.word());
    }

    /// Lets something go wrong.
    pub fn set_fault(&mut self, fault: Option<DiskFault>) {
        self.fault = fault;
    }

    /// Whether what it holds will not survive for certain.
    pub fn is_in_danger(&self) -> bool {
        self.is_doubtful || matches!(self.fault, Some(DiskFault::Sync(_)))
    }

    /// Changes how fast it is.
    pub fn set_speed(&mut self, speed: DiskSpeed) {
        self.speed = speed;
    }

    /// Reads beside the writer.
    pub fn reader(&self) -> MemoryReader {
        self.memory.reader()
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
        self.reader().events(room, &all)
    }

    /// Counts down to the fault; tells whether it is due.
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

    /// Before a commit: what goes wrong with it begins here.
    fn begin(&mut self) -> Result<(), StorageError> {
        let is_dead = || StorageError::Failed("the process is dead".into());
        if self.crashed.is_some() {
            return Err(is_dead());
        }
        self.busy += self.random.between(self.speed.sync_min, self.speed.sync_max);
        match self.take_due_fault() {
            None => {}
            Some(DiskFault::Crash(point, _)) => {
                self.crashed = Some(point);
                if point == CrashPoint::BeforeCommit {
                    return Err(is_dead());
                }
            }
            Some(DiskFault::Write(_)) => self.memory.fail_next_commit(CommitFault::WriteError),
            Some(DiskFault::Sync(_)) => {
                self.is_doubtful = true;
                self.memory.fail_next_commit(CommitFault::SyncError);
            }
        }
        Ok(())
    }

    fn committed(&mut self, batch: &Batch) {
        let mut synced = Synced::default();
        for entry in &batch.entries {
            synced.entries.push((entry.index, log_line(entry)));
            if self.log.get(&entry.index).is_none_or(|known| known.term <= entry.term) {
                self.log.insert(entry.index, entry.clone());
            }
            self.known.last = LogMark { last_log_term: entry.term, last_log_index: entry.index };
        }
        if let Some(hard_state) = batch.hard_state {
            self.known.hard_state = hard_state;
            synced.vote = Some((hard_state.term, hard_state.vote.map(|vote| vote.0)));
        }
        for event in &batch.events {
            self.rooms.insert(event.room);
            let json: Value = serde_json::from_str(event.json.get()).unwrap_or_default();
            synced.events.push((event.index, json));
        }
        if let Some(applied) = &batch.applied {
            self.known.applied = applied.clone();
            synced.applied = Some((applied.index, applied.conf.voters.iter().map(|node| node.0).collect()));
        }
        self.synced.push(synced);
    }

    fn installed(&mut self, head: &SnapshotHead, hard_state: HardState) {
        self.known.last = LogMark { last_log_term: head.index_term, last_log_index: head.index };
        self.known.applied = Applied { index: head.index, term: head.index_term, conf: head.conf.clone() };
        self.known.hard_state = hard_state;
        self.synced.push(Synced {
            installed: Some(head.index),
            vote: Some((hard_state.term, hard_state.vote.map(|vote| vote.0))),
            applied: Some((head.index, head.conf.voters.iter().map(|node| node.0).collect())),
            ..Synced::default()
        });
    }
}

/// What the judge is told of an entry. Only here is the product's format of commands needed.
fn log_line(entry: &LogEntry) -> LogLine {
    let content = entry.data.iter().chain(&entry.opaque).fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let command = match entry.kind {
        LogEntryKind::Command => command::decode::<Command>(&entry.data).ok(),
        LogEntryKind::Configure => None,
    };
    let message = command.and_then(|command| match command.proposal.action {
        Action::Chat { client_msg_id, .. } => {
            Some((command.proposal.user.key().as_str().to_owned(), client_msg_id))
        }
        _ => None,
    });
    LogLine { term: entry.term, content, message }
}

/// A disk as the process that runs on it sees it.
pub struct ProcessDisk {
    disk: Rc<RefCell<Disk>>,
    storage: MemoryStorage,
}

impl ProcessDisk {
    /// A process opens the disk.
    pub fn open(disk: &Rc<RefCell<Disk>>, server_id: &ServerId) -> Result<ProcessDisk, StorageError> {
        let storage = {
            let mut disk = disk.borrow_mut();
            disk.crashed = None;
            let fresh_node_id = NodeId(disk.random.word());
            disk.memory.open(server_id, fresh_node_id)
        };
        let storage = storage.map_err(|error| match error {
            OpenError::Storage(error) => error,
            OpenError::Refused(why) => StorageError::Failed(why),
        })?;
        let loaded = storage.load()?;
        disk.borrow_mut().known = Known {
            node_id: Some(loaded.identity.node_id),
            hard_state: loaded.hard_state,
            last: loaded.last,
            applied: loaded.applied,
        };
        Ok(ProcessDisk { disk: disk.clone(), storage })
    }
}

impl Storage for ProcessDisk {
    fn load(&self) -> Result<Loaded, StorageError> {
        self.storage.load()
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StorageError> {
        self.disk.borrow_mut().begin()?;
        self.storage.commit(batch)?;
        self.disk.borrow_mut().committed(batch);
        Ok(())
    }

    fn entries(&self, low: u64, high: u64, max_bytes: u64) -> Result<Vec<LogEntry>, StorageError> {
        self.storage.entries(low, high, max_bytes)
    }

    fn event(&self, room: RoomId, seq: u64) -> Result<Option<EventRow>, StorageError> {
        self.storage.event(room, seq)
    }

    fn install(
        &mut self,
        head: &SnapshotHead,
        hard_state: HardState,
        content: &mut dyn Read,
    ) -> Result<(), StorageError> {
        self.disk.borrow_mut().begin()?;
        self.storage.install(head, hard_state, content)?;
        self.disk.borrow_mut().installed(head, hard_state);
        Ok(())
    }
}
