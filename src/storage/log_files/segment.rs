//! The bytes of one segment, as `docs/design/storage.md` describes them: written, and read back in doubt.
//!
//! Everything here rests on two facts. A segment is full of zeros before it is used, so what is not zero was
//! written since. And each record is synced before the next is begun, so only the last one can be torn.

use crc32fast::Hasher;

use crate::storage::record::doubt;
use crate::{disk::StorageError, protocol::peer::NodeId};

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;
/// Where the first record of a segment begins: the head has a sector for itself.
pub(super) const BEGIN: usize = SECTOR_BYTES;
/// Records begin at multiples of this, so that no sector ends within the head of one.
const STEP_BYTES: usize = 32;
/// The head of a record.
const HEAD_BYTES: usize = 32;
/// The last byte of a record's head and of its body. It is not zero, so a zero in its place says that the end
/// of the head or body was not written.
const MARK: u8 = 0xa5;
/// The room that is kept for the record that ends a segment.
pub(super) const END_BYTES: usize = 2 * STEP_BYTES;

const MAGIC: [u8; 7] = *b"SyncLog";
const VERSION: u8 = 1;

/// What a segment says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHead {
    /// Its place among the segments: each has the number after that of the one before.
    pub number: u64,
    /// Drawn for this use of the file. It is part of every checksum in it.
    pub salt: u64,
    /// Whose log this is.
    pub owner: NodeId,
    /// How often the log was begun anew, by a snapshot.
    pub generation: u64,
    /// The number of its first record. Records are counted through all segments.
    pub first_record: u64,
    /// How long the file is.
    pub bytes: u64,
}

/// Why the head of a segment cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BadHead {
    /// It is not what was written.
    Damaged,
    /// It was written by a program that knows another format.
    Version(u8),
}

impl SegmentHead {
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BEGIN);
        bytes.extend(MAGIC);
        bytes.push(VERSION);
        let numbers = [self.number, self.salt, self.owner.0, self.generation, self.first_record, self.bytes];
        for number in numbers {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes.resize(BEGIN, 0);
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Result<SegmentHead, BadHead> {
        let head = bytes.get(..BEGIN).ok_or(BadHead::Damaged)?;
        if crc32fast::hash(&head[..56]) != u32_at(head, 56) || head[..7] != MAGIC {
            return Err(BadHead::Damaged);
        }
        if head[7] != VERSION {
            return Err(BadHead::Version(head[7]));
        }
        Ok(SegmentHead {
            number: u64_at(head, 8),
            salt: u64_at(head, 16),
            owner: NodeId(u64_at(head, 24)),
            generation: u64_at(head, 32),
            first_record: u64_at(head, 40),
            bytes: u64_at(head, 48),
        })
    }
}

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The first one of a segment: all that must not be forgotten if the segments before are.
    Base = 1,
    /// What was written at once: entries, and what else must not be forgotten.
    Append = 2,
    /// The log goes on in the next segment, which is there.
    End = 3,
}

/// A record that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub kind: Kind,
    /// Where it begins in the segment.
    pub offset: usize,
    /// The length of its body, without the mark at its end.
    pub body_bytes: usize,
}

impl Record {
    /// Its body, in the bytes of the segment.
    pub fn body<'a>(&self, segment: &'a [u8]) -> &'a [u8] {
        &segment[self.offset + HEAD_BYTES..][..self.body_bytes]
    }

    /// How many bytes it takes, up to where the next one begins.
    pub fn bytes(&self) -> usize {
        record_bytes(self.body_bytes)
    }
}

/// How many bytes a record with such a body takes.
pub(super) fn record_bytes(body_bytes: usize) -> usize {
    (HEAD_BYTES + body_bytes + 1).next_multiple_of(STEP_BYTES)
}

/// Adds a record to `into`, with the body that `write` adds.
pub(super) fn put_record(
    into: &mut Vec<u8>,
    kind: Kind,
    (salt, number): (u64, u64),
    write: impl FnOnce(&mut Vec<u8>),
) {
    let begin = into.len();
    into.resize(begin + HEAD_BYTES, 0);
    write(into);
    let body_bytes = into.len() - begin - HEAD_BYTES;
    into.push(MARK);
    let body_crc = body_sum(salt, number, &into[begin + HEAD_BYTES..]);
    let length = u32::try_from(body_bytes).expect("what is written at once is far smaller than 4 GiB");
    let head = &mut into[begin..begin + HEAD_BYTES];
    head[..4].copy_from_slice(&length.to_le_bytes());
    head[4..8].copy_from_slice(&body_crc.to_le_bytes());
    head[8..16].copy_from_slice(&number.to_le_bytes());
    head[16] = kind as u8;
    let head_crc = head_sum(salt, head);
    head[24..28].copy_from_slice(&head_crc.to_le_bytes());
    head[HEAD_BYTES - 1] = MARK;
    into.resize(begin + record_bytes(body_bytes), 0);
}

