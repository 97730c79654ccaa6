//! What servers made durable, and the promises to each other that depend on it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    MessageKey, Verdict,
    counting::{Changes, Counting, has_caught_up},
    ensure,
};

/// One entry of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// The term of the leader that proposed it.
    pub term: u64,
    /// A hash of its content.
    pub content: u64,
    /// The message it carries, if it carries one.
    pub message: Option<MessageKey>,
    /// Whether it changes who counts.
    pub configures: bool,
}

/// What one synced transaction contained.
#[derive(Debug, Default)]
pub struct Synced {
    /// A snapshot took the place of everything up to this index.
    pub installed: Option<u64>,
    /// Log entries by index; what the log held from the first one on is replaced.
    pub entries: Vec<(u64, LogLine)>,
    /// Term and vote.
    pub vote: Option<(u64, Option<u64>)>,
    /// How far the state goes, and who counts as of then.
    pub applied: Option<(u64, Counting)>,
    /// Events, by the index of the entry that made them.
    pub events: Vec<(u64, Value)>,
}

/// What a disk durably holds.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    node: u64,
    log: BTreeMap<u64, LogLine>,
    places: BTreeMap<MessageKey, u64>,
    installed: u64,
    applied: u64,
    counting: Counting,
    vote: (u64, Option<u64>),
}

impl Ledger {
    fn last_index(&self) -> u64 {
        self.log.last_key_value().map_or(0, |(&index, _)| index).max(self.installed)
    }

    fn has(&self, index: u64, line: &LogLine) -> bool {
        self.installed.max(self.applied) >= index || self.log.get(&index) == Some(line)
    }

    fn holds(&self, message: &MessageKey, made_at: Option<u64>) -> bool {
        self.places.contains_key(message) || made_at.is_some_and(|index| index <= self.applied)
    }

    fn cut_from(&mut self, index: u64) {
        for line in self.log.split_off(&index).into_values() {
            if let Some(message) = line.message
                && self.places.get(&message).is_some_and(|&at| at >= index)
            {
                self.places.remove(&message);
            }
        }
    }
}

/// All servers of a cluster.
pub struct Servers {
    ledgers: Vec<Ledger>,
    /// What incarnations held before it was lost: an acknowledgement may still be on its way to its client.
    lost: Vec<Ledger>,
    /// Who led, by term.
    leaders: BTreeMap<u64, usize>,
    /// Whom an incarnation promised its vote, by term.
    votes: BTreeMap<(u64, u64), u64>,
    /// Incarnations whose data was lost or put back.
    doubtful: BTreeSet<u64>,
    /// What was applied somewhere, by index.
    applied: BTreeMap<u64, LogLine>,
    /// The entry that made a message's event.
    made_at: BTreeMap<MessageKey, u64>,
    changes: Changes,
}

impl Servers {
    pub fn new(servers: usize) -> Servers {
        Servers {
            ledgers: vec![Ledger::default(); servers],
            lost: Vec::new(),
            leaders: BTreeMap::new(),
            votes: BTreeMap::new(),
            doubtful: BTreeSet::new(),
            applied: BTreeMap::new(),
            made_at: BTreeMap::new(),
            changes: Changes::default(),
        }
    }

    pub fn booted(&mut self, server: usize, node: u64) -> Verdict {
        let known = self.ledgers[server].node;
        ensure!(
            known == 0 || known == node,
            Durable,
            "server {server} starts as {node:x}; its data, which was not taken, was {known:x}'s"
        );
        self.ledgers[server].node = node;
        Ok(())
    }

    /// `server` starts with what its disk holds. Of its state a power cut may have taken away what was not
    /// synced; the log must have it.
    pub fn starts_with(
        &mut self,
        server: usize,
        last_index: u64,
        applied: u64,
        vote: (u64, Option<u64>),
    ) -> Verdict {
        let ledger = &mut self.ledgers[server];
        let synced = (ledger.last_index(), ledger.applied, ledger.vote);
        ensure!(
            (synced.0, synced.2) == (last_index, vote) && (ledger.installed..=synced.1).contains(&applied),
            Durable,
            "server {server} starts with {:x?}; synced was {synced:x?} (log, applied, vote)",
            (last_index, applied, vote)
        );
        ledger.applied = applied;
        Ok(())
    }

    pub fn ledger(&self, server: usize) -> Ledger {
        self.ledgers[server].clone()
    }

