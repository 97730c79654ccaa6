//! The one place at which the screen uses the client library: its updates become [`News`], a [`Wish`] becomes
//! calls.

use std::{collections::BTreeMap, io, time::Duration};

use crossbeam_channel::Receiver;

use crate::{
    client::{
        ask::{Outcome, Reply, TargetedRequest},
        connection::Whisper,
        login::Secret,
        outbox::Message,
        own::Target,
        terminal::{
            answer, input,
            mistake::Mistake,
            options::Settings,
            paths,
            secrets::{NoSecret, PasswordKind, Secrets},
            session::{self, Session},
            show,
            typed::Typed,
        },
        update::{Connection, Update},
    },
    protocol::{
        Answer, Request, RoomName, UserName,
        request::{History, Kind, Members, Rooms},
    },
};

use super::news::{News, Wish};

/// Tags of the screen's own requests begin here; those of typed commands are below.
const TAGS: u64 = 1 << 32;
/// Events that are asked for when a room is joined.
const HISTORY: usize = 60;

/// Passwords that were typed for a command, one after the other.
struct TypedPasswords(std::vec::IntoIter<String>);

impl Secrets for TypedPasswords {
    fn secret(&mut self, wanted: PasswordKind) -> Result<Secret, NoSecret> {
        self.0.next().map(Secret::new).ok_or(NoSecret::Needed(wanted))
    }
}

/// A session of the client library, as the screen sees it.
pub struct ScreenSession {
    session: Session,
    /// The numbers of searches, by their tags.
    searches: BTreeMap<u64, u64>,
    next_tag: u64,
}

impl ScreenSession {
    pub fn start(settings: &Settings) -> io::Result<ScreenSession> {
        let settings = Settings { history: HISTORY, ..settings.clone() };
        let session = Session::start(&settings)?;
        Ok(ScreenSession { session, searches: BTreeMap::new(), next_tag: TAGS })
    }

    pub fn user(&self) -> &UserName {
        &self.session.user
    }

    /// The updates of the client; another channel after a login as another user.
    pub fn updates(&self) -> Receiver<Update> {
        self.session.client.updates().clone()
    }

    /// What was asked for and is not answered yet.
    pub fn unanswered(&self) -> Vec<String> {
        self.session.notes.take_waiting(Duration::ZERO)
    }

    /// The messages of earlier runs that still wait.
    pub fn restored(&self) -> Vec<News> {
        self.session.client.restored().iter().map(queued).collect()
    }

    /// The news for the screen in an update.
    pub fn news(&mut self, update: Update) -> io::Result<Vec<News>> {
        self.session.notes.note(&update);
        self.session.rename();
        Ok(match update {
            Update::Connection(connection @ Connection::Up { .. }) => {
                let text = connection.to_string();
                let Connection::Up { server_id: server, before, .. } = connection else { return Ok(vec![]) };
                vec![News::Online { server, text, again: before.is_some() }]
            }
            Update::Connection(Connection::Down { reason, no_majority }) => {
                vec![News::Offline { reason, no_majority }]
            }
            Update::Retry { in_ms } => vec![News::Retry { in_ms }],
            Update::Servers(list) => {
                let leader = list.servers.into_iter().find(|server| server.is_leader);
                vec![News::Leader(leader.map(|server| server.server_id.to_string()))]
            }
            Update::LoggedIn { username, administrator, .. } => {
                vec![News::LoggedIn { user: username, administrator }]
            }
            Update::LoginNeeded { refusal, wanted, .. } => {
                vec![News::LoginNeeded { reason: refusal.reason, wanted }]
            }
            Update::Joined { room, topic, last_seq, pins, resumed, .. } => {
                vec![News::Joined { room, topic, last_seq, pins, resumed }]
            }
            Update::Left { room } => vec![News::Left(room)],
            Update::Renamed(renamed) => vec![News::Renamed(renamed)],
            Update::RoomRefused { room, refusal } => {
                self.session.forget(&room);
                vec![News::RoomRefused { room, reason: refusal.reason }]
            }
            Update::RoomRestarted { room } => vec![News::RoomRestarted(room)],
            Update::Restored => vec![News::Restored],
            Update::Event { event, past } => vec![News::Event { event, past }],
            Update::Unreadable { room, seq, .. } => vec![News::Unreadable { room, seq }],
            Update::Queued { message, .. } => vec![queued(&message)],
            Update::Acked { message, seq, .. } => {
                vec![News::Acked { room: message.room, client_msg_id: message.client_msg_id, seq }]
            }
            Update::Refused { message, refusal, uncertain } => {
                let maybe = if uncertain { "; an earlier attempt may have succeeded" } else { "" };
                let Message { client_msg_id, room, body, .. } = message;
                vec![News::Refused {
                    room,
                    client_msg_id,
                    body,
                    reason: format!("{}{maybe}", refusal.reason),
                }]
            }
            Update::Typing { room, username } => vec![News::Typing { room, user: username }],
            Update::ReadElsewhere { room, seq, unread, mentions } => {
                vec![News::ReadElsewhere { room, seq, unread, mentions }]
            }
            Update::Presence { username, state } => vec![News::Presence { user: username, state }],
            Update::Invitation { room, by, invited } => vec![News::Invitation { room, by, invited }],
            Update::Stopped { reason } => vec![News::Stopped { reason }],
            Update::Answered { tag, reply } if tag >= TAGS => self.answered(tag, *reply)?,
            Update::Answered { tag, .. }
            | Update::Uploaded { tag, .. }
            | Update::Downloaded { tag, .. }
            | Update::TransferFailed { tag, .. } => {
                let title = self.session.notes.answered(tag);
                let mut lines = show::lines(&update, self.session.current_room(), &title);
                lines.extend(answer::hint(&update).map(str::to_owned));
                vec![News::Said { title, lines }]
            }
        })
    }

