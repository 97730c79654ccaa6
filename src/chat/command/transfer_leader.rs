//! An operator lets one server lead for a while.

use serde::{Deserialize, Serialize};

use super::super::{
    access::Context,
    draft::{Asked, Draft, Write},
    effects::Effects,
    entities::audit::Audited,
    entities::lead::Lead,
    operation::{Checked, Operation},
    reply::Reply,
    rights::ClusterPermission,
    rows,
    state::State,
};
use crate::protocol::{
    audit::Action,
    name::{ServerId, UserName},
    refusal::Refusal,
    request::{self, LEADS_S},
};

/// See [`request::TransferLeader`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferLeader {
    pub server_id: Option<ServerId>,
    pub seconds: u32,
}

impl Write for request::TransferLeader {
    type Becomes = TransferLeader;

    fn needs(&self) -> ClusterPermission {
        ClusterPermission::Operate
    }

    fn draft(self, _: &Asked<'_>) -> Result<Draft<Self::Becomes>, Refusal> {
        let request::TransferLeader { server_id, seconds } = self;
        Ok(TransferLeader { server_id, seconds: seconds.map_or(LEADS_S, u32::from) }.into())
    }
}

impl Operation for TransferLeader {
    /// What stands from now on.
    type Plan = Option<Lead>;

    fn permission(&self) -> ClusterPermission {
        ClusterPermission::Operate
    }

    fn audited(&self, _: &State, _: &Context<'_>) -> Option<Audited> {
        let detail = match &self.server_id {
            Some(server_id) => format!("{server_id} for {} s", self.seconds),
            None => "the ring decides".into(),
        };
        Some(Audited::of(Action::TransferLeader).with(detail))
    }

    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<Option<Lead>>, Refusal> {
        let until_ms = context.now_ms.saturating_add(u64::from(self.seconds) * 1_000);
        let lead = self.server_id.clone().map(|server_id| Lead { server_id, until_ms });
        if lead.is_none() && state.lead.is_none() {
            return Ok(Checked::Unchanged(Reply::Done));
        }
        Ok(Checked::Change(lead))
    }

    fn apply(&self, lead: Option<Lead>, state: &mut State, _: &UserName, effects: &mut Effects) -> Reply {
        effects.rows.push(rows::lead(lead.as_ref()));
        state.lead = lead;
        Reply::Done
    }
}

impl State {
    /// The server that leads at `now_ms` by an operator's word, and until when.
    pub fn lead(&self, now_ms: u64) -> Option<&Lead> {
        self.lead.as_ref().filter(|lead| now_ms < lead.until_ms)
    }
}
