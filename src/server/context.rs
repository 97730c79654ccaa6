//! What all threads of a server share.

use std::sync::Arc;

use parking_lot::RwLock;

use super::{board::Board, clients::Clients, clock::Clock, config::Config, metrics::Metrics, shared::Shared};
use crate::protocol::Refusal;

/// What all threads of a server share. Nothing in it makes a thread wait for another.
pub struct Context {
    pub clock: Clock,
    /// What the server was told last.
    config: RwLock<Arc<Config>>,
    /// The latest state of the replica.
    pub shared: Shared,
    pub clients: Clients,
    /// The cluster at a glance.
    pub board: Board,
    pub metrics: Arc<Metrics>,
}

impl Context {
    /// For a server that was just told `config`.
    pub fn new(config: Config, clock: Clock, shared: Shared, metrics: Arc<Metrics>) -> Self {
        let clients = Clients::new(config.room());
        let config = RwLock::new(Arc::new(config));
        Context { clock, config, shared, clients, board: Board::default(), metrics }
    }

    /// What the server was told last. What is asked for later may have been reloaded in between.
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
