//! The part of Raft that an election needs: terms, votes, the log rule, leases. Not the real library, so this
//! test shows what the ring alone achieves; the simulation runs both together.

use syncnet::protocol::{ServerId, peer::LogMark};

/// Votes are refused for this long after the leader was heard, unless they are forced.
pub const LEASE_MS: u64 = 240;
/// Time between two leader's heartbeats over the peer links.
pub const PULSE_MS: u64 = 40;

#[derive(Debug, Clone, Copy)]
pub enum Say {
    Ask { term: u64, log: LogMark, pre: bool, forced: bool },
    Grant { term: u64, pre: bool },
    Refuse { term: u64 },
    Pulse { term: u64 },
    PulseHeard { term: u64 },
}

#[derive(Debug)]
pub struct Voter {
    pub me: ServerId,
    pub majority: usize,
    pub term: u64,
    pub log: LogMark,
    pub leads: bool,
    pub leader: Option<ServerId>,
    pub voted: Option<(u64, ServerId)>,
    leader_heard_ms: Option<u64>,
    asking: Option<(u64, bool)>,
    granted: Vec<ServerId>,
    supported_ms: u64,
    supporters: Vec<ServerId>,
}

/// What to say, and to whom; `None` is all servers.
pub type Said = Vec<(Option<ServerId>, Say)>;

impl Voter {
    pub fn new(me: ServerId, majority: usize, term: u64, log: LogMark) -> Self {
        Voter {
            me,
            majority,
            term,
            log,
            leads: false,
            leader: None,
            voted: None,
            leader_heard_ms: None,
            asking: None,
            granted: vec![],
            supported_ms: 0,
            supporters: vec![],
        }
    }

    pub fn campaign(&mut self, now_ms: u64, term: u64, forced: bool) -> Said {
        let leased = self.leader_heard_ms.is_some_and(|heard_ms| now_ms < heard_ms + LEASE_MS);
        if self.leads || self.term != term || (leased && !forced) {
            return vec![];
        }
        self.ask(now_ms, !forced, forced)
    }

    fn ask(&mut self, now_ms: u64, pre: bool, forced: bool) -> Said {
        let term = self.term + 1;
        if !pre {
            self.enter(term);
            self.voted = Some((term, self.me.clone()));
        }
        self.asking = Some((term, pre));
        self.granted = vec![self.me.clone()];
        if self.granted.len() >= self.majority {
            return self.win(now_ms, pre);
        }
        vec![(None, Say::Ask { term, log: self.log, pre, forced })]
    }

    fn win(&mut self, now_ms: u64, pre: bool) -> Said {
        if pre {
            return self.ask(now_ms, false, false);
        }
        self.asking = None;
        self.leads = true;
        self.leader = None;
        self.supported_ms = now_ms;
        self.supporters.clear();
        vec![(None, Say::Pulse { term: self.term })]
    }

    fn enter(&mut self, term: u64) {
        self.term = term;
        self.leads = false;
        self.leader = None;
        self.asking = None;
        self.leader_heard_ms = None;
    }

    pub fn hear(&mut self, now_ms: u64, from: &ServerId, say: Say) -> Said {
        let to = Some(from.clone());
        match say {
            Say::Ask { term, log, pre, forced } => {
                let leased =
                    self.leads || self.leader_heard_ms.is_some_and(|heard_ms| now_ms < heard_ms + LEASE_MS);
                if leased && !forced {
                    return vec![];
                }
                let taken = self.voted.as_ref().is_some_and(|(in_term, who)| *in_term == term && who != from);
                let outdated = if pre { term <= self.term } else { term < self.term };
                if outdated || log < self.log || (!pre && taken) {
                    if term > self.term && !pre {
                        self.enter(term);
                    }
                    return vec![(to, Say::Refuse { term: self.term })];
                }
                if !pre {
                    if term > self.term {
                        self.enter(term);
                    }
                    self.voted = Some((term, from.clone()));
                }
                vec![(to, Say::Grant { term, pre })]
            }
            Say::Grant { term, pre } => {
                if self.asking == Some((term, pre)) && !self.granted.contains(from) {
                    self.granted.push(from.clone());
                    if self.granted.len() >= self.majority {
                        return self.win(now_ms, pre);
                    }
                }
                vec![]
            }
            Say::Refuse { term } => {
                if term > self.term {
                    self.enter(term);
                }
                vec![]
            }
            Say::Pulse { term } => {
                if term < self.term {
                    return vec![(to, Say::Refuse { term: self.term })];
                }
                if term > self.term {
                    self.enter(term);
                }
                self.asking = None;
                self.leader = to.clone();
                self.leader_heard_ms = Some(now_ms);
                vec![(to, Say::PulseHeard { term })]
            }
            Say::PulseHeard { term } => {
                if self.leads && term == self.term && !self.supporters.contains(from) {
                    self.supporters.push(from.clone());
                    if self.supporters.len() + 1 >= self.majority {
                        self.supported_ms = now_ms;
                        self.supporters.clear();
                    }
                }
                vec![]
            }
        }
    }

    /// Due every [`PULSE_MS`].
    pub fn pulse(&mut self, now_ms: u64) -> Said {
        if !self.leads {
            return vec![];
        }
        if self.majority > 1 && now_ms > self.supported_ms + LEASE_MS {
            self.leads = false;
            return vec![];
        }
        vec![(None, Say::Pulse { term: self.term })]
    }
}
