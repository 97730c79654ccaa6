//! The machines of servers that come and go: how they are configured, started, broken and repaired.

use std::collections::BTreeSet;

use syncnet::config::ReplicaConfig;

use crate::{
    checker::{Ledger, Verdict},
    cluster::{ClientEvent, Cluster, Event},
    host::{entry, server_id},
    operator::{LATE_US, Operator, SERVERS_MIN, Wish},
    queue::{MS, Micros, SECOND},
    scenario::SAFETY_US,
};

/// For how long a server may be unable to find any other before the operator helps it.
const STRANDED_US: Micros = 3 * SECOND;

/// What a machine is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// It has or had a server of the cluster.
    Serves,
    /// Nothing, or a server that is to join.
    Spare,
    /// It broke and is not repaired.
    Broken,
    /// Its server was removed and has heard so, or was not there to hear it. What it holds is old.
    Gone,
}

impl Cluster {
    /// The configuration with which a server starts. The operator keeps it true: it names some server that is
    /// there.
    pub fn configuration(&mut self, server: usize) -> ReplicaConfig {
        let mut config = self.config(server);
        let Some(operator) = &self.operator else { return config };
        let present: Vec<usize> = operator.members().into_iter().filter(|other| *other != server).collect();
        let host = &mut self.hosts[server];
        if operator.directory.version > 0 && !host.named.iter().any(|other| present.contains(other)) {
            host.named = present;
            host.joins = true;
        }
        let entries = host.named.iter().chain([&server]).map(|number| entry(&self.scenario, *number));
        config.servers = host.kept.take().unwrap_or_else(|| entries.collect());
        config.joins = host.joins;
        config
    }

    /// A server was told that it is removed, and has ended.
    pub fn was_removed(&mut self, server: usize) -> Verdict {
        self.tally.removed += 1;
        self.hosts[server].is_wanted = false;
        let Some(operator) = &mut self.operator else { return Ok(()) };
        let node = self.hosts[server].disk.borrow().known.node_id.map_or(0, |node| node.0);
        self.checker.ends_as_removed(server, node, operator.has(server))?;
        operator.uses[server] = Use::Gone;
        if operator.random.chance(0.5) {
            let at = self.now + operator.random.between_magnitudes(300, 8_000) * MS;
            self.queue.schedule(at, Event::Client(ClientEvent::StartsGone { server }));
        }
        Ok(())
    }

    /// A machine whose server is gone is started once more with what it holds.
    pub fn start_gone(&mut self, server: usize) -> Verdict {
        let is_gone = self.operator.as_ref().is_some_and(|operator| operator.uses[server] == Use::Gone);
        if !is_gone || self.is_running(server) || self.now > SAFETY_US + LATE_US {
            return Ok(());
        }
        self.trace.say(self.now, || format!("*** {} starts though it was removed", server + 1));
        self.hosts[server].is_wanted = true;
        self.start(server)
    }

    /// Prepares the machine that is to come. It starts before the command, after it, or not at all.
    pub fn prepare(&mut self, operator: &mut Operator, wish: Wish) {
        let Some(machine) = wish.comes().filter(|machine| !self.is_running(*machine)) else { return };
        if self.hosts[machine].disk.borrow().known.node_id.is_some() {
            self.checker.lost(machine, Ledger::default());
        }
        self.hosts[machine].disk.borrow_mut().wipe();
        let mut named = operator.members();
        named.retain(|_| operator.random.chance(0.6));
        let host = &mut self.hosts[machine];
        (host.named, host.joins, host.kept) = (named, true, None);
        host.is_wanted = operator.random.chance(0.9);
        if host.is_wanted {
            let after = if operator.random.chance(0.3) { 0 } else { operator.random.below(4_000) * MS };
            self.queue.schedule(self.now + after, Event::Start { server: machine });
        }
        operator.uses[machine] = Use::Spare;
    }

    /// The servers of the cluster that know none of those that are there now, and have not for a while: they
    /// were away while all others were replaced.
    pub fn stranded(&mut self, operator: &mut Operator) -> Vec<usize> {
        let members = operator.members();
        let is_lost = |server: &usize| {
            let Some(process) = &self.hosts[*server].process else { return false };
            let known = process.replica.servers();
            let mut others = members.iter().filter(|other| *other != server);
            self.is_moving(*server)
                && members.len() > 1
                && others.all(|other| known.entry(&server_id(*other)).is_none())
        };
        let lost: BTreeSet<usize> = members.iter().copied().filter(is_lost).collect();
        operator.stranded_since.retain(|server, _| lost.contains(server));
        for server in lost {
            operator.stranded_since.entry(server).or_insert(self.now);
        }
        let since = operator.stranded_since.iter().filter(|(_, since)| self.now >= **since + STRANDED_US);
        since.map(|(server, _)| *server).collect()
    }

    /// The operator helps a stranded server: with another configuration, or with an empty folder if it knows
    /// servers from its log.
    pub fn help(&mut self, server: usize) -> Verdict {
        let knows_by_log =
            self.hosts[server].process.as_ref().is_some_and(|process| process.replica.servers().version > 0);
        if knows_by_log && !self.others_are_whole(server) {
            return Ok(());
        }
        self.trace.say(self.now, || format!("*** {} finds nobody, and is helped", server + 1));
        self.kill(server, true);
        if knows_by_log {
            self.tally.stranded += 1;
            self.set_aside(server);
        }
        self.queue.schedule(self.now + 100 * MS, Event::Start { server });
        Ok(())
    }

    /// A machine breaks for good, if the cluster can do without it.
    pub fn break_for_good(&mut self, server: usize, is_told: bool) {
        let Some(operator) = &mut self.operator else { return };
        if operator.voting() <= SERVERS_MIN || !operator.has(server) {
            return;
        }
        operator.uses[server] = Use::Broken;
        // It does not wait long.
        operator.next_at = operator.next_at.min(self.now + 2 * SECOND);
        self.trace.say(self.now, || format!("*** {} is broken for good", server + 1));
        self.hosts[server].is_wanted = false;
        self.kill(server, is_told);
    }

    /// Broken machines are repaired at the end, with what they hold. Those that wait to be added may wait.
    pub fn repair(&mut self) {
        let Some(operator) = &mut self.operator else { return };
        for machine in 0..operator.uses.len() {
            let is_member = operator.has(machine);
            if is_member && operator.uses[machine] == Use::Broken {
                operator.uses[machine] = Use::Serves;
                self.hosts[machine].is_wanted = true;
            }
            // It was away when it was removed.
            if !is_member && operator.uses[machine] == Use::Broken {
                operator.uses[machine] = Use::Gone;
                let at = self.now + 500 * MS;
                self.queue.schedule(at, Event::Client(ClientEvent::StartsGone { server: machine }));
            }
        }
    }
}
