//! The servers of the cluster, for the threads that reach them.

use std::sync::Arc;

use crate::{
    config::ReplicaConfig,
    protocol::directory::Directory,
    replica::Replica,
    server::{context::Context, data},
    storage::SqliteStorage,
};

use super::{outlets::Outlets, peers::Peers};

/// What a server is told that links and should not: of which cluster this is, and which entry made its
/// servers so.
#[derive(Default)]
pub struct Told(Option<(Option<u64>, u64)>);

impl Told {
    /// Has such a server told of the replica's servers.
    pub fn tell(&mut self, replica: &Replica<SqliteStorage>, outlets: &Outlets) {
        let cluster_id = replica.node().identity.cluster.as_ref().map(|cluster| cluster.cluster_id);
        let servers = replica.servers();
        let told = Some((cluster_id, servers.version));
        if self.0 != told {
            self.0 = told;
            outlets.links.tell(cluster_id, servers);
        }
    }
}

/// The servers of the cluster are these from now on.
pub fn follow(servers: Directory, context: &Arc<Context>, outlets: &Outlets, peers: &Peers) {
    let names: Vec<_> = servers.iter().map(|server| server.server_id.as_str()).collect();
    log::info!("the servers of the cluster are {} now (entry {})", names.join(", "), servers.version);
    let Context { shared, metrics, .. } = &**context;
    let config = ReplicaConfig { servers, ..context.config().replica.clone() };
    shared.set_servers(config.servers.clone());
    metrics.follow(&config.servers, &config.server_id);
    outlets.datagrams.follow(&config);
    if let Err(error) = outlets.links.follow(&config.servers) {
        data::end_process(&format!("there is no thread for a new server: {error}"));
    }
    peers.end_others(&config.servers);
}
