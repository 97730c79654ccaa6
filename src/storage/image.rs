//! The tables as ordered maps, which are the disk of the memory twin.

use std::{collections::BTreeMap, sync::Arc};

use super::tables::{GoOn, RawChunk, RawEvent, RawText, Span, Tables, TablesMut, TakeRow};
use crate::disk::StorageError;

/// A value and its checksum.
type Sealed = (Arc<[u8]>, u32);

/// Everything that is on a disk at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Image {
    metas: BTreeMap<String, Sealed>,
    state: BTreeMap<Vec<u8>, Sealed>,
    events: BTreeMap<(u64, u64), KeptEvent>,
    chunks: BTreeMap<([u8; 16], u32), Sealed>,
    floors: BTreeMap<u64, (u64, u32)>,
    doomed: BTreeMap<[u8; 16], u32>,
}

#[derive(Debug, Clone)]
struct KeptEvent {
    index: u64,
    created_at_ms: u64,
    newest_ms: u64,
    author: Arc<[u8]>,
    json: Arc<[u8]>,
    crc: u32,
}

/// A kind of row, to be damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Vote, applied index and the like.
    Meta,
    State,
    Event,
    /// A piece of a file.
    Chunk,
}

impl Image {
    /// The named values, and nothing else.
    pub fn named(&self) -> Image {
        Image { metas: self.metas.clone(), ..Image::default() }
    }

    /// Flips a bit of a row, of its content or of the checksum behind it; both are counted around. Returns
    /// whether there was a row.
    pub fn flip(&mut self, kind: Kept, nth: u64, bit: u64) -> bool {
        let Some((bytes, crc)) = self.row(kind, nth) else { return false };
        let bits = bytes.len() as u64 * 8;
        match (bit % (bits + 32)).checked_sub(bits) {
            None => flip_in(bytes, bit % (bits + 32)),
            Some(bit) => *crc ^= 1 << bit,
        }
        true
    }

    /// Flips a bit of the content of a row; both are counted around. Returns whether there was one.
    pub fn flip_content(&mut self, kind: Kept, nth: u64, bit: u64) -> bool {
        let Some((bytes, _)) = self.row(kind, nth).filter(|(bytes, _)| !bytes.is_empty()) else {
            return false;
        };
        let bits = bytes.len() as u64 * 8;
        flip_in(bytes, bit % bits);
        true
    }

    /// Flips a bit of the checksum of a row. Returns whether there was one.
    pub fn flip_checksum(&mut self, kind: Kept, nth: u64) -> bool {
        self.row(kind, nth).map(|(_, crc)| *crc ^= 1).is_some()
    }

    /// The content and the checksum of the `nth` row (counted around) of a kind.
    fn row(&mut self, kind: Kept, nth: u64) -> Option<(&mut Arc<[u8]>, &mut u32)> {
        fn nth_of<K, V>(map: &mut BTreeMap<K, V>, nth: u64) -> Option<&mut V> {
            let count = map.len() as u64;
            let place = usize::try_from(nth.checked_rem(count)?).expect("it is below a length");
            map.values_mut().nth(place)
        }
        match kind {
            Kept::Meta => nth_of(&mut self.metas, nth).map(|(value, crc)| (value, crc)),
            Kept::State => nth_of(&mut self.state, nth).map(|(value, crc)| (value, crc)),
            Kept::Chunk => nth_of(&mut self.chunks, nth).map(|(bytes, crc)| (bytes, crc)),
            Kept::Event => nth_of(&mut self.events, nth).map(|event| (&mut event.json, &mut event.crc)),
        }
    }
}

fn flip_in(bytes: &mut Arc<[u8]>, bit: u64) {
    let byte = usize::try_from(bit / 8).expect("it is below a length");
    Arc::make_mut(bytes)[byte] ^= 1 << (bit % 8);
}

impl Tables for Image {
    fn metas(&self, take: &mut dyn FnMut(&str, &[u8], u32) -> GoOn) -> Result<(), StorageError> {
        walk(self.metas.iter(), |(name, (value, crc))| take(name, value, *crc))
    }

    fn meta(&self, name: &str) -> Result<Option<(Vec<u8>, u32)>, StorageError> {
        Ok(self.metas.get(name).map(|(value, crc)| (value.to_vec(), *crc)))
    }

    fn state(&self, above: Option<&[u8]>, take: TakeRow<'_>) -> Result<(), StorageError> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = above.map_or(Unbounded, Excluded);
        walk(self.state.range::<[u8], _>((from, Unbounded)), |(key, (value, crc))| take(key, value, *crc))
    }

    fn state_row(&self, key: &[u8]) -> Result<Option<(Vec<u8>, u32)>, StorageError> {
        Ok(self.state.get(key).map(|(value, crc)| (value.to_vec(), *crc)))
    }

