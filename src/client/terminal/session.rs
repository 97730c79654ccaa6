//! A client with a current room: carries out what is typed.

use std::{io, sync::Arc};

use crate::{
    client::{
        Client, ClientConfig,
        change::Change,
        io::Question,
        login::{Login, Secret},
    },
    protocol::{RoomName, UserName},
};

use super::{
    notes::Notes,
    options::Settings,
    typed::{Account, Administration, Deed, Entry, Query, Typed},
};

/// Which password is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The user's own.
    Own,
    /// The user's own, or nothing for a guest.
    Login,
    /// The one that the user chooses for a new account.
    Chosen,
    /// The one that the user chooses in the place of another.
    Next,
    /// That of a room.
    Room,
    /// The one that is chosen for a room.
    RoomChosen,
}

/// Where passwords come from: the terminal, or what a script has set.
pub trait Secrets {
    /// The password; the error is a sentence.
    fn secret(&mut self, wanted: Wanted) -> Result<Secret, String>;
}

/// A client and the rooms somebody has joined with it.
pub struct Session {
    /// The client.
    pub client: Client,
    /// Who it is.
    pub user: UserName,
    /// What was seen.
    pub notes: Arc<Notes>,
    settings: Settings,
    /// The joined rooms, the one written to last.
    rooms: Vec<RoomName>,
    next_tag: u64,
    /// How often this client has logged in anew.
    pub logins: u64,
}

/// What became of something that was typed.
pub enum Outcome {
    /// Nothing to wait for.
    Nothing,
    /// A message is on its way, under this id.
    Sent(String),
    /// A room is being joined or left.
    Moving(RoomName),
    /// Something is asked, under this tag.
    Asked(u64),
    /// A login is on its way.
    LoggingIn,
    /// The client is another one, of another user.
    Restarted,
    /// Something to show.
    Text(String),
    /// The end.
    Quit,
}

fn start(settings: &Settings, user: &UserName, login: Login) -> io::Result<Client> {
    let mut config = ClientConfig::new(user.clone());
    config.login = login;
    config.servers = settings.servers.clone();
    config.outbox_folder = Some(settings.outbox_folder.clone());
    config.history = settings.history;
    Client::connect(config)
}

impl Session {
    /// Starts a client and joins its rooms.
    pub fn start(settings: &Settings) -> io::Result<Session> {
        let client = start(settings, &settings.user, settings.login.clone())?;
        let mut rooms = settings.rooms.clone();
        rooms.reverse();
        let session = Session {
            client,
            user: settings.user.clone(),
            notes: Arc::default(),
            settings: settings.clone(),
            rooms,
            next_tag: 1,
            logins: 0,
        };
        session.join_all()?;
        Ok(session)
    }

    fn join_all(&self) -> io::Result<()> {
        // The first is written to, and so is the last here.
        self.rooms.iter().rev().try_for_each(|room| self.client.join(room))
    }

    /// The room that is written to.
    pub fn current_room(&self) -> Option<&RoomName> {
        self.rooms.last()
    }

    /// Carries out what was typed as `line`. The outer error ends the client, the inner one is for the typist.
    pub fn carry_out(
        &mut self,
        typed: Typed,
        line: &str,
        secrets: &mut dyn Secrets,
    ) -> io::Result<Result<Outcome, String>> {
        match self.try_to(typed, line, secrets) {
            Ok(outcome) => Ok(Ok(outcome)),
            Err(Failure::Typist(reason)) => Ok(Err(reason)),
            Err(Failure::Client(error)) => Err(error),
        }
    }

