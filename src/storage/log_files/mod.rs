//! The replicated log in files of its own. `docs/design/storage.md` has the format, and why it is so.
//!
//! | file | concept |
//! |---|---|
//! | this one | the log that is open: appended to, read, cut, begun anew |
//! | [`files`] | the few things that are asked of a folder |
//! | `names` | the names of its files |
//! | `memory` | a folder in memory, for the memory twin |
//! | `checking` | what is not written to any more, read again for damage |
//! | `opening` | the log found at a start, and whether it fits the state beside it |
//! | `segment` | the bytes of one segment |
//!
//! **Synced before said.** When `Log::append` has returned, its record is on the disk. Each call writes one
//! record and syncs once. A call that failed ends the storage: nothing is tried again.

mod checking;
pub mod files;
pub(in crate::storage) mod memory;
pub(in crate::storage) mod names;
mod opening;
mod segment;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    io,
};

use serde::{Deserialize, Serialize};

use self::{
    files::{Files, LogFile},
    names::{SPARE, segment_name},
    segment::{BEGIN, END_BYTES, Kind, SegmentHead, put_record, record_bytes},
};
use super::{
    record::{self, HardStateRecord, doubt, encode_entry, exact, mark, split_entry},
    transaction::Broken,
};
use crate::{
    disk::{HardState, StorageError},
    protocol::{
        name::ServerId,
        peer::{DataMark, LogEntry, LogMark},
    },
};

pub use self::checking::check_next_in;
pub(super) use self::opening::{Beside, open};

/// How long a segment is. A record that is longer gets a longer one for itself.
pub(super) const SEGMENT_BYTES: u64 = 4 * 1024 * 1024;
/// How much of a spare segment one append fills with zeros at most: more would make it late.
const ZEROED_AT_ONCE: u64 = 256 * 1024;

/// What must not be forgotten, apart from the entries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Facts {
    hard_state: HardState,
    /// What other servers' data was last seen to be.
    marks: BTreeMap<ServerId, DataMark>,
    /// So many transactions of the state are known to be synced.
    state_synced: u64,
}

/// What is new in one record of that.
#[derive(Debug, Default, Serialize, Deserialize)]
struct News {
    hard_state: Option<HardStateRecord>,
    marks: Vec<(ServerId, DataMark)>,
    state_synced: Option<u64>,
}

impl Facts {
    fn learn(&mut self, news: &News) {
        if let Some((term, vote, commit)) = news.hard_state {
            self.hard_state = HardState { term, vote, commit };
        }
        self.marks.extend(news.marks.iter().cloned());
        self.state_synced = news.state_synced.unwrap_or(self.state_synced);
    }

    /// All of it, for the first record of a segment.
    fn as_news(&self) -> News {
        News {
            hard_state: Some(record::hard_state(self.hard_state)),
            marks: self.marks.clone().into_iter().collect(),
            state_synced: Some(self.state_synced),
        }
    }
}

/// The body of the first record of a segment.
#[derive(Debug, Serialize, Deserialize)]
struct Base {
    /// The last entry before the segment.
    before: LogMark,
    news: News,
}

/// What is appended at once.
#[derive(Debug, Default)]
pub(super) struct Append<'a> {
    /// Entries, without a hole. What the log holds from the first one's index on is replaced.
    pub entries: &'a [LogEntry],
    pub hard_state: Option<HardState>,
    pub marks: &'a [(ServerId, DataMark)],
}

/// A segment that is open.
#[derive(Debug)]
struct Segment {
    head: SegmentHead,
    file: Box<dyn LogFile>,
    /// Where the next record belongs.
    end: u64,
    /// The number of that one.
    next_record: u64,
    /// The highest index of an entry that was ever written to it, or before it.
    highest: u64,
    /// The lowest index of an entry that was ever written to it.
    lowest: Option<u64>,
    /// Whether the log goes on in the next one.
    is_ended: bool,
}

impl Segment {
    /// Writes a record at the end, and syncs it.
    fn put(&mut self, record: &[u8]) -> Result<(), Broken> {
        self.file.write(self.end, record).map_err(|error| failed("writing the log", &error))?;
        self.file
            .sync()
            .map_err(|error| Broken { synced_in_vain: true, ..failed("syncing the log", &error) })?;
        self.end += record.len() as u64;
        self.next_record += 1;
        Ok(())
    }

    fn put_end(&mut self) -> Result<(), Broken> {
        let mut record = Vec::new();
        put_record(&mut record, Kind::End, (self.head.salt, self.next_record), |_| {});
        self.put(&record)?;
        self.is_ended = true;
        Ok(())
    }
}

