//! The leader lets the cluster go over to newer rules once every server knows them.

use crate::{
    chat::{Proposal, command::RaiseRules},
    disk::Storage,
    protocol::rules::RulesVersion,
};

use super::{io::Now, replica::Replica};

impl<S: Storage> Replica<S> {
    /// Proposes the newest rules that all servers know, if they are newer than those of the cluster and this
    /// server leads.
    pub(super) fn raise_rules(&mut self, now: Now) {
        let is_proposed = self.raising.is_some_and(|seq| self.proposals.waits_for(seq));
        let Some(to) = self.next_rules().filter(|_| self.may_propose() && !is_proposed) else { return };
        let proposal = Proposal::of_cluster(RaiseRules { to });
        self.raising = Some(self.proposals.push_own(now.mono_ms, &proposal));
    }

    fn next_rules(&self) -> Option<RulesVersion> {
        // While none are newer, nothing is looked up.
        let rules = self.state.rules();
        if self.config.rules.newest <= rules {
            return None;
        }
        self.node.common_rules().filter(|common| *common > rules)
    }
}
