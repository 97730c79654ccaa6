//! What all threads of a server share.

use std::sync::Arc;

use parking_lot::RwLock;

use super::{
    board::Board, clients::Clients, config::Config, machine::clock::Clock, metrics::Metrics, shared::Shared,
};
use crate::protocol::Refusal;

/// What all threads of a server share. Nothing in it makes a thread wait for another.
pub struct Context {
    pub clock: Clock,
    /// The configuration in use.
    config: RwLock<Arc<Config>>,
    /// The latest state of the replica.
    pub shared: Shared,
    pub clients: Clients,
    /// The cluster at a glance.
    pub board: Board,
    pub metrics: Arc<Metrics>,
}

impl Context {
    pub fn new(config: Config, clock: Clock, shared: Shared, metrics: Arc<Metrics>) -> Self {
        let clients = Clients::new(config.room());
        let config = RwLock::new(Arc::new(config));
        Context { clock, config, shared, clients, board: Board::default(), metrics }
    }

    /// The configuration in use. A reload may replace it between two calls.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read())
    }

    /// Uses `config` from now on.
    pub fn reconfigure(&self, config: Arc<Config>) {
        self.clients.resize(config.room());
        *self.config.write() = config;
    }

    /// The line that refuses a connection before the replica ever hears of it.
    pub fn turn_away(&self, refusal: Refusal) -> Vec<u8> {
        self.metrics.refused(refusal.code);
        self.shared.nack_line(refusal)
    }
}
