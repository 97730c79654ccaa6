//! What may be proposed at all: room in the queue, and limits that each server checks by the state it has.

use crate::{
    chat::{Command, Proposal, command, must_not_be_reserved},
    protocol::{
        name::UserName,
        refusal::{Code, Refusal},
        text::counted,
    },
};

use super::env::Env;

/// When to come back after a request that was refused because too much waits.
pub(super) const SHED_RETRY_MS: u64 = 100;

/// Whether there is room for a proposal.
pub(super) fn may_propose(env: &Env<'_>) -> Result<(), Refusal> {
    if env.proposals.is_full(env.config.limits.pending_proposals) {
        let reason = "too much waits for its commit; nothing was proposed";
        return Err(Refusal::new(Code::Overloaded, reason).retry_after(SHED_RETRY_MS));
    }
    Ok(())
}

/// Checks how much one user may have, by the state of this server. These limits are settings, which may
/// differ between servers for a while, so they are checked before the log and not by the rules.
pub(super) fn within_limits_of_state(env: &Env<'_>, proposal: &Proposal) -> Result<(), Refusal> {
    let Proposal { user, command, .. } = proposal;
    let limits = &env.config.limits;
    let creates = command.operation().creates(user);
    if creates.is_some_and(|room| proposal.room.is_none() && env.state.room(&room.key()).is_none())
        && env.state.rooms_created(&user.key()) >= limits.rooms_per_user as u64
    {
        let reason = format!(
            "you have created {}; no more are allowed",
            counted(limits.rooms_per_user as u64, "room")
        );
        return Err(Refusal::new(Code::Forbidden, reason));
    }
    if let Command::FileBegin(command::FileBegin { file, .. }) = command {
        let used = env.state.user(&user.key()).map_or(0, |user| user.file_bytes);
        if file.size <= limits.file_bytes && used.saturating_add(file.size) > limits.file_bytes_per_user {
            let reason = format!(
                "your files have {}; {} are allowed in all, so delete some first",
                counted(used, "byte"),
                limits.file_bytes_per_user
            );
            return Err(Refusal::new(Code::TooLarge, reason));
        }
    }
    Ok(())
}

/// Whether a user may have this name, apart from who has it already. The log checks this, too, but a
/// guest's login is not in the log, and only servers know the servers' ids.
pub(super) fn may_be_called(env: &Env<'_>, user: &UserName) -> Result<(), Refusal> {
    must_not_be_reserved(user)?;
    let mut servers = env.config.servers.iter();
    if servers.any(|server| server.server_id.as_str().eq_ignore_ascii_case(user.as_str())) {
        let reason = format!("username: {user} is a server's id; choose another name");
        return Err(Refusal::bad_request(reason));
    }
    Ok(())
}