    fn events(&self, span: Span, take: &mut dyn FnMut(RawEvent<'_>) -> GoOn) -> Result<(), StorageError> {
        let Some(first) = span.after.checked_add(1).filter(|first| *first < span.before) else {
            return Ok(());
        };
        let range = self.events.range((span.room, first)..(span.room, span.before));
        let mut give = |(key, event): (&(u64, u64), &KeptEvent)| take(event.raw(*key));
        if span.ascending { walk(range, &mut give) } else { walk(range.rev(), &mut give) }
    }

    fn all_events(
        &self,
        above: (u64, u64),
        take: &mut dyn FnMut(RawEvent<'_>) -> GoOn,
    ) -> Result<(), StorageError> {
        use std::ops::Bound::{Excluded, Unbounded};
        walk(self.events.range((Excluded(above), Unbounded)), |(key, event)| take(event.raw(*key)))
    }

    fn chunk(&self, file: [u8; 16], number: u32) -> Result<Option<(Vec<u8>, u32)>, StorageError> {
        Ok(self.chunks.get(&(file, number)).map(|(bytes, crc)| (bytes.to_vec(), *crc)))
    }

    fn chunks(
        &self,
        above: Option<([u8; 16], u32)>,
        take: &mut dyn FnMut(RawChunk<'_>) -> GoOn,
    ) -> Result<(), StorageError> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = above.map_or(Unbounded, Excluded);
        walk(self.chunks.range((from, Unbounded)), |(&(file, number), (bytes, crc))| {
            take(RawChunk { file, number, bytes, crc: *crc })
        })
    }

    fn floor(&self, room: u64) -> Result<Option<(u64, u32)>, StorageError> {
        Ok(self.floors.get(&room).copied())
    }

    fn floors(&self, take: &mut dyn FnMut(u64, u64, u32) -> GoOn) -> Result<(), StorageError> {
        walk(self.floors.iter(), |(room, (below, crc))| take(*room, *below, *crc))
    }

    fn doomed(&self, file: [u8; 16]) -> Result<Option<u32>, StorageError> {
        Ok(self.doomed.get(&file).copied())
    }

    fn all_doomed(&self, take: &mut dyn FnMut([u8; 16], u32) -> GoOn) -> Result<(), StorageError> {
        walk(self.doomed.iter(), |(file, crc)| take(*file, *crc))
    }
}

/// Hands over one item after the other until `take` has enough.
fn walk<I: Iterator>(items: I, mut take: impl FnMut(I::Item) -> GoOn) -> Result<(), StorageError> {
    for item in items {
        if !take(item)? {
            break;
        }
    }
    Ok(())
}

impl KeptEvent {
    fn raw(&self, (room, seq): (u64, u64)) -> RawEvent<'_> {
        RawEvent {
            room,
            seq,
            index: self.index,
            created_at_ms: self.created_at_ms,
            newest_ms: self.newest_ms,
            author: &self.author,
            json: &self.json,
            crc: self.crc,
        }
    }
}

impl TablesMut for Image {
    fn put_meta(&mut self, name: &str, value: &[u8], crc: u32) -> Result<(), StorageError> {
        match self.metas.get_mut(name) {
            Some(kept) => *kept = (value.into(), crc),
            None => drop(self.metas.insert(name.to_owned(), (value.into(), crc))),
        }
        Ok(())
    }

    fn put_state(&mut self, key: &[u8], value: &[u8], crc: u32) -> Result<Option<u32>, StorageError> {
        Ok(self.state.insert(key.to_vec(), (value.into(), crc)).map(|(_, crc)| crc))
    }

    fn remove_state(&mut self, key: &[u8]) -> Result<Option<u32>, StorageError> {
        Ok(self.state.remove(key).map(|(_, crc)| crc))
    }

    fn insert_event(&mut self, event: RawEvent<'_>) -> Result<bool, StorageError> {
        let is_new = !self.events.contains_key(&(event.room, event.seq));
        if is_new {
            self.replace_event(event)?;
        }
        Ok(is_new)
    }

    fn replace_event(&mut self, event: RawEvent<'_>) -> Result<(), StorageError> {
        let kept = KeptEvent {
            index: event.index,
            created_at_ms: event.created_at_ms,
            newest_ms: event.newest_ms,
            author: event.author.into(),
            json: event.json.into(),
            crc: event.crc,
        };
        self.events.insert((event.room, event.seq), kept);
        Ok(())
    }

    fn remove_event(&mut self, room: u64, seq: u64) -> Result<(), StorageError> {
        self.events.remove(&(room, seq));
        Ok(())
    }

    /// The twin finds messages by reading all events.
    fn put_texts(&mut self, _: &[RawText<'_>]) -> Result<(), StorageError> {
        Ok(())
    }

    fn remove_text(&mut self, _: &RawText<'_>) -> Result<(), StorageError> {
        Ok(())
    }

    fn put_chunk(&mut self, chunk: RawChunk<'_>) -> Result<Option<u32>, StorageError> {
        let key = (chunk.file, chunk.number);
        Ok(self.chunks.insert(key, (chunk.bytes.into(), chunk.crc)).map(|(_, crc)| crc))
    }

    fn remove_chunks(&mut self, file: [u8; 16], most: usize) -> Result<Vec<u32>, StorageError> {
        let first = self.chunks.range((file, 0)..=(file, u32::MAX)).take(most);
        let found: Vec<(u32, u32)> = first.map(|((_, number), (_, crc))| (*number, *crc)).collect();
        for (number, _) in &found {
            self.chunks.remove(&(file, *number));
        }
        Ok(found.into_iter().map(|(_, crc)| crc).collect())
    }

    fn put_floor(&mut self, room: u64, below: u64, crc: u32) -> Result<Option<u32>, StorageError> {
        Ok(self.floors.insert(room, (below, crc)).map(|(_, crc)| crc))
    }

    fn remove_floor(&mut self, room: u64) -> Result<Option<u32>, StorageError> {
        Ok(self.floors.remove(&room).map(|(_, crc)| crc))
    }

    fn put_doomed(&mut self, file: [u8; 16], crc: u32) -> Result<Option<u32>, StorageError> {
        Ok(self.doomed.insert(file, crc))
    }

    fn remove_doomed(&mut self, file: [u8; 16]) -> Result<Option<u32>, StorageError> {
        Ok(self.doomed.remove(&file))
    }

    fn clear(&mut self) -> Result<(), StorageError> {
        self.floors.clear();
        self.doomed.clear();
        self.chunks.clear();
        self.state.clear();
        self.events.clear();
        Ok(())
    }
}
