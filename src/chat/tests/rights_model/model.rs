//! The model: rooms, people, files and hooks as plain lists, and who may do what in plain words. It shares
//! nothing with the product but the names of requests and codes.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    chat::{Action, Command, Standing, command::Administer},
    protocol::{
        credential::TokenHash,
        event::EventKind,
        export::Imported,
        moderation::{Moderation, Retention, Role},
        name::RoomName,
        refusal::Code::{
            self, BadCredentials, BadRequest, Forbidden, NameTaken, NotAuthenticated, NotFound, RateLimited,
        },
        request::Destination,
    },
};

/// What a command leads to: a line that says what, or why not.
pub type Outcome = Result<String, Code>;

/// Guests have no session, and none of what goes with it.
fn session_of(standing: Standing) -> Result<TokenHash, Code> {
    match standing {
        Standing::Session(token) => Ok(token),
        _ => Err(Forbidden),
    }
}

/// `None`: for ever.
type Until = Option<u64>;

fn lasts(until: Until, now: u64) -> bool {
    until.is_none_or(|end| now < end)
}

#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    Guest,
    Person { rev: u64 },
    Bot { made_by: String },
    Closed,
}

#[derive(Debug, Clone)]
pub struct MUser {
    pub kind: Kind,
    pub admin: bool,
    pub banned: Option<Until>,
}

#[derive(Debug, Clone)]
pub struct Membership {
    pub role: Role,
    pub since: u64,
    pub last_read: u64,
    pub mentions: Vec<u64>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum MEvent {
    Message(MMessage),
    Edit(String),
    Other,
}

#[derive(Debug, Clone, PartialEq)]
pub struct MMessage {
    pub author: String,
    pub body: String,
    pub file: Option<u8>,
    pub mentions: BTreeSet<String>,
    pub edited: Option<u64>,
    pub deleted: Option<u64>,
    pub reactions: BTreeSet<(String, String)>,
}

#[derive(Debug, Clone)]
pub struct MRoom {
    pub private: bool,
    pub pair: Option<(String, String)>,
    pub archived: bool,
    pub slow_ms: u64,
    pub retention: Retention,
    /// Whether it has a password, and which entry said so.
    pub password: (bool, u64),
    pub topic: String,
    pub members: BTreeMap<String, Membership>,
    pub muted: BTreeMap<String, Until>,
    pub invited: BTreeSet<String>,
    pub banned: BTreeMap<String, Until>,
    pub spoke: BTreeMap<String, u64>,
    pub events: BTreeMap<u64, MEvent>,
    pub first_seq: u64,
    pub last_seq: u64,
    /// Whether an import has made it and nobody has been in it.
    pub unopened: bool,
    /// What was imported last, and where it began.
    pub batch: Option<(u64, Vec<Imported>)>,
}

#[derive(Debug, Clone)]
pub struct MFile {
    pub uploader: String,
    pub begun: u64,
    pub size: u64,
    pub received: u64,
    pub whole: bool,
    /// The room for which it was uploaded counts until a message has shown it there and is gone again.
    pub home: Option<String>,
    pub shown: BTreeSet<(String, u64)>,
}

pub struct MHook {
    pub room: String,
    pub bot: String,
    pub made_by: String,
}

/// A place of a message: the room, its `seq`, and what was said.
type Sent = (String, u64, (String, Option<u64>, Option<u8>));

#[derive(Default)]
pub struct Model {
    pub users: BTreeMap<String, MUser>,
    /// In the order in which they came into being.
    pub user_order: Vec<String>,
    pub rooms: BTreeMap<String, MRoom>,
    /// In the order of their making, for what goes through all rooms of somebody.
    pub room_order: Vec<String>,
    pub tokens: BTreeMap<TokenHash, (String, Option<u64>)>,
    pub files: BTreeMap<u8, MFile>,
    pub hooks: BTreeMap<TokenHash, MHook>,
    pub sent: BTreeMap<(String, String), Sent>,
    /// What the newest command published: room, seq, author, kind.
    pub published: Vec<(String, u64, String, &'static str)>,
    /// Texts that are gone for good.
    pub gone: Vec<String>,
    index: u64,
    now: u64,
}

impl Model {
    // Who may what, in plain words.

    pub fn is_admin(&self, user: &str) -> bool {
        self.users.get(user).is_some_and(|user| user.admin)
    }

    fn is_kind(&self, user: &str, kind: impl Fn(&Kind) -> bool) -> bool {
        self.users.get(user).is_some_and(|user| kind(&user.kind))
    }

    fn is_shut_out(&self, user: &str) -> bool {
        self.users.get(user).and_then(|user| user.banned).is_some_and(|until| lasts(until, self.now))
    }

    pub fn is_banned(&self, user: &str, room: &MRoom, now: u64) -> bool {
        room.banned.get(user).is_some_and(|until| lasts(*until, now))
    }

    /// Public rooms are seen by all but those who are banned from them, private ones by their members.
    pub fn sees(&self, user: &str, room: &MRoom, now: u64) -> bool {
        if room.private {
            room.members.contains_key(user)
        } else {
            self.is_admin(user) || !self.is_banned(user, room, now)
        }
    }

