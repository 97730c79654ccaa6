//! A client with a current room: carries out what is typed.

use std::io;

use crate::{
    client::{Client, ClientConfig, io::Question},
    protocol::{RoomName, UserName, request::HistoryRange},
};

use super::{
    options::Settings,
    typed::{HELP, Typed},
};

/// A client and the rooms somebody has joined with it.
pub struct Session {
    /// The client.
    pub client: Client,
    /// Who it is.
    pub user: UserName,
    /// The joined rooms, the one written to last.
    rooms: Vec<RoomName>,
    next_tag: u64,
}

/// What became of something that was typed.
pub enum Outcome {
    /// Nothing to wait for.
    Nothing,
    /// A message is on its way, under this id.
    Sent(String),
    /// A room is being joined or left.
    Moving(RoomName),
    /// A question is on its way, under this tag.
    Asked(u64),
    /// Something to show.
    Text(&'static str),
    /// The end.
    Quit,
}

impl Session {
    /// Starts a client and joins its rooms.
    pub fn start(settings: &Settings) -> io::Result<Session> {
        let mut config = ClientConfig::new(settings.user.clone());
        config.servers = settings.servers.clone();
        config.outbox_folder = Some(settings.outbox_folder.clone());
        config.history = settings.history;
        let client = Client::connect(config)?;
        let mut session =
            Session { client, user: settings.user.clone(), rooms: settings.rooms.clone(), next_tag: 1 };
        session.rooms.reverse();
        for room in &settings.rooms {
            session.client.join(room)?;
        }
        Ok(session)
    }

    /// The room that is written to.
    pub fn current_room(&self) -> Option<&RoomName> {
        self.rooms.last()
    }

    /// Carries out what was typed. The outer error ends the client, the inner one is for the typist.
    pub fn carry_out(&mut self, typed: Typed) -> io::Result<Result<Outcome, String>> {
        let done = match typed {
            Typed::Nothing => Outcome::Nothing,
            Typed::Say(body) => match self.current_room() {
                Some(room) => Outcome::Sent(self.client.send(room, &body)?),
                None => return Ok(Err("you are in no room: /join one first".into())),
            },
            Typed::Join(room) => {
                self.rooms.retain(|joined| joined.key() != room.key());
                self.client.join(&room)?;
                self.rooms.push(room.clone());
                Outcome::Moving(room)
            }
            Typed::Leave(name) => {
                let Some(room) = name.or_else(|| self.current_room().cloned()) else {
                    return Ok(Err("you are in no room".into()));
                };
                self.client.leave(&room)?;
                self.forget(&room);
                Outcome::Moving(room)
            }
            Typed::Who(name) => match name.or_else(|| self.current_room().cloned()) {
                Some(room) => self.ask(Question::Members(room))?,
                None => return Ok(Err("you are in no room: name one".into())),
            },
            Typed::History(limit) => match self.current_room().cloned() {
                Some(room) => self.ask(Question::History { room, range: HistoryRange::Last, limit })?,
                None => return Ok(Err("you are in no room: /join one first".into())),
            },
            Typed::Rooms => self.ask(Question::Rooms)?,
            Typed::Servers => self.ask(Question::Servers)?,
            Typed::MoveTo(address) => {
                self.client.move_to(address)?;
                Outcome::Nothing
            }
            Typed::Help => Outcome::Text(HELP),
            Typed::Quit => Outcome::Quit,
        };
        Ok(Ok(done))
    }

    /// A room is not joined after all.
    pub fn forget(&mut self, room: &RoomName) {
        self.rooms.retain(|joined| joined.key() != room.key());
    }

    fn ask(&mut self, question: Question) -> io::Result<Outcome> {
        let tag = self.next_tag;
        self.next_tag += 1;
        self.client.ask(tag, question)?;
        Ok(Outcome::Asked(tag))
    }
}
