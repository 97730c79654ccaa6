//! The log against what disks and ends of processes do to it. `tests/storage` cuts the power of it and of the
//! database together.

use std::sync::Arc;

use super::{
    Append, Beside, Log,
    checking::check_next,
    memory::{Contents, MemoryFiles},
    open,
};
use crate::{
    disk::{HardState, StorageError},
    protocol::{
        name::ServerId,
        peer::{DataMark, LogEntry, LogEntryKind, LogMark, NodeId},
    },
    storage::OpenError,
};

const SEGMENT_BYTES: u64 = 4 * 1024;
const OWNER: NodeId = NodeId(7);

fn beside() -> Beside {
    Beside {
        owner: OWNER,
        generation: 0,
        truncated: LogMark::default(),
        applied: 0,
        hard_state: HardState::default(),
        written: 9,
        is_expected: true,
    }
}

fn open_beside(files: &MemoryFiles, beside: &Beside) -> Result<Log, OpenError> {
    open(Box::new(files.clone()), SEGMENT_BYTES, 1, beside)
}

fn make(files: &MemoryFiles) -> Log {
    open_beside(files, &Beside { is_expected: false, ..beside() }).unwrap()
}

/// A start on a copy of what is there.
fn reopen(files: &MemoryFiles) -> Result<Log, OpenError> {
    let copy = MemoryFiles::default();
    copy.restore(files.contents());
    open_beside(&copy, &beside())
}

fn doubted(opened: Result<Log, OpenError>) -> String {
    match opened {
        Err(OpenError::Storage(StorageError::Doubtful(why))) => why,
        other => panic!("no doubt: {other:?}"),
    }
}

fn entry(term: u64, index: u64, bytes: usize) -> LogEntry {
    let data = (0..bytes).map(|place| 1 + (index as usize + place) as u8 % 100).collect();
    LogEntry { term, index, kind: LogEntryKind::Command, data, opaque: vec![] }
}

fn append(log: &mut Log, entries: &[LogEntry]) {
    log.append(&Append { entries, ..Append::default() }).unwrap();
}

fn vote(log: &mut Log, term: u64) {
    let hard_state = Some(HardState { term, vote: Some(OWNER), commit: 0 });
    log.append(&Append { hard_state, ..Append::default() }).unwrap();
}

/// Everything that is in a log.
fn content(log: &Log) -> (HardState, LogMark, Vec<LogEntry>) {
    let mut entries = Vec::new();
    log.walk(0, &mut |entry| {
        entries.push(entry);
        true
    })
    .unwrap();
    (log.hard_state(), log.last(), entries)
}

fn segments(files: &MemoryFiles) -> Vec<String> {
    files.contents().into_keys().filter(|name| super::names::number_of(name).is_some()).collect()
}

#[test]
fn what_was_appended_is_read_back_through_many_segments() {
    let files = MemoryFiles::default();
    let mut log = make(&files);
    let mut expected: Vec<LogEntry> = Vec::new();
    for round in 0..60_u64 {
        // Now and then a new leader replaces the end.
        let first = 1 + expected.len() as u64 - if round % 7 == 6 { 2 } else { 0 };
        expected.truncate(first as usize - 1);
        let new: Vec<LogEntry> =
            (first..first + 1 + round % 4).map(|index| entry(round, index, 10 * round as usize)).collect();
        append(&mut log, &new);
        expected.extend(new);
        if round % 5 == 0 {
            vote(&mut log, round);
        }
        if round % 3 == 0 {
            assert_eq!(content(&reopen(&files).unwrap()), content(&log), "round {round}");
        }
    }
    assert!(segments(&files).len() > 4, "{:?}", segments(&files));
    assert_eq!(content(&log).2, expected);
    let last = expected.len() as u64;
    assert_eq!(log.entries(3, 6, u64::MAX).unwrap(), expected[2..5]);
    assert_eq!(log.entries(last, last + 1, 0).unwrap(), expected[last as usize - 1..]);
    assert_eq!(log.entries(5, last, 0).unwrap().len(), 1);
    assert_eq!(log.term(4).unwrap(), expected[3].term);
}

#[test]
fn what_is_longer_than_a_segment_gets_one_of_its_own() {
    let files = MemoryFiles::default();
    let mut log = make(&files);
    append(&mut log, &[entry(1, 1, 20)]);
    append(&mut log, &[entry(1, 2, 20_000)]);
    append(&mut log, &[entry(1, 3, 20)]);
    assert_eq!(content(&reopen(&files).unwrap()), content(&log));
    log.cut(3).unwrap();
    let lengths: Vec<usize> = files.contents().values().map(|bytes| bytes.len()).collect();
    assert!(lengths.iter().all(|bytes| *bytes as u64 <= SEGMENT_BYTES), "{lengths:?}");
}