    fn try_to(&mut self, typed: Typed, line: &str, secrets: &mut dyn Secrets) -> Result<Outcome, Failure> {
        Ok(match typed {
            Typed::Nothing => Outcome::Nothing,
            Typed::Say { reply_to, body } => {
                let room = self.room()?;
                let id = match reply_to {
                    None => self.client.send(&room, &body)?,
                    Some(target) => self.client.reply(&room, target, &body)?,
                };
                Outcome::Sent(id)
            }
            Typed::Message(user, text) => Outcome::Sent(self.client.send_to(&self.user, &user, &text)?),
            Typed::Join(room, entry) => self.enter(room, false, entry, Wanted::Room, secrets)?,
            Typed::Create(room, private, entry) => {
                self.enter(room, private, entry, Wanted::RoomChosen, secrets)?
            }
            Typed::Leave(name) => {
                let room = name.map_or_else(|| self.room(), Ok)?;
                self.client.leave(&room)?;
                self.forget(&room);
                Outcome::Moving(room)
            }
            Typed::InRoom(deed) => {
                let change = self.deed(deed, secrets)?;
                self.change(line, change)?
            }
            Typed::Account(account) => self.account(account, line, secrets)?,
            Typed::Ask(query) => {
                let question = self.question(query)?;
                let tag = self.tag(line);
                self.notes.may_go_on(tag, &question);
                self.client.ask(tag, question)?;
                Outcome::Asked(tag)
            }
            Typed::DeleteFile(file_id) => self.change(line, Change::delete_file(file_id))?,
            Typed::Administer(user, what) => {
                let change = administer(&user, what, secrets)?;
                self.change(line, change)?
            }
            Typed::Send(path) => {
                let (room, tag) = (self.room()?, self.tag(line));
                self.client.upload(tag, &room, &path)?.map_err(Failure::Typist)?;
                Outcome::Asked(tag)
            }
            Typed::Get(file_id, to) => {
                let tag = self.tag(line);
                self.client.download(tag, file_id, to)?;
                Outcome::Asked(tag)
            }
            Typed::MoveTo(address) => {
                self.client.move_to(address)?;
                Outcome::Nothing
            }
            Typed::Help => Outcome::Text(super::commands::help()),
            Typed::Quit => Outcome::Quit,
        })
    }

    fn enter(
        &mut self,
        room: RoomName,
        private: bool,
        entry: Entry,
        wanted: Wanted,
        secrets: &mut dyn Secrets,
    ) -> Result<Outcome, Failure> {
        let password = match entry {
            Entry::Open => None,
            Entry::Password(password) => Some(password),
            Entry::Ask => Some(secrets.secret(wanted)?),
        };
        self.rooms.retain(|joined| joined.key() != room.key());
        self.client.enter(&room, private, password)?;
        self.rooms.push(room.clone());
        Ok(Outcome::Moving(room))
    }

    fn deed(&self, deed: Deed, secrets: &mut dyn Secrets) -> Result<Change, Failure> {
        let room = self.room()?;
        Ok(match deed {
            Deed::Edit(target, body) => Change::edit(&room, target, &body),
            Deed::Delete(target) => Change::delete(&room, target),
            Deed::React(target, emoji, remove) => Change::react(&room, target, &emoji, remove),
            Deed::Topic(topic) => Change::topic(&room, &topic),
            Deed::Moderate(what, user, seconds) => Change::moderate(what, &room, &user, seconds),
            Deed::Role(user, role) => Change::set_role(&room, &user, &role),
            Deed::Settings(mut settings) => {
                settings["room"] = room.to_string().into();
                Change::new("room_settings", settings)
            }
            Deed::Password(false) => Change::room_password(&room, None),
            Deed::Password(true) => Change::room_password(&room, Some(&secrets.secret(Wanted::RoomChosen)?)),
            Deed::Read => Change::mark_read(&room, None),
            Deed::AddHook(user) => Change::create_hook(&room, &user),
            Deed::DeleteHook(hook_id) => Change::delete_hook(&room, &hook_id),
        })
    }

