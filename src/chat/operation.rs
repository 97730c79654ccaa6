//! What every operation has: who may do it, what it checks and what it changes.

use super::{
    access::Context, effects::Effects, entities::audit::Audited, reply::Reply, rights::ClusterPermission,
    secret::Made, state::State,
};
use crate::protocol::{
    name::{RoomName, UserName},
    refusal::Refusal,
    rules::RulesVersion,
};

/// A change of the state by a user, a program, an operator or the cluster itself.
pub trait Operation {
    /// What the change needs to know from the check.
    type Plan
    where
        Self: Sized;

    /// The permission that it needs in the cluster; the check looks at those in the room.
    fn permission(&self) -> ClusterPermission {
        ClusterPermission::UseRooms
    }

    /// The oldest rules that know it. Until the cluster has come to them it is refused, to be asked again.
    fn rules(&self) -> RulesVersion {
        RulesVersion::FIRST
    }

    /// The event of a room's history that it is about.
    fn target(&self) -> Option<(&RoomName, u64)> {
        None
    }

    /// The users, beside the one who asks, that it adds if the state does not know them yet.
    fn names(&self) -> Vec<UserName> {
        Vec::new()
    }

    /// The room that it creates if there is none of this name, for `user`.
    fn creates(&self, _user: &UserName) -> Option<RoomName> {
        None
    }

    /// The bot that it makes an account for. Accounts are counted by address.
    fn makes_bot(&self) -> Option<&UserName> {
        None
    }

    /// Takes what was made or checked for it: what its draft named as [`Secret`](super::secret::Secret).
    fn complete(&mut self, _made: Made) {}

    /// Whether the addresses from which an account was used are trusted no more: it has another password, or
    /// may not be used. (A user who only logs out keeps what protects them from being locked out.)
    fn ends_trust(&self) -> bool {
        false
    }

    /// The entry of the audit log if it changes something; `None` if it needs no rights over others.
    fn audited(&self, _state: &State, _context: &Context<'_>) -> Option<Audited> {
        None
    }

    /// Whether it is allowed, and the plan for the change. The permission in the cluster has been checked
    /// before.
    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<Self::Plan>, Refusal>
    where
        Self: Sized;

    /// Changes the state as planned.
    fn apply(&self, plan: Self::Plan, state: &mut State, user: &UserName, effects: &mut Effects) -> Reply
    where
        Self: Sized;
}

/// The result of a check that allows the operation.
#[derive(Debug, Clone, PartialEq)]
pub enum Checked<P> {
    Change(P),
    /// Nothing to do: it is so already, or not to be done any more. This is the answer.
    Unchanged(Reply),
}

impl<P> Checked<P> {
    /// It is so already; the answer names an event of the room.
    pub(super) fn already(room: &RoomName, seq: u64) -> Self {
        Checked::Unchanged(Reply::Placed { room: room.clone(), seq, duplicate: true })
    }
}
