//! Where the replica's outputs go.

use std::sync::Arc;

use crate::server::{
    clients::queues::{FanOutQueues, QueryQueues},
    data::readers::Readers,
    datagrams::Datagrams,
    inboxes::Control,
    machine::mailbox::Sender,
    peer::links::Links,
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
