//! Nothing is done.

use serde::{Deserialize, Serialize};

use super::super::{
    access::Context,
    effects::Effects,
    operation::{Checked, Operation},
    reply::Reply,
    state::State,
};
use crate::protocol::{name::UserName, refusal::Refusal};

/// Takes the place of a proposal that timed out before it was ever passed on, or that the leader cannot read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nothing;

impl Operation for Nothing {
    type Plan = ();

    fn check(&self, _: &State, _: &Context<'_>) -> Result<Checked<()>, Refusal> {
        Ok(Checked::Unchanged(Reply::Nothing))
    }

    fn apply(&self, (): (), _: &mut State, _: &UserName, _: &mut Effects) -> Reply {
        Reply::Nothing
    }
}