    pub fn is_muted(&self, user: &str, room: &MRoom, now: u64) -> bool {
        room.members.get(user).is_some_and(|member| member.role == Role::Member)
            && room.muted.get(user).is_some_and(|until| lasts(*until, now))
    }

    /// What a member is called.
    pub fn role_word(&self, user: &str, room: &MRoom, now: u64) -> &'static str {
        if self.is_muted(user, room, now) { "muted" } else { room.members[user].role.as_str() }
    }

    pub fn writes(&self, user: &str, room: &MRoom, now: u64) -> bool {
        !room.archived && room.members.contains_key(user) && !self.is_muted(user, room, now)
    }

    fn rank(&self, user: &str, room: &MRoom) -> u8 {
        match room.members.get(user).map(|member| member.role) {
            Some(Role::Owner) => 3,
            Some(Role::Moderator) => 2,
            _ => 0,
        }
    }

    /// As whom somebody keeps order: administrators are as good as owners where anybody may enter.
    fn power(&self, user: &str, room: &MRoom) -> u8 {
        match () {
            () if room.pair.is_some() => 0,
            () if self.is_admin(user) && !room.private => 3,
            () => self.rank(user, room),
        }
    }

    pub fn keeps_order(&self, user: &str, room: &MRoom) -> bool {
        !room.archived && self.power(user, room) >= 2
    }

    pub fn reads_file(&self, user: &str, file: &MFile, now: u64) -> bool {
        let rooms = file.home.iter().chain(file.shown.iter().map(|(room, _)| room));
        file.uploader == user || rooms.into_iter().any(|room| self.sees(user, &self.rooms[room], now))
    }

    /// Why somebody may not do in a room what they may not.
    fn no(&self, user: &str, room: &str) -> Code {
        let Some(room) = self.rooms.get(room) else { return NotFound };
        let knows = self.sees(user, room, self.now) || !room.private;
        if knows { Forbidden } else { NotFound }
    }

    fn may(&self, user: &str, room: &str, allowed: impl Fn(&Model, &MRoom) -> bool) -> Result<&MRoom, Code> {
        let found = self.rooms.get(room).filter(|found| allowed(self, found));
        found.ok_or_else(|| self.no(user, room))
    }

    fn may_write(&self, user: &str, room: &str) -> Result<&MRoom, Code> {
        self.may(user, room, |model, room| model.writes(user, room, model.now))
    }

    /// By a name of nobody's, or by a session that has not ended; and nobody who is shut out.
    fn check_standing(&self, user: &str, standing: Standing) -> Result<(), Code> {
        let ok = match standing {
            Standing::Guest => self.users.get(user).is_none_or(|user| user.kind == Kind::Guest),
            Standing::Session(token) => self
                .tokens
                .get(&token)
                .is_some_and(|(whose, end)| whose == user && end.is_none_or(|end| self.now < end)),
            Standing::Operator | Standing::Cluster => return Err(Forbidden),
        };
        if !ok {
            return Err(NotAuthenticated);
        }
        if self.is_shut_out(user) { Err(Forbidden) } else { Ok(()) }
    }

    fn check_admin(&self, user: &str, standing: Standing) -> Result<(), Code> {
        if standing == Standing::Operator {
            return Ok(());
        }
        self.check_standing(user, standing)?;
        if self.is_admin(user) { Ok(()) } else { Err(Forbidden) }
    }

    // What happens.

    pub fn apply(&mut self, command: &Command) -> Outcome {
        self.index += 1;
        self.now = command.created_at_ms;
        self.published.clear();
        let user = command.proposal.user.as_str().to_owned();
        let standing = command.proposal.standing;
        self.act(&user, standing, &command.proposal.action)
    }