    fn account(
        &mut self,
        account: Account,
        line: &str,
        secrets: &mut dyn Secrets,
    ) -> Result<Outcome, Failure> {
        let change = match account {
            Account::Register(name) => {
                let password = secrets.secret(Wanted::Chosen)?;
                return self.log_in(name, Login::by_registering(password));
            }
            Account::Login(name) => {
                let password = secrets.secret(Wanted::Login)?;
                let is_guest = password.expose().is_empty();
                let login = if is_guest { Login::default() } else { Login::by_password(password) };
                return self.log_in(name, login);
            }
            Account::Logout(everywhere) => Change::logout(everywhere),
            Account::Password => {
                let old = secrets.secret(Wanted::Own)?;
                Change::change_password(&old, &secrets.secret(Wanted::Next)?)
            }
            Account::Close => Change::close_account(&secrets.secret(Wanted::Own)?),
            Account::Away(away) => Change::presence(away),
            Account::Bot(user) => Change::create_bot(&user),
        };
        self.change(line, change)
    }

    /// Logs in. Somebody else has another outbox, and so another client.
    fn log_in(&mut self, name: Option<UserName>, login: Login) -> Result<Outcome, Failure> {
        match name.filter(|name| name.key() != self.user.key()) {
            None => {
                // After a logout the rooms are as they were left: joining them again is harmless.
                self.client.log_in(login)?;
                self.logins += 1;
                self.join_all()?;
                Ok(Outcome::LoggingIn)
            }
            Some(user) => {
                self.client = start(&self.settings, &user, login)?;
                self.user = user;
                self.logins = 0;
                self.notes.restarted();
                self.leave_other_conversations();
                self.join_all()?;
                Ok(Outcome::Restarted)
            }
        }
    }

    /// Conversations of others are nothing that the present user could join.
    fn leave_other_conversations(&mut self) {
        let key = self.user.key();
        self.rooms.retain(|room| {
            room.direct_pair().is_none_or(|(one, other)| one.key() == key || other.key() == key)
        });
        if self.rooms.is_empty() {
            self.rooms = self.settings.rooms.iter().rev().cloned().collect();
        }
    }

    fn question(&self, query: Query) -> Result<Question, Failure> {
        Ok(match query {
            Query::Rooms => Question::Rooms { joined: false, after: None },
            Query::Unread => Question::Rooms { joined: true, after: None },
            Query::Who(name) => {
                Question::Members { room: name.map_or_else(|| self.room(), Ok)?, after: None }
            }
            Query::History(range, limit) => Question::History { room: self.room()?, range, limit },
            Query::Search(search) => Question::Search(search),
            Query::More => self.notes.next_page()?,
            Query::Hooks => Question::Hooks(self.room()?),
            Query::Users => Question::Users { after: None },
            Query::Servers => Question::Servers,
        })
    }

    fn room(&self) -> Result<RoomName, Failure> {
        let none = || Failure::Typist("you are in no room: /join one first".into());
        self.current_room().cloned().ok_or_else(none)
    }

    /// A room is not joined after all.
    pub fn forget(&mut self, room: &RoomName) {
        self.rooms.retain(|joined| joined.key() != room.key());
    }

    fn tag(&mut self, line: &str) -> u64 {
        let tag = self.next_tag;
        self.next_tag += 1;
        let what =
            if Typed::is_secret(line) { line.split_whitespace().next().unwrap_or_default() } else { line };
        self.notes.asked(tag, what.trim());
        tag
    }

    fn change(&mut self, line: &str, change: Change) -> Result<Outcome, Failure> {
        let tag = self.tag(line);
        self.client.change(tag, change)?;
        Ok(Outcome::Asked(tag))
    }
}

/// What an administrator does to the account of `user`.
fn administer(user: &UserName, what: Administration, secrets: &mut dyn Secrets) -> Result<Change, String> {
    Ok(match what {
        Administration::Ban(seconds) => Change::ban_from_cluster(user, seconds),
        Administration::Unban => Change::unban_from_cluster(user),
        Administration::Password => Change::set_password(user, &secrets.secret(Wanted::Next)?),
        Administration::Admin(admin) => Change::set_admin(user, admin),
        Administration::Delete => Change::delete_account(user),
    })
}

/// Why something that was typed was not carried out.
enum Failure {
    /// For the typist.
    Typist(String),
    /// The client has ended.
    Client(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Client(error)
    }
}

impl From<String> for Failure {
    fn from(reason: String) -> Self {
        Failure::Typist(reason)
    }
}
