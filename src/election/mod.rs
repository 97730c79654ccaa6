//! The ring election: which server should ask for votes when none leads.
//!
//! It decides which server *tries*; only the votes of a majority make a leader. So nothing here can do harm:
//! lost, doubled or forged tokens cost time or start a campaign, and campaigns are rate-limited.
//!
//! **The algorithm** is that of Le Lann, Chang and Roberts on the ring of the servers believed alive, in the
//! order of their ring positions. A server that hears no leader sends its token, which carries its rank, to
//! the next in the ring. A server that gets a token of a higher rank than its own passes it on and gives way.
//! It swallows one of a lower rank, since its own is on the way. If a token comes home, every server on its
//! way has found it the highest: if these are a majority of the configured servers, its owner campaigns. A
//! server that hears a leader passes nothing on. It keeps the best token that came, because it may be the
//! last to notice that the leader is gone.
//!
//! **A rank can grow on the way.** The last messages of a dead leader may still be in a queue. If a server's
//! own rank passes the one it gave way to, it gives way no longer. If it swallows a token that its own, as it
//! was sent, would not have beaten, it sends another.
//!
//! **If not every server reaches the next.** Each hop is receipted and repeated; a next server that stays
//! silent is skipped. A token lists the servers that had it. It visits no server twice, so it dies if it
//! cannot come home, and its owner learns which servers it really reached. If the last holder cannot reach
//! the owner, the token goes back the way it came (the chain B-A-C). A round that does not end is started
//! anew under a new number.
//!
//! **Who hears a leader:** a server whose peer is alive and *claims* to lead in a term at least its own. A
//! follower's memory is not enough, since it keeps pointing at a leader that was restarted. It counts only
//! for a few heartbeats after the follower first heard of that leader, until the claim arrives.
//!
//! **When the campaign begins.** At once, if the leader's process is known to be gone; then voters need not
//! wait for its lease to end. Otherwise [`SETTLE_MS`] after the token came home, if no term has begun
//! meanwhile: a new term means that another server is trying. It is decided for one term. If the replica has
//! voted in a later one by the time it hears of it, nothing happens, because the winner would be deposed.
//!
//! **When it fails** (a voter's log is longer than it was, a vote was lost), the same server tries again
//! after a while that depends on its place in the ring. After two failures in a row it stands aside, each
//! time for longer, and lets lower ranks pass: what hinders it may not hinder them. If all this fails, the
//! consensus library's own timers, long and staggered, start a campaign.

pub mod membership;

mod in_flight;
mod knowledge;
mod ring;
mod standing;

use std::collections::VecDeque;

use crate::{
    config::ReplicaConfig,
    protocol::{
        datagram::{Datagram, Rank, Receipt, Run, Token},
        name::ServerId,
    },
};

use self::{
    in_flight::{Late, TokensInFlight, receipt_of},
    knowledge::Knowledge,
    membership::View,
    ring::{Hop, Ring},
};

pub use self::standing::Standing;

/// If the leader is not known to be dead, a campaign begins this long after the token came home and after the
/// last new term. At least the time between two heartbeats, in which better candidates are heard.
pub const SETTLE_MS: u64 = 70;
/// The same if the leader is known to be dead and another server has begun a term: it has won by then, or
/// will not.
const CONTEST_MS: u64 = 40;
/// Least time between two campaigns if the leader is known to be dead.
pub const FORCED_GAP_MS: u64 = 40;
/// The same if it is not.
pub const PLAIN_GAP_MS: u64 = 300;
/// A campaign that has made no leader after this time has failed. If no server waits for a lease, it takes
/// two syncs and two round trips.
const FORCED_PATIENCE_MS: u64 = 60;
const PLAIN_PATIENCE_MS: u64 = 300;
/// Doublings of the pauses after failed rounds and campaigns.
const DOUBLINGS_MAX: u32 = 3;
/// How much longer a server waits after a failure for each one above it in the ring.
const STEP_MS: u64 = 20;
/// Failed campaigns in a row after which a server stands aside.
const FAILURES_BEFORE_ASIDE: u32 = 2;
/// How long it stands aside; doubled after each further failure.
const ASIDE_MS: u64 = 600;
/// A round that took longer has failed; the next may take twice as long, since it may have met silent
/// servers.
const ROUND_MS: u64 = 200;
/// Least time between the beginnings of two rounds of one server.
const ROUND_GAP_MS: u64 = 5;
/// Pause after a failed round.
const ROUND_PAUSE_MS: u64 = 50;
/// How long, beyond the time to settle, a server gives way to the owner of a token it passed on.
const GIVE_WAY_MS: u64 = 300;
/// How long, beyond the time to settle, a candidacy with a delayed campaign lasts.
const CHOSEN_MS: u64 = 400;
/// How long a token that cannot go on yet is kept.
const KEEP_MS: u64 = 150;
/// Tokens that are looked at within [`TOKEN_WINDOW_MS`]. More are dropped: a busy election of five servers
/// needs a tenth.
const TOKENS_PER_WINDOW: u32 = 256;
const TOKEN_WINDOW_MS: u64 = 100;

