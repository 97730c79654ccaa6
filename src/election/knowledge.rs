//! What the election knows: this server's standing, the detector's beliefs, and what both together say about
//! the leader.

use crate::{
    config::ReplicaConfig,
    election::membership::{PeerView, View},
    protocol::{
        datagram::{Rank, Run, Token},
        name::ServerId,
    },
};

use super::standing::Standing;

/// A leader that only consensus names counts as heard for so many heartbeat intervals.
const GRACE_HEARTBEATS: u64 = 3;

#[derive(Debug)]
pub(super) struct Knowledge {
    ring_position: u32,
    majority: usize,
    grace_ms: u64,
    standing: Option<Standing>,
    view: View,
    /// When this server's term began.
    term_since_ms: u64,
    /// Since when consensus names the leader it names, in its term.
    named_since_ms: u64,
    /// The leader that was heard last, and its run at that time. `None` if that was this server.
    leader: Option<(ServerId, Option<Run>)>,
}

impl Knowledge {
    pub fn new(config: &ReplicaConfig, majority: usize) -> Self {
        Knowledge {
            ring_position: config.ring_position(),
            majority,
            grace_ms: GRACE_HEARTBEATS * config.timing.heartbeat_ms,
            standing: None,
            view: View::default(),
            term_since_ms: 0,
            named_since_ms: 0,
            leader: None,
        }
    }

    /// The servers are those of `config` from now on.
    pub fn follow(&mut self, config: &ReplicaConfig, majority: usize) {
        self.ring_position = config.ring_position();
        self.majority = majority;
    }

    /// Takes in a new standing; returns whether this server has become leader.
    pub fn on_standing(&mut self, now_ms: u64, standing: Standing) -> bool {
        let before = self.standing.as_ref();
        if before.is_none_or(|before| before.data.term != standing.data.term) {
            self.term_since_ms = now_ms;
            self.named_since_ms = now_ms;
        }
        if before.is_none_or(|before| before.leader != standing.leader) {
            self.named_since_ms = now_ms;
        }
        let has_won = standing.leads && before.is_none_or(|before| !before.leads);
        self.standing = Some(standing);
        has_won
    }

    /// Takes in new beliefs; returns the servers that are alive or linked again.
    pub fn on_view(&mut self, view: View) -> Vec<ServerId> {
        let before = std::mem::replace(&mut self.view, view);
        let is_back = |id: &ServerId, peer: &PeerView| {
            let (alive, linked) = before.peers.get(id).map_or((false, false), |was| (was.alive, was.linked));
            peer.alive && !alive || peer.linked && !linked
        };
        let back = self.view.peers.iter().filter(|(id, peer)| is_back(id, peer));
        back.map(|(id, _)| id.clone()).collect()
    }

    /// This server's standing, if it takes part in elections.
    pub fn as_voter(&self) -> Option<&Standing> {
        self.standing.as_ref().filter(|standing| standing.votes)
    }

    pub fn leads(&self) -> bool {
        self.standing.as_ref().is_some_and(|standing| standing.leads)
    }

    pub fn term(&self) -> u64 {
        self.standing.as_ref().map_or(0, |standing| standing.data.term)
    }

    pub fn term_since_ms(&self) -> u64 {
        self.term_since_ms
    }

    /// This server's rank, if it takes part.
    pub fn rank(&self) -> Option<Rank> {
        self.as_voter().map(|standing| Rank { log: standing.log, ring_position: self.ring_position })
    }

    /// Whether a leader is heard; remembers which.
    pub fn hears_leader(&mut self, now_ms: u64) -> bool {
        if self.leads() {
            self.leader = None;
            return true;
        }
        let Some((id, peer)) = self.claiming().or_else(|| self.named(now_ms)) else { return false };
        self.leader = Some((id.clone(), peer.data.as_ref().map(Run::from)));
        true
    }

    /// The living server that claims to lead in a term that is not behind ours.
    fn claiming(&self) -> Option<(&ServerId, &PeerView)> {
        let term = self.term();
        let claims = self.view.peers.iter().filter(|(_, peer)| peer.alive && peer.leads_term >= Some(term));
        claims.max_by_key(|(_, peer)| peer.leads_term)
    }

    /// The leader that consensus has named not long ago: its claim may still be on the way. A leader whose
    /// process is gone or was restarted leads no more.
    fn named(&self, now_ms: u64) -> Option<(&ServerId, &PeerView)> {
        let leader = self.standing.as_ref()?.leader.as_ref()?;
        let (id, peer) = self.view.peers.get_key_value(leader)?;
        let counts =
            now_ms < self.named_since_ms + self.grace_ms && !peer.gone && !self.has_restarted(id, peer);
        counts.then_some((id, peer))
    }

    /// When a leader that only consensus names no longer counts as heard.
    pub fn grace_ends_ms(&self, now_ms: u64) -> Option<u64> {
        self.named(now_ms).map(|_| self.named_since_ms + self.grace_ms)
    }

    /// Whether the process that led last is known to have ended.
    pub fn leader_is_dead(&self) -> bool {
        let leader = self.leader.as_ref().and_then(|(leader, _)| self.view.peers.get_key_value(leader));
        leader.is_some_and(|(id, peer)| peer.gone || self.has_restarted(id, peer))
    }

    /// Whether `id` has been restarted since it led.
    fn has_restarted(&self, id: &ServerId, peer: &PeerView) -> bool {
        let run = peer.data.as_ref().map(Run::from);
        self.leader.as_ref().is_some_and(|(leader, then)| leader == id && then.is_some() && *then != run)
    }

    /// Whether a majority is alive and linked to this server, so that it can be elected.
    pub fn may_try(&self) -> bool {
        let linked = self.view.peers.values().filter(|peer| peer.alive && peer.votes && peer.linked);
        1 + linked.count() >= self.majority
    }

    /// Whether `id` is believed to be in the ring.
    pub fn is_in_ring(&self, id: &ServerId) -> bool {
        self.view.peers.get(id).is_some_and(|peer| peer.alive && peer.votes)
    }

    /// Whether the process of `id` is known to have ended.
    pub fn is_gone(&self, id: &ServerId) -> bool {
        self.view.peers.get(id).is_some_and(|peer| peer.gone)
    }

    /// Whether the process that began this token's round is known to have ended.
    pub fn is_orphan(&self, token: &Token) -> bool {
        let run = self.view.peers.get(&token.initiator).and_then(|peer| peer.data.as_ref()).map(Run::from);
        let is_of_earlier_run =
            run.is_some_and(|run| run.node_id == token.run.node_id && run.boot > token.run.boot);
        self.is_gone(&token.initiator) || is_of_earlier_run
    }
}
