//! What all threads of a server share.

use super::{clients::Clients, clock::Clock, config::Config, shared::Shared};

/// What all threads of a server share. Nothing in it makes a thread wait for another.
pub struct Context {
    /// The clocks.
    pub clock: Clock,
    /// What the server was told.
    pub config: Config,
    /// What the replica tells.
    pub shared: Shared,
    /// The connections of clients.
    pub clients: Clients,
}
