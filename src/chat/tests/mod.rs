//! Tests of the state as a whole: scripts to read (`scripts`), random messages against a model (`model`), and
//! random requests of all kinds against a model of rights (`rights_model`). All of them check that the stored
//! rows are the whole state.

mod model;
mod rights_model;
mod scripts;

use std::{collections::BTreeMap, sync::Arc};

use super::{Action, Applied, Command, Evidence, Origin, Proposal, Standing, State};
use crate::{
    protocol::{Event, name::UserName, peer::NodeId},
    replica::storage::{EventRow, RoomId},
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
    fn apply(&mut self, command: &Command) -> Applied {
        self.index += 1;
        let evidence = self.evidence(&command.proposal.action);
        let applied = self.state.apply(self.index, command, &evidence);
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
        for row in &applied.effects.rows {
            match &row.value {
                Some(value) => drop(self.rows.insert(row.key.clone(), value.clone())),
                None => drop(self.rows.remove(&row.key)),
            }
        }
        applied
    }

    fn store(&mut self, row: &EventRow) {
        let event = serde_json::from_str(row.json.get()).expect("events are stored as they are read");
        self.events.insert((row.room, row.seq), Arc::new(event));
    }

    /// The events that a command asks for.
    fn evidence(&self, action: &Action) -> Evidence {
        let Some((room, seq)) = self.state.wanted(action) else { return Evidence::default() };
        let mut evidence = Evidence { target: self.events.get(&(room, seq)).cloned(), last_edit: None };
        evidence.last_edit = evidence.wanted().and_then(|edit| self.events.get(&(room, edit)).cloned());
        evidence
    }

    /// What a restarted server would have.
    fn loaded(&self) -> State {
        State::load(self.rows.clone()).expect("what was written can be read")
    }
}

/// The proposal of a client of the one server that these tests play.
fn command(seq: u64, user: &str, lamport_timestamp: u64, action: Action) -> Command {
    Command {
        origin: Origin { node_id: NodeId(1), boot: 1, seq },
        created_at_ms: 1_000 * seq,
        proposal: Proposal {
            user: UserName::new(user).expect("a name"),
            standing: Standing::Guest,
            lamport_timestamp,
            action,
        },
    }
}