#[derive(Debug, Clone)]
pub enum Input {
    /// Time passed; due when [`Election::due_ms`] says.
    Tick,
    /// The replica's standing changed.
    Standing(Standing),
    /// The failure detector's beliefs changed.
    View(View),
    Token {
        from: ServerId,
        token: Token,
    },
    /// A token arrived at the server that it was sent to.
    Receipt {
        from: ServerId,
        receipt: Receipt,
    },
}

/// Something to be done by the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send this datagram. It may be lost.
    Send {
        to: ServerId,
        /// A token or a receipt.
        datagram: Datagram,
    },
    /// Tell the replica that it should ask for votes.
    Campaign {
        /// See `io::Input::Campaign`.
        term: u64,
        leader_is_dead: bool,
    },
    /// Tell all servers at once that this one leads: an announcement, and then a heartbeat.
    Announce { term: u64 },
}

#[derive(Debug)]
pub struct Election {
    /// When this was last called.
    now_ms: u64,
    ring: Ring,
    /// How much longer this server waits after failures than the one at the top.
    step_ms: u64,
    settle_ms: u64,
    knowledge: Knowledge,
    stage: Stage,
    round: Round,
    rounds_failed: u32,
    campaigned_ms: Option<u64>,
    campaigns_failed: u32,
    aside_until_ms: u64,
    better: Option<HigherCandidacy>,
    kept: Option<KeptToken>,
    announced_ms: Option<u64>,
    tokens: TokenLimit,
    in_flight: TokensInFlight,
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

/// This server's last round.
#[derive(Debug, Default)]
struct Round {
    number: u64,
    began_ms: Option<u64>,
    /// The rank that its token says.
    rank: Option<Rank>,
}

/// The highest candidacy that was passed on lately.
#[derive(Debug)]
struct HigherCandidacy {
    initiator: ServerId,
    rank: Rank,
    until_ms: u64,
}

/// The best token that could not go on: a leader was heard, or no next server could be reached.
#[derive(Debug)]
struct KeptToken {
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
        let ring = Ring::new(config);
        Election {
            now_ms: 0,
            step_ms: STEP_MS * config.servers_above() as u64,
            settle_ms: SETTLE_MS.max(config.timing.heartbeat_ms),
            knowledge: Knowledge::new(config, ring.majority()),
            ring,
            stage: Stage::Quiet,
            round: Round::default(),
            rounds_failed: 0,
            campaigned_ms: None,
            campaigns_failed: 0,
            aside_until_ms: 0,
            better: None,
            kept: None,
            announced_ms: None,
            tokens: TokenLimit::default(),
            in_flight: TokensInFlight::default(),
            outputs: VecDeque::new(),
        }
    }

    /// The servers are those of `config` from now on. What is under way ends: the ring is another one.
    pub fn follow(&mut self, config: &ReplicaConfig) {
        self.ring = Ring::new(config);
        self.step_ms = STEP_MS * config.servers_above() as u64;
        self.knowledge.follow(config, self.ring.majority());
        self.rest();
        self.kept = None;
    }

