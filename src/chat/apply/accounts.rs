//! Accounts and sessions.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    super::{
        State,
        account::{self, Account, Holder, SESSIONS_MAX, Session, Until},
        command::Administer,
        hook::Hook,
        room::Role,
        rows,
        user::UserId,
    },
    Ended, Reply, Turn, Which,
};
use crate::{
    protocol::{
        credential::{TokenHash, Verifier},
        name::UserName,
    },
    replica::storage::RoomId,
};

impl State {
    pub(super) fn register(
        &mut self,
        turn: &mut Turn,
        user: &UserName,
        password: &Verifier,
        admin: bool,
    ) -> Reply {
        let id = self.user_or_new(turn, user);
        let account = &mut self.user_mut(id).account;
        account.holder = Holder::Person(Box::new(password.clone()));
        account.password_rev = turn.index;
        account.admin = admin;
        self.account_changed(turn, id);
        self.end(turn, id, Which::Guests, "the name has been registered");
        self.account_reply(id)
    }

    pub(super) fn log_in(
        &mut self,
        turn: &mut Turn,
        id: UserId,
        token: TokenHash,
        expires_ms: u64,
        rehashed: Option<&Verifier>,
    ) -> Reply {
        if let Some(rehashed) = rehashed {
            // The same password: whoever has just checked it against the old one is not turned away.
            self.user_mut(id).account.holder = Holder::Person(Box::new(rehashed.clone()));
            self.account_changed(turn, id);
        }
        let sessions = &self.user_mut(id).sessions;
        if sessions.len() >= SESSIONS_MAX
            && let Some(oldest) = account::oldest(sessions)
        {
            self.end(turn, id, Which::One(oldest), "there were too many sessions of this account");
        }
        let session = Session { used_ms: turn.created_at_ms, expires_ms: Some(expires_ms) };
        self.begin_session(turn, id, token, session);
        self.account_reply(id)
    }

    fn begin_session(&mut self, turn: &mut Turn, id: UserId, token: TokenHash, session: Session) {
        turn.effects.rows.push(rows::session(id, token, Some(&session)));
        self.user_mut(id).sessions.insert(token, session);
        self.tokens.insert(token, id);
    }

    pub(super) fn touch(&mut self, turn: &mut Turn, id: UserId, token: TokenHash) -> Reply {
        if let Some(session) = self.user_mut(id).sessions.get_mut(&token) {
            session.used_ms = session.used_ms.max(turn.created_at_ms);
            turn.effects.rows.push(rows::session(id, token, Some(session)));
        }
        self.account_reply(id)
    }

    pub(super) fn log_out(
        &mut self,
        turn: &mut Turn,
        id: UserId,
        token: TokenHash,
        everywhere: bool,
    ) -> Reply {
        let which = if everywhere { Which::All } else { Which::One(token) };
        self.end(turn, id, which, "logged out");
        self.account_reply(id)
    }

    /// `but` is the session that goes on.
    pub(super) fn change_password(
        &mut self,
        turn: &mut Turn,
        id: UserId,
        password: &Verifier,
        but: Option<TokenHash>,
    ) -> Reply {
        let account = &mut self.user_mut(id).account;
        account.holder = Holder::Person(Box::new(password.clone()));
        account.password_rev = turn.index;
        self.account_changed(turn, id);
        self.end(turn, id, but.map_or(Which::All, Which::AllBut), "the password was changed");
        self.account_reply(id)
    }

    /// The name stays with what it has said, and nobody has it any more. Its programs go with it.
    pub(super) fn close_account(&mut self, turn: &mut Turn, id: UserId) -> Reply {
        for program in self.end_hooks(turn, id) {
            self.close(turn, program);
        }
        self.close(turn, id);
        self.account_reply(id)
    }

    fn close(&mut self, turn: &mut Turn, id: UserId) {
        let rooms: Vec<RoomId> = self.user_mut(id).rooms.keys().copied().collect();
        for room in rooms {
            // From a direct conversation nobody goes; the other one keeps it.
            if self.room_mut(room).name.direct_pair().is_none() {
                self.leave(turn, id, room);
            }
        }
        let user = self.user_mut(id);
        user.account = Account { holder: Holder::Closed, ..Account::default() };
        self.account_changed(turn, id);
        self.end(turn, id, Which::All, "the account was closed");
    }

    /// Ends the webhooks that post for a user or for one of their programs, and those that they have made. Gives
    /// their programs: what they have made, and what that has made.
    fn end_hooks(&mut self, turn: &mut Turn, id: UserId) -> BTreeSet<UserId> {
        let mut made: BTreeMap<UserId, Vec<UserId>> = BTreeMap::new();
        for (program, user) in &self.users {
            if let Holder::Bot { made_by } = user.account.holder {
                made.entry(made_by).or_default().push(*program);
            }
        }
        let mut programs = BTreeSet::new();
        let mut makers = vec![id];
        while let Some(maker) = makers.pop() {
            makers.extend(
                made.remove(&maker).unwrap_or_default().into_iter().filter(|it| programs.insert(*it)),
            );
        }
        let is_theirs = |user: &UserId| *user == id || programs.contains(user);
        self.hooks.retain(|token, hook| {
            let goes = is_theirs(&hook.user) || is_theirs(&hook.made_by);
            if goes {
                turn.effects.rows.push(rows::hook(*token, None));
            }
            !goes
        });
        programs
    }

