//! A client with a current room: carries out what is typed.

use std::{io, sync::Arc};

use crate::{
    client::{Client, ClientConfig, ask::TargetedRequest, login::Login},
    protocol::{RoomName, UserName},
};

use super::{
    input,
    mistake::Mistake,
    notes::Notes,
    options::Settings,
    secrets::Secrets,
    typed::{Say, Typed},
};

/// A client and the rooms that its user has joined.
pub struct Session {
    pub client: Client,
    pub user: UserName,
    pub notes: Arc<Notes>,
    settings: Settings,
    /// The joined rooms, the current one at the end.
    rooms: Vec<RoomName>,
    next_tag: u64,
    /// How often this client has logged in anew.
    pub logins: u64,
}

/// The outcome of a typed line.
pub enum Outcome {
    /// Nothing to wait for.
    Nothing,
    /// A message is on its way, under this id.
    Sent(String),
    /// A room is being joined or left.
    Moving(RoomName),
    /// A request is on its way, under this tag.
    Asked(u64),
    /// A login is on its way.
    LoggingIn,
    /// The client is another one, of another user.
    Restarted,
    Text(String),
    Quit,
}

fn start(settings: &Settings, user: &UserName, login: Login) -> io::Result<Client> {
    let mut config = ClientConfig::new(user.clone());
    config.login = login;
    config.servers = settings.servers.clone();
    config.outbox_folder = Some(settings.outbox_folder.clone());
    config.history = settings.history;
    config.trust = settings.trust.clone();
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
        // The first room becomes the current one, so it is joined last.
        self.rooms.iter().rev().try_for_each(|room| self.client.join(room))
    }

    pub fn current_room(&self) -> Option<&RoomName> {
        self.rooms.last()
    }

    /// `room` becomes the current room, whether it is joined or not.
    pub fn turn_to(&mut self, room: &RoomName) {
        self.forget(room);
        self.rooms.push(room.clone());
    }

    /// Reads and carries out a line. The outer error ends the client, the inner one is for the typist.
    pub fn take(&mut self, line: &str, secrets: &mut dyn Secrets) -> io::Result<Result<Outcome, Mistake>> {
        match input::read(line, self.current_room(), secrets) {
            Ok(typed) => self.carry_out(typed, line),
            Err(mistake) => Ok(Err(mistake)),
        }
    }

    /// Carries out what was typed as `line`. The outer error ends the client, the inner one is for the
    /// typist.
    pub fn carry_out(&mut self, typed: Typed, line: &str) -> io::Result<Result<Outcome, Mistake>> {
        Ok(Ok(match typed {
            Typed::Nothing => Outcome::Nothing,
            Typed::Say(Say { to, body, reply_to }) => {
                let room = match to {
                    Some(user) => RoomName::direct(&self.user, &user),
                    None => match self.current_room() {
                        Some(room) => room.clone(),
                        None => return Ok(Err(Mistake::NoRoom)),
                    },
                };
                Outcome::Sent(match reply_to {
                    None => self.client.send(&room, &body)?,
                    Some(target) => self.client.reply(&room, target, &body)?,
                })
            }
            Typed::Enter { room, private, password } => {
                self.client.enter(&room, private, password)?;
                self.turn_to(&room);
                Outcome::Moving(room)
            }
            Typed::Leave(room) => {
                self.client.leave(&room)?;
                self.forget(&room);
                Outcome::Moving(room)
            }
            Typed::Ask(ask) => self.ask(*ask, line)?,
            Typed::More => match self.notes.next_page() {
                Ok(request) => self.ask(request, line)?,
                Err(mistake) => return Ok(Err(mistake)),
            },
            Typed::LogIn(name, login) => self.log_in(name, login)?,
            Typed::Send(room, path) => {
                let tag = self.tag(line);
                if let Err(error) = self.client.upload(tag, &room, &path)? {
                    return Ok(Err(error.into()));
                }
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
        }))
    }

    fn ask(&mut self, ask: impl Into<TargetedRequest>, line: &str) -> io::Result<Outcome> {
        let (tag, ask) = (self.tag(line), ask.into());
        self.notes.may_go_on(tag, ask.request());
        self.client.ask(tag, ask)?;
        Ok(Outcome::Asked(tag))
    }

    /// Logs in. Another user has another outbox, and so another client.
    fn log_in(&mut self, name: Option<UserName>, login: Login) -> io::Result<Outcome> {
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

    /// Leaves out direct conversations of the former user, which the new one could not join.
    fn leave_other_conversations(&mut self) {
        let key = self.user.key();
        self.rooms.retain(|room| {
            room.direct_pair().is_none_or(|(one, other)| one.key() == key || other.key() == key)
        });
        if self.rooms.is_empty() {
            self.rooms = self.settings.rooms.iter().rev().cloned().collect();
        }
    }

    /// Rooms have other names: what is typed goes there.
    pub fn rename(&mut self) {
        for renamed in self.notes.take_renamed() {
            for room in &mut self.rooms {
                if let Some(name) = renamed.of(room) {
                    *room = name.clone();
                }
            }
        }
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
}
