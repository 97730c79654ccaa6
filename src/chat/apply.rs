//! Applies an entry of the log to the state, or refuses it.

use super::{
    access::Context,
    authority::Authority,
    command::{Command, Nothing},
    dirty::DirtyRow,
    effects::Effects,
    entities::origin::Origin,
    entry::{Entry, Proposal},
    evidence::Evidence,
    reply::Reply,
    state::State,
};
use crate::{
    disk::RoomId,
    protocol::refusal::{Code, Refusal},
};

/// When to ask again for what only newer rules know. An upgrade takes an operator minutes.
const UPGRADE_RETRY_MS: u64 = 10_000;

/// The result of an entry.
#[derive(Debug, Clone)]
pub struct Applied {
    /// The proposal that the entry came from.
    pub origin: Origin,
    /// The answer; `None` if the entry was skipped, because its origin's count says that it is a repeat or
    /// comes too early. A skipped entry leaves no trace at all.
    pub outcome: Option<Result<Reply, Refusal>>,
    pub effects: Effects,
}

impl State {
    /// Applies the entry at `index` of the log, given the events that its command is about
    /// ([`State::target_of`]). Entries come in the order of the log, each once.
    pub fn apply(&mut self, index: u64, entry: &Entry, evidence: &Evidence) -> Applied {
        let Entry { origin, created_at_ms, proposal } = entry;
        let mut effects = Effects::of(index, *created_at_ms);
        let outcome = self.origins.accept(*origin).then(|| {
            effects.dirty.push(DirtyRow::Origin(origin.node_id));
            let clock_before = self.clock;
            let reply = self.carry_out(&mut effects, proposal, evidence)?;
            if self.clock != clock_before {
                effects.dirty.push(DirtyRow::Clock);
            }
            Ok(reply)
        });
        Applied { origin: *origin, outcome, effects }
    }

    fn carry_out(
        &mut self,
        effects: &mut Effects,
        proposal: &Proposal,
        evidence: &Evidence,
    ) -> Result<Reply, Refusal> {
        let Some(context) = self.admit(effects.created_at_ms, proposal, evidence)? else {
            return Ok(Reply::Nothing);
        };
        let reply = proposal.command.run(self, &context, proposal.lamport_timestamp, effects)?;
        if matches!(proposal.authority, Authority::Guest | Authority::Session(_))
            && let Some(id) = self.user_id(&proposal.user.key())
        {
            self.name_is_used(effects, id);
        }
        Ok(reply)
    }

    /// Whether the proposal would be allowed at `now_ms`, by the same checks that [`State::apply`] makes
    /// later. The server may refuse early on it if nothing of the user waits for its commit; a waiting
    /// command may change the answer.
    pub fn check(&self, now_ms: u64, proposal: &Proposal, evidence: &Evidence) -> Result<(), Refusal> {
        match self.admit(now_ms, proposal, evidence)? {
            Some(context) => proposal.command.check(self, &context),
            None => Ok(()),
        }
    }

    /// Checks that are the same for every command, before its own. `None` for
    /// [`Nothing`]: it took the place of a proposal that timed out, and claims
    /// nothing that could be checked.
    fn admit<'a>(
        &self,
        now_ms: u64,
        proposal: &'a Proposal,
        evidence: &'a Evidence,
    ) -> Result<Option<Context<'a>>, Refusal> {
        let Proposal { user, authority, lamport_timestamp, command, room } = proposal;
        if *command == Command::Nothing(Nothing) {
            return Ok(None);
        }
        self.knows(command)?;
        self.clock.check(*lamport_timestamp)?;
        let id = self.user_id(&user.key());
        let context = Context { user, id, authority: *authority, room: *room, now_ms, evidence };
        self.may_in_cluster(&context, command.operation().permission())?;
        Ok(Some(context))
    }

    /// Whether the rules of the cluster know the command.
    fn knows(&self, command: &Command) -> Result<(), Refusal> {
        let needed = command.operation().rules();
        // The command that brings newer rules is the one that they do not know.
        if needed <= self.rules() || matches!(command, Command::RaiseRules(_)) {
            return Ok(());
        }
        let reason =
            "some servers still run an older version of the program; this works once all are upgraded";
        Err(Refusal::new(Code::Unavailable, reason).retry_after(UPGRADE_RETRY_MS))
    }

    /// The event that has to be looked up before the proposal can be checked.
    pub fn target_of(&self, proposal: &Proposal) -> Option<(RoomId, u64)> {
        let (name, seq) = proposal.command.operation().target()?;
        let (room, _) = self.room_meant(proposal.room, name)?;
        Some((room, seq))
    }
}
