//! A server that has far more clients than the others offers some of them the one that has the fewest.
//!
//! It is an offer: the connection goes on if its client stays. So a few move at a time, each is asked once,
//! and what they do shows in the counts before the next are asked. After a failover all clients of one server
//! may be on another; this spreads them again within minutes.

use crate::{
    fanout::{ConnId, Instruction},
    protocol::{
        answer::Redirect,
        name::ServerId,
        said::Said,
        status::{ServerInfo, ServerList},
    },
};

use super::{connection::Connections, env::Env};

/// How often some are asked.
const EVERY_MS: u64 = 5_000;
/// A server with fewer clients has no need to give any away.
const CLIENTS_LEAST: u64 = 100;
/// A connection that is younger is not asked: it may just have come from where it would be sent.
const SETTLED_MS: u64 = 60_000;
/// One of so many clients is asked each time.
const SHARE: u64 = 50;

/// When some were last asked.
#[derive(Debug, Default)]
pub struct Balance {
    next_ms: u64,
}

impl Balance {
    fn is_due(&mut self, now_ms: u64) -> bool {
        let is_due = now_ms >= self.next_ms;
        if is_due {
            self.next_ms = now_ms + EVERY_MS;
        }
        is_due
    }

    /// Offers some clients another server, if it is time to.
    pub(super) fn spread(&mut self, env: &mut Env<'_>, connections: &mut Connections) {
        let count = connections.logged_in() as u64;
        if !self.is_due(env.now.mono_ms) || count < CLIENTS_LEAST {
            return;
        }
        let list = env.server.server_list(count);
        let Some((to, count)) = offer(&list, &env.config.server_id) else { return };
        let push = Redirect {
            host: to.host.clone(),
            reason: "that server has far fewer clients".into(),
            server_id: to.server_id.clone(),
            tcp_port: to.tcp_port,
        };
        let said = Said::push(push, env.signature());
        let conns: Vec<ConnId> = connections.movable(env.now.mono_ms).take(count).collect();
        for conn in conns {
            if let Some(connection) = connections.get_mut(conn) {
                connection.was_asked_to_move = true;
            }
            env.fan_out(Instruction::Say { conn, said: said.clone() });
        }
    }
}

/// The server with the fewest clients, and how many of those of `me` are offered it now; `None` if `me` does
/// not have half as many again as a server has on average.
fn offer<'a>(list: &'a ServerList, me: &ServerId) -> Option<(&'a ServerInfo, usize)> {
    let alive = || list.servers.iter().filter(|server| server.alive);
    let mine = alive().find(|server| server.server_id == *me)?.clients;
    let average = alive().map(|server| server.clients).sum::<u64>() / alive().count() as u64;
    if mine < CLIENTS_LEAST || 2 * mine <= 3 * average {
        return None;
    }
    let fewest = alive().filter(|server| server.server_id != *me).min_by_key(|server| server.clients)?;
    let count = (mine / SHARE).min(mine - average).min(average.saturating_sub(fewest.clients));
    Some((fewest, count as usize)).filter(|(_, count)| *count > 0)
}

impl Connections {
    /// The oldest connections that can be asked to move: logged in for a while, waiting for nothing, and
    /// never asked before.
    fn movable(&self, now_ms: u64) -> impl Iterator<Item = ConnId> {
        let movable = self.from(ConnId(0)).filter(move |(_, connection)| {
            let is_free = !connection.closing && !connection.has_writes() && connection.awaited.is_none();
            let is_settled = now_ms >= connection.opened_ms.saturating_add(SETTLED_MS);
            connection.user.is_some() && is_free && is_settled && !connection.was_asked_to_move
        });
        movable.map(|(conn, _)| conn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(clients: &[(u64, bool)]) -> ServerList {
        let server = |(number, &(clients, alive)): (usize, &(u64, bool))| ServerInfo {
            server_id: id(number),
            host: "h".into(),
            tcp_port: 1,
            ring_position: 0,
            alive,
            is_leader: false,
            clients,
        };
        let servers = clients.iter().enumerate().map(server).collect();
        ServerList { servers, leader_id: None, term: 1, epoch: 1 }
    }

    fn id(number: usize) -> ServerId {
        ServerId::new(&format!("s{number}")).unwrap()
    }

    #[test]
    fn who_has_far_more_offers_a_few_to_who_has_the_fewest() {
        let offered = |clients: &[(u64, bool)]| {
            let list = list(clients);
            offer(&list, &id(0)).map(|(to, count)| (to.server_id.to_string(), count))
        };
        assert_eq!(offered(&[(1_000, true), (100, true), (40, true)]), Some(("s2".into(), 20)));
        assert_eq!(offered(&[(1_000, true), (0, false), (400, true)]), None, "not half as many again");
        assert_eq!(offered(&[(1_000, true), (0, false), (10, true)]), Some(("s2".into(), 20)));
        assert_eq!(offered(&[(99, true), (0, true), (0, true)]), None, "too few to matter");
        assert_eq!(offered(&[(1_000, true)]), None, "there is no other");
        assert_eq!(offered(&[(1_000, true), (0, false)]), None, "the other one is dead");
        assert_eq!(offered(&[(40, true), (1_000, true), (40, true)]), None, "another one has too many");
    }
}
