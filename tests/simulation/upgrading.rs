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

    /// At the end: if all servers of the cluster run, the rules are the newest that all of them know.
    pub fn judge_upgrade(&mut self) -> Verdict {
        let members = self.members();
        if members.iter().any(|server| !self.is_running(*server)) {
            // One of them is broken, and is waited for.
            return Ok(());
        }
        let newest = members.iter().map(|server| self.hosts[*server].rules.newest).min();
        for server in members {
            let rules = self.process(server).replica.state().rules();
            if Some(rules) != newest {
                let text = format!(
                    "server{} applies entries by version {rules} of the rules, and all know {newest:?}",
                    server + 1
                );
                return Err(Violation::new(Point::Alive, text));
            }
        }
        self.tally.upgrades = u64::from(self.scenario.upgrades && newest == Some(NEW.newest));
        Ok(())
    }
}
