//! Batches as a replica would write them, from a seed.

use std::{collections::BTreeMap, sync::Arc};

use rusqlite::{Connection, params};
use serde_json::value::RawValue;
use syncnet::{
    disk::{Applied, Batch, ChunkRow, Cluster, EventRow, FileId, HardState, RoomId, Row},
    protocol::{
        name::{ServerId, UserKey, UserName},
        peer::{ConfState, DataMark, LogEntry, LogEntryKind, LogMark, NodeId},
    },
};

/// The cluster that the generated data belongs to.
pub const CLUSTER_ID: u64 = 0xc105_7e12;

/// Random numbers that depend on the seed alone (SplitMix64).
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }

    fn bytes(&mut self, most: u64) -> Vec<u8> {
        (0..self.below(most + 1)).map(|_| self.next() as u8).collect()
    }
}

pub fn server_id() -> ServerId {
    ServerId::new("server1").unwrap()
}

pub fn cluster() -> Batch {
    let cluster = Cluster { cluster_id: CLUSTER_ID, founders: vec![] };
    Batch { cluster: Some(cluster), ..Batch::default() }
}

/// Makes batches that fit one after the other.
#[derive(Debug, Clone)]
pub struct Generator {
    pub random: Random,
    pub term: u64,
    pub last: LogMark,
    pub applied: Applied,
    pub newest: [u64; 4],
    /// The newest Lamport timestamp, and that of each event.
    lamport: u64,
    lamports: BTreeMap<(u64, u64), u64>,
    now_ms: u64,
    /// Files that were begun.
    pub files: u64,
}

/// The words of the messages.
pub const WORDS: [&str; 8] = ["one", "two", "three", "Four", "fünf", "sechs-sieben", "x", "onetwo"];

/// The number of a file.
pub fn file_id(number: u64) -> FileId {
    FileId([number as u8; 16])
}

/// Stores a named value as the storage does, beside it.
pub fn put_meta(connection: &Connection, name: &str, value: &impl serde::Serialize) {
    let value = postcard::to_stdvec(value).unwrap();
    let mut crc = crc32fast::Hasher::new();
    crc.update(b"m");
    crc.update(&(name.len() as u64).to_le_bytes());
    crc.update(name.as_bytes());
    crc.update(&value);
    let put = "INSERT OR REPLACE INTO meta (name, value, crc) VALUES (?1, ?2, ?3)";
    connection.execute(put, params![name, value, crc.finalize()]).unwrap();
}

impl Generator {
    pub fn new(seed: u64) -> Self {
        Generator {
            random: Random(seed),
            term: 1,
            last: LogMark::default(),
            applied: Applied::default(),
            newest: [0; 4],
            lamport: 0,
            lamports: BTreeMap::new(),
            now_ms: 1_700_000_000_000,
            files: 0,
        }
    }

    /// The next batch.
    pub fn batch(&mut self) -> Batch {
        let mut batch = Batch::default();
        if self.random.one_in(8) {
            self.term += 1;
        }
        if !self.random.one_in(5) {
            self.append(&mut batch);
        }
        if self.random.one_in(3) {
            let vote = (!self.random.one_in(3)).then(|| NodeId(self.random.next()));
            let commit = self.random.below(self.last.last_log_index + 2);
            batch.hard_state = Some(HardState { term: self.term, vote, commit });
        }
        if self.random.one_in(2) {
            self.apply(&mut batch);
        }
        if self.random.one_in(6) {
            batch.compact_to = Some(self.random.below(self.last.last_log_index + 5));
        }
        if self.random.one_in(6) {
            batch.peer_marks = vec![(ServerId::new("server2").unwrap(), self.mark())];
        }
        batch
    }

