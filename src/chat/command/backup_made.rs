//! An operator has made a backup.

use super::super::{
    access::Context,
    effects::Effects,
    entities::audit::Audited,
    operation::{Checked, Operation},
    reply::Reply,
    rights::ClusterPermission,
    rows,
    state::State,
};
use crate::protocol::{audit::Action, name::UserName, refusal::Refusal};

pub use crate::protocol::request::BackupMade;

impl Operation for BackupMade {
    /// When, milliseconds since the Unix epoch.
    type Plan = u64;

    fn permission(&self) -> ClusterPermission {
        ClusterPermission::Operate
    }

    fn audited(&self, _: &State, _: &Context<'_>) -> Option<Audited> {
        Some(Audited::of(Action::BackupMade))
    }

    fn check(&self, _: &State, context: &Context<'_>) -> Result<Checked<u64>, Refusal> {
        Ok(Checked::Change(context.now_ms))
    }

    fn apply(&self, now_ms: u64, state: &mut State, _: &UserName, effects: &mut Effects) -> Reply {
        state.last_backup_ms = Some(now_ms);
        effects.rows.push(rows::last_backup(now_ms));
        Reply::Done
    }
}

impl State {
    /// When an operator's tool last wrote a backup and found it whole, milliseconds since the Unix epoch.
    pub fn last_backup_ms(&self) -> Option<u64> {
        self.last_backup_ms
    }
}
