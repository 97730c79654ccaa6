//! What the programs of the servers know: during an upgrade they are of two versions.

use super::Node;
use crate::{
    disk::Storage,
    protocol::{
        name::ServerId,
        rules::{KnownRules, RulesVersion},
    },
};

impl<S: Storage> Node<S> {
    /// The newest rules that all servers of the cluster know; `None` if one of them is not linked. Those that
    /// do not vote count as well: they apply the log, too.
    pub fn common_rules(&self) -> Option<RulesVersion> {
        let theirs = self.others().map(|server| Some(self.rules_of(&server.server_id)?.newest));
        theirs.chain([Some(self.config.rules.newest)]).min().flatten()
    }

    /// The servers whose program is not known to know the newest rules of this one: older ones, and those
    /// that are away.
    pub fn without_newest_rules(&self) -> Vec<&str> {
        let newest = self.config.rules.newest;
        let knows = |server: &ServerId| self.rules_of(server).is_some_and(|rules| rules.newest >= newest);
        self.others().filter(|other| !knows(&other.server_id)).map(|other| other.server_id.as_str()).collect()
    }

    /// A linked server whose program knows newer rules than this one.
    pub fn newer_program(&self) -> Option<&ServerId> {
        let newest = self.config.rules.newest;
        let mut known = self.links.iter().filter_map(|(peer, link)| Some((peer, link.rules?)));
        known.find_map(|(peer, rules)| (rules.newest > newest).then_some(peer))
    }

    fn rules_of(&self, peer: &ServerId) -> Option<KnownRules> {
        self.links.get(peer)?.rules
    }
}