    /// The outcome of the screen's own request. A list or a page is used; for the rest, only a refusal is
    /// told.
    fn answered(&mut self, tag: u64, reply: Reply) -> io::Result<Vec<News>> {
        let next = reply.next();
        self.session.notes.answered(tag);
        let search = self.searches.remove(&tag);
        Ok(match (reply.request, reply.outcome) {
            (Request::History(History { room, range, .. }), Outcome::Done(Answer::History(page))) => {
                let read = page.events.iter().filter_map(|event| serde_json::from_str(event.get()).ok());
                let (events, last_seq, more) = (read.collect(), page.last_seq, next.is_some());
                vec![News::History { room, range, events, last_seq, more }]
            }
            (Request::Rooms(Rooms { joined, .. }), Outcome::Done(Answer::Rooms(list))) => {
                self.go_on(next)?;
                vec![News::Rooms { rooms: list.rooms, joined }]
            }
            (Request::Members(Members { room, after, .. }), Outcome::Done(Answer::Members(list))) => {
                self.go_on(next)?;
                vec![News::Members { room, members: list.members, first: after.is_none() }]
            }
            (Request::Search(asked), outcome) => {
                let Some(search) = search else { return Ok(vec![]) };
                vec![match outcome {
                    Outcome::Done(Answer::Search(page)) => {
                        News::Found { search, hits: page.hits, span: answer::span(&asked) }
                    }
                    Outcome::Refused(refusal) => News::SearchFailed { search, reason: refusal.reason },
                    Outcome::Done(_) | Outcome::Unknown => {
                        News::SearchFailed { search, reason: "the search was not answered".into() }
                    }
                }]
            }
            (Request::History(History { room, .. }), Outcome::Refused(refusal))
                if !refusal.code.retryable() =>
            {
                vec![News::HistoryRefused { room, reason: refusal.reason }]
            }
            // The lists of rooms and members are requested again anyway.
            (Request::Rooms(_) | Request::Members(_), _) | (_, Outcome::Done(_)) => vec![],
            (request, outcome) => {
                let lines = answer::lines("", &Reply { request, outcome });
                let lines = lines.iter().map(|line| show::harmless(line).into_owned()).collect();
                vec![News::Said { title: String::new(), lines }]
            }
        })
    }

    fn go_on(&mut self, next: Option<Request>) -> io::Result<()> {
        next.map_or(Ok(()), |next| self.ask(next).map(drop))
    }

