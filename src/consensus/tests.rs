//! A leader whose disk does not give back what was written, and what a leader sends before it writes.

use super::*;
use crate::{
    config::{Followers, ServerEntry},
    disk::{Cluster, HardState, Reader as _, TAIL_BYTES},
    protocol::{
        Limits, ServerId,
        peer::{Founder, LogEntry, LogEntryKind},
    },
    storage::{MemoryDisk, MemoryStorage},
};

const ME: NodeId = NodeId(1);
const PEER: NodeId = NodeId(2);
const LAST: u64 = 50;

fn config() -> ReplicaConfig {
    let server = |number: u16| {
        let server_id = ServerId::new(&format!("server{number}")).unwrap();
        ServerEntry::new(server_id, "localhost", 8_000 + number, number.into())
    };
    ReplicaConfig {
        server_id: server(1).server_id,
        servers: vec![server(1), server(2)].into(),
        joins: false,
        timing: Timing::default(),
        limits: Limits::default(),
        auth: Default::default(),
        followers: Followers::Forward,
        keep_entries: 1_000,
        rules: Default::default(),
    }
}

/// The number of the leader's answer to a question how far a read must wait.
const READ_ANSWER: u8 = 10;

/// A bit in the record of the first entries.
const AN_ENTRY: u64 = 900 * 8;

fn entry(index: u64) -> LogEntry {
    LogEntry { term: 1, index, kind: LogEntryKind::Command, data: Vec::new(), opaque: Vec::new() }
}

/// The leader of two, of whose log only the last ten entries are in memory.
fn leader(disk: &MemoryDisk) -> Consensus<MemoryStorage> {
    let mut consensus = follower(disk, ConfState { voters: vec![ME, PEER], ..ConfState::default() });
    consensus.campaign(consensus.term(), true);
    turn(&mut consensus).unwrap();
    consensus.step(RaftMessage { kind: 4, term: 2, ..answer() });
    turn(&mut consensus).unwrap();
    assert_eq!(consensus.raft_role(), RaftRole::Leader);
    consensus
}

/// A server whose log ends with entry `LAST` of term 1, all of it applied.
fn follower(disk: &MemoryDisk, conf: ConfState) -> Consensus<MemoryStorage> {
    follower_up_to(disk, conf, LAST)
}

/// A server whose log ends with entry `last` of term 1, all of it applied.
fn follower_up_to(disk: &MemoryDisk, conf: ConfState, last: u64) -> Consensus<MemoryStorage> {
    let config = config();
    let mut storage = disk.open(&config.server_id, ME).unwrap();
    let founders = config.servers.iter().zip([ME, PEER]);
    let founders =
        founders.map(|(server, node_id)| Founder { server_id: server.server_id.clone(), node_id }).collect();
    let batch = Batch {
        cluster: Some(Cluster { cluster_id: 7, founders }),
        entries: (1..=last).map(entry).collect(),
        hard_state: Some(HardState { term: 1, vote: None, commit: last }),
        applied: Some(Applied { index: last, term: 1, conf }),
        ..Batch::default()
    };
    storage.commit(batch.clone()).unwrap();
    let mut loaded = storage.load().unwrap();
    loaded.tail.drain(..40);
    Consensus::open(&config, storage, &loaded).unwrap()
}

fn turn(consensus: &mut Consensus<MemoryStorage>) -> Result<(), StorageError> {
    while let Some((turn, _)) = consensus.begin()? {
        consensus.finish(turn, Batch::default())?;
    }
    Ok(())
}

/// The peer's answer.
fn answer() -> RaftMessage {
    RaftMessage::empty(PEER, ME, 2)
}

/// The peer's log ends at `last`, so the leader looks for the entries after it.
fn lags(consensus: &mut Consensus<MemoryStorage>, last: u64) -> Result<(), StorageError> {
    let refused = RaftMessage { index: LAST, reject: true, reject_hint: last, log_term: 1, ..answer() };
    consensus.step(RaftMessage { kind: APPEND_RESPONSE, ..refused });
    turn(consensus)
}

