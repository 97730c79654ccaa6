//! Who links to whom while the servers change, and who tells whom which servers there are: as
//! `src/server/peer/links` does it, on both sides.

use syncnet::protocol::{directory::Directory, peer::PeerMessage};

use crate::{
    cluster::{Cluster, ServerEvent},
    queue::{MS, Micros, SECOND},
};

/// How often a server dials one that should not link to it.
const DIALS_AGAIN_US: Micros = 400 * MS;
/// How often a server without any link asks those that it does not dial.
const ASKS_AGAIN_US: Micros = 2 * SECOND;

impl Cluster {
    /// The servers that the process of `server` knows.
    fn known_to(&self, server: usize) -> Option<&Directory> {
        self.hosts[server].process.as_ref().map(|process| process.replica.servers())
    }

    /// Whether `peer` is one of the servers that the process of `server` knows.
    pub fn knows(&self, server: usize, peer: usize) -> bool {
        self.operator.is_none()
            || self.known_to(server).is_some_and(|servers| servers.entry(&self.hosts[peer].id).is_some())
    }

    /// Whether `server` makes the link to `peer`. One that is to join and does not know yet which servers
    /// there are makes none.
    fn dials(&self, server: usize, peer: usize) -> bool {
        let may_dial =
            !self.hosts[server].joins || self.known_to(server).is_some_and(|servers| servers.version > 0);
        may_dial
            && self.knows(server, peer)
            && self.scenario.positions[server] < self.scenario.positions[peer]
    }

    /// Whether two processes that reach each other become linked. If one cannot have the other it may hear
    /// which servers there are.
    pub fn should_link(&mut self, a: usize, b: usize) -> bool {
        if self.operator.is_none() {
            return true;
        }
        let is_link = |cluster: &Cluster, one: usize, other: usize| {
            cluster.dials(one, other) && cluster.knows(other, one) && !cluster.dials(other, one)
        };
        if is_link(self, a, b) || is_link(self, b, a) {
            return true;
        }
        for (server, peer) in [(a, b), (b, a)] {
            let every = if self.dials(server, peer) { DIALS_AGAIN_US } else { ASKS_AGAIN_US };
            let asks = self.dials(server, peer) || (self.knows(server, peer) && self.links.is_alone(server));
            if asks && self.now >= self.hosts[server].asks_at[peer] {
                self.hosts[server].asks_at[peer] = self.now + every;
                self.tell_servers(peer, server);
            }
        }
        false
    }

    /// `server` says to `to` which servers there are.
    fn tell_servers(&mut self, server: usize, to: usize) {
        let replica = &self.process(server).replica;
        let cluster_id = replica.node().identity.cluster.as_ref().map(|cluster| cluster.cluster_id);
        let message = Box::new(PeerMessage::Servers { cluster_id, servers: replica.servers().clone() });
        let at = self.now + 4 * self.network.delay();
        self.schedule_at(at, to, ServerEvent::Told { peer: server, message });
    }

    /// `server` ends its links to those that are not among `servers`, behind what was said on them.
    pub fn leave_others(&mut self, server: usize, servers: &Directory) {
        for peer in 0..self.hosts.len() {
            let Some(generation) = self.links.generation(server, peer) else { continue };
            if servers.entry(&self.hosts[peer].id).is_some() {
                continue;
            }
            let is_open = self.network.tcp_open(server, peer);
            let delay = if is_open { self.network.delay() } else { self.random.between(1_000, 4_000) * MS };
            let at = self.links.last_arrival(peer, server).max(self.now + delay) + 1;
            self.schedule_at(at, peer, ServerEvent::LinkDown { peer: server, generation });
            self.schedule_at(at, server, ServerEvent::LinkDown { peer, generation });
        }
    }
}