    fn act(&mut self, user: &str, standing: Standing, action: &Action) -> Outcome {
        match action {
            Action::Nothing => return Ok("nothing".into()),
            Action::Register { admin, .. } => return self.register(user, standing, *admin),
            Action::Login { password_rev, token, expires_ms, .. } => {
                return self.log_in(user, *password_rev, *token, *expires_ms);
            }
            Action::HookPost { token, body, client_msg_id, .. } => {
                return self.hook_post(*token, body, client_msg_id);
            }
            Action::Expire { room, before_seq, retention } => {
                return self.expire(standing, room.as_str(), *before_seq, *retention);
            }
            Action::Administer { username, what } => {
                self.check_admin(user, standing)?;
                let is_self = standing != Standing::Operator && username.as_str() == user;
                return self.administer(username.as_str(), what, is_self);
            }
            Action::Import { room, first_seq, events } => {
                self.check_admin(user, standing)?;
                return self.import(user, standing, room, *first_seq, events);
            }
            _ => self.check_standing(user, standing)?,
        }
        match action {
            Action::Join { room } => self.join(user, room, false, None, None),
            Action::Create { room, private, password } => {
                self.join(user, room, *private, password.as_ref().map(|_| self.index), None)
            }
            Action::Unlock { room, password_rev } => self.join(user, room, false, None, Some(*password_rev)),
            Action::Leave { room } => {
                let room = room.as_str();
                self.may(user, room, |_, room| room.pair.is_none() && room.members.contains_key(user))?;
                self.leave(user, room);
                Ok(format!("left {room}"))
            }
            Action::Chat { to, body, client_msg_id, reply_to, file_id } => {
                let file = file_id.map(|file| file.0[0]);
                self.chat(user, to, body, client_msg_id, *reply_to, file)
            }
            Action::Edit { room, seq, body } => self.edit(user, room.as_str(), *seq, body),
            Action::Delete { room, seq } => self.delete(user, room.as_str(), *seq),
            Action::React { room, seq, emoji, remove } => {
                self.react(user, room.as_str(), *seq, emoji, *remove)
            }
            Action::MarkRead { room, seq } => self.mark_read(user, room.as_str(), *seq),
            Action::Moderate { room, what } => self.moderate(user, room.as_str(), what),
            Action::RoomPassword { room, password } => {
                let room = room.as_str();
                self.may(user, room, |model, room| model.power(user, room) == 3)?;
                self.room(room).password = (password.is_some(), self.index);
                Ok(self.done(room, user, "settings"))
            }
            Action::Touch => session_of(standing).map(|_| format!("account {user}")),
            Action::Logout { everywhere } => {
                let token = session_of(standing)?;
                self.tokens.retain(|other, (whose, _)| whose != user || !(*everywhere || *other == token));
                Ok(format!("account {user}"))
            }
            Action::ChangePassword { password_rev, .. } => {
                self.check_rev(user, *password_rev)?;
                let token = session_of(standing)?;
                self.tokens.retain(|other, (whose, _)| whose != user || *other == token);
                self.user(user).kind = Kind::Person { rev: self.index };
                Ok(format!("account {user}"))
            }
            Action::CloseAccount { password_rev } => {
                self.check_rev(user, *password_rev)?;
                session_of(standing)?;
                self.close(user);
                Ok(format!("account {user}"))
            }
            Action::CreateBot { username, token } => {
                session_of(standing)?;
                let name = username.as_str();
                self.must_be_unused(name)?;
                self.user(name).kind = Kind::Bot { made_by: user.into() };
                self.tokens.insert(*token, (name.into(), None));
                Ok(format!("account {name}"))
            }
            Action::CreateHook { room, username, token } => {
                self.create_hook(user, room.as_str(), username.as_str(), *token)
            }
            Action::DeleteHook { room, token } => {
                let room = room.as_str();
                self.may(user, room, |model, room| model.keeps_order(user, room))?;
                if self.hooks.get(token).is_none_or(|hook| hook.room != room) {
                    return Err(NotFound);
                }
                self.hooks.remove(token);
                Ok(format!("placed {room} {} false", self.rooms[room].last_seq))
            }
            Action::FileBegin { file_id, file } => {
                self.begin_file(user, file.room.as_str(), file_id.0[0], file.size)
            }
            Action::FileChunk { file_id, offset, bytes } => {
                self.chunk(user, file_id.0[0], *offset, bytes.len() as u64)
            }
            Action::FileEnd { file_id, .. } => {
                let file = self.files.get_mut(&file_id.0[0]).filter(|file| file.uploader == user);
                let file = file.ok_or(NotFound)?;
                if !file.whole && file.received < file.size {
                    return Err(BadRequest);
                }
                file.whole = true;
                Ok(format!("file {}", file.size))
            }
            Action::FileDelete { file_id } => self.delete_file(user, file_id.0[0]),
            other => panic!("{other:?} is dealt with above"),
        }
    }

    fn user(&mut self, name: &str) -> &mut MUser {
        let new = MUser { kind: Kind::Guest, admin: false, banned: None };
        if !self.users.contains_key(name) {
            self.user_order.push(name.into());
        }
        self.users.entry(name.into()).or_insert(new)
    }

    fn room(&mut self, name: &str) -> &mut MRoom {
        self.rooms.get_mut(name).expect("the room was found before")
    }

    fn publish(&mut self, room: &str, author: &str, kind: &'static str, event: MEvent) -> u64 {
        self.user(author);
        let found = self.room(room);
        found.last_seq += 1;
        let seq = found.last_seq;
        found.events.insert(seq, event);
        self.published.push((room.into(), seq, author.into(), kind));
        seq
    }

    fn done(&mut self, room: &str, author: &str, kind: &'static str) -> String {
        let seq = self.publish(room, author, kind, MEvent::Other);
        format!("placed {room} {seq} false")
    }

    // Accounts.

