//! The cluster goes over to newer rules, because every server knows them.

use serde::{Deserialize, Serialize};

use super::super::{
    access::Context,
    effects::Effects,
    operation::{Checked, Operation},
    reply::Reply,
    rights::ClusterPermission,
    rows,
    state::State,
};
use crate::protocol::{name::UserName, refusal::Refusal, rules::RulesVersion};

/// From the next entry on, entries are applied by these rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaiseRules {
    pub to: RulesVersion,
}

impl Operation for RaiseRules {
    type Plan = ();

    fn permission(&self) -> ClusterPermission {
        ClusterPermission::RaiseRules
    }

    /// A program that does not know them must not go past this entry.
    fn rules(&self) -> RulesVersion {
        self.to
    }

    fn check(&self, state: &State, _: &Context<'_>) -> Result<Checked<()>, Refusal> {
        // Two leaders may have found it due.
        Ok(if self.to > state.rules { Checked::Change(()) } else { Checked::Unchanged(Reply::Nothing) })
    }

    fn apply(&self, (): (), state: &mut State, _: &UserName, effects: &mut Effects) -> Reply {
        state.rules = self.to;
        effects.rows.push(rows::rules(self.to));
        Reply::Nothing
    }
}

impl State {
    /// The rules by which entries are applied.
    pub fn rules(&self) -> RulesVersion {
        self.rules
    }
}
