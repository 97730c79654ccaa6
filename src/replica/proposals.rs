//! Proposals of this server's clients that the log has not yet decided.
//!
//! Each proposal gets a number of this run (1, 2, 3, …). The log takes them in that order, each once and
//! none skipped: the replicated state counts them (`chat::origin`). So sending them again, to the same
//! leader or to a new one, is always safe, and the order of a connection outlives any failover.
//! A proposal leaves this queue only when the log has decided it.

use std::collections::{BTreeSet, VecDeque};

use crate::{
    chat::{Proposal, command::Nothing},
    fanout::ConnId,
    protocol::{limits::COMMIT_TIMEOUT_MS, peer::NodeId, rules::KnownRules},
};

/// Most bytes of proposals that are passed on in one message.
const FORWARD_BYTES: usize = 512 * 1024;
/// Most bytes of proposals that wait.
const PENDING_BYTES: usize = 64 * 1024 * 1024;
/// About how many bytes of proposals may be undecided with the leader; what is more waits here. All of them
/// are sent again after a silence, and must not crowd out the messages of consensus: then nothing would ever
/// be decided, and the silence would never end.
const UNDECIDED_BYTES: usize = 1024 * 1024;
/// How long proposals may stay undecided before they are sent to the leader again.
const RESEND_MS: u64 = 250;
/// A step of bytes that a slow link, or a busy machine, takes longer for; and how much longer.
const SLOW_BYTES: usize = 64 * 1024;
const SLOW_MS: u64 = 128;

/// A proposal that waits for the log's decision.
#[derive(Debug)]
pub struct Pending {
    pub seq: u64,
    /// The connection that asked, as long as it waits for the answer.
    pub conn: Option<ConnId>,
    /// The connection that asked.
    asker: ConnId,
    /// What it asks for.
    operation: &'static str,
    command: Vec<u8>,
    /// Since when it waits.
    pub since_ms: u64,
}

impl Pending {
    fn become_nothing(&mut self) {
        if let Ok(proposal) = Proposal::decode(&self.command, KnownRules::OURS) {
            self.command = Proposal { command: Nothing.into(), ..proposal }.encode();
        }
    }
}

#[derive(Debug)]
pub struct Proposals {
    pending: VecDeque<Pending>,
    /// Their sum, in bytes.
    bytes: usize,
    next_seq: u64,
    /// How many came in since this was last asked.
    pushed: u64,
    /// The first that `take_new` has not given yet.
    next_new: u64,
    /// The next one to pass on to the present leader.
    next_send: u64,
    /// The bytes of those that were passed on to it and wait.
    sent_bytes: usize,
    /// One more than the highest number ever passed on to a leader.
    ever_sent: u64,
    /// Up to this number the clients were told that the outcome is unknown.
    timed_out: u64,
    /// The leader that `next_send` is about, and its term.
    leader: Option<(NodeId, u64)>,
    /// When the log last decided one of these, or one was sent while none waited.
    progress_ms: u64,
}

impl Default for Proposals {
    fn default() -> Self {
        Proposals {
            pending: VecDeque::new(),
            bytes: 0,
            next_seq: 1,
            pushed: 0,
            next_new: 1,
            next_send: 1,
            sent_bytes: 0,
            ever_sent: 1,
            timed_out: 0,
            leader: None,
            progress_ms: 0,
        }
    }
}

impl Proposals {
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether `most` wait already, or too many bytes.
    pub fn is_full(&self, most: usize) -> bool {
        self.pending.len() >= most || self.bytes >= PENDING_BYTES
    }

    /// The number that the next proposal will get.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// How many came in since this was last called.
    pub fn take_pushed(&mut self) -> u64 {
        std::mem::take(&mut self.pushed)
    }

    /// Those of clients that came since this was last called: number, connection, operation.
    pub fn take_new(&mut self) -> Vec<(u64, ConnId, &'static str)> {
        let first = std::mem::replace(&mut self.next_new, self.next_seq);
        let newest = self.pending.iter().rev().take_while(|pending| pending.seq >= first);
        let mut new: Vec<_> = newest.filter_map(|new| Some((new.seq, new.conn?, new.operation))).collect();
        new.reverse();
        new
    }

