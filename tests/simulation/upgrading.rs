//! Upgrades: servers of an old program end for some reason, and are started again with one that knows newer
//! rules.

use syncnet::protocol::rules::{KnownRules, RulesVersion};

use crate::{
    checker::{Point, Verdict, Violation},
    cluster::Cluster,
};

/// What the old program knows, and the new one.
pub const OLD: KnownRules = KnownRules { oldest: RulesVersion(1), newest: RulesVersion(1) };
pub const NEW: KnownRules = KnownRules { oldest: RulesVersion(1), newest: RulesVersion(2) };

impl Cluster {
    /// A server is about to start: from the second time on with the new program.
    pub fn upgrade(&mut self, server: usize) {
        let host = &mut self.hosts[server];
        if self.scenario.upgrades && host.life > 0 && host.rules != NEW {
            host.rules = NEW;
            self.trace.say(self.now, || format!("{} is upgraded", server + 1));
        }
    }

    /// A server has ended with an error.
    pub fn judge_stop(&self, server: usize, reason: &str) -> Verdict {
        if reason.contains("of the rules") {
            return Err(Violation::new(Point::Alive, format!("server{} ends: {reason}", server + 1)));
        }
        Ok(())
    }

    /// At the end, when all servers run and are linked: the rules are the newest that all of them know.
    pub fn judge_upgrade(&mut self) -> Verdict {
        let running =
            || self.hosts.iter().filter_map(|host| Some((host.rules, &host.process.as_ref()?.replica)));
        let newest = running().map(|(rules, _)| rules.newest).min();
        for (_, replica) in running() {
            let rules = replica.state().rules();
            if Some(rules) != newest {
                let id = &replica.status(self.hosts[0].now(self.now)).server_id;
                let text =
                    format!("{id} applies entries by version {rules} of the rules, and all know {newest:?}");
                return Err(Violation::new(Point::Alive, text));
            }
        }
        self.tally.upgrades = u64::from(self.scenario.upgrades && newest == Some(NEW.newest));
        Ok(())
    }
}
