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

    /// For tests: a server of this command line, without data and without threads.
    #[cfg(test)]
    pub fn alone(folder: &std::path::Path, args: &[&str]) -> Arc<Self> {
        use crate::{
            election::Standing,
            protocol::peer::{DataMark, LogMark, NodeId},
            server::program::args::Args,
        };
        let mut args = <Args as clap::Parser>::parse_from([&["syncnet-server"], args].concat());
        (args.data_dir, args.log_dir) = (folder.into(), folder.into());
        let config = Config::load(&args).unwrap();
        let (clock, me) = (Clock::start(), config.server_id().clone());
        let log = LogMark::default();
        let data = DataMark { cluster_id: None, node_id: NodeId(5), boot: 1, term: 0, log };
        let standing = Standing { data, log, leads: false, leader: None, votes: false };
        let shared = Shared::new(clock, me, standing, config.replica.servers.clone());
        let metrics = Arc::new(Metrics::new(&config.replica, clock));
        Arc::new(Context::new(config, clock, shared, metrics))
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