    /// Carries out what concerns the client; the rest is given back.
    pub fn carry_out(&mut self, wish: Wish) -> io::Result<Result<Vec<News>, Wish>> {
        match wish {
            Wish::Send { room, body, reply_to: None } => drop(self.session.client.send(&room, &body)?),
            Wish::Send { room, body, reply_to: Some(seq) } => {
                self.session.client.reply(&room, Target::Seq(seq), &body)?;
            }
            Wish::Ask(request) => {
                let what = (request.kind() == Kind::Write).then(|| request.msg_type());
                let tag = self.ask(request)?;
                if let Some(what) = what {
                    self.session.notes.asked(tag, what);
                    return Ok(Ok(vec![News::Asked]));
                }
            }
            Wish::Join(room) => self.session.client.join(&room)?,
            Wish::Search { search, text } => {
                let read =
                    input::read(&format!("/search {text}"), None, &mut TypedPasswords(vec![].into_iter()));
                match read {
                    Ok(Typed::Ask(ask)) => {
                        let tag = self.ask(*ask)?;
                        self.searches.insert(tag, search);
                    }
                    Ok(_) => {}
                    Err(mistake) => {
                        return Ok(Ok(vec![News::SearchFailed { search, reason: mistake.to_string() }]));
                    }
                }
            }
            Wish::Read { room, seq } => self.whisper(|whisper| whisper.read(&room, seq)),
            Wish::Typing(room) => self.whisper(|whisper| whisper.typing(&room)),
            Wish::Paths { start, text } => {
                let candidates = paths::complete(&text).into_iter().map(|(path, _)| path).collect();
                return Ok(Ok(vec![News::Paths { start, candidates }]));
            }
            Wish::Command { line, room, secrets } => {
                return self.command(&line, room.as_ref(), secrets).map(Ok);
            }
            Wish::Keep(_)
            | Wish::Editor(_)
            | Wish::Suspend
            | Wish::Repaint
            | Wish::Bell
            | Wish::Notify { .. }
            | Wish::Quit => return Ok(Err(wish)),
        }
        Ok(Ok(vec![]))
    }

    fn ask(&mut self, ask: impl Into<TargetedRequest>) -> io::Result<u64> {
        self.next_tag += 1;
        self.session.client.ask(self.next_tag, ask)?;
        Ok(self.next_tag)
    }

    fn whisper(&self, say: impl FnOnce(&Whisper)) {
        if let Some(whisper) = self.session.client.whisper() {
            say(&whisper);
        }
    }

    /// Carries out a typed command. If a password is missing, it is asked for, and nothing was done yet.
    fn command(
        &mut self,
        line: &str,
        room: Option<&RoomName>,
        secrets: Vec<String>,
    ) -> io::Result<Vec<News>> {
        if let Some(room) = room {
            self.session.turn_to(room);
        }
        let typed = input::read(line, room, &mut TypedPasswords(secrets.clone().into_iter()));
        let (typed, mut news) = match typed {
            Ok(Typed::Help) => return Ok(vec![News::Help]),
            Ok(Typed::Quit) => return Ok(vec![News::Quit]),
            Ok(Typed::Ask(ask)) => match ask.request() {
                Request::Search(_) => {
                    let words = line.split_once(char::is_whitespace).map_or("", |(_, words)| words);
                    return Ok(vec![News::Search(words.trim().to_owned())]);
                }
                Request::MarkRead(read) => return Ok(vec![News::ReadAll(read.room.clone())]),
                _ => (Typed::Ask(ask), vec![]),
            },
            Ok(Typed::Enter { room, private, password }) => {
                let news = vec![News::GoTo(room.clone())];
                (Typed::Enter { room, private, password }, news)
            }
            Ok(typed) => (typed, vec![]),
            Err(Mistake::Secret(NoSecret::Needed(wanted))) => {
                return Ok(vec![News::SecretNeeded { line: line.to_owned(), secrets, wanted }]);
            }
            Err(mistake) => return Ok(vec![wrong(&mistake)]),
        };
        match self.session.carry_out(typed, line)? {
            Ok(session::Outcome::Restarted) => {
                self.searches.clear();
                news.insert(0, News::Restarted(self.session.user.clone()));
            }
            Ok(session::Outcome::Text(text)) => {
                let lines = text.lines().map(str::to_owned).collect();
                news.push(News::Said { title: line.to_owned(), lines });
            }
            Ok(session::Outcome::Asked(_)) => news.push(News::Asked),
            Ok(_) => {}
            Err(mistake) => news = vec![wrong(&mistake)],
        }
        Ok(news)
    }
}

fn wrong(mistake: &Mistake) -> News {
    let line = show::harmless(&format!("! {mistake}")).into_owned();
    News::Said { title: String::new(), lines: vec![line] }
}

fn queued(message: &Message) -> News {
    let Message { client_msg_id, room, body, reply_to, .. } = message.clone();
    let reply_to = if let Some(Target::Seq(seq)) = reply_to { Some(seq) } else { None };
    News::Queued { room, client_msg_id, body, reply_to }
}