#[test]
fn marks_and_votes_outlive_the_segments_they_were_written_to() {
    let files = MemoryFiles::default();
    let mut log = make(&files);
    let server = ServerId::new("server2").unwrap();
    let mark = DataMark { cluster_id: Some(3), node_id: OWNER, boot: 4, term: 5, log: LogMark::default() };
    log.append(&Append { marks: &[(server.clone(), mark.clone())], ..Append::default() }).unwrap();
    vote(&mut log, 6);
    for index in 1..40 {
        append(&mut log, &[entry(6, index, 300)]);
    }
    log.cut(38).unwrap();
    assert!(segments(&files).len() <= 2, "{:?}", segments(&files));
    let cut = Beside { truncated: LogMark { last_log_term: 6, last_log_index: 38 }, applied: 38, ..beside() };
    let again = open_beside(&files, &cut).unwrap();
    assert_eq!(again.marks().collect::<Vec<_>>(), [(&server, &mark)]);
    assert_eq!(again.hard_state().term, 6);
    assert_eq!(again.last().last_log_index, 39);
    assert_eq!(again.entries(39, 40, u64::MAX).unwrap(), [entry(6, 39, 300)]);
    // The state went back behind what the log still has.
    doubted(reopen(&files));
}

/// What the files are with all but the first `kept` bytes of the last record still zero.
fn torn(contents: &Contents, name: &str, end: usize, bytes: usize, kept: usize) -> Contents {
    let mut torn = contents.clone();
    let segment = Arc::make_mut(torn.get_mut(name).unwrap());
    segment[end - bytes + kept..end].fill(0);
    torn
}

#[test]
fn a_write_torn_at_any_byte_is_cut_and_the_log_goes_on() {
    let files = MemoryFiles::default();
    let mut log = make(&files);
    append(&mut log, &[entry(1, 1, 100)]);
    vote(&mut log, 2);
    let before = content(&log);
    let begin = log.current().end as usize;
    append(&mut log, &[entry(2, 2, 700)]);
    let end = log.current().end as usize;
    let after = content(&log);
    let (whole, name) = (files.contents(), segments(&files).remove(0));
    for kept in 0..=end - begin {
        files.restore(torn(&whole, &name, end, end - begin, kept));
        let mut again = open_beside(&files, &beside()).unwrap();
        if content(&again) == after {
            // Only what fills up to the next record was missing.
            assert!(kept > 740);
            continue;
        }
        assert_eq!(content(&again), before, "{kept} bytes are there");
        append(&mut again, &[entry(3, 2, 5)]);
        assert_eq!(content(&reopen(&files).unwrap()), content(&again), "{kept} bytes were there");
    }
}

#[test]
fn a_bit_that_flips_in_what_was_written_is_doubted_and_never_cut_off() {
    let files = MemoryFiles::default();
    let mut log = make(&files);
    for index in 1..12 {
        append(&mut log, &[entry(1, index, 500)]);
    }
    let (whole, all) = (files.contents(), content(&log));
    assert!(segments(&files).len() > 1);
    let mut doubts = 0;
    for (name, bytes) in &whole {
        for bit in (0..bytes.len() * 8).step_by(7) {
            let mut flipped = whole.clone();
            Arc::make_mut(flipped.get_mut(name).unwrap())[bit / 8] ^= 1 << (bit % 8);
            files.restore(flipped);
            match reopen(&files) {
                Ok(again) => assert_eq!(content(&again), all, "bit {bit} of {name}"),
                Err(OpenError::Storage(StorageError::Doubtful(_)) | OpenError::Refused(_)) => doubts += 1,
                Err(other) => panic!("bit {bit} of {name}: {other}"),
            }
        }
    }
    assert!(doubts > 5_000, "only {doubts}");
}

#[test]
fn a_file_that_is_gone_or_shorter_is_missed() {
    let files = MemoryFiles::default();
    let mut log = make(&files);
    for index in 1..30 {
        append(&mut log, &[entry(1, index, 500)]);
    }
    let (whole, names) = (files.contents(), segments(&files));
    assert!(names.len() > 3);
    for name in &names {
        let mut lost = whole.clone();
        lost.remove(name);
        files.restore(lost);
        doubted(reopen(&files));
        let mut short = whole.clone();
        Arc::make_mut(short.get_mut(name).unwrap()).truncate(2_000);
        files.restore(short);
        doubted(reopen(&files));
    }
    files.restore(Contents::default());
    doubted(reopen(&files));
}

#[test]
fn an_end_of_the_process_in_a_change_of_segments_costs_nothing() {
    let files = MemoryFiles::default();
    let mut log = make(&files);
    while segments(&files).len() == 1 {
        let next = log.last().last_log_index + 1;
        let before = (files.contents(), content(&log));
        append(&mut log, &[entry(1, next, 500)]);
        if segments(&files).len() == 1 {
            continue;
        }
        // The next segment has its name, and nothing is in it; the one before does not say yet that it is
        // ended.
        let after = files.contents();
        let (first, second) = (segments(&files).remove(0), segments(&files).remove(1));
        let mut between = before.0.clone();
        let mut empty = after[&second].to_vec();
        let base_end = 512 + 64;
        let appended = empty[base_end..].iter().position(|byte| *byte != 0).unwrap() + base_end;
        empty[appended / 32 * 32..].fill(0);
        between.insert(second.clone(), Arc::new(empty.clone()));
        files.restore(between.clone());
        assert_eq!(content(&open_beside(&files, &beside()).unwrap()), before.1);
        assert_eq!(segments(&files), std::slice::from_ref(&first));
        // Now it says so.
        between.insert(first.clone(), after[&first].clone());
        files.restore(between);
        let mut again = open_beside(&files, &beside()).unwrap();
        assert_eq!(content(&again), before.1);
        append(&mut again, &[entry(1, next, 500)]);
        assert_eq!(content(&reopen(&files).unwrap()), content(&log));
        // An end without the next one is damage.
        let mut lost = after.clone();
        lost.remove(&second);
        files.restore(lost);
        doubted(reopen(&files));
        return;
    }
}

