//! Tests of the state as a whole: scripts to read (`scripts`), and random commands against a model
//! (`model`). Both check after every command that the stored rows are the whole state.

mod model;
mod scripts;

use std::collections::BTreeMap;

use super::{Action, Applied, Command, Origin, Proposal, State};
use crate::protocol::{name::UserName, peer::NodeId};

/// A server without its disk and its peers: the state, and the rows that would be stored.
#[derive(Default)]
struct World {
    state: State,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    index: u64,
}

impl World {
    /// Applies the next entry of the log.
    fn apply(&mut self, command: &Command) -> Applied {
        self.index += 1;
        let applied = self.state.apply(self.index, command);
        for row in &applied.rows {
            match &row.value {
                Some(value) => drop(self.rows.insert(row.key.clone(), value.clone())),
                None => drop(self.rows.remove(&row.key)),
            }
        }
        applied
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
        proposal: Proposal { user: UserName::new(user).expect("a name"), lamport_timestamp, action },
    }
}
