//! What the clients' part needs of the rest of its server.

use std::ops::Range;

use crate::{
    chat::{Origin, State},
    config::ReplicaConfig,
    disk::{EventRange, EventRow, RoomId, StorageError},
    fanout::Instruction,
    protocol::{
        answer::{Redirect, ServerPlan, ServerTable, Signature},
        directory::ServerChange,
        name::ServerId,
        peer::PeerMessage,
        status::{Role, ServerList, Status},
    },
    replica::{io::Now, outputs::Outputs, proposals::Proposals},
};

/// What a call needs of the rest of the server, and the outputs that it adds to.
pub struct Env<'a> {
    pub now: Now,
    pub config: &'a ReplicaConfig,
    /// The chat state, as far as it is applied here.
    pub state: &'a State,
    /// The queue towards the log.
    pub proposals: &'a mut Proposals,
    pub server: &'a mut dyn Server,
    pub outputs: &'a mut Outputs,
}

impl Env<'_> {
    pub(super) fn fan_out(&mut self, instruction: Instruction) {
        self.outputs.fan_out(instruction);
    }

    pub(super) fn signature(&self) -> Signature {
        signature(self.config, self.state, self.now)
    }

    /// The events of a range that are not written yet.
    pub(super) fn unwritten(&self, room: RoomId, range: &EventRange) -> Vec<EventRow> {
        let seqs = range.after.saturating_add(1)..range.before;
        if seqs.is_empty() { Vec::new() } else { self.server.unwritten(room, seqs) }
    }
}

/// The present signature of this server's lines.
pub fn signature(config: &ReplicaConfig, state: &State, now: Now) -> Signature {
    Signature { server_id: config.server_id.clone(), lamport_timestamp: state.lamport(), now_ms: now.wall_ms }
}

/// The questions of the clients' part to its server.
pub trait Server {
    /// The run of this server's node, which its proposals carry.
    fn origin(&self, seq: u64) -> Origin;

    /// The life that the cluster's data is in.
    fn epoch(&self) -> u64;

    /// What this server is in its cluster.
    fn role(&self) -> Role;

    /// Who leads, if that is known.
    fn leader(&self) -> Option<&ServerId>;

    /// Whether newer events may exist that this server cannot know of.
    fn is_stale(&self) -> bool;

    /// Whether there is room on the disk.
    fn has_room(&self) -> bool;

    /// Whether this server has to be added to its cluster before it can do anything.
    fn is_outside(&self) -> bool;

    /// The server that a client should go to: the leader, or else any other living one.
    fn redirect(&self, reason: &str) -> Option<Redirect>;

    /// The servers of the cluster, as this one sees them; `clients` is how many this one has.
    fn server_list(&self, clients: u64) -> ServerList;

    /// The servers, for those who look after them.
    fn server_table(&self) -> ServerTable;

    /// What a change of the servers would do.
    fn plan_servers(&self, change: &ServerChange) -> ServerPlan;

    /// `clients` is how many connections are logged in, which this does not know by itself.
    fn status(&self, now: Now, clients: u64) -> Status;

    /// The last entry that is applied.
    fn applied_index(&self) -> u64;

    /// An event of history, as it is after everything that is applied.
    fn event(&self, room: RoomId, seq: u64) -> Result<Option<EventRow>, StorageError>;

    /// The events of a room at these places that are not written yet, each in its newest form, by seq.
    fn unwritten(&self, room: RoomId, seqs: Range<u64>) -> Vec<EventRow>;

    /// Notes that something could not be read.
    fn unreadable(&mut self, error: StorageError);

    /// Tells all other servers to which there is a link.
    fn tell_peers(&self, message: &PeerMessage, outputs: &mut Outputs);
}
