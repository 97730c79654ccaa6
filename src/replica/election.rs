//! The ring election: who should ask for votes when nobody leads.
//!
//! It decides who *tries*; only the vote of a majority makes a leader. So nothing here can do harm: lost,
//! doubled or forged tokens cost time or start a campaign, and campaigns are rate-limited.
//!
//! **The algorithm** is that of Le Lann, Chang and Roberts on the ring of the servers believed alive, in the
//! order of their ring positions. A server that hears no leader sends its token, which carries its rank, to
//! the next in the ring. Whoever holds a token of a higher rank than its own passes it on and gives way;
//! one of a lower rank it swallows, since its own is on the way. A token that comes home has been seen by
//! everybody on its way and found the highest: if these are a majority of the configured servers, its
//! owner campaigns. Nobody passes anything while it hears a leader; it keeps the best token that came,
//! for it may be the last to notice that the leader is gone.
//!
//! **Where the world is not a ring.** Each hop is receipted and repeated; a next server that stays silent
//! is skipped. A token names who had it: it visits nobody twice, so it dies when it can not come home, and
//! it tells its owner whom it really reached. Where the last holder can not reach the owner it goes back
//! the way it came (the chain B-A-C). A round that does not end starts anew under a new number.
//!
//! **Who hears a leader:** a server whose peer is alive and *claims* to lead in a term at least its own. A
//! follower's memory is not enough, it keeps pointing at a leader that was restarted; it counts for the
//! time of some heartbeats after the follower first heard of that leader, until the claim arrives.
//!
//! **When the campaign begins.** Where the leader's process is known to be gone, at once, and voters need
//! not wait for its lease to end. Else [`SETTLE_MS`] after the token came home, if no term has begun
//! meanwhile: a new term means that somebody else is trying.
//!
//! **When it fails** (a voter's log is longer than it was, a vote was lost), the same server tries again
//! after a while that depends on its place in the ring. After two failures in a row it stands aside, each
//! time for longer, and lets lower ranks pass: whatever hinders it may not hinder them. Below all this
//! lie the consensus library's own timers, long and staggered.

use std::collections::VecDeque;

use crate::protocol::{
    datagram::{Datagram, Rank, Receipt, Run, Token},
    name::ServerId,
    peer::DataMark,
};

use super::{
    config::ReplicaConfig,
    hops::{Hops, Late, receipt_of},
    membership::{PeerView, View},
    ring::{Hop, Ring, outranks},
};

/// How long after a token came home, and after the last new term, a campaign begins whose leader is not
/// known to be dead; at least the time between two heartbeats, in which better candidates are heard.
pub const SETTLE_MS: u64 = 100;
/// Least time between two campaigns that need not wait for a lease.
pub const FORCED_GAP_MS: u64 = 100;
/// Least time between two other campaigns.
pub const PLAIN_GAP_MS: u64 = 300;
/// Doublings of the pauses after failed rounds and campaigns.
const DOUBLINGS_MAX: u32 = 3;
/// How much longer a server waits after a failure for each one above it in the ring.
const STEP_MS: u64 = 20;
/// Failed campaigns in a row after which a server stands aside.
const FAILURES_BEFORE_ASIDE: u32 = 2;
/// How long it stands aside; doubled after each further failure.
const ASIDE_MS: u64 = 600;
/// A round that took longer has failed; the next may take twice as long, since it may have met silent servers.
const ROUND_MS: u64 = 200;
/// Least time between the beginnings of two rounds of one server.
const ROUND_GAP_MS: u64 = 20;
/// Pause after a failed round.
const ROUND_PAUSE_MS: u64 = 50;
/// A leader that only consensus names is taken for heard during so many times between heartbeats.
const GRACE_HEARTBEATS: u64 = 3;
/// How long, beyond the time to settle, a server gives way to the owner of a token it passed on.
const GIVE_WAY_MS: u64 = 300;
/// How long, beyond the time to settle, a candidacy lasts whose campaign is delayed.
const CHOSEN_MS: u64 = 400;
/// How long a token is kept that can not go on yet.
const KEEP_MS: u64 = 150;
/// Tokens that are looked at within [`TOKEN_WINDOW_MS`]. More are dropped: a busy election of five servers
/// needs a tenth.
const TOKENS_PER_WINDOW: u32 = 256;
const TOKEN_WINDOW_MS: u64 = 100;