    pub(super) fn administer(&mut self, turn: &mut Turn, username: &UserName, what: &Administer) -> Reply {
        let id = self.user_or_new(turn, username);
        match what {
            Administer::SetAdmin(admin) => {
                self.user_mut(id).account.admin = *admin;
                self.account_changed(turn, id);
            }
            Administer::SetPassword(password) => {
                self.change_password(turn, id, password, None);
            }
            Administer::Ban(seconds) => {
                let until = Until::after(turn.created_at_ms, *seconds);
                self.user_mut(id).account.banned = Some(until);
                self.account_changed(turn, id);
                self.end(turn, id, Which::All, "banned from this cluster");
                // Whoever is let in again gives their programs new tokens.
                for program in self.end_hooks(turn, id) {
                    self.end(turn, program, Which::All, "whoever made this bot is banned from this cluster");
                }
            }
            Administer::Unban => {
                self.user_mut(id).account.banned = None;
                self.account_changed(turn, id);
            }
            Administer::Delete => {
                self.close_account(turn, id);
            }
        }
        self.account_reply(id)
    }

    pub(super) fn create_bot(
        &mut self,
        turn: &mut Turn,
        user: &UserName,
        username: &UserName,
        token: TokenHash,
    ) -> Reply {
        let made_by = self.user_or_new(turn, user);
        let id = self.make_bot(turn, made_by, username);
        if !self.user_mut(id).sessions.is_empty() {
            // Of a lost token nothing must be left that opens.
            self.end(turn, id, Which::All, "the bot was given another token");
        }
        let session = Session { used_ms: turn.created_at_ms, expires_ms: None };
        self.begin_session(turn, id, token, session);
        self.account_reply(id)
    }

    fn make_bot(&mut self, turn: &mut Turn, made_by: UserId, username: &UserName) -> UserId {
        let id = self.user_or_new(turn, username);
        self.user_mut(id).account.holder = Holder::Bot { made_by };
        self.account_changed(turn, id);
        self.end(turn, id, Which::Guests, "the name is a bot's");
        id
    }

    /// A webhook speaks as a bot of its own, which becomes a member like anybody else.
    pub(super) fn create_hook(
        &mut self,
        turn: &mut Turn,
        user: &UserName,
        room: RoomId,
        username: &UserName,
        token: TokenHash,
    ) -> Reply {
        let made_by = self.user_or_new(turn, user);
        let bot = self.make_bot(turn, made_by, username);
        if !self.room_mut(room).members.contains_key(&bot) {
            self.enter(turn, bot, room, Role::Member);
        }
        let hook = Hook { room, user: bot, made_by };
        turn.effects.rows.push(rows::hook(token, Some(&hook)));
        self.hooks.insert(token, hook);
        self.placed_now(room)
    }

    pub(super) fn delete_hook(&mut self, turn: &mut Turn, room: RoomId, token: TokenHash) -> Reply {
        self.hooks.remove(&token);
        turn.effects.rows.push(rows::hook(token, None));
        self.placed_now(room)
    }

    fn placed_now(&mut self, room: RoomId) -> Reply {
        let seq = self.room_mut(room).last_seq;
        Reply::Placed { room: self.room_name(room), seq, duplicate: false }
    }

    fn account_changed(&mut self, turn: &mut Turn, id: UserId) {
        let account = &self.user_mut(id).account;
        turn.effects.rows.push(rows::account(id, account));
    }

    /// Ends sessions. A bot's token is the only way to be it, so it ends only with its account or for a
    /// ban of the whole user.
    fn end(&mut self, turn: &mut Turn, id: UserId, which: Which, reason: &'static str) {
        let user = self.users.get_mut(&id).expect("a user's number is only given where there is one");
        let ends = |token: &TokenHash| match which {
            Which::All => true,
            Which::One(one) => *token == one,
            Which::AllBut(one) => *token != one,
            Which::Guests => false,
        };
        let ended: Vec<TokenHash> = user.sessions.keys().copied().filter(ends).collect();
        for token in &ended {
            user.sessions.remove(token);
            self.tokens.remove(token);
            turn.effects.rows.push(rows::session(id, *token, None));
        }
        turn.effects.ended.push(Ended { user: user.name.key(), which, reason });
    }

    fn account_reply(&mut self, id: UserId) -> Reply {
        Reply::Account { username: self.user_mut(id).name.clone() }
    }
}