    fn append(&mut self, batch: &mut Batch) {
        // Now and then a new leader replaces what was not applied.
        let unapplied = self.last.last_log_index - self.applied.index;
        let replaced = if self.random.one_in(4) { self.random.below(unapplied + 1) } else { 0 };
        if replaced > 0 {
            self.term += 1;
        }
        let first = self.last.last_log_index + 1 - replaced;
        for index in first..=first + self.random.below(6) {
            let configure = self.random.one_in(10);
            batch.entries.push(LogEntry {
                term: self.term,
                index,
                kind: if configure { LogEntryKind::Configure } else { LogEntryKind::Command },
                data: self.random.bytes(40),
                opaque: self.random.bytes(3),
            });
        }
        let last = batch.entries.last().unwrap();
        self.last = LogMark { last_log_term: last.term, last_log_index: last.index };
    }

    /// Applies all of the log, so that the term at the applied index is known.
    fn apply(&mut self, batch: &mut Batch) {
        self.applied = Applied {
            index: self.last.last_log_index,
            term: self.last.last_log_term,
            conf: ConfState { voters: vec![NodeId(1), NodeId(self.term)], ..ConfState::default() },
        };
        batch.applied = Some(self.applied.clone());
        for _ in 0..self.random.below(8) {
            let key = vec![16 + self.random.below(3) as u8, self.random.below(12) as u8];
            let value = (!self.random.one_in(4)).then(|| self.random.bytes(60));
            batch.rows.push(Row { key, value });
        }
        for _ in 0..self.random.below(6) {
            let room = self.random.below(self.newest.len() as u64);
            let newest = &mut self.newest[room as usize];
            if *newest == 0 || !self.random.one_in(9) {
                *newest += 1;
            }
            let seq = *newest;
            batch.events.push(self.event(room, seq));
        }
        if self.random.one_in(6) {
            let room = self.random.below(self.newest.len() as u64);
            let below = self.random.below(self.newest[room as usize] + 1);
            batch.expired.push((RoomId(room + 1), below));
        }
        if self.random.one_in(4) {
            self.write_files(batch);
        }
    }

    /// Begins files, adds to the newest one, replaces pieces of it, removes any.
    fn write_files(&mut self, batch: &mut Batch) {
        if self.files == 0 || self.random.one_in(3) {
            self.files += 1;
        }
        for _ in 0..self.random.below(4) {
            let (file, number) = (file_id(self.files), self.random.below(5) as u32);
            batch.chunks.push(ChunkRow { file, number, bytes: self.random.bytes(200).into() });
        }
        if self.random.one_in(3) {
            batch.removed_files.push(file_id(self.random.below(self.files + 1)));
            // Nothing is added to a removed file.
            self.files += 1;
        }
    }

    pub fn event(&mut self, room: u64, seq: u64) -> EventRow {
        self.lamport += 1 + self.random.below(3);
        self.now_ms += self.random.below(1 << 20);
        // An event that takes the place of another is mostly the same message with another text.
        let known = self.lamports.get(&(room, seq)).filter(|_| !self.random.one_in(3));
        let lamport = known.copied().unwrap_or(self.lamport);
        self.lamports.insert((room, seq), lamport);
        let kind = if self.random.one_in(8) { "joined" } else { "message" };
        let words = self.random.below(6);
        let words: Vec<&str> =
            (0..words).map(|_| WORDS[self.random.below(WORDS.len() as u64) as usize]).collect();
        let json = format!(
            r#"{{"seq":{seq},"lamport_timestamp":{lamport},"kind":"{kind}","body":"{}","n":"{:x}\u0007é"}}"#,
            words.join(" "),
            self.random.next()
        );
        EventRow {
            room: RoomId(room + 1),
            seq,
            index: self.applied.index,
            created_at_ms: self.now_ms - self.random.below(1 << 10),
            author: author(self.random.below(3)),
            json: Arc::from(RawValue::from_string(json).unwrap()),
        }
    }

    fn mark(&mut self) -> DataMark {
        DataMark {
            cluster_id: Some(CLUSTER_ID),
            node_id: NodeId(self.random.next()),
            boot: self.random.below(9),
            term: self.term,
            log: self.last,
        }
    }
}

fn author(number: u64) -> UserKey {
    UserName::new(["alice", "bob", "c.d-e_f"][number as usize]).unwrap().key()
}