/// What the replica says about itself, whenever it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its data: run, promised term and synced log.
    pub data: DataMark,
    /// Whether it leads, in that term.
    pub leads: bool,
    /// Whom it follows in that term, as consensus knows it. Not this server itself.
    pub leader: Option<ServerId>,
    /// Whether it may vote: not while it forms, learns or is in quarantine.
    pub votes: bool,
}

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// Time passed; due when [`Election::due_ms`] says.
    Tick,
    /// The replica's standing changed.
    Standing(Standing),
    /// The failure detector's beliefs changed.
    View(View),
    /// A token came.
    Token {
        /// From whom.
        from: ServerId,
        /// What it is.
        token: Token,
    },
    /// A token arrived where it was sent to.
    Receipt {
        /// From whom.
        from: ServerId,
        /// Which token.
        receipt: Receipt,
    },
}

/// Something to be done by the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send this datagram. It may be lost.
    Send {
        /// To whom.
        to: ServerId,
        /// A token or a receipt.
        datagram: Datagram,
    },
    /// Tell the replica that it should ask for votes.
    Campaign {
        /// See `io::Input::Campaign`.
        leader_is_dead: bool,
    },
    /// Tell all servers at once that this one leads: an announcement, and a heartbeat behind it.
    Announce {
        /// The term it leads in.
        term: u64,
    },
}

/// The election on one server.
#[derive(Debug)]
pub struct Election {
    /// When this was last called.
    now_ms: u64,
    ring: Ring,
    ring_position: u32,
    /// What this server waits longer after failures than the one at the top.
    step_ms: u64,
    grace_ms: u64,
    settle_ms: u64,
    view: View,
    standing: Option<Standing>,
    term_since_ms: u64,
    /// The leader that was heard last, and its run at that time.
    leader: Option<(ServerId, Option<Run>)>,
    /// Since when consensus names the leader it names, in its term.
    followed_since_ms: u64,
    stage: Stage,
    round: u64,
    round_began_ms: Option<u64>,
    rounds_failed: u32,
    campaigned_ms: Option<u64>,
    campaigns_failed: u32,
    aside_until_ms: u64,
    better: Option<Better>,
    kept: Option<Kept>,
    announced_ms: Option<u64>,
    tokens: TokenLimit,
    hops: Hops,
    outputs: VecDeque<Output>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// A leader is heard, or this server takes no part.
    Quiet,
    /// The next round may begin then.
    Waiting { until_ms: u64 },
    /// The token is under way; it should have come home by then.
    Round { until_ms: u64 },
    /// The token came home.
    Chosen { since_ms: u64 },
    /// Votes were asked for; a leader should be heard by then.
    Campaigned { until_ms: u64 },
}

/// The highest candidacy that was passed on lately.
#[derive(Debug)]
struct Better {
    initiator: ServerId,
    rank: Rank,
    until_ms: u64,
}

/// The best token that could not go on: a leader was heard, or nobody whom it could go to.
#[derive(Debug)]
struct Kept {
    token: Token,
    since_ms: u64,
}

#[derive(Debug, Default)]
struct TokenLimit {
    window_began_ms: u64,
    count: u32,
}

impl Election {
    /// Takes no part until it has heard the replica's standing and a view.
    pub fn new(config: &ReplicaConfig) -> Self {
        Election {
            now_ms: 0,
            ring: Ring::new(config),
            ring_position: config.ring_position(),
            step_ms: STEP_MS * config.servers_above() as u64,
            grace_ms: GRACE_HEARTBEATS * config.timing.heartbeat_ms,
            settle_ms: SETTLE_MS.max(config.timing.heartbeat_ms),
            view: View::default(),
            standing: None,
            term_since_ms: 0,
            leader: None,
            followed_since_ms: 0,
            stage: Stage::Quiet,
            round: 0,
            round_began_ms: None,
            rounds_failed: 0,
            campaigned_ms: None,
            campaigns_failed: 0,
            aside_until_ms: 0,
            better: None,
            kept: None,
            announced_ms: None,
            tokens: TokenLimit::default(),
            hops: Hops::default(),
            outputs: VecDeque::new(),
        }
    }