    /// Takes in an input. Fetch its outputs with [`Election::output`].
    pub fn handle(&mut self, now_ms: u64, input: Input) {
        self.now_ms = now_ms;
        match input {
            Input::Tick => {}
            Input::Standing(standing) => {
                if self.knowledge.on_standing(now_ms, standing) {
                    self.announce(now_ms);
                }
            }
            Input::View(view) => {
                for back in self.knowledge.on_view(view) {
                    self.in_flight.heard(&back);
                }
                self.retry_kept(now_ms);
            }
            Input::Token { from, token } => {
                // Time may have passed since the last call: do what is due before taking the token.
                self.advance(now_ms);
                self.on_token(now_ms, &from, token);
            }
            Input::Receipt { from, receipt } => self.in_flight.received(&from, &receipt),
        }
        self.advance(now_ms);
    }

    /// The next output, until there is none.
    pub fn output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When the next `Tick` is due, unless something else happens before.
    pub fn due_ms(&self) -> Option<u64> {
        let stage = match self.stage {
            Stage::Quiet => self.knowledge.grace_ends_ms(self.now_ms),
            Stage::Waiting { until_ms } => self.knowledge.may_try().then_some(until_ms),
            Stage::Round { until_ms } | Stage::Campaigned { until_ms } => Some(until_ms),
            Stage::Chosen { since_ms } => {
                Some(self.campaign_due_ms(since_ms).min(self.choice_ends_ms(since_ms)))
            }
        };
        stage.into_iter().chain(self.in_flight.due_ms()).min()
    }

    fn announce(&mut self, now_ms: u64) {
        self.outputs.push_back(Output::Announce { term: self.knowledge.term() });
        self.announced_ms = Some(now_ms);
    }

    /// Does what is due, given all that is known.
    fn advance(&mut self, now_ms: u64) {
        if self.knowledge.as_voter().is_none() || self.knowledge.hears_leader(now_ms) {
            self.rest();
            return;
        }
        if self.stage == Stage::Quiet {
            self.stage = Stage::Waiting { until_ms: now_ms };
            self.retry_kept(now_ms);
        }
        self.end_giving_way(now_ms);
        self.resend(now_ms);
        match self.stage {
            Stage::Waiting { until_ms } if now_ms >= until_ms && self.knowledge.may_try() => {
                self.begin_round(now_ms);
            }
            Stage::Round { until_ms } if now_ms >= until_ms => self.fail_round(now_ms),
            Stage::Campaigned { until_ms } if now_ms >= until_ms => self.fail_campaign(now_ms),
            _ => {}
        }
        if let Stage::Chosen { since_ms } = self.stage {
            self.campaign_if_due(now_ms, since_ms);
        }
    }

    /// Ends what is under way: a leader is heard, or this server takes no part.
    fn rest(&mut self) {
        self.stage = Stage::Quiet;
        self.better = None;
        self.in_flight.clear();
        self.rounds_failed = 0;
        self.campaigns_failed = 0;
        self.aside_until_ms = 0;
        if self.knowledge.as_voter().is_none() {
            self.kept = None;
        }
    }

    fn begin_round(&mut self, now_ms: u64) {
        let earliest_ms = self.round.began_ms.map_or(0, |began_ms| began_ms + ROUND_GAP_MS);
        if now_ms < earliest_ms {
            self.stage = Stage::Waiting { until_ms: earliest_ms };
            return;
        }
        let (Some(standing), Some(rank)) = (self.knowledge.as_voter(), self.knowledge.rank()) else { return };
        let number = self.round.number + 1;
        let token = Token {
            initiator: self.ring.me().clone(),
            run: Run::from(&standing.data),
            rank,
            round: number,
            term: standing.data.term,
            visited: vec![self.ring.me().clone()],
            returning: false,
        };
        self.round = Round { number, began_ms: Some(now_ms), rank: Some(rank) };
        self.stage = Stage::Round { until_ms: now_ms + (ROUND_MS << self.rounds_failed.min(1)) };
        self.pass_on(now_ms, token, now_ms);
    }