/// Where entries are that were written at once. What was replaced since is not counted.
#[derive(Debug, Clone, Copy)]
struct Place {
    first: u64,
    last: u64,
    segment: u64,
    offset: u64,
    record_bytes: usize,
}

/// A file that is to be the next segment, once it is full of zeros.
#[derive(Debug)]
struct Spare {
    file: Box<dyn LogFile>,
    zeroed: u64,
}

impl Spare {
    /// Fills it with zeros, `most` bytes at most, until there are `bytes` of them; all of them are on the
    /// disk then.
    fn zero(&mut self, bytes: u64, most: u64) -> io::Result<()> {
        let goal = bytes.min(self.zeroed.saturating_add(most));
        if goal == self.zeroed {
            return Ok(());
        }
        let zeros = vec![0; ZEROED_AT_ONCE.min(goal - self.zeroed) as usize];
        while self.zeroed < goal {
            let count = (goal - self.zeroed).min(zeros.len() as u64);
            self.file.write(self.zeroed, &zeros[..count as usize])?;
            self.zeroed += count;
        }
        self.file.sync()
    }
}

/// The log of a server, open.
#[derive(Debug)]
pub(super) struct Log {
    files: Box<dyn Files>,
    /// The length of a usual segment.
    segment_bytes: u64,
    /// Salts are made of it; drawn at random for this run.
    seed: u64,
    /// Oldest first, at least one; the last is the one that is written to.
    segments: VecDeque<Segment>,
    spare: Option<Spare>,
    /// Whether it was said already that there is no room for a spare.
    lacks_room: bool,
    facts: Facts,
    places: VecDeque<Place>,
    last: LogMark,
    buffer: Vec<u8>,
}

impl Log {
    /// The newest entry, or what comes before the first one.
    pub fn last(&self) -> LogMark {
        self.last
    }

    /// Term, vote and commit index.
    pub fn hard_state(&self) -> HardState {
        self.facts.hard_state
    }

    /// What other servers' data was last seen to be.
    pub fn marks(&self) -> impl Iterator<Item = (&ServerId, &DataMark)> {
        self.facts.marks.iter()
    }