    /// Takes in what happened. What is to be done about it is to be fetched by [`Election::output`].
    pub fn handle(&mut self, now_ms: u64, input: Input) {
        self.now_ms = now_ms;
        match input {
            Input::Tick => {}
            Input::Standing(standing) => self.on_standing(now_ms, standing),
            Input::View(view) => self.on_view(now_ms, view),
            Input::Token { from, token } => {
                // What changed before the token came must be acted on first: it may be heard by now.
                self.advance(now_ms);
                self.on_token(now_ms, &from, token);
            }
            Input::Receipt { from, receipt } => self.hops.received(&from, &receipt),
        }
        self.advance(now_ms);
    }

    /// The next thing to be done, until there is none.
    pub fn output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When the next `Tick` is due, unless something else happens before.
    pub fn due_ms(&self) -> Option<u64> {
        let stage = match self.stage {
            Stage::Quiet => self.grace_ends_ms(),
            Stage::Waiting { until_ms } => self.may_try().then_some(until_ms),
            Stage::Round { until_ms } | Stage::Campaigned { until_ms } => Some(until_ms),
            Stage::Chosen { since_ms } => {
                Some(self.campaign_due_ms(since_ms).min(since_ms + self.settle_ms + CHOSEN_MS))
            }
        };
        stage.into_iter().chain(self.hops.due_ms()).min()
    }

    fn on_standing(&mut self, now_ms: u64, standing: Standing) {
        let before = self.standing.replace(standing);
        let Some(standing) = &self.standing else { return };
        let of_before = |what: fn(&Standing) -> u64| before.as_ref().map(what);
        if of_before(|standing| standing.data.term) != Some(standing.data.term) {
            self.term_since_ms = now_ms;
        }
        let follows = |standing: &Standing| (standing.leader.clone(), standing.data.term);
        if before.as_ref().map(follows) != Some(follows(standing)) {
            self.followed_since_ms = now_ms;
        }
        let led = before.is_some_and(|before| before.leads);
        if standing.leads && !led {
            self.announce(now_ms);
        }
    }

    fn on_view(&mut self, now_ms: u64, view: View) {
        let before = std::mem::replace(&mut self.view, view);
        for (id, peer) in &self.view.peers {
            let was = before.peers.get(id);
            let is_back = |state: fn(&PeerView) -> bool| state(peer) && !was.is_some_and(state);
            if is_back(|peer| peer.alive) || is_back(|peer| peer.linked) {
                self.hops.heard(id);
            }
        }
        self.retry_kept(now_ms);
    }

    fn announce(&mut self, now_ms: u64) {
        let Some(standing) = &self.standing else { return };
        self.outputs.push_back(Output::Announce { term: standing.data.term });
        self.announced_ms = Some(now_ms);
    }

    /// Does what is due, given all that is known.
    fn advance(&mut self, now_ms: u64) {
        let takes_part = self.standing.as_ref().is_some_and(|standing| standing.votes);
        if !takes_part || self.hears_leader(now_ms) {
            self.rest(takes_part);
            return;
        }
        if self.stage == Stage::Quiet {
            self.stage = Stage::Waiting { until_ms: now_ms };
            self.retry_kept(now_ms);
        }
        self.end_giving_way(now_ms);
        self.resend(now_ms);
        match self.stage {
            Stage::Waiting { until_ms } if now_ms >= until_ms && self.may_try() => self.begin_round(now_ms),
            Stage::Round { until_ms } if now_ms >= until_ms => self.fail_round(now_ms),
            Stage::Campaigned { until_ms } if now_ms >= until_ms => self.fail_campaign(now_ms),
            _ => {}
        }
        if let Stage::Chosen { since_ms } = self.stage {
            self.campaign_if_due(now_ms, since_ms);
        }
    }

    /// Somebody leads, or this server takes no part: nothing is under way.
    fn rest(&mut self, takes_part: bool) {
        self.stage = Stage::Quiet;
        self.better = None;
        self.hops.clear();
        self.rounds_failed = 0;
        self.campaigns_failed = 0;
        self.aside_until_ms = 0;
        if !takes_part {
            self.kept = None;
        }
    }

    fn rank(&self) -> Option<Rank> {
        let standing = self.standing.as_ref()?;
        Some(Rank { log: standing.data.log, ring_position: self.ring_position })
    }

