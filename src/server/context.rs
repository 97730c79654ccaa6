//! What all threads of a server share.

use std::sync::Arc;

use super::{board::Board, clients::Clients, clock::Clock, config::Config, metrics::Metrics, shared::Shared};
use crate::protocol::Refusal;

/// What all threads of a server share. Nothing in it makes a thread wait for another.
pub struct Context {
    pub clock: Clock,
    pub config: Config,
    /// The latest state of the replica.
    pub shared: Shared,
    pub clients: Clients,
    /// The cluster at a glance.
    pub board: Board,
    pub metrics: Arc<Metrics>,
}

impl Context {
    /// The line that refuses a connection before the replica ever hears of it.
    pub fn turn_away(&self, refusal: Refusal) -> Vec<u8> {
        self.metrics.refused(refusal.code);
        self.shared.nack_line(refusal)
    }
}
