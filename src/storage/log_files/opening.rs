//! The log as it is found at a start, and whether it fits the state beside it.

use super::{
    Base, Facts, Log, Place, Segment, failed,
    files::{Files, LogFile},
    names::{SPARE, number_of, segment_name},
    segment::{BadHead, Kind, Rest, Scan, SegmentHead, scan},
    split_body,
};
use crate::{
    disk::{HardState, StorageError},
    protocol::peer::{LogEntry, LogMark, NodeId},
    storage::{
        OpenError,
        record::{doubt, exact, mark},
    },
};

/// What the state says, as it was before this start.
#[derive(Debug)]
pub(in crate::storage) struct Beside {
    /// Whose data it is.
    pub owner: NodeId,
    /// How often the log was begun anew.
    pub generation: u64,
    /// The entry before the first one that is still needed.
    pub truncated: LogMark,
    /// The last entry that is in the state.
    pub applied: u64,
    /// Term and vote as of when the log was last begun anew.
    pub hard_state: HardState,
    /// So many transactions were written.
    pub written: u64,
    /// Whether there is a log for certain: nothing that counts is written before.
    pub is_expected: bool,
}

/// Opens the log, or makes it where the data folder is new. `seed` is drawn at random for this run.
///
/// # Errors
/// `Doubtful` where it is not what was written, or does not fit the state beside it.
pub(in crate::storage) fn open(
    files: Box<dyn Files>,
    segment_bytes: u64,
    seed: u64,
    beside: &Beside,
) -> Result<Log, OpenError> {
    let mut log = Log {
        files,
        segment_bytes,
        seed,
        segments: Default::default(),
        spare: None,
        lacks_room: false,
        facts: Facts::default(),
        places: Default::default(),
        last: LogMark::default(),
        buffer: Vec::new(),
    };
    let numbers = log.tidy()?;
    if numbers.is_empty() {
        if beside.is_expected {
            return Err(doubt("the log is gone, and the state is there").into());
        }
        log.make_first(beside)?;
        return Ok(log);
    }
    log.read_segments(&numbers)?;
    log.compare(beside)?;
    if log.current().head.generation != beside.generation {
        // A snapshot was stored, and the process ended before the log was begun anew behind it.
        log.begin_anew(beside.truncated, beside.hard_state).map_err(|broken| broken.error)?;
    }
    log.check_reach(beside)?;
    Ok(log)
}

impl Log {
    /// Removes what was being made ready. Gives the numbers of the segments.
    fn tidy(&mut self) -> Result<Vec<u64>, StorageError> {
        let looking = |error| failed("looking for the log", &error).error;
        let names = self.files.names().map_err(looking)?;
        if names.iter().any(|name| name == SPARE) {
            self.files.remove(SPARE).map_err(looking)?;
        }
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| number_of(name)).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn make_first(&mut self, beside: &Beside) -> Result<(), StorageError> {
        let Beside { owner, generation, truncated, hard_state, .. } = *beside;
        self.facts.hard_state = hard_state;
        self.last = truncated;
        let head = SegmentHead { number: 1, salt: 0, owner, generation, first_record: 1, bytes: 0 };
        let first = self.make_segment(head, truncated, 0).map_err(|broken| broken.error)?;
        self.segments.push_back(first);
        Ok(())
    }

    /// Reads all segments, oldest first.
    fn read_segments(&mut self, numbers: &[u64]) -> Result<(), OpenError> {
        let mut found = Vec::new();
        for number in numbers {
            found.push(self.find(*number)?);
        }
        let newest = found.last().expect("there is one").head.generation;
        let (kept, old): (Vec<Found>, Vec<Found>) =
            found.into_iter().partition(|found| found.head.generation == newest);
        for old in old {
            self.remove(old.head.number)?;
        }
        let count = kept.len();
        for (place, found) in kept.into_iter().enumerate() {
            self.take_in(found, count - place - 1)?;
        }
        Ok(())
    }

    fn remove(&mut self, number: u64) -> Result<(), StorageError> {
        let removed = self.files.remove(&segment_name(number)).and_then(|()| self.files.sync_names());
        removed.map_err(|error| failed("removing an old segment of the log", &error).error)
    }

    fn find(&self, number: u64) -> Result<Found, OpenError> {
        let name = segment_name(number);
        let read = || -> std::io::Result<(Box<dyn LogFile>, Vec<u8>)> {
            let mut file = self.files.open(&name)?;
            let mut bytes = vec![0; file.bytes()? as usize];
            file.read(0, &mut bytes)?;
            // What a killed process has written and not synced can be read all the same.
            file.sync()?;
            Ok((file, bytes))
        };
        let (file, bytes) = read().map_err(|error| failed(&format!("reading {name}"), &error).error)?;
        let head = match SegmentHead::decode(&bytes) {
            Ok(head) if head.number == number && head.bytes == bytes.len() as u64 => head,
            Err(BadHead::Version(version)) => {
                return Err(OpenError::Refused(format!(
                    "{name} was written by another version of SyncNet (its format is {version}); run that version"
                )));
            }
            Ok(_) | Err(BadHead::Damaged) => {
                return Err(doubt(format!("the head or the length of {name} is damaged")).into());
            }
        };
        Ok(Found { head, file, bytes })
    }

