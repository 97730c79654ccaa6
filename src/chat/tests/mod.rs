//! Tests of the state as a whole: scripts to read (`scripts`), random messages against a model (`model`), and
//! random requests of all kinds against a model of rights (`rights_model`). All of them check that the stored
//! rows are the whole state.

mod model;
mod pins;
mod rights_model;
mod script_commands;
mod script_trace;
mod scripts;
mod stored;
mod unread;

use std::{collections::BTreeMap, sync::Arc};

use super::{Applied, Authority, Command, Entry, Evidence, Origin, Proposal, State};
use crate::{
    disk::{EventRow, RoomId},
    protocol::{Event, name::UserName, peer::NodeId},
};

/// A server without its disk and its peers: the state, and what would be stored.
#[derive(Default)]
struct World {
    state: State,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    events: BTreeMap<(RoomId, u64), Arc<Event>>,
    index: u64,
}

impl World {
    /// Applies the next entry of the log.
    fn apply(&mut self, entry: &Entry) -> Applied {
        self.index += 1;
        let evidence = self.evidence(&entry.proposal);
        let applied = self.state.apply(self.index, entry, &evidence);
        for published in &applied.effects.events {
            self.store(&published.row());
        }
        for row in &applied.effects.rewritten {
            assert!(self.events.contains_key(&(row.room, row.seq)), "only what was stored is rewritten");
            self.store(row);
        }
        for (room, before_seq) in &applied.effects.expired {
            self.events.retain(|(of, seq), _| of != room || seq >= before_seq);
        }
        let dirty = applied.effects.dirty.iter().filter_map(|dirty| self.state.row_of(*dirty));
        for row in applied.effects.rows.iter().cloned().chain(dirty) {
            match row.value {
                Some(value) => drop(self.rows.insert(row.key, value)),
                None => drop(self.rows.remove(&row.key)),
            }
        }
        applied
    }

    fn store(&mut self, row: &EventRow) {
        let event = serde_json::from_str(row.json.get()).expect("events are stored as they are read");
        self.events.insert((row.room, row.seq), Arc::new(event));
    }

    /// The events that a proposal asks for.
    fn evidence(&self, proposal: &Proposal) -> Evidence {
        let Some((room, seq)) = self.state.target_of(proposal) else { return Evidence::default() };
        let mut evidence = Evidence { target: self.events.get(&(room, seq)).cloned(), last_edit: None };
        evidence.last_edit = evidence.newest_edit().and_then(|edit| self.events.get(&(room, edit)).cloned());
        evidence
    }

    /// The room that the entry at this index made, or the number of one that does not exist.
    fn room_of_index(&self, index: &str) -> RoomId {
        let index = index.parse().unwrap();
        self.state.room_ids().find(|room| index_of(*room) == index).unwrap_or(RoomId::new(index, 0))
    }

    /// The state that a restarted server would have.
    fn loaded(&self) -> State {
        State::load(self.rows.clone()).expect("what was written can be read")
    }
}

/// The entry that made the room.
fn index_of(room: RoomId) -> u64 {
    room.0 >> 16
}

/// An entry with what a client of the one server that these tests play asks for.
fn entry(seq: u64, user: &str, lamport_timestamp: u64, command: impl Into<Command>) -> Entry {
    Entry {
        origin: Origin { node_id: NodeId(1), boot: 1, seq },
        created_at_ms: 1_000 * seq,
        proposal: Proposal {
            user: UserName::new(user).expect("a name"),
            authority: Authority::Guest,
            lamport_timestamp,
            command: command.into(),
            room: None,
        },
    }
}
