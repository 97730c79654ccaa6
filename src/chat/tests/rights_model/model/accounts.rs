//! Accounts, their sessions and their programs.

use super::{Kind, Model, Outcome};
use crate::{
    chat::{
        Authority, Command,
        command::{ClusterBan, ClusterUnban, DeleteAccount, SetAdmin, SetPassword},
    },
    protocol::{
        credential::TokenHash,
        refusal::Code::{self, BadCredentials, Forbidden, NameTaken, NotFound},
    },
};

impl Model {
    pub(super) fn register(&mut self, user: &str, authority: Authority, admin: bool) -> Outcome {
        if admin && authority != Authority::Operator {
            return Err(Forbidden);
        }
        if self.is_kind(user, |kind| *kind != Kind::Guest) {
            return Err(NameTaken);
        }
        if self.is_shut_out(user) {
            return Err(Forbidden);
        }
        let rev = self.index;
        let banned = self.user(user).banned;
        let known = self.user(user);
        (known.kind, known.admin, known.banned) = (Kind::Person { rev }, admin, banned);
        Ok(format!("account {user}"))
    }

    pub(super) fn log_in_as_guest(&mut self, user: &str) -> Outcome {
        if self.is_kind(user, |kind| *kind != Kind::Guest) {
            return Err(NameTaken);
        }
        if self.is_shut_out(user) {
            return Err(Forbidden);
        }
        self.user(user);
        Ok(format!("account {user}"))
    }

    pub(super) fn log_in(&mut self, user: &str, rev: u64, token: TokenHash, expires_ms: u64) -> Outcome {
        self.check_rev(user, rev)?;
        if self.is_shut_out(user) {
            return Err(Forbidden);
        }
        self.tokens.insert(token, (user.into(), Some(expires_ms)));
        Ok(format!("account {user}"))
    }

    pub(super) fn check_rev(&self, user: &str, rev: u64) -> Result<(), Code> {
        let is_right = self.is_kind(user, |kind| *kind == Kind::Person { rev });
        if is_right { Ok(()) } else { Err(BadCredentials) }
    }

    pub(super) fn must_be_unused(&self, name: &str) -> Result<(), Code> {
        let in_rooms = self.rooms.values().any(|room| room.members.contains_key(name));
        let is_taken = self.is_kind(name, |kind| *kind != Kind::Guest) || in_rooms;
        if is_taken { Err(NameTaken) } else { Ok(()) }
    }

    /// `by` is the administrator, who may do some things only to others; `None` for an operator.
    pub(super) fn administer(&mut self, command: &Command, by: Option<&str>) -> Outcome {
        let (Command::SetAdmin(SetAdmin { username, .. })
        | Command::SetPassword(SetPassword { username, .. })
        | Command::ClusterBan(ClusterBan { username, .. })
        | Command::ClusterUnban(ClusterUnban { username })
        | Command::DeleteAccount(DeleteAccount { username })) = command
        else {
            panic!("{command:?} is dealt with elsewhere")
        };
        let name = username.as_str();
        let is_person = self.is_kind(name, |kind| matches!(kind, Kind::Person { .. }));
        let is_registered = self.is_kind(name, |kind| *kind != Kind::Guest);
        match command {
            Command::ClusterBan(_) | Command::DeleteAccount(_) if by == Some(name) => return Err(Forbidden),
            Command::DeleteAccount(_) if !is_registered => return Err(NotFound),
            Command::SetAdmin(_) | Command::SetPassword(_) if !is_person => return Err(NotFound),
            Command::ClusterUnban(_) if !self.users.contains_key(name) => return Err(NotFound),
            _ => {}
        }
        let (index, now) = (self.index, self.now);
        let user = self.user(name);
        match command {
            Command::SetAdmin(SetAdmin { admin, .. }) => user.admin = *admin,
            Command::SetPassword(_) => {
                user.kind = Kind::Person { rev: index };
                self.tokens.retain(|_, (whose, _)| whose != name);
            }
            Command::ClusterBan(ClusterBan { seconds, .. }) => {
                user.banned = Some(seconds.map(|s| now + u64::from(s) * 1000));
                let programs = self.end_hooks(name);
                self.tokens.retain(|_, (whose, _)| whose != name && !programs.contains(whose));
            }
            Command::ClusterUnban(_) => user.banned = None,
            _ => self.close(name),
        }
        Ok(format!("account {name}"))
    }

    /// The programs of a user, and their programs, lose their webhooks.
    pub(super) fn end_hooks(&mut self, name: &str) -> Vec<String> {
        let mut theirs: Vec<String> = vec![name.into()];
        let mut before = 0;
        while before < theirs.len() {
            before = theirs.len();
            for user in &self.user_order {
                let is_made = |kind: &Kind| matches!(kind, Kind::Bot { made_by } if theirs.contains(made_by));
                if self.is_kind(user, is_made) && !theirs.contains(user) {
                    theirs.push(user.clone());
                }
            }
        }
        self.hooks.retain(|_, hook| !theirs.contains(&hook.bot) && !theirs.contains(&hook.made_by));
        let is_program = |user: &&String| *user != name && theirs.contains(*user);
        self.user_order.iter().filter(is_program).cloned().collect()
    }

    pub(super) fn close(&mut self, name: &str) {
        for program in self.end_hooks(name) {
            self.close_one(&program);
        }
        self.close_one(name);
    }

    pub(super) fn close_one(&mut self, name: &str) {
        for room in self.room_order.clone() {
            if self.rooms[&room].pair.is_none() && self.rooms[&room].members.contains_key(name) {
                self.leave(name, &room);
            }
        }
        self.tokens.retain(|_, (whose, _)| whose != name);
        let known = self.user(name);
        (known.kind, known.admin, known.banned) = (Kind::Closed, false, None);
    }
}
