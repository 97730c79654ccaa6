//! The model: rooms, people, files and hooks as plain lists, and who may do what in plain words. It shares
//! nothing with the product but the names of requests and codes.

mod accounts;
mod messages;
mod rooms;
mod things;

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    chat::{
        Authority, Command, Entry,
        command::{
            Block, ChangePassword, CloseAccount, CreateBot, CreateHook, Delete, DeleteHook, DeleteRoom, Edit,
            Expire, FileBegin, FileChunk, FileDelete, FileEnd, GuestLogin, HookPost, Import, Join, Leave,
            Login, Logout, MarkRead, Nothing, Pin, React, Register, RenameRoom, RoomPassword, Say, Touch,
            Unblock, Unpin,
        },
    },
    protocol::{
        credential::TokenHash,
        export::Imported,
        moderation::{Retention, Role},
        name::{RoomName, UserName},
        refusal::Code::{self, BadRequest, Forbidden, NotAuthenticated, NotFound},
        request::Destination,
    },
};

/// The room that a user means.
fn room_of(user: &str, to: &Destination) -> RoomName {
    match to {
        Destination::Room(room) => room.clone(),
        Destination::User(with) => RoomName::direct(&UserName::new(user).unwrap(), with),
    }
}

/// The outcome of a command: a line that describes it, or the code of the refusal.
pub type Outcome = Result<String, Code>;