    /// Takes in one segment; `later` more come.
    fn take_in(&mut self, found: Found, later: usize) -> Result<(), StorageError> {
        let Found { head, file, bytes } = found;
        let Scan { records, end, rest } = scan(&head, &bytes)?;
        let name = segment_name(head.number);
        let [base, others @ ..] = &records[..] else {
            return Err(doubt(format!("the first record of {name} is gone")));
        };
        let base: Option<Base> = exact(base.body(&bytes)).ok().filter(|_| base.kind == Kind::Base);
        let base =
            base.ok_or_else(|| doubt(format!("{name} begins with something else than it was begun with")))?;
        if later == 0 && others.is_empty() && self.segments.back().is_some_and(|before| !before.is_ended) {
            // The process ended before the segment before this one said that the log goes on here.
            return self.remove(head.number);
        }
        if let Some(before) = self.segments.back() {
            let goes_on = before.is_ended
                && before.head.number + 1 == head.number
                && before.next_record == head.first_record
                && before.head.owner == head.owner
                && base.before == self.last
                && base.facts() == self.facts;
            if !goes_on {
                return Err(doubt(format!("{name} does not go on where the segment before it ended")));
            }
        } else {
            self.last = base.before;
            self.facts = base.facts();
        }
        let mut segment = Segment {
            head,
            end: end as u64,
            next_record: head.first_record + records.len() as u64,
            highest: self.last.last_log_index,
            lowest: None,
            is_ended: others.last().is_some_and(|record| record.kind == Kind::End),
            file,
        };
        for record in others {
            match record.kind {
                Kind::Append => {
                    let (news, entries) = split_body(record.body(&bytes))
                        .ok_or_else(|| doubt(format!("a record of {name} does not decode")))?;
                    self.replay(&entries)?;
                    self.facts.learn(&news);
                    if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
                        segment.highest = segment.highest.max(last.index);
                        segment.lowest =
                            Some(segment.lowest.map_or(first.index, |lowest| lowest.min(first.index)));
                        self.hold(Place {
                            first: first.index,
                            last: last.index,
                            segment: head.number,
                            offset: record.offset as u64,
                            record_bytes: record.bytes(),
                        });
                    }
                }
                Kind::End => {}
                Kind::Base => return Err(doubt(format!("{name} begins twice"))),
            }
        }
        if later == 0 && segment.is_ended {
            return Err(doubt(format!("the log goes on behind {name}, and what follows is gone")));
        }
        if rest == Rest::Torn {
            let torn = bytes.iter().rposition(|byte| *byte != 0).map_or(end, |last| last + 1) - end;
            log::info!(
                "the end of {name} was not written to its end when the server stopped: {torn} bytes are cut"
            );
            let zeros = vec![0; torn];
            let cut = segment.file.write(segment.end, &zeros).and_then(|()| segment.file.sync());
            cut.map_err(|error| failed("cutting the torn end of the log", &error).error)?;
        }
        self.segments.push_back(segment);
        Ok(())
    }

    /// Takes notice of the entries of a record.
    fn replay(&mut self, entries: &[LogEntry]) -> Result<(), StorageError> {
        let Some(first) = entries.first() else { return Ok(()) };
        if first.index > self.last.last_log_index + 1 {
            return Err(doubt(format!(
                "the log goes from entry {} straight to {}",
                self.last.last_log_index, first.index
            )));
        }
        self.last = mark(entries.last().expect("a first entry means a last one"));
        Ok(())
    }

    /// Compares what the log says with what the state says.
    fn compare(&self, beside: &Beside) -> Result<(), StorageError> {
        let head = &self.current().head;
        if head.owner != beside.owner {
            return Err(doubt("the log is that of other data than the state"));
        }
        if head.generation != beside.generation && head.generation + 1 != beside.generation {
            return Err(doubt(format!(
                "the log was begun anew {} times, and the state says {} times",
                head.generation, beside.generation
            )));
        }
        if beside.written < self.facts.state_synced {
            return Err(doubt(format!(
                "{} transactions of the state were synced, and {} are there",
                self.facts.state_synced, beside.written
            )));
        }
        Ok(())
    }

    /// Whether there is each entry that the state lacks.
    fn check_reach(&self, beside: &Beside) -> Result<(), StorageError> {
        let (first_needed, last) = (beside.truncated.last_log_index + 1, self.last);
        let first_held = self.places.front().map_or(last.last_log_index + 1, |place| place.first);
        if first_held > first_needed || last.last_log_index < beside.applied.max(first_needed - 1) {
            return Err(doubt(format!(
                "the log goes from entry {first_held} to {}, and the state needs those from {first_needed} on and \
                 has applied {}",
                last.last_log_index, beside.applied
            )));
        }
        let same_term = match last.last_log_index + 1 == first_needed {
            true => last == beside.truncated,
            false if first_held < first_needed => {
                self.term(first_needed - 1)? == beside.truncated.last_log_term
            }
            false => true,
        };
        if same_term {
            return Ok(());
        }
        Err(doubt(format!("entry {} is of another term in the log than in the state", first_needed - 1)))
    }
}

/// A segment that was found.
struct Found {
    head: SegmentHead,
    file: Box<dyn LogFile>,
    bytes: Vec<u8>,
}

impl Base {
    fn facts(&self) -> Facts {
        let mut facts = Facts::default();
        facts.learn(&self.news);
        facts
    }
}
