//! What the replica thread says of the replica: to the other threads, to the election, in the log.

use crate::{
    protocol::{
        rules::RulesVersion,
        status::{Cause, Role},
        text::counted,
    },
    replica::{Replica, io::Now},
    server::context::Context,
    storage::SqliteStorage,
};

/// How often the replica describes itself to the others, unless something important changes.
const DESCRIBE_MS: u64 = 50;

/// What was said last.
#[derive(Default)]
pub struct Description {
    described_ms: u64,
    /// The last term in which this server led, and whether it has ever known who leads.
    led_term: Option<u64>,
    has_seen_leader: bool,
    /// The rules by which entries were applied.
    rules: Option<RulesVersion>,
}

/// How much of it is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// The standing changed in a way that others should hear of at once.
    pub is_news: bool,
    /// The status was described anew.
    pub is_described: bool,
}

impl Description {
    /// A turn has ended.
    pub fn turned(&mut self, now: Now, context: &Context, replica: &Replica<SqliteStorage>) -> Due {
        let (shared, standing) = (&context.shared, replica.standing());
        let is_news = shared.turned(standing, replica.state().lamport(), replica.clients());
        let is_described = is_news || now.mono_ms >= self.described_ms + DESCRIBE_MS;
        if is_described {
            self.described_ms = now.mono_ms;
            shared.described(replica.status(now), replica.server_list());
        }
        self.note_rules(replica.state().rules());
        if is_news {
            self.note_election(context, replica);
            log_standing(replica);
        }
        Due { is_news, is_described }
    }

    /// Logs that other rules hold, which ends an upgrade.
    fn note_rules(&mut self, rules: RulesVersion) {
        if self.rules.replace(rules).is_some_and(|before| before != rules) {
            log::info!("all servers know version {rules} of the rules, and it holds from now on");
        }
    }

    /// Notes the terms in which this server leads, and why.
    fn note_election(&mut self, context: &Context, replica: &Replica<SqliteStorage>) {
        let consensus = &replica.node().consensus;
        let term = consensus.term();
        if replica.role() == Role::Leader && self.led_term < Some(term) {
            let cause = if self.has_seen_leader { consensus.cause() } else { Cause::Start };
            context.metrics.won_election(term, cause);
            self.led_term = Some(term);
        }
        self.has_seen_leader |= replica.leader().is_some();
    }
}

fn log_standing(replica: &Replica<SqliteStorage>) {
    let (role, term) = (replica.role().word(), replica.node().consensus.term());
    match replica.leader() {
        Some(leader) => log::info!("this server is {role} in term {term}; {leader} leads"),
        None => log::info!("this server is {role} in term {term}; no server leads yet"),
    }
}

/// Logs messages to peers that were dropped.
pub fn log_dropped(count: u64) {
    if count > 0 {
        log::warn!("dropped, as the queues to peers were full: {}", counted(count, "message"));
    }
}