    pub fn lost(&mut self, server: usize, ledger: Ledger) {
        self.doubtful.insert(self.ledgers[server].node);
        self.doubtful.insert(ledger.node);
        self.lost.push(std::mem::replace(&mut self.ledgers[server], ledger));
    }

    pub fn synced(&mut self, server: usize, synced: Synced) -> Verdict {
        let ledger = &mut self.ledgers[server];
        if let Some(index) = synced.installed {
            ledger.cut_from(0);
            ledger.installed = index;
            ledger.applied = index;
        }
        if let Some((first, _)) = synced.entries.first() {
            ensure!(
                *first > ledger.applied,
                Durable,
                "server {server} replaces its log from {first} on, though it has applied {}",
                ledger.applied
            );
            ledger.cut_from(*first);
        }
        for (index, line) in synced.entries {
            if let Some(message) = &line.message {
                ledger.places.entry(message.clone()).or_insert(index);
            }
            ledger.log.insert(index, line);
        }
        if let Some((term, vote)) = synced.vote {
            let (promised, voted) = ledger.vote;
            ensure!(
                term > promised || (term == promised && (voted.is_none() || voted == vote)),
                OneLeader,
                "server {server} stores vote {vote:x?} in term {term}, though it promised {voted:x?} in term {promised}"
            );
            ledger.vote = (term, vote);
        }
        for (index, event) in &synced.events {
            let text = |field: &str| event.get(field).and_then(Value::as_str);
            if let (Some(author), Some(id)) = (text("author"), text("client_msg_id")) {
                self.made_at.insert((author.to_ascii_lowercase(), id.to_owned()), *index);
            }
        }
        if let Some((index, counting)) = synced.applied {
            self.changes.stored(server, index, &counting)?;
            self.judge_newcomers(server, index, &counting)?;
            self.apply(server, index, &counting)?;
            self.ledgers[server].counting = counting;
        }
        Ok(())
    }

    /// What is known of a node's disks, lost ones included.
    fn disks_of(&self, node: u64) -> impl Iterator<Item = &Ledger> {
        self.ledgers.iter().chain(&self.lost).filter(move |ledger| ledger.node == node)
    }

    /// Those that vote from now on hold the log, but for its last entries.
    fn judge_newcomers(&self, server: usize, index: u64, counting: &Counting) -> Verdict {
        let Ledger { log, applied, counting: before, .. } = &self.ledgers[server];
        let mut entries = log.range(applied + 1..index.max(*applied) + 1);
        let Some((at, _)) = entries.find(|(_, line)| line.configures) else { return Ok(()) };
        for node in counting.voters.iter().filter(|node| !before.votes(**node)) {
            let last = self.disks_of(*node).map(Ledger::last_index).max().unwrap_or(0);
            ensure!(
                has_caught_up(last, *at),
                Members,
                "{node:x} votes from entry {at} on, by server {server}; its log ends at {last}"
            );
        }
        Ok(())
    }

    /// `server` applied its log up to `index`: all servers apply the same.
    fn apply(&mut self, server: usize, index: u64, counting: &Counting) -> Verdict {
        self.judge_commit(server, index, counting)?;
        let ledger = &mut self.ledgers[server];
        ensure!(
            index >= ledger.applied,
            Durable,
            "server {server} had applied {} and now only {index}",
            ledger.applied
        );
        for (at, line) in ledger.log.range(ledger.applied + 1..index + 1) {
            let same = self.applied.entry(*at).or_insert_with(|| line.clone());
            ensure!(
                same == line,
                OneOrder,
                "server {server} applies {line:?} at {at}, where another applied {same:?}"
            );
        }
        ensure!(
            index <= ledger.last_index(),
            Durable,
            "server {server} stores that it applied {index}; its log ends at {}",
            ledger.last_index()
        );
        ledger.applied = index;
        Ok(())
    }

    /// Whether a majority is so of those that counted at some time since the state that `server` has stored,
    /// or, as it believes, do now. Nobody can tell from outside which of them counted when it looked.
    fn majority_since(&self, server: usize, now: &Counting, is_so: impl Fn(u64) -> bool) -> bool {
        let Ledger { applied, counting, .. } = &self.ledgers[server];
        let since = self.changes.since(*applied);
        let all = [now, counting].into_iter().chain(since);
        // A server that has stored nothing yet does not know who counts.
        let mut known = all.filter(|counting| !counting.voters.is_empty()).peekable();
        known.peek().is_none() || known.any(|counting| counting.commits(&is_so))
    }