/// The body of a record whose bytes were read alone; `None` where it is not what was written.
pub(super) fn whole_body(salt: u64, record: &[u8]) -> Option<&[u8]> {
    let head = read_head(salt, record.get(..HEAD_BYTES)?)?;
    let body = record.get(HEAD_BYTES..=HEAD_BYTES + head.body_bytes)?;
    (body_sum(salt, head.number, body) == head.body_crc).then(|| &body[..head.body_bytes])
}

fn body_sum(salt: u64, number: u64, body: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&salt.to_le_bytes());
    hasher.update(&number.to_le_bytes());
    hasher.update(body);
    hasher.finalize()
}

fn head_sum(salt: u64, head: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&salt.to_le_bytes());
    hasher.update(&head[..24]);
    hasher.finalize()
}

/// What the head of a record says.
struct RecordHead {
    kind: Kind,
    body_bytes: usize,
    body_crc: u32,
    number: u64,
}

/// Reads the head of a record; `None` where it is not what was written.
fn read_head(salt: u64, head: &[u8]) -> Option<RecordHead> {
    let kind = match head[16] {
        1 => Kind::Base,
        2 => Kind::Append,
        3 => Kind::End,
        _ => return None,
    };
    let is_whole = head_sum(salt, head) == u32_at(head, 24)
        && head[28..HEAD_BYTES - 1] == [0; 3]
        && head[HEAD_BYTES - 1] == MARK;
    is_whole.then(|| RecordHead {
        kind,
        body_bytes: u32_at(head, 0) as usize,
        body_crc: u32_at(head, 4),
        number: u64_at(head, 8),
    })
}

/// What is behind the last record that is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// Nothing.
    Zeros,
    /// A part of a record that was never synced, so never said to be kept.
    Torn,
}

/// What a segment holds.
#[derive(Debug)]
pub(super) struct Scan {
    /// Its records, in order.
    pub records: Vec<Record>,
    /// Where the next record belongs.
    pub end: usize,
    pub rest: Rest,
}

/// Reads all records of a segment.
///
/// What is no record is either the end, or a record that a power cut has torn, or damage. **Torn** is only
/// what can come of a write that was begun and not synced: a sector of it is still zero, or its end is; and
/// nothing that was written later is behind it. Everything else is damage: it may hide what was synced, and
/// said to be.
pub(super) fn scan(head: &SegmentHead, segment: &[u8]) -> Result<Scan, StorageError> {
    let mut records = Vec::new();
    let mut offset = BEGIN;
    let mut number = head.first_record;
    let rest = loop {
        match judge(head.salt, number, segment, offset) {
            Found::Whole(record) => {
                records.push(record);
                offset += record.bytes();
                number += 1;
                if record.kind == Kind::End {
                    // Nothing was ever written behind it.
                    break Rest::Zeros;
                }
            }
            Found::Zeros => break Rest::Zeros,
            Found::Torn => break Rest::Torn,
            Found::Damaged => {
                return Err(doubt(format!(
                    "record {number} of the log, at byte {offset} of segment {}, is damaged",
                    head.number
                )));
            }
        }
    };
    if rest == Rest::Torn
        && let Some(later) = any_record_behind(head.salt, number, segment, offset)
    {
        return Err(doubt(format!(
            "record {number} of the log, at byte {offset} of segment {}, is damaged: a later one is at byte {later}",
            head.number
        )));
    }
    Ok(Scan { records, end: offset, rest })
}

/// What is at a place where a record may begin.
enum Found {
    Whole(Record),
    Zeros,
    Torn,
    Damaged,
}

fn judge(salt: u64, number: u64, segment: &[u8], offset: usize) -> Found {
    let Some(bytes) = segment.get(offset..).filter(|bytes| bytes.len() >= HEAD_BYTES) else {
        return Found::Zeros;
    };
    let head = &bytes[..HEAD_BYTES];
    if is_zero(head) {
        return if is_zero(bytes) { Found::Zeros } else { Found::Torn };
    }
    if head[HEAD_BYTES - 1] == 0 {
        return Found::Torn;
    }
    let Some(RecordHead { kind, body_bytes, body_crc, number: found }) = read_head(salt, head) else {
        return Found::Damaged;
    };
    let Some(body) = bytes.get(HEAD_BYTES..=HEAD_BYTES + body_bytes) else { return Found::Damaged };
    if found != number {
        return Found::Damaged;
    }
    if body_sum(salt, number, body) == body_crc {
        return Found::Whole(Record { kind, offset, body_bytes });
    }
    let first_sector_bytes = SECTOR_BYTES - offset % SECTOR_BYTES;
    let record = &bytes[..HEAD_BYTES + body_bytes + 1];
    let later_sectors = record.get(first_sector_bytes..).unwrap_or_default();
    let is_torn = body[body_bytes] == 0 || later_sectors.chunks(SECTOR_BYTES).any(is_zero);
    if is_torn { Found::Torn } else { Found::Damaged }
}