/// Guests have no session, and none of what goes with it.
fn session_of(authority: Authority) -> Result<TokenHash, Code> {
    match authority {
        Authority::Session(token) => Ok(token),
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
    pub blocked: BTreeSet<String>,
}

#[derive(Debug, Clone)]
pub struct Membership {
    pub role: Role,
    pub since: u64,
    pub last_read: u64,
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
    /// The entry that made it.
    pub id: u64,
    /// Its earlier names.
    pub old_names: Vec<String>,
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
    /// Who is invited, and by whom.
    pub invited: BTreeMap<String, String>,
    pub banned: BTreeMap<String, Until>,
    pub spoke: BTreeMap<String, u64>,
    pub events: BTreeMap<u64, MEvent>,
    /// Pinned messages and the events that say so, the newest pin first.
    pub pins: Vec<(u64, u64)>,
    pub first_seq: u64,
    pub last_seq: u64,
    /// Whether an import has made it and it has had no members since.
    pub unopened: bool,
    /// What was imported last, and where it began.
    pub batch: Option<(u64, Vec<Imported>)>,
}

#[derive(Debug, Clone)]
pub struct MFile {
    pub uploader: String,
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

/// A message: the text, the place that it answers, the file that it shows.
type Said = (String, Option<u64>, Option<u8>);

/// A message as it is remembered.
pub struct Sent {
    room: u64,
    /// The name of the room in the request.
    name: String,
    seq: u64,
    said: Said,
}

#[derive(Default)]
pub struct Model {
    pub users: BTreeMap<String, MUser>,
    /// In the order in which they came into being.
    pub user_order: Vec<String>,
    pub rooms: BTreeMap<String, MRoom>,
    /// In the order of their making, for commands that go through all rooms of a user.
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
    // Who may do what, in plain words.

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
        let is_out = |name: &str| room.banned.get(name).is_some_and(|until| lasts(*until, now));
        let is_owner = room.members.get(user).is_some_and(|member| member.role == Role::Owner);
        is_out(user) || (!is_owner && self.makers(user).iter().any(|maker| is_out(maker)))
    }

    /// Who made a program, and who made that one if it is a program, too.
    pub fn makers(&self, user: &str) -> Vec<String> {
        let mut makers: Vec<String> = Vec::new();
        loop {
            let last = makers.last().map_or(user, String::as_str);
            match self.users.get(last).map(|user| &user.kind) {
                Some(Kind::Bot { made_by }) => makers.push(made_by.clone()),
                _ => return makers,
            }
        }
    }

    /// The person behind a program; for a person, that person.
    pub fn person_of(&self, user: &str) -> String {
        self.makers(user).pop().unwrap_or_else(|| user.into())
    }

    /// Public rooms are seen by all but those who are banned from them, private ones by their members.
    pub fn sees(&self, user: &str, room: &MRoom, now: u64) -> bool {
        if room.private {
            room.members.contains_key(user) || (self.is_admin(user) && self.is_abandoned(room))
        } else {
            self.is_admin(user) || !self.is_banned(user, room, now)
        }
    }

    /// An invited user finds the room in the list, and no more.
    pub fn finds(&self, user: &str, room: &MRoom, now: u64) -> bool {
        let is_invited = room.invited.contains_key(user) && !self.is_banned(user, room, now);
        self.sees(user, room, now) || is_invited
    }

    /// It has no owner and no person left; a direct conversation is never abandoned.
    fn is_abandoned(&self, room: &MRoom) -> bool {
        let mut members = room.members.iter();
        room.pair.is_none() && !members.any(|(name, it)| it.role == Role::Owner || self.is_person(name))
    }

    pub fn is_muted(&self, user: &str, room: &MRoom, now: u64) -> bool {
        let keeps_order =
            |name: &str| room.members.get(name).is_some_and(|member| member.role != Role::Member);
        let is_silent = |name: &String| {
            !keeps_order(name) && room.muted.get(name).is_some_and(|until| lasts(*until, now))
        };
        let is_member = room.members.contains_key(user) && !keeps_order(user);
        is_member && (is_silent(&user.into()) || self.makers(user).iter().any(is_silent))
    }

    /// How many messages are unread to a member, the first of them, and how many of them name the member.
    pub fn unread(&self, user: &str, room: &MRoom) -> (u64, Option<u64>, u64) {
        let Some(member) = room.members.get(user) else { return (0, None, 0) };
        let newer = room.events.range(member.last_read + 1..);
        let unread: Vec<(u64, bool)> = newer
            .filter_map(|(seq, event)| match event {
                MEvent::Message(message) if message.author != user && message.deleted.is_none() => {
                    Some((*seq, message.mentions.contains(user) || message.mentions.contains("channel")))
                }
                _ => None,
            })
            .collect();
        let mentions = unread.iter().filter(|(_, names)| *names).count() as u64;
        (unread.len() as u64, unread.first().map(|(seq, _)| *seq), mentions)
    }

    /// The word for a member's role.
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

    /// The rank of a user who keeps order: administrators count as owners in public rooms.
    fn power(&self, user: &str, room: &MRoom) -> u8 {
        match () {
            () if room.pair.is_some() => 0,
            () if self.is_admin(user) && (!room.private || self.is_abandoned(room)) => 3,
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

    /// The code of a refusal in a room.
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

    /// A guest by a name that is not registered, or a user by a session that has not ended; neither may be
    /// banned.
    fn check_authority(&self, user: &str, authority: Authority) -> Result<(), Code> {
        let ok = match authority {
            Authority::Guest => self.users.get(user).is_none_or(|user| user.kind == Kind::Guest),
            Authority::Session(token) => self
                .tokens
                .get(&token)
                .is_some_and(|(whose, end)| whose == user && end.is_none_or(|end| self.now < end)),
            Authority::Operator | Authority::Cluster => return Err(Forbidden),
        };
        if !ok {
            return Err(NotAuthenticated);
        }
        if self.is_shut_out(user) { Err(Forbidden) } else { Ok(()) }
    }

    fn check_admin(&self, user: &str, authority: Authority) -> Result<(), Code> {
        if authority == Authority::Operator {
            return Ok(());
        }
        self.check_authority(user, authority)?;
        if self.is_admin(user) { Ok(()) } else { Err(Forbidden) }
    }

    // What happens.

    pub fn apply(&mut self, entry: &Entry) -> Outcome {
        self.index += 1;
        self.now = entry.created_at_ms;
        self.published.clear();
        let user = entry.proposal.user.as_str().to_owned();
        let authority = entry.proposal.authority;
        self.act(&user, authority, &entry.proposal.command)
    }

    fn act(&mut self, user: &str, authority: Authority, command: &Command) -> Outcome {
        // An operator and the cluster do not log in; an operator may register.
        match (command, authority) {
            (Command::Login(_) | Command::HookPost(_), Authority::Operator | Authority::Cluster)
            | (Command::GuestLogin(_), Authority::Operator | Authority::Cluster)
            | (Command::Register(_), Authority::Cluster) => return Err(Forbidden),
            _ => {}
        }
        match command {
            Command::Nothing(Nothing) => return Ok("nothing".into()),
            Command::Register(Register { admin, .. }) => return self.register(user, authority, *admin),
            Command::GuestLogin(GuestLogin) => return self.log_in_as_guest(user),
            Command::Login(Login { password_rev, token, expires_ms, .. }) => {
                return self.log_in(user, *password_rev, *token, *expires_ms);
            }
            Command::HookPost(HookPost { token, body, client_msg_id, goes_on, .. }) => {
                return self.hook_post(*token, body, client_msg_id, *goes_on);
            }
            Command::Expire(Expire { room, before_seq, retention }) => {
                return self.expire(authority, *room, *before_seq, *retention);
            }
            Command::SetAdmin(_)
            | Command::SetPassword(_)
            | Command::ClusterBan(_)
            | Command::ClusterUnban(_)
            | Command::DeleteAccount(_) => {
                self.check_admin(user, authority)?;
                return self.administer(command, (authority != Authority::Operator).then_some(user));
            }
            Command::Import(Import { room, first_seq, events }) => {
                self.check_admin(user, authority)?;
                return self.import(user, authority, room, *first_seq, events);
            }
            _ => self.check_authority(user, authority)?,
        }
        match command {
            Command::Join(Join { room, resumes: true, .. }) if !self.rooms.contains_key(room.as_str()) => {
                Err(NotFound)
            }
            Command::Join(Join { room, new, password_rev, .. }) => {
                self.join(user, room, new.private, new.password.as_ref().map(|_| self.index), *password_rev)
            }
            Command::Leave(Leave { room }) => {
                let room = room.as_str();
                self.may(user, room, |_, room| {
                    !room.archived && room.pair.is_none() && room.members.contains_key(user)
                })?;
                self.leave(user, room);
                Ok(format!("left {room}"))
            }
            Command::Say(Say { to, body, client_msg_id, reply_to, file_id, .. }) => {
                let file = file_id.map(|file| file.0[0]);
                self.chat(user, to, body, client_msg_id, *reply_to, file)
            }
            Command::Edit(Edit { room, seq, body }) => self.edit(user, room.as_str(), *seq, body),
            Command::Delete(Delete { room, seq }) => self.delete(user, room.as_str(), *seq),
            Command::React(React { room, seq, emoji, remove }) => {
                self.react(user, room.as_str(), *seq, emoji, *remove)
            }
            Command::Block(Block { username }) => self.block(user, username.as_str(), true),
            Command::Unblock(Unblock { username }) => self.block(user, username.as_str(), false),
            Command::Pin(Pin { room, seq }) => self.pin(user, room.as_str(), *seq),
            Command::Unpin(Unpin { room, seq }) => self.unpin(user, room.as_str(), *seq),
            Command::MarkRead(MarkRead { room, seq }) => self.mark_read(user, room.as_str(), *seq),
            Command::RoomPassword(RoomPassword { room, password }) => {
                let room = room.as_str();
                self.may(user, room, |model, room| !room.archived && model.power(user, room) == 3)?;
                self.room(room).password = (password.is_some(), self.index);
                Ok(self.done(room, user, "settings"))
            }
            Command::Touch(Touch) => session_of(authority).map(|_| format!("account {user}")),
            Command::Logout(Logout { everywhere }) => {
                let token = session_of(authority)?;
                self.tokens.retain(|other, (whose, _)| whose != user || !(*everywhere || *other == token));
                Ok(format!("account {user}"))
            }
            Command::ChangePassword(ChangePassword { password_rev, token, expires_ms, .. }) => {
                session_of(authority)?;
                self.check_rev(user, *password_rev)?;
                self.tokens.retain(|_, (whose, _)| whose != user);
                self.tokens.insert(*token, (user.into(), Some(*expires_ms)));
                self.user(user).kind = Kind::Person { rev: self.index };
                Ok(format!("account {user}"))
            }
            Command::CloseAccount(CloseAccount { password_rev }) => {
                session_of(authority)?;
                self.check_rev(user, *password_rev)?;
                self.close(user);
                Ok(format!("account {user}"))
            }
            Command::CreateBot(CreateBot { username, token }) => {
                session_of(authority)?;
                let name = username.as_str();
                if !self.is_kind(name, |kind| *kind == Kind::Bot { made_by: user.into() }) {
                    self.must_be_unused(name)?;
                }
                self.tokens.retain(|_, (owner, _)| owner != name);
                self.user(name).kind = Kind::Bot { made_by: user.into() };
                self.tokens.insert(*token, (name.into(), None));
                Ok(format!("account {name}"))
            }
            Command::CreateHook(CreateHook { room, username, token }) => {
                self.create_hook(user, room.as_str(), username.as_str(), *token)
            }
            Command::DeleteHook(DeleteHook { room, token }) => {
                let room = room.as_str();
                self.may(user, room, |model, room| model.keeps_order(user, room))?;
                if self.hooks.get(token).is_none_or(|hook| hook.room != room) {
                    return Err(NotFound);
                }
                self.hooks.remove(token);
                Ok(format!("placed {room} {} false", self.rooms[room].last_seq))
            }
            Command::FileBegin(FileBegin { file_id, to, file, .. }) => {
                self.begin_file(user, &room_of(user, to), file_id.0[0], file.size)
            }
            Command::FileChunk(FileChunk { file_id, offset, bytes }) => {
                self.chunk(user, file_id.0[0], *offset, bytes.len() as u64)
            }
            Command::FileEnd(FileEnd { file_id, .. }) => {
                let file = self.files.get_mut(&file_id.0[0]).filter(|file| file.uploader == user);
                let file = file.ok_or(NotFound)?;
                if !file.whole && file.received < file.size {
                    return Err(BadRequest);
                }
                file.whole = true;
                Ok(format!("file {}", file.size))
            }
            Command::RenameRoom(RenameRoom { room, name }) => {
                self.rename_room(user, room.as_str(), name.as_str())
            }
            Command::DeleteRoom(DeleteRoom { room }) => self.delete_room(user, room.as_str()),
            Command::GuestLogin(GuestLogin) => unreachable!("it was dealt with above"),
            Command::FileDelete(FileDelete { file_id }) => self.delete_file(user, file_id.0[0]),
            other => self.moderate(user, other),
        }
    }

    fn user(&mut self, name: &str) -> &mut MUser {
        let new = MUser { kind: Kind::Guest, admin: false, banned: None, blocked: BTreeSet::new() };
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
}
