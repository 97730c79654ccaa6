//! Where the replica's outputs go.

use std::sync::Arc;

use crate::server::{
    datagrams::Datagrams,
    inboxes::Control,
    mailbox::Sender,
    peer::links::Links,
    queues::{FanOutQueues, QueryQueues},
    readers::Readers,
};

/// The other threads of the server, as the replica thread reaches them.
pub struct Outlets {
    pub fan_outs: FanOutQueues,
    pub queries: QueryQueues,
    pub readers: Arc<Readers>,
    pub datagrams: Arc<Datagrams>,
    pub links: Arc<Links>,
    /// This thread's own control inbox, for the threads that send snapshots.
    pub control: Sender<Control>,
    /// Closed when everything is finished after a stop.
    pub stopped: crossbeam_channel::Sender<()>,
}