    fn fail_round(&mut self, now_ms: u64) {
        let pause_ms = ROUND_PAUSE_MS << self.rounds_failed.min(DOUBLINGS_MAX);
        self.rounds_failed += 1;
        self.in_flight.forget(self.ring.me());
        self.stage = Stage::Waiting { until_ms: now_ms + pause_ms + self.step_ms };
    }

    fn on_token(&mut self, now_ms: u64, from: &ServerId, token: Token) {
        let takes_part = self.knowledge.as_voter().is_some();
        if !takes_part || !self.tokens.admit(now_ms) || !self.ring.is_sound(from, &token) {
            return;
        }
        self.in_flight.heard(from);
        let receipt = Datagram::Receipt(receipt_of(&token));
        self.outputs.push_back(Output::Send { to: from.clone(), datagram: receipt });
        if self.knowledge.leads() {
            self.correct(now_ms);
        } else if self.stage == Stage::Quiet {
            self.keep_under_leader(now_ms, token);
        } else if token.initiator == *self.ring.me() {
            self.come_home(now_ms, token);
        } else {
            self.judge(now_ms, token, now_ms);
        }
    }

    /// Announces this leader to a server that looks for one.
    fn correct(&mut self, now_ms: u64) {
        if self.announced_ms.is_none_or(|announced_ms| now_ms >= announced_ms + SETTLE_MS) {
            self.announce(now_ms);
        }
    }

    /// A leader is heard, so the token is not passed on, but kept: the leader may turn out to be dead. A
    /// token that does not know this leader's term is left over from its election.
    fn keep_under_leader(&mut self, now_ms: u64, token: Token) {
        if token.term >= self.knowledge.term() && token.initiator != *self.ring.me() {
            self.keep_best(token, now_ms);
        }
    }