    /// Takes a proposal into the queue.
    pub fn push(&mut self, now_ms: u64, conn: ConnId, proposal: &Proposal) -> u64 {
        self.push_of(now_ms, Some(conn), proposal)
    }

    /// Takes a proposal of the server itself into the queue: no connection waits for its answer.
    pub fn push_own(&mut self, now_ms: u64, proposal: &Proposal) -> u64 {
        self.push_of(now_ms, None, proposal)
    }

    /// Whether the log has not yet decided about a proposal.
    pub fn waits_for(&self, seq: u64) -> bool {
        self.pending.front().is_some_and(|first| first.seq <= seq)
    }

    fn push_of(&mut self, now_ms: u64, conn: Option<ConnId>, proposal: &Proposal) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        self.pushed += 1;
        let command = proposal.encode();
        self.bytes += command.len();
        self.pending.push_back(Pending {
            seq,
            conn,
            // No connection has this number.
            asker: conn.unwrap_or(ConnId(0)),
            operation: proposal.command.name(),
            command,
            since_ms: now_ms,
        });
        seq
    }

    /// The next proposals to pass on to the leader of `term`: the first number and the encoded proposals.
    /// Call until it gives nothing.
    pub fn take_unsent(&mut self, now_ms: u64, leader: NodeId, term: u64) -> Option<(u64, Vec<Vec<u8>>)> {
        let first = self.pending.front()?.seq;
        if self.leader != Some((leader, term)) {
            // A new leader may not have what the old one had: send everything that waits, from the first on.
            self.leader = Some((leader, term));
            self.send_from(first);
            self.progress_ms = now_ms;
        }
        self.next_send = self.next_send.max(first);
        let start = (self.next_send - first) as usize;
        let mut bytes = 0;
        let commands: Vec<Vec<u8>> = self
            .pending
            .range(start.min(self.pending.len())..)
            .take_while(|pending| {
                let more = bytes < FORWARD_BYTES && self.sent_bytes + bytes < UNDECIDED_BYTES;
                bytes += pending.command.len() + 16;
                more
            })
            .map(|pending| pending.command.clone())
            .collect();
        if commands.is_empty() {
            return None;
        }
        if self.next_send == first {
            self.progress_ms = now_ms;
        }
        let first_seq = self.next_send;
        self.sent_bytes += commands.iter().map(Vec::len).sum::<usize>();
        self.next_send += commands.len() as u64;
        self.ever_sent = self.ever_sent.max(self.next_send);
        Some((first_seq, commands))
    }

    /// Sends again from the first one on if the leader has been silent for too long: a message to it may have
    /// been lost.
    pub fn resend_if_silent(&mut self, now_ms: u64) {
        if let Some(first) = self.pending.front()
            && self.next_send > first.seq
            && now_ms.saturating_sub(self.progress_ms)
                >= RESEND_MS + (self.sent_bytes / SLOW_BYTES) as u64 * SLOW_MS
        {
            self.send_from(first.seq);
            self.progress_ms = now_ms;
        }
    }

    fn send_from(&mut self, first: u64) {
        self.next_send = first;
        self.sent_bytes = 0;
    }

    /// The link to the leader broke: what was passed on may not have arrived.
    pub fn link_lost(&mut self) {
        self.leader = None;
    }

    /// The log has decided number `seq`: it leaves the queue.
    pub fn decided(&mut self, now_ms: u64, seq: u64) -> Option<Pending> {
        if self.pending.front().is_none_or(|first| first.seq != seq) {
            return None;
        }
        self.progress_ms = now_ms;
        let decided = self.pending.pop_front()?;
        self.bytes -= decided.command.len();
        if seq < self.next_send {
            self.sent_bytes -= decided.command.len();
        }
        Some(decided)
    }

    /// A snapshot has decided everything up to `seq`, with outcomes that are not known here.
    pub fn decided_up_to(&mut self, now_ms: u64, seq: u64) -> Vec<Pending> {
        let mut decided = Vec::new();
        while let Some(first) = self.pending.front()
            && first.seq <= seq
        {
            let first_seq = first.seq;
            decided.extend(self.decided(now_ms, first_seq));
        }
        decided
    }

    /// The proposals whose connections are to be told that the outcome is unknown: those that have waited too
    /// long since the last call. They stay in the queue, because they may still be carried out. One that was
    /// never passed on becomes an empty one, so that it is not carried out hours later. So do later proposals
    /// of its connection, which would overtake it when it is sent again; they are included in the result.
    pub fn time_out(&mut self, now_ms: u64) -> Vec<(u64, ConnId)> {
        let mut told = Vec::new();
        let mut voided = BTreeSet::new();
        let Some(first) = self.pending.front().map(|pending| pending.seq) else { return told };
        let start = (self.timed_out.max(first - 1) + 1 - first) as usize;
        for pending in self.pending.range_mut(start.min(self.pending.len())..) {
            let is_late = now_ms.saturating_sub(pending.since_ms) >= COMMIT_TIMEOUT_MS;
            if is_late {
                self.timed_out = pending.seq;
            } else if voided.is_empty() {
                break;
            }
            let was_sent = pending.seq < self.ever_sent;
            let is_voided = !was_sent && (is_late || voided.contains(&pending.asker));
            if is_voided {
                self.bytes -= pending.command.len();
                pending.become_nothing();
                self.bytes += pending.command.len();
                voided.insert(pending.asker);
            }
            if (is_late || is_voided)
                && let Some(conn) = pending.conn.take()
            {
                told.push((pending.seq, conn));
            }
        }
        told
    }

    /// Forgets a connection that is gone: its proposals go on without it.
    pub fn forget_conn(&mut self, conn: ConnId) {
        for pending in &mut self.pending {
            if pending.conn == Some(conn) {
                pending.conn = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        chat::{
            Authority, Command,
            command::{Edit, Leave},
        },
        protocol::{RoomName, UserName},
    };

    fn queue(count: u64) -> Proposals {
        let mut proposals = Proposals::default();
        for number in 0..count {
            let proposal = Proposal {
                user: UserName::new("alice").unwrap(),
                authority: Authority::Guest,
                lamport_timestamp: number,
                room: None,
                command: Leave { room: RoomName::new("lobby").unwrap() }.into(),
            };
            proposals.push(0, ConnId(1), &proposal);
        }
        proposals
    }

    fn sent(proposals: &mut Proposals, now_ms: u64, leader: u64, term: u64) -> Option<(u64, usize)> {
        proposals.take_unsent(now_ms, NodeId(leader), term).map(|(first, commands)| (first, commands.len()))
    }

    #[test]
    fn a_new_leader_is_sent_everything_that_waits_in_order() {
        let mut proposals = queue(3);
        assert_eq!(sent(&mut proposals, 0, 1, 1), Some((1, 3)));
        assert_eq!(sent(&mut proposals, 0, 1, 1), None);
        proposals.decided(1, 1).unwrap();
        assert_eq!(sent(&mut proposals, 1, 2, 2), Some((2, 2)));
        assert!(proposals.decided(1, 3).is_none(), "out of order");
    }

    #[test]
    fn as_much_waits_as_fits_into_memory() {
        let mut proposals = queue(1);
        let proposal = Proposal {
            user: UserName::new("alice").unwrap(),
            authority: Authority::Guest,
            lamport_timestamp: 0,
            room: None,
            command: Edit {
                room: RoomName::new("lobby").unwrap(),
                seq: 1,
                body: "x".repeat(PENDING_BYTES / 2),
            }
            .into(),
        };
        for _ in 0..2 {
            assert!(!proposals.is_full(10));
            proposals.push(0, ConnId(1), &proposal);
        }
        assert!(proposals.is_full(10) && proposals.is_full(3));
        // A proposal that is never sent becomes empty, and takes up almost no memory.
        proposals.time_out(COMMIT_TIMEOUT_MS);
        assert!(!proposals.is_full(10));
        (1..=3).for_each(|seq| drop(proposals.decided(0, seq).unwrap()));
        assert_eq!(proposals.bytes, 0);
    }

    #[test]
    fn what_is_undecided_with_a_leader_is_bounded_and_sent_again_less_often_the_more_it_is() {
        let mut proposals = Proposals::default();
        let large = Edit { room: RoomName::new("lobby").unwrap(), seq: 1, body: "x".repeat(200_000) };
        let proposal = Proposal {
            user: UserName::new("alice").unwrap(),
            authority: Authority::Guest,
            lamport_timestamp: 0,
            room: None,
            command: large.into(),
        };
        for _ in 0..100 {
            proposals.push(0, ConnId(1), &proposal);
        }
        let send_all = |proposals: &mut Proposals, now_ms| {
            let mut all = vec![];
            while let Some((first, count)) = sent(proposals, now_ms, 1, 1) {
                all.extend(first..first + count as u64);
            }
            all
        };
        assert_eq!(send_all(&mut proposals, 0), [1, 2, 3, 4, 5, 6]);
        proposals.decided(1, 1).unwrap();
        assert_eq!(send_all(&mut proposals, 1), [7], "one place is free");
        proposals.resend_if_silent(1 + RESEND_MS);
        assert!(send_all(&mut proposals, 1 + RESEND_MS).is_empty(), "it may be on its way yet");
        proposals.resend_if_silent(5_000);
        assert_eq!(send_all(&mut proposals, 5_000), [2, 3, 4, 5, 6, 7]);
        // A new leader has got nothing, and what is decided counts no more.
        assert_eq!(sent(&mut proposals, 5_000, 2, 2), Some((2, 3)));
        (2..=100).for_each(|seq| drop(proposals.decided(5_001, seq).unwrap()));
        assert_eq!((proposals.bytes, proposals.sent_bytes), (0, 0));
    }

    #[test]
    fn silence_sends_again() {
        let mut proposals = queue(2);
        sent(&mut proposals, 0, 1, 1).unwrap();
        proposals.resend_if_silent(RESEND_MS - 1);
        assert_eq!(sent(&mut proposals, RESEND_MS - 1, 1, 1), None);
        proposals.resend_if_silent(RESEND_MS);
        assert_eq!(sent(&mut proposals, RESEND_MS, 1, 1), Some((1, 2)));
    }

    #[test]
    fn a_timeout_is_told_once_and_what_was_never_sent_becomes_nothing() {
        let mut proposals = queue(1);
        sent(&mut proposals, 0, 1, 1).unwrap();
        let late = Proposal {
            user: UserName::new("bob").unwrap(),
            authority: Authority::Guest,
            lamport_timestamp: 0,
            room: None,
            command: Leave { room: RoomName::new("lobby").unwrap() }.into(),
        };
        proposals.push(0, ConnId(2), &late);
        assert_eq!(proposals.time_out(COMMIT_TIMEOUT_MS), vec![(1, ConnId(1)), (2, ConnId(2))]);
        assert!(proposals.time_out(COMMIT_TIMEOUT_MS).is_empty());
        let (_, commands) = proposals.take_unsent(COMMIT_TIMEOUT_MS, NodeId(9), 2).unwrap();
        let kinds: Vec<bool> = commands
            .iter()
            .map(|bytes| {
                Proposal::decode(bytes, KnownRules::OURS).unwrap().command == Command::Nothing(Nothing)
            })
            .collect();
        assert_eq!(kinds, [false, true]);
    }

    #[test]
    fn what_follows_a_voided_proposal_on_its_connection_is_voided_with_it() {
        let mut proposals = queue(1);
        let leave = |room: &str| Proposal {
            user: UserName::new("alice").unwrap(),
            authority: Authority::Guest,
            lamport_timestamp: 0,
            room: None,
            command: Leave { room: RoomName::new(room).unwrap() }.into(),
        };
        proposals.push(1, ConnId(2), &leave("other"));
        proposals.push(2, ConnId(1), &leave("later"));
        assert_eq!(proposals.time_out(COMMIT_TIMEOUT_MS), vec![(1, ConnId(1)), (3, ConnId(1))]);
        let (_, commands) = proposals.take_unsent(COMMIT_TIMEOUT_MS, NodeId(9), 2).unwrap();
        let commands =
            commands.iter().map(|bytes| Proposal::decode(bytes, KnownRules::OURS).unwrap().command);
        let nothing = || Command::from(Nothing);
        assert_eq!(commands.collect::<Vec<_>>(), [nothing(), leave("other").command, nothing()]);
        assert_eq!(proposals.time_out(COMMIT_TIMEOUT_MS + 2), vec![(2, ConnId(2))], "each is told once");
    }
}