/// Whether a record of this use of the segment begins behind `offset`, and where. It would be a later one.
fn any_record_behind(salt: u64, number: u64, segment: &[u8], offset: usize) -> Option<usize> {
    let places = (offset + STEP_BYTES..segment.len().saturating_sub(HEAD_BYTES)).step_by(STEP_BYTES);
    let is_later = |place: &usize| {
        let head = &segment[*place..][..HEAD_BYTES];
        head[HEAD_BYTES - 1] == MARK && read_head(salt, head).is_some_and(|head| head.number > number)
    };
    places.into_iter().find(is_later)
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes are four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes are eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: SegmentHead = SegmentHead {
        number: 3,
        salt: 0x1234_5678_9abc_def0,
        owner: NodeId(9),
        generation: 2,
        first_record: 7,
        bytes: 8_192,
    };

    /// A segment with records of these lengths, and where the last of them begins.
    fn segment(lengths: &[usize]) -> (Vec<u8>, usize) {
        let mut bytes = HEAD.encode();
        let mut last = bytes.len();
        for (number, length) in (HEAD.first_record..).zip(lengths) {
            last = bytes.len();
            put_record(&mut bytes, Kind::Append, (HEAD.salt, number), |into| {
                into.extend((0..*length).map(|place| 1 + (place % 200) as u8));
            });
        }
        bytes.resize(8_192, 0);
        (bytes, last)
    }

    fn count(segment: &[u8]) -> Option<(usize, Rest)> {
        scan(&HEAD, segment).ok().map(|scan| (scan.records.len(), scan.rest))
    }

    #[test]
    fn a_head_says_what_it_is_or_nothing() {
        let bytes = HEAD.encode();
        assert_eq!(SegmentHead::decode(&bytes), Ok(HEAD));
        for bit in 0..60 * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHead::decode(&flipped), Err(BadHead::Damaged), "bit {bit}");
        }
        let mut newer = bytes;
        newer[7] = 2;
        let crc = crc32fast::hash(&newer[..56]);
        newer[56..60].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(SegmentHead::decode(&newer), Err(BadHead::Version(2)));
    }

    #[test]
    fn a_write_that_ends_at_any_byte_is_torn_and_costs_nothing_else() {
        for last in [0, 1, 60, 400, 512, 1_500] {
            let (whole, begin) = segment(&[20, 700, last]);
            let end = begin + record_bytes(last);
            assert_eq!(count(&whole), Some((3, Rest::Zeros)));
            for cut in begin..end {
                let mut torn = whole.clone();
                torn[cut..end].fill(0);
                let expected = if torn == whole {
                    (3, Rest::Zeros)
                } else if is_zero(&torn[begin..]) {
                    (2, Rest::Zeros)
                } else {
                    (2, Rest::Torn)
                };
                assert_eq!(count(&torn), Some(expected), "a record of {last} cut at {cut}");
            }
        }
    }

    #[test]
    fn any_sectors_of_a_write_may_be_missing() {
        let (whole, begin) = segment(&[20, 300, 1_900]);
        let end = begin + record_bytes(1_900);
        let sectors: Vec<usize> = (begin / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES)).collect();
        assert!(sectors.len() >= 4);
        for missing in 1..1_u32 << sectors.len() {
            let mut torn = whole.clone();
            for (bit, sector) in sectors.iter().enumerate().filter(|(bit, _)| missing & (1 << bit) != 0) {
                let _ = bit;
                let from = (sector * SECTOR_BYTES).max(begin);
                torn[from..(sector + 1) * SECTOR_BYTES].fill(0);
            }
            assert_eq!(count(&torn).map(|(records, _)| records), Some(2), "missing {missing:b}");
        }
    }

    #[test]
    fn a_flipped_bit_is_never_taken_for_a_torn_end() {
        let (whole, begin) = segment(&[20, 300, 600]);
        for bit in 0..(begin + record_bytes(600)) * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Some(found) = count(&flipped) {
                // The head of the segment is read elsewhere, and what stands between two records means
                // nothing.
                assert_eq!(found.0, 3, "bit {bit}");
            }
        }
    }

    #[test]
    fn a_record_that_is_gone_before_another_is_damage() {
        let (whole, last) = segment(&[20, 300, 600]);
        let mut lost = whole.clone();
        lost[last - record_bytes(300)..last].fill(0);
        assert_eq!(count(&lost), None);
        lost = whole;
        lost[last - 64..last].fill(0);
        assert_eq!(count(&lost), None);
    }

    #[test]
    fn a_record_of_another_use_of_the_file_is_not_read() {
        let (whole, last) = segment(&[20, 300, 600]);
        let old = SegmentHead { salt: 1, ..HEAD };
        assert!(scan(&old, &whole).is_err());
        // Nor is one of the same use that stands where another belongs.
        let mut moved = whole.clone();
        let record = whole[BEGIN..BEGIN + record_bytes(20)].to_vec();
        moved[last..last + record.len()].copy_from_slice(&record);
        assert_eq!(count(&moved), None);
    }
}