    /// What a server applies for the first time anywhere, up to `index`, is held by a majority.
    fn judge_commit(&self, server: usize, index: u64, counting: &Counting) -> Verdict {
        let Ledger { log, applied, .. } = &self.ledgers[server];
        let new = log.range(applied + 1..index.max(*applied) + 1);
        for (at, line) in new.filter(|(at, _)| !self.applied.contains_key(at)) {
            let holds = |node: u64| self.disks_of(node).any(|ledger| ledger.has(*at, line));
            ensure!(
                self.majority_since(server, counting, holds),
                Durable,
                "server {server} applies entry {at}, which is not synced on a majority of {counting:x?}"
            );
        }
        Ok(())
    }

    /// `server` acknowledges `message`: a majority of those that count must hold it by now.
    pub fn acknowledges(&self, server: usize, message: &MessageKey, counting: &Counting) -> Verdict {
        let made_at = self.made_at.get(message).copied();
        let holds = |node: u64| self.disks_of(node).any(|ledger| ledger.holds(message, made_at));
        ensure!(
            self.majority_since(server, counting, holds),
            Durable,
            "server {server} acknowledges {message:?}, which is not synced on a majority of {counting:x?}"
        );
        Ok(())
    }

    pub fn leads(&mut self, server: usize, node: u64, term: u64, counting: &Counting) -> Verdict {
        ensure!(
            !self.doubtful.contains(&node),
            Amnesia,
            "server {server} leads term {term} on data that was lost (incarnation {node:x})"
        );
        self.still_counts(server, node, "leads")?;
        let own = self.ledgers[server].vote == (term, Some(node));
        let votes = |voter: u64| match voter == node {
            true => own,
            false => self.votes.get(&(voter, term)) == Some(&node),
        };
        ensure!(
            self.leaders.contains_key(&term) || counting.agree(votes),
            OneLeader,
            "server {server} leads term {term} without a majority of {counting:x?}"
        );
        self.claims(server, term)
    }

    /// A node that knows that it was removed does nothing of this.
    fn still_counts(&self, server: usize, node: u64, does: &str) -> Verdict {
        let counting = &self.ledgers[server].counting;
        ensure!(
            counting.voters.is_empty() || counting.has(node) || !self.changes.is_gone(node),
            Members,
            "server {server} {does} and knows that it counts no more (incarnation {node:x})"
        );
        Ok(())
    }

    pub fn ends_as_removed(&self, server: usize, node: u64, is_listed: bool) -> Verdict {
        ensure!(
            !is_listed || self.changes.is_gone(node),
            Members,
            "server {server} ends as removed (incarnation {node:x}), and was not"
        );
        Ok(())
    }

    /// `server` says that it leads in `term`.
    pub fn claims(&mut self, server: usize, term: u64) -> Verdict {
        let leader = *self.leaders.entry(term).or_insert(server);
        ensure!(leader == server, OneLeader, "servers {leader} and {server} both lead in term {term}");
        Ok(())
    }

    pub fn voted(&mut self, server: usize, node: u64, term: u64, candidate: u64) -> Verdict {
        ensure!(
            !self.doubtful.contains(&node),
            Amnesia,
            "server {server} votes in term {term} on data that was lost (incarnation {node:x})"
        );
        self.still_counts(server, node, "votes")?;
        let promised = *self.votes.entry((node, term)).or_insert(candidate);
        ensure!(
            promised == candidate,
            OneLeader,
            "server {server} votes for {candidate:x} in term {term}, after it voted for {promised:x}"
        );
        let (stored_term, stored) = self.ledgers[server].vote;
        ensure!(
            stored_term > term || (stored_term == term && stored == Some(candidate)),
            Durable,
            "server {server} says it votes for {candidate:x} in term {term}; synced is {stored:x?} in term {stored_term}"
        );
        Ok(())
    }

    pub fn holds(&mut self, server: usize, node: u64, index: u64) -> Verdict {
        ensure!(
            !self.doubtful.contains(&node),
            Amnesia,
            "server {server} acknowledges entries on data that was lost (incarnation {node:x})"
        );
        let last = self.ledgers[server].last_index();
        ensure!(
            index <= last,
            Durable,
            "server {server} says that it holds entry {index}; its synced log ends at {last}"
        );
        Ok(())
    }
}