    /// Whether somebody leads, and if so, notes who.
    fn hears_leader(&mut self, now_ms: u64) -> bool {
        let Some(standing) = &self.standing else { return false };
        if standing.leads {
            self.leader = None;
            return true;
        }
        let term = standing.data.term;
        let claims = self.view.peers.iter().filter(|(_, peer)| peer.alive && peer.leads_term >= Some(term));
        let claimed = claims.max_by_key(|(_, peer)| peer.leads_term);
        let named = standing.leader.as_ref().and_then(|leader| self.view.peers.get_key_value(leader));
        let in_grace = now_ms < self.followed_since_ms + self.grace_ms;
        // A leader that is heard for the first time may not have been heard of by heartbeat yet; but one
        // whose process is gone leads no more, and one that was restarted does not either.
        let named = named.filter(|(id, peer)| in_grace && !peer.gone && !self.has_restarted(id, peer));
        let Some((id, peer)) = claimed.or(named) else { return false };
        self.leader = Some((id.clone(), peer.data.as_ref().map(Run::from)));
        true
    }

    /// Whether `id` led in an earlier run than it is in now.
    fn has_restarted(&self, id: &ServerId, peer: &PeerView) -> bool {
        let run = peer.data.as_ref().map(Run::from);
        self.leader.as_ref().is_some_and(|(leader, then)| leader == id && then.is_some() && *then != run)
    }

    /// Whether the process that led is known to have ended.
    fn leader_is_dead(&self) -> bool {
        let leader = self.leader.as_ref().and_then(|(leader, _)| self.view.peers.get_key_value(leader));
        leader.is_some_and(|(id, peer)| peer.gone || self.has_restarted(id, peer))
    }

    /// When a leader that only consensus names is no longer taken for heard.
    fn grace_ends_ms(&self) -> Option<u64> {
        let standing = self.standing.as_ref().filter(|standing| standing.votes && !standing.leads)?;
        let ends_ms = standing.leader.as_ref().map(|_| self.followed_since_ms + self.grace_ms);
        ends_ms.filter(|ends_ms| *ends_ms > self.now_ms)
    }

    /// Whether enough servers are there to be elected by, and linked to this one to ask them.
    fn may_try(&self) -> bool {
        let linked = self.view.peers.values().filter(|peer| peer.alive && peer.votes && peer.linked);
        1 + linked.count() >= self.ring.majority()
    }

    fn begin_round(&mut self, now_ms: u64) {
        let earliest_ms = self.round_began_ms.map_or(0, |began_ms| began_ms + ROUND_GAP_MS);
        if now_ms < earliest_ms {
            self.stage = Stage::Waiting { until_ms: earliest_ms };
            return;
        }
        let (Some(standing), Some(rank)) = (&self.standing, self.rank()) else { return };
        self.round += 1;
        let token = Token {
            initiator: self.ring.me().clone(),
            run: Run::from(&standing.data),
            rank,
            round: self.round,
            term: standing.data.term,
            visited: vec![self.ring.me().clone()],
            returning: false,
        };
        self.round_began_ms = Some(now_ms);
        self.stage = Stage::Round { until_ms: now_ms + (ROUND_MS << self.rounds_failed.min(1)) };
        self.pass_on(now_ms, token, now_ms);
    }

    fn fail_round(&mut self, now_ms: u64) {
        let pause_ms = ROUND_PAUSE_MS << self.rounds_failed.min(DOUBLINGS_MAX);
        self.rounds_failed += 1;
        self.hops.forget(&self.ring.me().clone());
        self.stage = Stage::Waiting { until_ms: now_ms + pause_ms + self.step_ms };
    }

    fn on_token(&mut self, now_ms: u64, from: &ServerId, token: Token) {
        let takes_part = self.standing.as_ref().is_some_and(|standing| standing.votes);
        if !takes_part || !self.tokens.admit(now_ms) || !self.ring.is_sound(from, &token) {
            return;
        }
        self.hops.heard(from);
        let receipt = Datagram::Receipt(receipt_of(&token));
        self.outputs.push_back(Output::Send { to: from.clone(), datagram: receipt });
        if self.stage == Stage::Quiet {
            self.keep(now_ms, token);
        } else if token.initiator == *self.ring.me() {
            self.come_home(now_ms, token);
        } else {
            self.judge(now_ms, token, now_ms);
        }
    }