#[test]
fn an_old_entry_that_is_damaged_is_told_and_who_needs_it_gets_a_snapshot() {
    let disk = MemoryDisk::new();
    let mut consensus = leader(&disk);
    assert!(disk.corrupt_log(0, AN_ENTRY));
    lags(&mut consensus, 5).unwrap();
    assert!(matches!(consensus.take_damage(), Some(StorageError::Doubtful(_))));
    assert_eq!(consensus.reaches(PEER), Some(LAST), "it gets a snapshot");
    let disk = MemoryDisk::new();
    let mut consensus = leader(&disk);
    lags(&mut consensus, 5).unwrap();
    assert_eq!((consensus.take_damage(), consensus.reaches(PEER)), (None, Some(5)), "it gets entries");
}

#[test]
fn damage_is_noticed_where_entries_are_to_be_applied() {
    let disk = MemoryDisk::new();
    let consensus = leader(&disk);
    assert!(disk.corrupt_log(0, AN_ENTRY));
    // The library panics of an error here, so it is given none.
    let entries = consensus.raw.raft.raft_log.next_entries_since(3, None);
    assert_eq!(entries, Some(Vec::new()));
    assert!(matches!(consensus.check(), Err(StorageError::Doubtful(_))));
}

#[test]
fn the_tail_in_memory_is_bounded_by_its_bytes() {
    let disk = MemoryDisk::new();
    let mut consensus = leader(&disk);
    let before = consensus.raw.store().tail_bytes;
    let large = TAIL_BYTES / 4;
    for _ in 0..6 {
        consensus.propose(vec![vec![0; large]]).unwrap();
        turn(&mut consensus).unwrap();
        let last = RaftMessage { kind: APPEND_RESPONSE, index: consensus.last_index(), ..answer() };
        consensus.step(last);
        turn(&mut consensus).unwrap();
    }
    assert_eq!((before, consensus.raw.store().tail_bytes), (0, 4 * large));
    // Entries that are not in memory are on the disk.
    lags(&mut consensus, 5).unwrap();
    drop(consensus);
    let loaded = disk.open(&config().server_id, ME).unwrap().load().unwrap();
    assert_eq!(loaded.tail.iter().map(LogEntry::size).sum::<usize>(), 4 * large);
}

#[test]
fn the_log_is_cut_at_an_entry_that_is_not_in_memory() {
    let disk = MemoryDisk::new();
    let mut consensus = leader(&disk);
    consensus.write(Batch { compact_to: Some(20), ..Batch::default() }).unwrap();
    assert_eq!(consensus.truncated(), LogMark { last_log_term: 1, last_log_index: 20 });
    // The entries after it are still there for a peer that lags.
    lags(&mut consensus, 25).unwrap();
    drop(consensus);
    let loaded = disk.open(&config().server_id, ME).unwrap().load().unwrap();
    assert_eq!(loaded.truncated.last_log_index, 20);
}

#[test]
fn a_peer_reaches_what_it_has_confirmed_or_a_snapshot_gives_it_and_no_more() {
    let disk = MemoryDisk::new();
    let mut consensus = leader(&disk);
    assert_eq!(consensus.reaches(PEER), Some(LAST), "the first entry of the term may get lost");
    consensus.step(RaftMessage { kind: APPEND_RESPONSE, index: LAST + 1, ..answer() });
    consensus.propose(vec![vec![7], vec![7]]).unwrap();
    turn(&mut consensus).unwrap();
    assert_eq!(consensus.reaches(PEER), Some(LAST + 1), "what is under way may get lost");

    let disk = MemoryDisk::new();
    let mut consensus = leader(&disk);
    consensus.write(Batch { compact_to: Some(20), ..Batch::default() }).unwrap();
    lags(&mut consensus, 5).unwrap();
    assert_eq!(consensus.reaches(PEER), Some(LAST), "it gets a snapshot");
    consensus.snapshot_sent(PEER, true);
    assert_eq!(consensus.reaches(PEER), Some(LAST), "it installs the snapshot");
}