    /// The files that it needs.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.segments.iter().map(|segment| segment_name(segment.head.number))
    }

    fn current(&self) -> &Segment {
        self.segments.back().expect("a log has a segment")
    }

    fn current_mut(&mut self) -> &mut Segment {
        self.segments.back_mut().expect("a log has a segment")
    }

    /// Writes a record and syncs it.
    pub fn append(&mut self, append: &Append<'_>) -> Result<(), Broken> {
        let news = News {
            hard_state: append.hard_state.map(record::hard_state),
            marks: append.marks.to_vec(),
            state_synced: None,
        };
        self.write(append.entries, &news)
    }

    /// Notes that so many transactions of the state are synced: a state that is found with fewer has lost
    /// some.
    pub fn note_state(&mut self, synced: u64) -> Result<(), Broken> {
        self.write(&[], &News { state_synced: Some(synced), ..News::default() })
    }

    fn write(&mut self, entries: &[LogEntry], news: &News) -> Result<(), Broken> {
        let news_bytes = postcard::to_stdvec(news).expect("plain data always encodes");
        let entry_bytes: usize = entries.iter().map(|entry| 4 + record::entry_bytes(entry)).sum();
        let first_bytes = if entries.is_empty() { 0 } else { 8 };
        let bytes = record_bytes(4 + news_bytes.len() + first_bytes + entry_bytes);
        if self.current().end + (bytes + END_BYTES) as u64 > self.current().head.bytes {
            self.begin_segment(bytes)?;
        }
        let segment = self.segments.back_mut().expect("a log has a segment");
        self.buffer.clear();
        put_record(&mut self.buffer, Kind::Append, (segment.head.salt, segment.next_record), |into| {
            into.extend(length(news_bytes.len()));
            into.extend(&news_bytes);
            if let Some(first) = entries.first() {
                into.extend(first.index.to_le_bytes());
            }
            for entry in entries {
                into.extend(length(record::entry_bytes(entry)));
                encode_entry(entry, into);
            }
        });
        debug_assert_eq!(self.buffer.len(), bytes);
        let offset = segment.end;
        segment.put(&self.buffer)?;
        if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
            segment.highest = segment.highest.max(last.index);
            segment.lowest = Some(segment.lowest.map_or(first.index, |lowest| lowest.min(first.index)));
            let (first, segment) = (first.index, segment.head.number);
            self.hold(Place { first, last: last.index, segment, offset, record_bytes: bytes });
            self.last = mark(last);
        }
        self.facts.learn(news);
        self.prepare_spare();
        Ok(())
    }

    /// Takes notice of where entries are; they replace what was held from the first one on.
    fn hold(&mut self, place: Place) {
        while let Some(before) = self.places.back_mut() {
            if before.first < place.first {
                before.last = before.last.min(place.first - 1);
                break;
            }
            self.places.pop_back();
        }
        self.places.push_back(place);
    }

    /// Goes on in a new segment, in which there is room for a record of so many bytes.
    fn begin_segment(&mut self, record: usize) -> Result<(), Broken> {
        let Segment { head, next_record, .. } = self.current();
        let (number, generation, first_record) = (head.number + 1, head.generation, next_record + 1);
        let head = SegmentHead { number, generation, first_record, ..*head };
        let next = self.make_segment(head, self.last, record)?;
        // The next one is on the disk. Without this record it would not be missed.
        self.current_mut().put_end()?;
        self.segments.push_back(next);
        Ok(())
    }

    /// Makes a segment that begins with all that must not be forgotten. When it has its name it is whole.
    fn make_segment(&mut self, head: SegmentHead, before: LogMark, record: usize) -> Result<Segment, Broken> {
        let base = Base { before, news: self.facts.as_news() };
        let base = postcard::to_stdvec(&base).expect("plain data always encodes");
        let needed = (BEGIN + record_bytes(base.len()) + record + END_BYTES) as u64;
        let bytes = self.segment_bytes.max(needed);
        let salt = salt(self.seed, head.number);
        let head = SegmentHead { salt, bytes, ..head };
        if bytes > self.segment_bytes {
            self.spare = None;
        }
        let mut file = self.take_spare(bytes).map_err(|error| failed("making room for the log", &error))?;
        let mut begin = head.encode();
        put_record(&mut begin, Kind::Base, (salt, head.first_record), |into| into.extend(base));
        let name = segment_name(head.number);
        let named = file.write(0, &begin).and_then(|()| file.sync()).and_then(|()| {
            self.files.rename(SPARE, &name)?;
            self.files.sync_names()?;
            self.files.open(&name)
        });
        let file = named.map_err(|error| failed("beginning a segment of the log", &error))?;
        let (end, next_record) = (begin.len() as u64, head.first_record + 1);
        let highest = before.last_log_index;
        Ok(Segment { head, file, end, next_record, highest, lowest: None, is_ended: false })
    }

    /// A file full of zeros, so long, under the name of a spare.
    fn take_spare(&mut self, bytes: u64) -> io::Result<Box<dyn LogFile>> {
        let mut spare = match self.spare.take() {
            Some(spare) => spare,
            None => Spare { file: self.files.create(SPARE)?, zeroed: 0 },
        };
        spare.zero(bytes, bytes)?;
        Ok(spare.file)
    }

    /// Makes the next segment ready, a slice at a time: where the disk is full, this is found out while there
    /// is room left in this one.
    pub fn prepare_spare(&mut self) {
        let is_half_full = self.current().end > self.current().head.bytes / 2;
        if self.spare.is_none() && !is_half_full {
            return;
        }
        let bytes = self.segment_bytes;
        let spare = match self.spare.take() {
            Some(spare) => Ok(spare),
            None => self.files.create(SPARE).map(|file| Spare { file, zeroed: 0 }),
        };
        let prepared = spare.and_then(|mut spare| {
            spare.zero(bytes, ZEROED_AT_ONCE)?;
            Ok(spare)
        });
        match prepared {
            Ok(spare) => {
                self.spare = Some(spare);
                self.lacks_room = false;
            }
            // There is nothing in it that could be lost. It is made again from the beginning.
            Err(error) if !std::mem::replace(&mut self.lacks_room, true) => {
                let left = self.current().head.bytes - self.current().end;
                log::error!(
                    "there is no room for the next segment of the log ({error}); {left} bytes are left in this \
                     one, then this server stops: make room on the disk of the data folder"
                );
            }
            Err(_) => {}
        }
    }

    /// Forgets entries up to and including `index`, which a synced state contains. Files go as a whole, so a
    /// new one is begun: what is deleted is gone from the log with the next cut, also on a server that takes
    /// few messages.
    pub fn cut(&mut self, index: u64) -> Result<(), Broken> {
        while self.places.front().is_some_and(|place| place.last <= index) {
            self.places.pop_front();
        }
        if self.current().lowest.is_some_and(|lowest| lowest <= index) {
            self.begin_segment(0)?;
        }
        while self.segments.len() > 1 && self.segments[0].highest <= index {
            let old = self.segments.pop_front().expect("there is more than one");
            self.dispose(old).map_err(|error| failed("removing an old segment of the log", &error))?;
        }
        Ok(())
    }

    /// Makes a spare of a segment that is no longer needed, or removes it.
    fn dispose(&mut self, old: Segment) -> io::Result<()> {
        let name = segment_name(old.head.number);
        if self.spare.is_none() && old.head.bytes == self.segment_bytes {
            drop(old);
            self.files.rename(&name, SPARE)?;
            self.spare = Some(Spare { file: self.files.open(SPARE)?, zeroed: 0 });
        } else {
            self.files.remove(&name)?;
        }
        self.files.sync_names()
    }

    /// Begins anew behind `before`, without an entry: a snapshot has taken the place of everything.
    pub fn begin_anew(&mut self, before: LogMark, hard_state: HardState) -> Result<(), Broken> {
        self.facts.hard_state = hard_state;
        let Segment { head, next_record, .. } = self.current();
        let head = SegmentHead {
            number: head.number + 1,
            generation: head.generation + 1,
            first_record: next_record + 1,
            ..*head
        };
        let first = self.make_segment(head, before, 0)?;
        self.places.clear();
        self.last = before;
        let old = std::mem::take(&mut self.segments);
        self.segments.push_back(first);
        for old in old {
            self.dispose(old).map_err(|error| failed("removing the log before a snapshot", &error))?;
        }
        Ok(())
    }

    /// The entries `low..high`, as many as there are, but no more than have `max_bytes` of data; at least
    /// one.
    pub fn entries(&self, low: u64, high: u64, max_bytes: u64) -> Result<Vec<LogEntry>, StorageError> {
        let mut found = Vec::new();
        let mut bytes = 0;
        self.walk(low, &mut |entry| {
            if entry.index >= high {
                return false;
            }
            bytes += entry.data.len() as u64;
            let fits = found.is_empty() || bytes <= max_bytes;
            if fits {
                found.push(entry);
            }
            fits
        })?;
        match found.first() {
            Some(first) if first.index != low => Err(doubt(format!("log entry {low} is missing"))),
            _ => Ok(found),
        }
    }

    /// Hands over the entries from `low` on, until `take` has enough.
    pub fn walk(&self, low: u64, take: &mut dyn FnMut(LogEntry) -> bool) -> Result<(), StorageError> {
        let begin = self.places.partition_point(|place| place.last < low);
        let mut buffer = Vec::new();
        for place in self.places.range(begin..) {
            let mut entries = self.read(place, &mut buffer)?;
            entries.retain(|entry| (place.first.max(low)..=place.last).contains(&entry.index));
            for entry in entries {
                if !take(entry) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Reads the entries of a record, also those that were replaced since.
    fn read(&self, place: &Place, buffer: &mut Vec<u8>) -> Result<Vec<LogEntry>, StorageError> {
        let oldest = self.segments.front().expect("a log has a segment").head.number;
        let segment = &self.segments[(place.segment - oldest) as usize];
        buffer.resize(place.record_bytes, 0);
        segment.file.read(place.offset, buffer).map_err(|error| failed("reading the log", &error).error)?;
        let odd = || doubt(format!("log entry {} fails its checksum", place.first));
        let body = segment::whole_body(segment.head.salt, buffer).ok_or_else(odd)?;
        let (_, entries) = split_body(body).ok_or_else(odd)?;
        Ok(entries)
    }

    /// The term of an entry.
    pub fn term(&self, index: u64) -> Result<u64, StorageError> {
        let found = self.entries(index, index + 1, u64::MAX)?;
        found.first().map(|entry| entry.term).ok_or_else(|| doubt(format!("log entry {index} is missing")))
    }
}

/// Divides the body of an append: what is new, and the entries.
fn split_body(body: &[u8]) -> Option<(News, Vec<LogEntry>)> {
    let (news_bytes, rest) = body.split_first_chunk::<4>()?;
    let (news, mut rest) = rest.split_at_checked(u32::from_le_bytes(*news_bytes) as usize)?;
    let news = exact(news).ok()?;
    let mut entries = Vec::new();
    if let Some((first, after)) = rest.split_first_chunk::<8>() {
        rest = after;
        let mut index = u64::from_le_bytes(*first);
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let (value, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            entries.push(split_entry(index, value)?);
            index += 1;
            rest = after;
        }
    }
    rest.is_empty().then_some((news, entries))
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).expect("what is written at once is far smaller than 4 GiB").to_le_bytes()
}

/// Different for each segment of each run.
fn salt(seed: u64, number: u64) -> u64 {
    // SplitMix64.
    let mut mixed = seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// `doing` completes "while …".
fn failed(doing: &str, error: &io::Error) -> Broken {
    Broken::from(StorageError::Failed(format!("{error} while {doing}")))
}