    /// A leader is heard, so the token goes nowhere; but the leader may turn out to be dead. If it is this
    /// server, the token's owner should hear of it.
    fn keep(&mut self, now_ms: u64, token: Token) {
        let leads = self.standing.as_ref().is_some_and(|standing| standing.leads);
        if leads {
            if self.announced_ms.is_none_or(|announced_ms| now_ms >= announced_ms + SETTLE_MS) {
                self.announce(now_ms);
            }
            return;
        }
        // A token that does not know our leader's term is left over from the election of that leader.
        let is_of_this_term = self.standing.as_ref().is_some_and(|standing| token.term >= standing.data.term);
        if is_of_this_term && token.initiator != *self.ring.me() {
            self.keep_best(token, now_ms);
        }
    }

    fn keep_best(&mut self, token: Token, came_ms: u64) {
        let is_best = self.kept.as_ref().is_none_or(|kept| {
            came_ms >= kept.since_ms + KEEP_MS || !outranks(&kept.token.rank, &token.rank)
        });
        if is_best {
            self.kept = Some(Kept { token, since_ms: came_ms });
        }
    }

    /// Looks again at the token that had to wait.
    fn retry_kept(&mut self, now_ms: u64) {
        if self.stage == Stage::Quiet {
            return;
        }
        if let Some(kept) = self.kept.take().filter(|kept| now_ms < kept.since_ms + KEEP_MS) {
            self.judge(now_ms, kept.token, kept.since_ms);
        }
    }

    /// Passes on a token of a higher rank and gives way to its owner; swallows others, unless this server
    /// can not try itself. It came at `came_ms`;
    /// should it find no way on, it waits for another view: servers that have just started hear of each
    /// other one after the other.
    fn judge(&mut self, now_ms: u64, mut token: Token, came_ms: u64) {
        let Some(mine) = self.rank() else { return };
        if self.has_ended(&token) {
            return;
        }
        if outranks(&token.rank, &mine) {
            let is_beaten = self.better.as_ref().is_some_and(|better| {
                better.initiator != token.initiator && outranks(&better.rank, &token.rank)
            });
            if is_beaten {
                return;
            }
            self.give_way(&token, came_ms);
        } else if self.may_try() && now_ms >= self.aside_until_ms {
            return;
        }
        if !token.visited.contains(self.ring.me()) {
            token.visited.push(self.ring.me().clone());
        }
        self.pass_on(now_ms, token, came_ms);
    }

    /// Lets the owner of a token of a higher rank try first.
    fn give_way(&mut self, token: &Token, came_ms: u64) {
        let until_ms = came_ms + self.settle_ms + GIVE_WAY_MS;
        self.better = Some(Better { initiator: token.initiator.clone(), rank: token.rank, until_ms });
        self.stage = Stage::Waiting { until_ms };
        self.hops.forget(&self.ring.me().clone());
    }

    /// Whether the process that began this round is known to have ended.
    fn has_ended(&self, token: &Token) -> bool {
        self.view.peers.get(&token.initiator).is_some_and(|peer| {
            let run = peer.data.as_ref().map(Run::from);
            peer.gone || run.is_some_and(|run| run.node_id == token.run.node_id && run.boot > token.run.boot)
        })
    }

    /// Sends a token, ours or one that came at `came_ms`, to where it goes from here. If that is nowhere it waits for another
    /// view; ours has been wherever it can go.
    fn pass_on(&mut self, now_ms: u64, token: Token, came_ms: u64) {
        if let Some(hop) = self.next_hop(now_ms, &token) {
            self.send_token(now_ms, hop, token);
        } else if token.initiator == *self.ring.me() {
            self.come_home(now_ms, token);
        } else {
            self.keep_best(token, came_ms);
        }
    }

    fn next_hop(&self, now_ms: u64, token: &Token) -> Option<Hop> {
        self.ring.next_hop(token, |id| {
            self.view.peers.get(id).is_some_and(|peer| peer.alive && peer.votes)
                && !self.hops.is_silent(now_ms, id)
        })
    }

    fn send_token(&mut self, now_ms: u64, hop: Hop, mut token: Token) {
        token.returning = hop.returning;
        self.hops.sent(now_ms, hop.to.clone(), token.clone());
        self.outputs.push_back(Output::Send { to: hop.to, datagram: Datagram::Token(token) });
    }

