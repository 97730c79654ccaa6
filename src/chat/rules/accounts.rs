//! Rules of accounts and sessions.

use super::{
    super::{
        State,
        account::{Account, BOTS_MAX, Holder},
        command::{Administer, Standing},
        hook::HOOKS_PER_ROOM,
        rights::{ClusterDeed, Deed, Office, Rank},
        user::{User, UserId},
    },
    Asking, Verdict, banned_from_cluster, reserved,
};
use crate::{
    planted::{Bug, planted},
    protocol::{
        credential::{TokenHash, Verifier, wrong_password},
        name::{RoomName, UserName},
        refusal::{Code, Refusal},
    },
};

impl State {
    pub(super) fn decide_register<'a>(
        &self,
        asking: &Asking<'_>,
        password: &'a Verifier,
        admin: bool,
    ) -> Result<Verdict<'a>, Refusal> {
        self.must_be_free(asking.user)?;
        if self.user(&asking.user.key()).is_some_and(|user| user.account.is_banned(asking.now_ms)) {
            return Err(banned_from_cluster(asking.user));
        }
        Ok(Verdict::Register { password, admin })
    }

    /// A name that was ever registered stays taken, whatever became of it.
    fn must_be_free(&self, name: &UserName) -> Result<(), Refusal> {
        match self.user(&name.key()) {
            Some(user) if user.account.is_registered() => {
                Err(Refusal::new(Code::NameTaken, format!("the name {} is taken", user.name)))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn decide_login(&self, asking: &Asking<'_>, password_rev: u64) -> Result<UserId, Refusal> {
        let (id, account) = self.check_password_rev(asking, password_rev)?;
        if account.is_banned(asking.now_ms) {
            return Err(banned_from_cluster(asking.user));
        }
        Ok(id)
    }

    /// What is done to the session by which somebody acts.
    pub(super) fn decide_session<'a>(
        &self,
        asking: &Asking<'_>,
        verdict: impl FnOnce(UserId, TokenHash) -> Verdict<'a>,
    ) -> Result<Verdict<'a>, Refusal> {
        match (asking.id, asking.standing) {
            (Some(user), Standing::Session(token)) => Ok(verdict(user, token)),
            _ => Err(Refusal::new(Code::Forbidden, reserved(ClusterDeed::KeepAccount, Office::Guest))),
        }
    }

    /// The account whose password was shown: the one that this entry set.
    pub(super) fn check_password_rev(
        &self,
        asking: &Asking<'_>,
        password_rev: u64,
    ) -> Result<(UserId, &Account), Refusal> {
        let id = asking.id.ok_or_else(wrong_password)?;
        let account = &self.users.get(&id).ok_or_else(wrong_password)?.account;
        let is_old = account.password_rev != password_rev && !planted(Bug::OldPasswordAccepted);
        // Whom no password opens, such as a bot, has none to show.
        match account.verifier().is_none() || is_old {
            true => Err(wrong_password()),
            false => Ok((id, account)),
        }
    }

    pub(super) fn decide_administer<'a>(
        &self,
        asking: &Asking<'_>,
        username: &'a UserName,
        what: &'a Administer,
    ) -> Result<Verdict<'a>, Refusal> {
        let user = self.user(&username.key());
        let has_account = user.is_some_and(|user| user.account.is_registered());
        let is_person = user.is_some_and(|user| user.account.verifier().is_some());
        let is_self = asking.standing != Standing::Operator && username.key() == asking.user.key();
        match what {
            // Anybody can be shut out, a guest's name and one that nobody has used yet included.
            Administer::Ban(_) if !is_self => {}
            Administer::Unban if user.is_some() => {}
            Administer::SetPassword(_) | Administer::SetAdmin(_) if is_person => {}
            Administer::Delete if has_account && !is_self => {}
            Administer::Ban(_) | Administer::Delete if is_self => {
                return Err(Refusal::new(Code::Forbidden, "let another administrator do this to you"));
            }
            _ => {
                return Err(Refusal::new(Code::NotFound, format!("there is no account {username}")));
            }
        }
        Ok(Verdict::Administer { username, what })
    }

    pub(super) fn decide_create_bot<'a>(
        &self,
        asking: &Asking<'_>,
        username: &'a UserName,
        token: TokenHash,
    ) -> Result<Verdict<'a>, Refusal> {
        self.may_name_bot(asking, username)?;
        Ok(Verdict::CreateBot { username, token })
    }

    /// Whether the asker may have a bot of this name: one that they have made, or a new one.
    fn may_name_bot(&self, asking: &Asking<'_>, username: &UserName) -> Result<(), Refusal> {
        let is_own = |user: &User| matches!(user.account.holder, Holder::Bot { made_by } if Some(made_by) == asking.id);
        if self.user(&username.key()).is_some_and(is_own) {
            return Ok(());
        }
        self.must_be_free(username)?;
        self.must_not_be_used(username)?;
        if self.users.values().filter(|user| is_own(user)).count() >= BOTS_MAX {
            let reason = format!("{} has made {BOTS_MAX} bots; no more are allowed", asking.user);
            return Err(Refusal::new(Code::Forbidden, reason));
        }
        Ok(())
    }

    /// Whoever makes a program's account must not take over what a guest of that name has.
    fn must_not_be_used(&self, name: &UserName) -> Result<(), Refusal> {
        match self.user(&name.key()) {
            Some(User { name, rooms, .. }) if !rooms.is_empty() => {
                Err(Refusal::new(Code::NameTaken, format!("the name {name} is in use by a guest")))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn decide_create_hook<'a>(
        &self,
        asking: &Asking<'_>,
        room: &RoomName,
        username: &'a UserName,
        token: TokenHash,
    ) -> Result<Verdict<'a>, Refusal> {
        let (room, found) = self.may(asking, Deed::Hook, room)?;
        self.may_name_bot(asking, username)?;
        // The bot becomes a member, which nobody does who is shut out.
        let bot = self.user_id(&username.key());
        if self.circumstances(found, bot, asking.now_ms).rank == Rank::Banned {
            let reason = format!("{username} is banned from {}; unban them first", found.name);
            return Err(Refusal::new(Code::Forbidden, reason));
        }
        if self.hooks.values().filter(|hook| hook.room == room).count() >= HOOKS_PER_ROOM {
            let reason = format!("{} has as many webhooks as a room may have", found.name);
            return Err(Refusal::new(Code::Forbidden, reason));
        }
        Ok(Verdict::CreateHook { room, username, token })
    }

    pub(super) fn decide_delete_hook<'a>(
        &self,
        asking: &Asking<'_>,
        room: &RoomName,
        token: TokenHash,
    ) -> Result<Verdict<'a>, Refusal> {
        let (room, found) = self.may(asking, Deed::Hook, room)?;
        match self.hooks.get(&token).is_some_and(|hook| hook.room == room) {
            true => Ok(Verdict::DeleteHook { room, token }),
            false => Err(Refusal::new(Code::NotFound, format!("{} has no such webhook", found.name))),
        }
    }
}