#[test]
fn a_log_is_begun_anew_by_the_start_after_a_snapshot_that_was_cut_short() {
    let files = MemoryFiles::default();
    let mut log = make(&files);
    for index in 1..20 {
        append(&mut log, &[entry(1, index, 300)]);
    }
    vote(&mut log, 3);
    let old = files.contents();
    let (before, hard_state) =
        (LogMark { last_log_term: 4, last_log_index: 100 }, HardState { term: 5, vote: None, commit: 100 });
    let snapshot = Beside { generation: 1, truncated: before, applied: 100, hard_state, ..beside() };
    log.begin_anew(before, hard_state).unwrap();
    let anew = content(&log);
    assert_eq!(anew, (hard_state, before, vec![]));
    assert_eq!(content(&open_beside(&files, &snapshot).unwrap()), anew);
    // The state has the snapshot, and the log does not know of it.
    files.restore(old.clone());
    assert_eq!(content(&open_beside(&files, &snapshot).unwrap()), anew);
    // The new segment is there, and the old ones are as well.
    let mut both = files.contents();
    both.extend(old);
    files.restore(both);
    let mut again = open_beside(&files, &snapshot).unwrap();
    assert_eq!(content(&again), anew);
    assert_eq!(segments(&files).len(), 1);
    append(&mut again, &[entry(5, 101, 3)]);
    assert_eq!(content(&open_beside(&files, &snapshot).unwrap()), content(&again));
    // A state of before is not taken for one that fits.
    doubted(reopen(&files));
}

#[test]
fn the_log_of_other_data_or_a_state_that_went_back_is_doubted() {
    let files = MemoryFiles::default();
    let mut log = make(&files);
    append(&mut log, &[entry(1, 1, 3), entry(1, 2, 3)]);
    log.note_state(5).unwrap();
    drop(log);
    doubted(open_beside(&files, &Beside { owner: NodeId(8), ..beside() }));
    doubted(open_beside(&files, &Beside { written: 4, ..beside() }));
    doubted(open_beside(&files, &Beside { generation: 2, ..beside() }));
    doubted(open_beside(&files, &Beside { applied: 3, ..beside() }));
    let other_term = LogMark { last_log_term: 2, last_log_index: 1 };
    doubted(open_beside(&files, &Beside { truncated: other_term, applied: 1, ..beside() }));
    open_beside(&files, &Beside { written: 5, applied: 2, ..beside() }).unwrap();
}

#[test]
fn what_was_cut_is_gone_from_the_files() {
    let files = MemoryFiles::default();
    let mut log = make(&files);
    let secret = b"nobody is to read this";
    let has_secret =
        || files.contents().values().any(|bytes| bytes.windows(secret.len()).any(|window| window == secret));
    let data = secret.to_vec();
    append(&mut log, &[LogEntry { data, ..entry(1, 1, 0) }]);
    append(&mut log, &[entry(1, 2, 30)]);
    assert!(has_secret());
    log.cut(1).unwrap();
    append(&mut log, &[entry(1, 3, 30)]);
    assert!(has_secret(), "the second entry is beside it");
    log.cut(2).unwrap();
    log.prepare_spare();
    assert!(!has_secret());
}

#[test]
fn every_segment_but_the_last_is_read_again_and_damage_is_found() {
    let files = MemoryFiles::default();
    let mut log = make(&files);
    for index in 1..40 {
        append(&mut log, &[entry(1, index, 300)]);
    }
    let all = segments(&files);
    let whole = files.contents();
    let read_all = || {
        let mut checked = Vec::new();
        while let Some(number) = check_next(&files, checked.last().copied().unwrap_or(0))? {
            checked.push(number);
        }
        Ok(checked)
    };
    let closed: Vec<u64> = (1..all.len() as u64).collect();
    assert!(closed.len() > 2);
    assert_eq!(read_all(), Ok(closed.clone()));
    for (number, byte) in [(1, 20), (1, 600), (2, 3_000), (3, 1_000)] {
        let mut flipped = whole.clone();
        Arc::make_mut(flipped.get_mut(&all[number - 1]).unwrap())[byte] ^= 4;
        files.restore(flipped);
        let Err(StorageError::Doubtful(why)) = read_all() else { panic!("byte {byte} of segment {number}") };
        assert!(why.contains(&format!("segment {number}")), "{why}");
    }
    // Those that were cut are read no more.
    files.restore(whole);
    log.cut(30).unwrap();
    assert!(read_all().unwrap().len() < closed.len());
}