    fn resend(&mut self, now_ms: u64) {
        while let Some(late) = self.hops.late(now_ms) {
            match late {
                Late::Again { to, token } => {
                    self.outputs.push_back(Output::Send { to, datagram: Datagram::Token(token) });
                }
                Late::Silent { token } => self.pass_on(now_ms, token, now_ms),
            }
        }
    }

    /// The server that was given way to may have died since, or may have taken too long.
    fn end_giving_way(&mut self, now_ms: u64) {
        let Some(better) = &self.better else { return };
        let is_gone = self.view.peers.get(&better.initiator).is_some_and(|peer| peer.gone);
        if !is_gone && now_ms < better.until_ms {
            return;
        }
        self.better = None;
        if is_gone && matches!(self.stage, Stage::Waiting { .. }) {
            self.stage = Stage::Waiting { until_ms: now_ms };
        }
    }

    /// Our token came home, or what looks like it.
    fn come_home(&mut self, now_ms: u64, mut token: Token) {
        let (Some(standing), Some(rank)) = (&self.standing, self.rank()) else { return };
        let is_this_round = matches!(self.stage, Stage::Round { .. })
            && token.round == self.round
            && token.run == Run::from(&standing.data);
        if !is_this_round {
            return;
        }
        self.hops.forget(&token.initiator);
        // Its last holder may not have reached everybody that this server does.
        token.returning = false;
        if let Some(hop) = self.next_hop(now_ms, &token) {
            self.send_token(now_ms, hop, token);
            return;
        }
        if token.visited.len() < self.ring.majority() || outranks(&token.rank, &rank) {
            self.fail_round(now_ms);
            return;
        }
        self.rounds_failed = 0;
        self.stage = Stage::Chosen { since_ms: now_ms };
    }

    /// When a campaign may begin, for a candidacy of `since_ms`.
    fn campaign_due_ms(&self, since_ms: u64) -> u64 {
        let forced = self.leader_is_dead();
        let gap_ms = if forced { FORCED_GAP_MS } else { PLAIN_GAP_MS };
        let gap_ends_ms = self.campaigned_ms.map_or(0, |campaigned_ms| campaigned_ms + gap_ms);
        // A term that began during or after the round is somebody else's attempt.
        let is_contested = self.round_began_ms.is_some_and(|began_ms| self.term_since_ms > began_ms);
        let settled_ms = match (forced, is_contested) {
            (true, false) => since_ms,
            (true, true) => self.term_since_ms + self.settle_ms,
            (false, _) => self.term_since_ms.max(since_ms) + self.settle_ms,
        };
        settled_ms.max(gap_ends_ms)
    }

    fn campaign_if_due(&mut self, now_ms: u64, since_ms: u64) {
        if now_ms >= since_ms + self.settle_ms + CHOSEN_MS || !self.may_try() {
            self.fail_round(now_ms);
            return;
        }
        if now_ms < self.campaign_due_ms(since_ms) {
            return;
        }
        let forced = self.leader_is_dead();
        let gap_ms = if forced { FORCED_GAP_MS } else { PLAIN_GAP_MS };
        self.campaigned_ms = Some(now_ms);
        self.stage = Stage::Campaigned { until_ms: now_ms + gap_ms + self.step_ms };
        self.outputs.push_back(Output::Campaign { leader_is_dead: forced });
    }

    fn fail_campaign(&mut self, now_ms: u64) {
        self.campaigns_failed += 1;
        if let Some(more) = self.campaigns_failed.checked_sub(FAILURES_BEFORE_ASIDE) {
            self.aside_until_ms = now_ms + (ASIDE_MS << more.min(DOUBLINGS_MAX));
        }
        self.stage = Stage::Waiting { until_ms: self.aside_until_ms.max(now_ms) };
        self.advance(now_ms);
    }
}

impl TokenLimit {
    fn admit(&mut self, now_ms: u64) -> bool {
        if now_ms >= self.window_began_ms + TOKEN_WINDOW_MS {
            *self = TokenLimit { window_began_ms: now_ms, count: 0 };
        }
        self.count += 1;
        self.count <= TOKENS_PER_WINDOW
    }
}