    fn keep_best(&mut self, token: Token, came_ms: u64) {
        let is_best = self
            .kept
            .as_ref()
            .is_none_or(|kept| came_ms >= kept.since_ms + KEEP_MS || kept.token.rank <= token.rank);
        if is_best {
            self.kept = Some(KeptToken { token, since_ms: came_ms });
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
    /// cannot try itself. It came at `came_ms`. If it finds no way on, it waits for another view: servers
    /// that have just started learn of each other one by one.
    fn judge(&mut self, now_ms: u64, mut token: Token, came_ms: u64) {
        let Some(mine) = self.knowledge.rank() else { return };
        if self.knowledge.is_orphan(&token) {
            return;
        }
        if token.rank > mine {
            let is_beaten = self
                .better
                .as_ref()
                .is_some_and(|better| better.initiator != token.initiator && better.rank > token.rank);
            if is_beaten {
                return;
            }
            self.give_way(&token, came_ms);
        } else if self.knowledge.may_try() && now_ms >= self.aside_until_ms {
            self.swallow(now_ms, &token);
            return;
        }
        if !token.visited.contains(self.ring.me()) {
            token.visited.push(self.ring.me().clone());
        }
        self.pass_on(now_ms, token, came_ms);
    }

    /// Ends a token of a lower rank: ours will come to its owner. But if it beats the rank that this server
    /// had when it sent its own token or asked for votes, its owner has swallowed that token or refused the
    /// vote.
    fn swallow(&mut self, now_ms: u64, token: &Token) {
        let is_beaten = self.round.rank.is_some_and(|sent| token.rank > sent);
        if is_beaten && matches!(self.stage, Stage::Round { .. } | Stage::Campaigned { .. }) {
            self.begin_round(now_ms);
        }
    }

    /// Lets the owner of a token of a higher rank try first.
    fn give_way(&mut self, token: &Token, came_ms: u64) {
        let until_ms = came_ms + self.settle_ms + GIVE_WAY_MS;
        self.better =
            Some(HigherCandidacy { initiator: token.initiator.clone(), rank: token.rank, until_ms });
        self.stage = Stage::Waiting { until_ms };
        self.in_flight.forget(self.ring.me());
    }

    /// Stops giving way if the other has died, takes too long, or no longer has the higher rank.
    fn end_giving_way(&mut self, now_ms: u64) {
        let Some(better) = &self.better else { return };
        let is_passed = self.knowledge.rank().is_some_and(|mine| mine > better.rank);
        let is_over = is_passed || self.knowledge.is_gone(&better.initiator);
        if !is_over && now_ms < better.until_ms {
            return;
        }
        self.better = None;
        if is_over && matches!(self.stage, Stage::Waiting { .. }) {
            self.stage = Stage::Waiting { until_ms: now_ms.max(self.aside_until_ms) };
        }
    }

    /// Sends a token, ours or one that came at `came_ms`, to its next server. If there is none it waits for
    /// another view; ours has then been to every server that it can reach.
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
        self.ring.next_hop(token, |id| self.knowledge.is_in_ring(id) && !self.in_flight.is_silent(now_ms, id))
    }

    fn send_token(&mut self, now_ms: u64, hop: Hop, mut token: Token) {
        token.returning = hop.returning;
        self.in_flight.sent(now_ms, hop.to.clone(), token.clone());
        self.outputs.push_back(Output::Send { to: hop.to, datagram: Datagram::Token(token) });
    }

    fn resend(&mut self, now_ms: u64) {
        while let Some(late) = self.in_flight.late(now_ms) {
            match late {
                Late::Again { to, token } => {
                    self.outputs.push_back(Output::Send { to, datagram: Datagram::Token(token) });
                }
                Late::Silent { token } => self.pass_on(now_ms, token, now_ms),
            }
        }
    }

    /// Our token came home, or what looks like it.
    fn come_home(&mut self, now_ms: u64, mut token: Token) {
        let (Some(standing), Some(rank)) = (self.knowledge.as_voter(), self.knowledge.rank()) else { return };
        let is_this_round = matches!(self.stage, Stage::Round { .. })
            && token.round == self.round.number
            && token.run == Run::from(&standing.data);
        if !is_this_round {
            return;
        }
        self.in_flight.forget(&token.initiator);
        // Its last holder may not have reached all servers that this one does.
        token.returning = false;
        if let Some(hop) = self.next_hop(now_ms, &token) {
            self.send_token(now_ms, hop, token);
            return;
        }
        if token.visited.len() < self.ring.majority() || token.rank > rank {
            self.fail_round(now_ms);
            return;
        }
        self.rounds_failed = 0;
        self.stage = Stage::Chosen { since_ms: now_ms };
    }

    /// When a campaign may begin, for a candidacy of `since_ms`.
    fn campaign_due_ms(&self, since_ms: u64) -> u64 {
        let forced = self.knowledge.leader_is_dead();
        let term_since_ms = self.knowledge.term_since_ms();
        // A term that began during or after the round is another server's attempt.
        let is_contested = self.round.began_ms.is_some_and(|began_ms| term_since_ms > began_ms);
        let settled_ms = match (forced, is_contested) {
            (true, false) => since_ms,
            (true, true) => since_ms.max(term_since_ms + CONTEST_MS),
            (false, _) => term_since_ms.max(since_ms) + self.settle_ms,
        };
        let least_ms = if forced { FORCED_GAP_MS } else { PLAIN_GAP_MS };
        let gap_ends_ms = self.campaigned_ms.map_or(0, |campaigned_ms| campaigned_ms + least_ms);
        settled_ms.max(gap_ends_ms)
    }

    /// When a candidacy of `since_ms` is out of date.
    fn choice_ends_ms(&self, since_ms: u64) -> u64 {
        since_ms + self.settle_ms + CHOSEN_MS
    }

    fn campaign_if_due(&mut self, now_ms: u64, since_ms: u64) {
        if now_ms >= self.choice_ends_ms(since_ms) || !self.knowledge.may_try() {
            self.fail_round(now_ms);
            return;
        }
        if now_ms < self.campaign_due_ms(since_ms) {
            return;
        }
        let forced = self.knowledge.leader_is_dead();
        let patience_ms = if forced { FORCED_PATIENCE_MS } else { PLAIN_PATIENCE_MS };
        self.campaigned_ms = Some(now_ms);
        self.stage = Stage::Campaigned { until_ms: now_ms + patience_ms + self.step_ms };
        let term = self.knowledge.term();
        self.outputs.push_back(Output::Campaign { term, leader_is_dead: forced });
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
