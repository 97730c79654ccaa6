//! What the replica thread is given to do: three inboxes, so that a flood of one kind never delays another.

use std::sync::Arc;

use crate::{
    config::ReplicaConfig,
    disk::StorageError,
    election::membership::View,
    protocol::{name::ServerId, report::Report, status::ScrubProgress},
    replica::io::Input,
};

use super::{
    machine::mailbox::{Bell, Receiver},
    peer::link::PeerEvent,
};

/// Control messages that may wait. If it is full their senders wait; views are dropped instead.
pub const CONTROL_QUEUE: usize = 64;
/// Peer events that may wait. If it is full the links' readers wait, and through TCP the peers.
pub const PEER_QUEUE: usize = 1_024;
/// Client inputs that may wait. If it is full the clients' readers wait.
pub const CLIENT_QUEUE: usize = 4_096;

/// Messages of the server itself to its replica.
pub enum Control {
    /// See [`Input::View`].
    View(View),
    /// See [`Input::Campaign`].
    Campaign { term: u64, leader_is_dead: bool },
    /// See [`Input::SnapshotSent`].
    SnapshotSent { to: ServerId, ok: bool },
    /// Reading the disk beside the replica failed, or found damage.
    Broken(StorageError),
    /// See [`Input::Scrubbed`].
    Scrubbed(ScrubProgress),
    /// This server's report for its peers.
    Report(Box<Report>),
    /// See [`Input::Reconfigured`].
    Reconfigured(Arc<ReplicaConfig>),
    /// See [`Input::Stop`].
    Stop,
}

/// The inboxes of the replica thread.
pub struct Inboxes {
    /// Rings for all of them.
    pub bell: Bell,
    /// From the server itself.
    pub control: Receiver<Control>,
    pub peers: Receiver<PeerEvent>,
    pub clients: Receiver<Input>,
}