#[test]
fn an_answer_to_a_question_of_an_earlier_run_says_nothing() {
    let disk = MemoryDisk::new();
    let conf = ConfState { voters: vec![ME, PEER], ..ConfState::default() };
    let earlier = follower(&disk, conf).asker;
    let storage = disk.open(&config().server_id, ME).unwrap();
    let loaded = storage.load().unwrap();
    let mut consensus = Consensus::open(&config(), storage, &loaded).unwrap();
    let present = consensus.asker;
    let mut answer_to = |asker: [u8; 16]| {
        let question = LogEntry { data: [&asker[..], &3_u64.to_be_bytes()].concat(), ..entry(0) };
        let answer = RaftMessage { kind: READ_ANSWER, index: LAST, ..RaftMessage::empty(PEER, ME, 1) };
        consensus.step(RaftMessage { entries: vec![question], ..answer });
        let mut reads = Vec::new();
        while let Some((turn, effects)) = consensus.begin().unwrap() {
            reads.extend(effects.reads);
            consensus.finish(turn, Batch::default()).unwrap();
        }
        reads
    };
    assert_eq!(answer_to(earlier), []);
    assert_eq!(answer_to(present), [(3, LAST)]);
}

#[test]
fn the_commit_index_is_written_with_entries_and_never_for_its_own_sake() {
    let disk = MemoryDisk::new();
    let mut consensus = leader(&disk);
    let kept = |consensus: &Consensus<MemoryStorage>| consensus.storage().load().unwrap().hard_state.commit;
    consensus.step(RaftMessage { kind: APPEND_RESPONSE, index: LAST + 1, ..answer() });
    turn(&mut consensus).unwrap();
    let applied = Applied { index: LAST, term: 1, conf: consensus.conf().clone() };
    consensus.write(Batch { applied: Some(applied), ..Batch::default() }).unwrap();
    assert_eq!((consensus.commit_index(), kept(&consensus)), (LAST + 1, LAST));
    consensus.propose(vec![vec![7]]).unwrap();
    turn(&mut consensus).unwrap();
    assert_eq!(kept(&consensus), LAST + 1);
}

#[test]
fn a_leader_sends_its_entries_before_it_syncs_them() {
    let disk = MemoryDisk::new();
    let mut consensus = leader(&disk);
    let noted = RaftMessage { kind: APPEND_RESPONSE, index: LAST + 1, ..answer() };
    consensus.step(noted.clone());
    turn(&mut consensus).unwrap();
    consensus.propose(vec![vec![7]]).unwrap();
    let (turn_under_way, effects) = consensus.begin().unwrap().unwrap();
    let sent = |message: &RaftMessage| message.entries.iter().map(|entry| entry.index).collect::<Vec<_>>();
    assert_eq!(effects.messages.iter().map(sent).collect::<Vec<_>>(), [[LAST + 2]]);
    assert_eq!(consensus.synced().last_log_index, LAST + 1);
    consensus.finish(turn_under_way, Batch::default()).unwrap();
    assert_eq!(consensus.synced().last_log_index, LAST + 2);
    assert_eq!(consensus.commit_index(), LAST + 1, "the peer has not answered");
    consensus.step(RaftMessage { index: LAST + 2, ..noted });
    turn(&mut consensus).unwrap();
    assert_eq!(consensus.commit_index(), LAST + 2);
}

#[test]
fn a_leader_counts_itself_only_after_its_sync() {
    let disk = MemoryDisk::new();
    let conf = ConfState { voters: vec![ME], learners: vec![PEER], ..ConfState::default() };
    let mut consensus = follower(&disk, conf);
    // No other server has a vote. So it leads without a sync in between, in a term that is not written yet.
    consensus.campaign(consensus.term(), true);
    assert_eq!(consensus.raft_role(), RaftRole::Leader);
    let (turn_under_way, effects) = consensus.begin().unwrap().unwrap();
    assert_eq!((effects.messages, consensus.commit_index()), (vec![], LAST));
    let effects = consensus.finish(turn_under_way, Batch::default()).unwrap();
    assert!(effects.messages.iter().any(|message| message.kind == APPEND), "{:?}", effects.messages);
    assert_eq!(consensus.commit_index(), LAST + 1);
}

