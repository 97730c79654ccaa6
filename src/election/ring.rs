//! The ring: its order, its majority, and which way a token goes.

use crate::{
    config::ReplicaConfig,
    protocol::{datagram::Token, name::ServerId},
};

/// All servers that vote, in the order of their ring positions, seen from one of them.
#[derive(Debug)]
pub(super) struct Ring {
    me: ServerId,
    /// By ring position, beginning with the one after `me` and ending with `me`.
    order: Vec<(ServerId, u32)>,
}

/// The next hop of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hop {
    pub to: ServerId,
    /// Whether it goes back the way it came.
    pub returning: bool,
}

impl Ring {
    pub fn new(config: &ReplicaConfig) -> Self {
        let mut order: Vec<_> =
            config.servers.voting().map(|server| (server.server_id.clone(), server.ring_position)).collect();
        order.sort_by_key(|(_, position)| *position);
        let after_me = order.iter().position(|(id, _)| *id == config.server_id).map_or(0, |place| place + 1);
        order.rotate_left(after_me);
        Ring { me: config.server_id.clone(), order }
    }

    pub fn me(&self) -> &ServerId {
        &self.me
    }

    /// More than half of them.
    pub fn majority(&self) -> usize {
        self.order.len() / 2 + 1
    }

    fn position(&self, id: &ServerId) -> Option<u32> {
        self.order.iter().find(|(other, _)| other == id).map(|(_, position)| *position)
    }

    /// Whether a token that came from `from` is plausible: complete, and on a way that a token can take.
    pub fn is_sound(&self, from: &ServerId, token: &Token) -> bool {
        let visited = &token.visited;
        let is_a_path = visited.len() <= self.order.len()
            && visited.first() == Some(&token.initiator)
            && visited
                .iter()
                .enumerate()
                .all(|(place, id)| self.position(id).is_some() && !visited[..place].contains(id));
        // A token is at a server it has visited only on its way back, or when it has come home.
        let may_be_here = token.returning || token.initiator == self.me || !visited.contains(&self.me);
        let is_ranked_right = self.position(&token.initiator) == Some(token.rank.ring_position);
        is_a_path && visited.contains(from) && may_be_here && is_ranked_right && *from != self.me
    }

    /// The next hop of the token from here; `reaches` tells which servers are believed to answer. It goes to
    /// the next in the ring that has not had it, or home if there is none. If its home cannot be reached it
    /// goes back the way it came, and each holder tries the same. `None` if that fails, too, or it is at home
    /// already.
    pub fn next_hop(&self, token: &Token, reaches: impl Fn(&ServerId) -> bool) -> Option<Hop> {
        let mut ahead = self.order.iter().map(|(id, _)| id);
        let next = ahead.find(|id| **id != self.me && !token.visited.contains(id) && reaches(id));
        if let (false, Some(to)) = (token.returning, next) {
            return Some(Hop { to: to.clone(), returning: false });
        }
        if token.initiator == self.me {
            return None;
        }
        if reaches(&token.initiator) {
            return Some(Hop { to: token.initiator.clone(), returning: token.returning });
        }
        let here = token.visited.iter().position(|id| *id == self.me)?;
        let back = token.visited[..here].iter().rev().find(|id| reaches(id))?;
        Some(Hop { to: back.clone(), returning: true })
    }
}