    fn register(&mut self, user: &str, standing: Standing, admin: bool) -> Outcome {
        if admin && standing != Standing::Operator {
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
        *self.user(user) = MUser { kind: Kind::Person { rev }, admin, banned };
        Ok(format!("account {user}"))
    }

    fn log_in(&mut self, user: &str, rev: u64, token: TokenHash, expires_ms: u64) -> Outcome {
        self.check_rev(user, rev)?;
        if self.is_shut_out(user) {
            return Err(Forbidden);
        }
        self.tokens.insert(token, (user.into(), Some(expires_ms)));
        Ok(format!("account {user}"))
    }

    fn check_rev(&self, user: &str, rev: u64) -> Result<(), Code> {
        let is_right = self.is_kind(user, |kind| *kind == Kind::Person { rev });
        if is_right { Ok(()) } else { Err(BadCredentials) }
    }

    fn must_be_unused(&self, name: &str) -> Result<(), Code> {
        let in_rooms = self.rooms.values().any(|room| room.members.contains_key(name));
        let is_taken = self.is_kind(name, |kind| *kind != Kind::Guest) || in_rooms;
        if is_taken { Err(NameTaken) } else { Ok(()) }
    }

    fn administer(&mut self, name: &str, what: &Administer, is_self: bool) -> Outcome {
        let is_person = self.is_kind(name, |kind| matches!(kind, Kind::Person { .. }));
        let is_registered = self.is_kind(name, |kind| *kind != Kind::Guest);
        match what {
            Administer::Ban(_) | Administer::Delete if is_self => return Err(Forbidden),
            Administer::Delete if !is_registered => return Err(NotFound),
            Administer::SetAdmin(_) | Administer::SetPassword(_) if !is_person => return Err(NotFound),
            Administer::Unban if !self.users.contains_key(name) => return Err(NotFound),
            _ => {}
        }
        let (index, now) = (self.index, self.now);
        let user = self.user(name);
        match what {
            Administer::SetAdmin(admin) => user.admin = *admin,
            Administer::SetPassword(_) => user.kind = Kind::Person { rev: index },
            Administer::Ban(seconds) => user.banned = Some(seconds.map(|s| now + u64::from(s) * 1000)),
            Administer::Unban => user.banned = None,
            Administer::Delete => self.close(name),
        }
        if matches!(what, Administer::SetPassword(_) | Administer::Ban(_)) {
            self.tokens.retain(|_, (whose, _)| whose != name);
        }
        if matches!(what, Administer::Ban(_)) {
            let programs = self.end_hooks(name);
            self.tokens.retain(|_, (whose, _)| !programs.contains(whose));
        }
        Ok(format!("account {name}"))
    }

    /// The programs of somebody, and their programs, lose their webhooks.
    fn end_hooks(&mut self, name: &str) -> Vec<String> {
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

    fn close(&mut self, name: &str) {
        for program in self.end_hooks(name) {
            self.close_one(&program);
        }
        self.close_one(name);
    }

    fn close_one(&mut self, name: &str) {
        for room in self.room_order.clone() {
            if self.rooms[&room].pair.is_none() && self.rooms[&room].members.contains_key(name) {
                self.leave(name, &room);
            }
        }
        self.tokens.retain(|_, (whose, _)| whose != name);
        *self.user(name) = MUser { kind: Kind::Closed, admin: false, banned: None };
    }

    // Rooms.

    fn new_room(&mut self, name: &RoomName, private: bool) {
        let pair = name.direct_pair().map(|(one, other)| (one.as_str().into(), other.as_str().into()));
        let room = MRoom {
            private: private || pair.is_some(),
            pair,
            archived: false,
            slow_ms: 0,
            retention: Retention::default(),
            password: (false, 0),
            topic: String::new(),
            members: BTreeMap::new(),
            muted: BTreeMap::new(),
            invited: BTreeSet::new(),
            banned: BTreeMap::new(),
            spoke: BTreeMap::new(),
            events: BTreeMap::new(),
            first_seq: 1,
            last_seq: 0,
            unopened: false,
            batch: None,
        };
        self.rooms.insert(name.as_str().into(), room);
        self.room_order.push(name.as_str().into());
    }

    fn enter(&mut self, user: &str, room: &str, role: Role) {
        let seq = self.publish(room, user, "joined", MEvent::Other);
        let room = self.room(room);
        room.invited.remove(user);
        room.unopened = false;
        let member = Membership { role, since: seq, last_read: seq, mentions: Vec::new() };
        room.members.insert(user.into(), member);
    }

    fn begin_direct(&mut self, user: &str, name: &RoomName) -> Result<(), Code> {
        let (one, other) = name.direct_pair().ok_or(NotFound)?;
        if one.as_str() != user && other.as_str() != user {
            return Err(NotFound);
        }
        if [&one, &other].into_iter().any(|who| self.is_kind(who.as_str(), |kind| *kind == Kind::Closed)) {
            return Err(NotFound);
        }
        Ok(())
    }

    fn join(
        &mut self,
        user: &str,
        name: &RoomName,
        private: bool,
        password: Option<u64>,
        shown: Option<u64>,
    ) -> Outcome {
        let key = name.as_str();
        let Some(room) = self.rooms.get(key) else {
            if let Some((one, other)) = name.direct_pair() {
                self.begin_direct(user, name)?;
                self.new_room(name, true);
                for who in BTreeSet::from([one, other]) {
                    self.enter(who.as_str(), key, Role::Member);
                }
            } else {
                self.new_room(name, private);
                self.room(key).password = (password.is_some(), password.unwrap_or(0));
                self.enter(user, key, Role::Owner);
            }
            return Ok(self.joined(user, key, true));
        };
        if room.members.contains_key(user) {
            return Ok(self.joined(user, key, false));
        }
        let (has_password, rev) = room.password;
        let is_let_in = room.invited.contains(user) || (has_password && shown == Some(rev));
        let refused = match () {
            () if self.is_banned(user, room, self.now) => true,
            () if is_let_in => false,
            () => room.private || has_password,
        };
        if refused {
            return Err(if room.private { NotFound } else { Forbidden });
        }
        let mut keeps = room.members.iter();
        let is_kept = keeps.any(|(name, member)| member.role == Role::Owner || self.is_person(name));
        let takes_it = !is_kept && self.is_person(user);
        self.enter(user, key, if takes_it { Role::Owner } else { Role::Member });
        Ok(self.joined(user, key, false))
    }

    fn joined(&self, user: &str, key: &str, created: bool) -> String {
        let room = &self.rooms[key];
        format!("joined {key} {created} {} {}", self.role_word(user, room, self.now), room.last_seq)
    }

    fn is_person(&self, name: &str) -> bool {
        !self.is_kind(name, |kind| matches!(kind, Kind::Bot { .. }))
    }

    /// The owner's place goes to the longest-standing moderator, else member, but to no program.
    fn leave(&mut self, user: &str, key: &str) {
        let room = &self.rooms[key];
        let others: Vec<(&String, &Membership)> =
            room.members.iter().filter(|(name, _)| *name != user).collect();
        let has_owner = others.iter().any(|(_, member)| member.role == Role::Owner);
        let mut heirs: Vec<_> = others
            .iter()
            .filter(|(name, _)| self.is_person(name))
            .map(|(name, member)| {
                let is_moderator = member.role == Role::Moderator;
                let is_muted = self.is_muted(name, room, self.now);
                (!is_moderator, is_muted, member.since, (*name).clone())
            })
            .collect();
        heirs.sort();
        if let (false, Some((.., heir))) = (has_owner, heirs.into_iter().next()) {
            self.room(key).members.get_mut(&heir).unwrap().role = Role::Owner;
            self.room(key).muted.remove(&heir);
            self.publish(key, user, "role", MEvent::Other);
        }
        self.publish(key, user, "left", MEvent::Other);
        self.end_membership(user, key);
    }

    fn end_membership(&mut self, user: &str, key: &str) {
        let now = self.now;
        let room = self.room(key);
        room.members.remove(user);
        room.spoke.retain(|_, spoke| now < *spoke + room.slow_ms);
    }

    fn moderate(&mut self, user: &str, key: &str, what: &Moderation) -> Outcome {
        let room = self.may(user, key, |model, room| match what {
            Moderation::Configure(_) => model.power(user, room) == 3,
            Moderation::SetRole { .. } => !room.archived && model.power(user, room) == 3,
            Moderation::Invite { .. } if room.private => {
                !room.archived && room.pair.is_none() && model.rank(user, room) >= 2
            }
            Moderation::Invite { .. } => model.writes(user, room, model.now),
            _ => model.keeps_order(user, room),
        })?;
        let already = Ok(format!("placed {key} {} true", room.last_seq));
        let now = self.now;
        let target = what.target().map(|name| name.as_str().to_owned()).unwrap_or_default();
        let target = target.as_str();
        let is_member = room.members.contains_key(target);
        let is_above = target != user && self.power(user, room) > self.rank(target, room);
        let is_banned = self.is_banned(target, room, now);
        let until = |seconds: &Option<u32>| seconds.map(|s| now + u64::from(s) * 1000);
        match what {
            Moderation::Topic { topic } if *topic == room.topic => return already,
            Moderation::Topic { topic } => self.room(key).topic.clone_from(topic),
            Moderation::Configure(settings) => {
                let room = self.room(key);
                room.private = settings.private.unwrap_or(room.private);
                room.archived = settings.archived.unwrap_or(room.archived);
                room.retention = settings.retention.unwrap_or(room.retention);
                room.slow_ms = settings.slow_s.map_or(room.slow_ms, |slow_s| u64::from(slow_s) * 1000);
                let slow_ms = room.slow_ms;
                room.spoke.retain(|_, spoke| slow_ms > 0 && now < *spoke + slow_ms);
            }
            Moderation::Invite { .. } => {
                if is_banned {
                    return Err(Forbidden);
                }
                if self.is_kind(target, |kind| *kind == Kind::Closed) {
                    return Err(NotFound);
                }
                if is_member || room.invited.contains(target) {
                    return already;
                }
                self.room(key).invited.insert(target.into());
            }
            Moderation::Unban { .. } if !room.banned.contains_key(target) => return already,
            Moderation::Unban { .. } => drop(self.room(key).banned.remove(target)),
            Moderation::Ban { seconds, .. } => {
                if !is_above {
                    return Err(Forbidden);
                }
                if seconds.is_none() && room.banned.get(target) == Some(&None) {
                    return already;
                }
                let room = self.room(key);
                room.banned.retain(|_, until| lasts(*until, now));
                room.banned.insert(target.into(), until(seconds));
                room.invited.remove(target);
            }
            _ if !is_member => return Err(NotFound),
            Moderation::Unmute { .. } if !room.muted.contains_key(target) => return already,
            Moderation::Unmute { .. } => drop(self.room(key).muted.remove(target)),
            Moderation::SetRole { role, .. }
                if room.members[target].role == *role && !self.is_muted(target, room, now) =>
            {
                return already;
            }
            _ if !is_above => return Err(Forbidden),
            Moderation::Kick { .. } => {}
            Moderation::Mute { seconds, .. } => {
                if seconds.is_none() && room.muted.get(target) == Some(&None) {
                    return already;
                }
                let room = self.room(key);
                room.members.get_mut(target).unwrap().role = Role::Member;
                room.muted.retain(|_, until| lasts(*until, now));
                room.muted.insert(target.into(), until(seconds));
            }
            Moderation::SetRole { role, .. } => {
                let room = self.room(key);
                if *role == Role::Owner {
                    let owners = room.members.values_mut().filter(|member| member.role == Role::Owner);
                    owners.for_each(|owner| owner.role = Role::Moderator);
                }
                room.members.get_mut(target).unwrap().role = *role;
                room.muted.remove(target);
            }
        }
        if !target.is_empty() {
            self.user(target);
        }
        let kind = match what {
            Moderation::Topic { .. } => "topic",
            Moderation::Configure(_) => "settings",
            Moderation::Invite { .. } => "invited",
            Moderation::Kick { .. } => "kicked",
            Moderation::Ban { .. } => "banned",
            Moderation::Unban { .. } => "unbanned",
            Moderation::Mute { .. } => "muted",
            Moderation::Unmute { .. } => "unmuted",
            Moderation::SetRole { .. } => "role",
        };
        let done = self.done(key, user, kind);
        if matches!(kind, "kicked" | "banned") && is_member {
            self.end_membership(target, key);
        }
        Ok(done)
    }

    // Messages.

    fn chat(
        &mut self,
        user: &str,
        to: &Destination,
        body: &str,
        id: &str,
        reply_to: Option<u64>,
        file: Option<u8>,
    ) -> Outcome {
        let name = match to {
            Destination::Room(room) => room.clone(),
            Destination::User(with) => RoomName::direct(&crate::protocol::UserName::new(user).unwrap(), with),
        };
        let key = name.as_str();
        let content = (body.to_owned(), reply_to, file);
        if let Some(answer) = self.repeated(user, id, key, &content) {
            return answer;
        }
        let begins = !self.rooms.contains_key(key);
        if begins {
            self.begin_direct(user, &name)?;
            if reply_to.is_some() {
                return Err(BadRequest);
            }
        } else {
            let room = self.may_write(user, key)?;
            if reply_to.is_some_and(|seq| seq == 0 || seq > room.last_seq) {
                return Err(BadRequest);
            }
            self.check_pace(user, room)?;
        }
        if let Some(file) = file {
            let file =
                self.files.get(&file).filter(|file| file.whole && self.reads_file(user, file, self.now));
            file.ok_or(NotFound)?;
        }
        if begins {
            self.new_room(&name, true);
            let (one, other) = name.direct_pair().unwrap();
            let other = if one.as_str() == user { other } else { one };
            self.enter(user, key, Role::Member);
            if other.as_str() != user {
                self.enter(other.as_str(), key, Role::Member);
            }
        }
        Ok(self.say(user, key, id, content))
    }

    fn repeated(
        &self,
        user: &str,
        id: &str,
        key: &str,
        content: &(String, Option<u64>, Option<u8>),
    ) -> Option<Outcome> {
        let (room, seq, before) = self.sent.get(&(user.into(), id.into()))?;
        let is_same = room == key && before == content;
        Some(if is_same { Ok(format!("sent {key} {seq} true")) } else { Err(BadRequest) })
    }

    fn check_pace(&self, user: &str, room: &MRoom) -> Result<(), Code> {
        let Some(spoke) = room.spoke.get(user) else { return Ok(()) };
        let waits = *spoke <= self.now && self.now < spoke + room.slow_ms;
        if waits && !self.keeps_order(user, room) { Err(RateLimited) } else { Ok(()) }
    }

    fn say(&mut self, user: &str, key: &str, id: &str, content: (String, Option<u64>, Option<u8>)) -> String {
        let (body, _, file) = content.clone();
        let mentions = self.named(key, &body);
        let message = MMessage {
            author: user.into(),
            body,
            file,
            mentions: mentions.clone(),
            edited: None,
            deleted: None,
            reactions: BTreeSet::new(),
        };
        let seq = self.publish(key, user, "message", MEvent::Message(message));
        let now = self.now;
        let room = self.room(key);
        for name in mentions.iter().filter(|name| *name != user) {
            room.members.get_mut(name).unwrap().mentions.push(seq);
        }
        if room.slow_ms > 0 {
            room.spoke.insert(user.into(), now);
        }
        if let Some(file) = file {
            let file = self.files.get_mut(&file).unwrap();
            file.shown.insert((key.into(), seq));
        }
        self.sent.insert((user.into(), id.into()), (key.into(), seq, content));
        format!("sent {key} {seq} false")
    }

    /// The bodies of these tests name people as words of their own.
    fn named(&self, key: &str, body: &str) -> BTreeSet<String> {
        let names = body.split(' ').filter_map(|word| word.strip_prefix('@'));
        names.filter(|name| self.rooms[key].members.contains_key(*name)).map(str::to_owned).collect()
    }

    fn message(&mut self, key: &str, seq: u64) -> Result<&mut MMessage, Code> {
        match self.room(key).events.get_mut(&seq) {
            None => Err(NotFound),
            Some(MEvent::Message(message)) => Ok(message),
            Some(_) => Err(BadRequest),
        }
    }

    fn living_message(&mut self, key: &str, seq: u64) -> Result<&mut MMessage, Code> {
        let message = self.message(key, seq)?;
        if message.deleted.is_some() { Err(NotFound) } else { Ok(message) }
    }

    fn edit(&mut self, user: &str, key: &str, seq: u64, body: &str) -> Outcome {
        self.may_write(user, key)?;
        let message = self.living_message(key, seq)?.clone();
        if message.author != user {
            return Err(Forbidden);
        }
        if message.body == body {
            return Ok(format!("placed {key} {} true", message.edited.unwrap_or(seq)));
        }
        let edit = self.publish(key, user, "edited", MEvent::Edit(body.into()));
        let mentions = self.named(key, body);
        let before = message.edited;
        self.forget_mentions(key, seq, &message.mentions - &mentions);
        self.gone.push(message.body.clone());
        let message = self.message(key, seq).unwrap();
        (message.body, message.mentions, message.edited) = (body.into(), mentions, Some(edit));
        self.empty(key, before);
        Ok(format!("placed {key} {edit} false"))
    }

    fn empty(&mut self, key: &str, edit: Option<u64>) {
        if let Some(MEvent::Edit(text)) = edit.and_then(|edit| self.room(key).events.get_mut(&edit)) {
            text.clear();
        }
    }

    fn forget_mentions(&mut self, key: &str, seq: u64, names: BTreeSet<String>) {
        for name in &names {
            if let Some(member) = self.room(key).members.get_mut(name) {
                member.mentions.retain(|mention| *mention != seq);
            }
        }
    }

    fn delete(&mut self, user: &str, key: &str, seq: u64) -> Outcome {
        let room = self.may(user, key, |model, room| model.sees(user, room, model.now))?;
        let own_ok = !room.archived && room.members.contains_key(user);
        let others_ok = self.keeps_order(user, room);
        let message = self.message(key, seq)?.clone();
        let allowed = if message.author == user { own_ok } else { others_ok };
        if !allowed {
            return Err(Forbidden);
        }
        if let Some(deleted) = message.deleted {
            return Ok(format!("placed {key} {deleted} true"));
        }
        let deleted = self.publish(key, user, "deleted", MEvent::Other);
        self.forget_mentions(key, seq, message.mentions.clone());
        let emptied = MMessage {
            body: String::new(),
            file: None,
            mentions: BTreeSet::new(),
            edited: None,
            deleted: Some(deleted),
            reactions: BTreeSet::new(),
            author: message.author.clone(),
        };
        *self.message(key, seq).unwrap() = emptied;
        self.empty(key, message.edited);
        self.gone.push(message.body);
        if let Some(file) = message.file {
            self.hide(file, key, |shown| shown == seq);
        }
        Ok(format!("placed {key} {deleted} false"))
    }

    /// Messages that showed a file are gone; with the last one goes the file.
    fn hide(&mut self, number: u8, key: &str, is_gone: impl Fn(u64) -> bool) {
        let Some(file) = self.files.get_mut(&number) else { return };
        let before = file.shown.len();
        file.shown.retain(|(room, seq)| room != key || !is_gone(*seq));
        if file.shown.len() == before {
            return;
        }
        if file.home.as_deref() == Some(key) && !file.shown.iter().any(|(room, _)| room == key) {
            file.home = None;
        }
        if file.shown.is_empty() {
            self.files.remove(&number);
        }
    }

    fn react(&mut self, user: &str, key: &str, seq: u64, emoji: &str, remove: bool) -> Outcome {
        let last_seq = self.may_write(user, key)?.last_seq;
        let reaction = (emoji.to_owned(), user.to_owned());
        let message = self.living_message(key, seq)?;
        let is_news =
            if remove { message.reactions.remove(&reaction) } else { message.reactions.insert(reaction) };
        if !is_news {
            return Ok(format!("placed {key} {last_seq} true"));
        }
        Ok(self.done(key, user, "reaction"))
    }

    fn mark_read(&mut self, user: &str, key: &str, seq: u64) -> Outcome {
        let room = self.may(user, key, |_, room| room.members.contains_key(user))?;
        if seq > room.last_seq {
            return Err(BadRequest);
        }
        let member = self.room(key).members.get_mut(user).unwrap();
        if seq <= member.last_read {
            return Ok(format!("placed {key} {} true", member.last_read));
        }
        member.last_read = seq;
        member.mentions.retain(|mention| *mention > seq);
        Ok(format!("placed {key} {seq} false"))
    }

    // Hooks, files, retention, import.

    fn create_hook(&mut self, user: &str, key: &str, bot: &str, token: TokenHash) -> Outcome {
        self.may(user, key, |model, room| model.keeps_order(user, room))?;
        if !self.is_kind(bot, |kind| *kind == Kind::Bot { made_by: user.into() }) {
            self.must_be_unused(bot)?;
        }
        if self.is_banned(bot, &self.rooms[key], self.now) {
            return Err(Forbidden);
        }
        self.user(bot).kind = Kind::Bot { made_by: user.into() };
        if !self.rooms[key].members.contains_key(bot) {
            self.enter(bot, key, Role::Member);
        }
        self.hooks.insert(token, MHook { room: key.into(), bot: bot.into(), made_by: user.into() });
        Ok(format!("placed {key} {} false", self.rooms[key].last_seq))
    }

    fn hook_post(&mut self, token: TokenHash, body: &str, id: &str) -> Outcome {
        let hook = self.hooks.get(&token).ok_or(NotFound)?;
        let (bot, key) = (hook.bot.clone(), hook.room.clone());
        if self.is_shut_out(&bot) {
            return Err(Forbidden);
        }
        let content = (body.to_owned(), None, None);
        if let Some(answer) = self.repeated(&bot, id, &key, &content) {
            return answer;
        }
        let room = self.may_write(&bot, &key)?;
        self.check_pace(&bot, room)?;
        Ok(self.say(&bot, &key, id, content))
    }

    fn begin_file(&mut self, user: &str, key: &str, number: u8, size: u64) -> Outcome {
        self.may_write(user, key)?;
        if self.files.contains_key(&number) {
            return Err(BadRequest);
        }
        let unfinished = self.files.iter().filter(|(_, file)| file.uploader == user && !file.whole);
        let mut unfinished: Vec<(u64, u8)> = unfinished.map(|(number, file)| (file.begun, *number)).collect();
        unfinished.sort_unstable();
        if unfinished.len() >= 4 {
            self.files.remove(&unfinished[0].1);
        }
        let file = MFile {
            uploader: user.into(),
            begun: self.index,
            size,
            received: 0,
            whole: false,
            home: Some(key.into()),
            shown: BTreeSet::new(),
        };
        self.files.insert(number, file);
        Ok("receiving 0".into())
    }

    fn chunk(&mut self, user: &str, number: u8, offset: u64, length: u64) -> Outcome {
        let file = self.files.get_mut(&number).filter(|file| file.uploader == user).ok_or(NotFound)?;
        let end = offset + length;
        let is_piece = offset.is_multiple_of(32 * 1024) && (length == 32 * 1024 || end == file.size);
        if end > file.size || !is_piece {
            return Err(BadRequest);
        }
        if end > file.received {
            if offset != file.received {
                return Err(BadRequest);
            }
            file.received = end;
        }
        Ok(format!("receiving {}", file.received))
    }

    fn delete_file(&mut self, user: &str, number: u8) -> Outcome {
        let file = self.files.get(&number).ok_or(NotFound)?;
        if file.uploader != user {
            if !self.reads_file(user, file, self.now) {
                return Err(NotFound);
            }
            let mut rooms = file.home.iter().chain(file.shown.iter().map(|(room, _)| room));
            if !rooms.all(|room| self.keeps_order(user, &self.rooms[room])) {
                return Err(Forbidden);
            }
        }
        let said = match file.whole {
            true => format!("file {}", file.size),
            false => format!("receiving {}", file.received),
        };
        self.files.remove(&number);
        Ok(said)
    }

    fn expire(&mut self, standing: Standing, key: &str, before_seq: u64, retention: Retention) -> Outcome {
        if standing != Standing::Cluster {
            return Err(Forbidden);
        }
        let room = self.rooms.get_mut(key).ok_or(NotFound)?;
        if room.retention != retention {
            return Ok("nothing".into());
        }
        // All but the newest may go, and of a room that keeps a count no more than is over it.
        let settled = match (room.retention.days, room.retention.events) {
            (Some(_), _) => room.last_seq,
            (None, Some(events)) => (room.last_seq + 1).saturating_sub(events),
            (None, None) => 0,
        };
        let before_seq = before_seq.min(settled).min(room.last_seq);
        if before_seq > room.first_seq {
            room.first_seq = before_seq;
            room.events.retain(|seq, _| *seq >= before_seq);
            for number in self.files.keys().copied().collect::<Vec<_>>() {
                self.hide(number, key, |seq| seq < before_seq);
            }
        }
        Ok("nothing".into())
    }

    fn import(
        &mut self,
        user: &str,
        standing: Standing,
        name: &RoomName,
        first_seq: u64,
        events: &[Imported],
    ) -> Outcome {
        let key = name.as_str();
        let is_operator = standing == Standing::Operator;
        if name.direct_pair().is_some() && !is_operator {
            return Err(BadRequest);
        }
        let last_seq = match self.rooms.get(key) {
            Some(room) if room.private && !room.unopened && !is_operator => return Err(NotFound),
            Some(room) => Some(room.last_seq),
            None => None,
        };
        if first_seq == 0 {
            return Err(BadRequest);
        }
        let (next, count) = (last_seq.map_or(first_seq, |last_seq| last_seq + 1), events.len() as u64);
        if first_seq != next {
            let batch = self.rooms.get(key).and_then(|room| room.batch.clone());
            let is_done = first_seq + count == next && batch == Some((first_seq, events.to_vec()));
            return if is_done { Ok(format!("placed {key} {} true", next - 1)) } else { Err(BadRequest) };
        }
        self.user(user);
        if last_seq.is_none() {
            self.new_room(name, true);
            let room = self.room(key);
            (room.first_seq, room.last_seq, room.unopened) = (first_seq, first_seq - 1, true);
        }
        self.room(key).batch = Some((first_seq, events.to_vec()));
        let mut seq = 0;
        for event in events {
            let message = MMessage {
                author: event.author.as_str().into(),
                body: match event.event_kind() {
                    Ok(EventKind::Message(message)) => message.body,
                    other => panic!("only messages are imported here: {other:?}"),
                },
                file: None,
                mentions: BTreeSet::new(),
                edited: None,
                deleted: None,
                reactions: BTreeSet::new(),
            };
            seq = self.publish(key, event.author.as_str(), "message", MEvent::Message(message));
        }
        Ok(format!("placed {key} {seq} false"))
    }
}