/// A follower that has been sent a snapshot up to entry 80 and, before it is installed, the entries up to 85,
/// of which those up to 82 are committed.
fn follower_with_snapshot(disk: &MemoryDisk) -> Consensus<MemoryStorage> {
    let conf = ConfState { voters: vec![ME, PEER], ..ConfState::default() };
    let elsewhere = MemoryDisk::new();
    drop(follower_up_to(&elsewhere, conf.clone(), 80));
    let (head, content) = elsewhere.reader().snapshot().unwrap();
    let mut consensus = follower(disk, conf);
    consensus.offer_snapshot(PEER, SnapshotHead { term: 1, ..head }, content);
    let append = RaftMessage::empty(PEER, ME, 1);
    let append = RaftMessage { kind: APPEND, index: 80, log_term: 1, commit: 82, ..append };
    consensus.step(RaftMessage { entries: (81..=85).map(entry).collect(), ..append });
    consensus
}

#[test]
fn entries_that_come_with_a_snapshot_are_kept_before_they_are_confirmed() {
    let disk = MemoryDisk::new();
    let mut consensus = follower_with_snapshot(&disk);
    let (turn, effects) = consensus.begin().unwrap().unwrap();
    assert!(consensus.installs(&turn) && effects.messages.is_empty());
    let effects = consensus.finish(turn, Batch::default()).unwrap();
    assert!(effects.messages.iter().any(|it| it.kind == APPEND_RESPONSE && it.index == 85));
    let committed: Vec<_> = effects.committed.iter().map(|entry| entry.index).collect();
    assert_eq!((committed, consensus.last_index()), (vec![81, 82], 85));
    drop(consensus);
    disk.crash(true);
    let loaded = disk.open(&config().server_id, ME).unwrap().load().unwrap();
    assert_eq!(loaded.truncated.last_log_index, 80);
    assert_eq!(loaded.tail.iter().map(|entry| entry.index).collect::<Vec<_>>(), [81, 82, 83, 84, 85]);
    assert_eq!(loaded.hard_state, HardState { term: 1, vote: None, commit: 82 });
}

#[test]
fn a_power_cut_between_a_snapshot_and_its_entries_leaves_a_log_that_can_be_used() {
    let disk = MemoryDisk::new();
    let mut consensus = follower_with_snapshot(&disk);
    consensus.begin().unwrap().unwrap();
    let hard_state = HardState { term: 1, vote: None, commit: 82 };
    consensus.install(Some(hard_state)).unwrap();
    drop(consensus);
    disk.crash(true);
    let storage = disk.open(&config().server_id, ME).unwrap();
    let loaded = storage.load().unwrap();
    assert_eq!((loaded.truncated.last_log_index, loaded.hard_state.commit), (80, 80));
    assert_eq!(Consensus::open(&config(), storage, &loaded).unwrap().last_index(), 80);
}

#[test]
fn a_message_to_a_peer_is_short_so_that_it_is_answered_in_time() {
    let disk = MemoryDisk::new();
    let mut consensus = leader(&disk);
    consensus.step(RaftMessage { kind: APPEND_RESPONSE, index: LAST + 1, ..answer() });
    turn(&mut consensus).unwrap();
    // As the pieces of a file.
    consensus.propose(vec![vec![7; 32 * 1024]; 10]).unwrap();
    let mut sizes = Vec::new();
    while let Some((turn, effects)) = consensus.begin().unwrap() {
        let later = consensus.finish(turn, Batch::default()).unwrap();
        for message in effects.messages.iter().chain(&later.messages) {
            sizes.push(message.entries.iter().map(LogEntry::size).sum::<usize>());
            if let Some(last) = message.entries.last() {
                consensus.step(RaftMessage { kind: APPEND_RESPONSE, index: last.index, ..answer() });
            }
        }
    }
    assert_eq!(sizes.iter().sum::<usize>(), 10 * 32 * 1024);
    assert!(sizes.iter().all(|size| *size as u64 <= MESSAGE_BYTES), "{sizes:?}");
}
