//! A screen without a terminal, a client or a clock, for stories.

use std::{fs, path::Path};

use jiff::tz::TimeZone;
use ratatui::{
    Terminal,
    backend::TestBackend,
    buffer::{Buffer, CellWidth},
    crossterm::event::{KeyCode, KeyEvent, KeyModifiers},
    layout::Size,
};

use crate::{
    client::screen::{
        acts::Input,
        model::{Model, Start, preferences::Preferences},
        news::{News, Wish},
        view::{self, Drawn},
    },
    protocol::{
        Event, EventKind, FileId, FileInfo, Message, RoomName, RoomSummary, UserName, answer::Member,
    },
};

/// 2026-11-28 09:30 UTC.
pub const NOW_MS: u64 = 1_795_858_200_000;
const MINUTE_MS: u64 = 60_000;

pub fn room(name: &str) -> RoomName {
    RoomName::new(name).unwrap()
}

pub fn user(name: &str) -> UserName {
    UserName::new(name).unwrap()
}

/// An event of a room, this many minutes before now.
pub fn event(name: &str, seq: u64, author: &str, minutes: u64, kind: EventKind) -> Event {
    let created_at = NOW_MS - minutes * MINUTE_MS;
    Event { room: room(name), seq, author: user(author), lamport_timestamp: seq, created_at, kind }
}

/// A message; words that begin with `@` are mentions.
pub fn message(name: &str, seq: u64, author: &str, minutes: u64, body: &str) -> Event {
    let mentions =
        body.split_whitespace().filter_map(|word| word.strip_prefix('@')).filter_map(UserName::new);
    let message = Message {
        body: body.into(),
        client_msg_id: format!("{author}-{seq}"),
        mentions: mentions.collect(),
        ..Message::default()
    };
    event(name, seq, author, minutes, EventKind::Message(message))
}

/// The message in `event` after `change`.
pub fn with(mut event: Event, change: impl FnOnce(&mut Message)) -> Event {
    let EventKind::Message(message) = &mut event.kind else { panic!("it is a message") };
    change(message);
    event
}

pub fn file(name: &str, size: u64) -> FileInfo {
    let file_id = FileId::parse(&"0".repeat(32)).unwrap();
    FileInfo { file_id, name: name.into(), size, sha256: "0".repeat(64), content_type: "image/png".into() }
}

pub fn member(name: &str, role: &str, online: bool, away: bool) -> Member {
    Member { username: user(name), role: role.into(), online, away, bot: false, created_by: None }
}

pub fn summary(name: &str, members: u64, last_seq: u64, last_read: u64, unread: u64) -> RoomSummary {
    RoomSummary {
        first_unread: None,
        unread_messages: unread,
        room: room(name),
        room_id: None,
        private: false,
        topic: String::new(),
        members,
        last_seq,
        joined: true,
        invited: false,
        last_read,
        unread,
        mentions: 0,
        role: "member".into(),
        archived: false,
    }
}

/// A model and its wishes.
pub struct World {
    pub model: Model,
    pub wishes: Vec<Wish>,
    now_ms: u64,
}

impl World {
    /// Alice's screen of this size, with no server yet, and the room `lobby` asked for.
    pub fn new(width: u16, height: u16) -> World {
        World::with(width, height, true, Preferences::default())
    }

    pub fn with(width: u16, height: u16, colours: bool, preferences: Preferences) -> World {
        let start = Start {
            user: user("alice"),
            rooms: vec![room("lobby")],
            size: Size::new(width, height),
            zone: TimeZone::UTC,
            colours,
            preferences,
        };
        World { model: Model::new(NOW_MS, start), wishes: vec![], now_ms: NOW_MS }
    }

    /// Alice in a team that works: some rooms, people and messages.
    pub fn team(width: u16, height: u16) -> World {
        World::team_with(World::new(width, height))
    }

    pub fn team_with(mut world: World) -> World {
        world.online();
        let lobby = [
            event("lobby", 1, "bob", 3_000, EventKind::Joined),
            event("lobby", 2, "alice", 2_990, EventKind::Joined),
            message(
                "lobby",
                3,
                "bob",
                1_500,
                "Good morning! The release notes are at https://syncnet.example/notes.",
            ),
            message("lobby", 4, "carol", 1_497, "Thanks, I read them on the train."),
            message(
                "lobby",
                5,
                "carol",
                1_496,
                "One question: what happens to messages while the leader changes?",
            ),
            with(
                message(
                    "lobby",
                    6,
                    "alice",
                    1_490,
                    "They wait, and are sent once a new one is there. Each exactly once.",
                ),
                |message| {
                    message.reply_to = Some(5);
                    message.reactions.insert("👍".into(), vec![user("bob"), user("carol")]);
                    message.reactions.insert("🎉".into(), vec![user("dave")]);
                },
            ),
            with(message("lobby", 7, "dave", 75, "The new logo, in case you want to see it"), |message| {
                message.file = Some(file("logo-final-2.png", 48_300));
            }),
            with(message("lobby", 8, "bob", 30, "I moved the deploy to 14:00"), |message| {
                message.edited = Some(9)
            }),
            event("lobby", 9, "bob", 29, EventKind::Edited { target: 8, body: None }),
            message("lobby", 10, "alice", 12, "Fine with me"),
            message("lobby", 11, "carol", 5, "@alice can you look at the search page before that?"),
            message("lobby", 12, "carol", 4, "No hurry, after lunch is fine"),
        ];
        world.join("lobby", "Tea, coffee and releases", &lobby);
        let dev = [
            event("dev", 1, "alice", 900, EventKind::Joined),
            message("dev", 2, "dave", 50, "main is green again"),
        ];
        world.join("dev", "", &dev);
        let direct = [message("@alice,bob", 1, "bob", 20, "psst: cake in the kitchen")];
        world.join("@alice,bob", "", &direct);
        let rooms = vec![
            RoomSummary { unread: 2, unread_messages: 2, mentions: 1, ..summary("lobby", 5, 12, 10, 2) },
            summary("dev", 3, 2, 1, 1),
            summary("@alice,bob", 2, 1, 0, 1),
            summary("announcements", 120, 40, 40, 0),
        ];
        world.news(News::Rooms { rooms, joined: true });
        let members = vec![
            member("alice", "member", true, false),
            member("bob", "owner", true, false),
            member("carol", "moderator", true, false),
            member("dave", "member", true, true),
            member("erin", "member", false, false),
        ];
        world.news(News::Members { room: room("lobby"), members, first: true });
        world.tick(10_000);
        world.wishes.clear();
        world
    }

    pub fn online(&mut self) {
        self.news(News::LoggedIn { user: user("alice"), administrator: false });
        let (server, text) = ("server1".into(), "connected to server1".into());
        self.news(News::Online { server, text, again: false });
        self.news(News::Leader(Some("server3".into())));
    }

    /// The room is joined with these events as its past.
    pub fn join(&mut self, name: &str, topic: &str, events: &[Event]) {
        let last_seq = events.last().map_or(0, |event| event.seq);
        self.news(News::Joined {
            room: room(name),
            topic: topic.into(),
            last_seq,
            pins: vec![],
            resumed: false,
        });
        for event in events {
            self.news(News::Event { event: Box::new(event.clone()), past: true });
        }
    }

    pub fn handle(&mut self, input: Input) {
        self.model.handle(self.now_ms, input);
        self.wishes.extend(std::iter::from_fn(|| self.model.poll_wish()));
    }

    pub fn news(&mut self, news: News) {
        self.handle(Input::News(news));
    }

    /// Something happens in a room now.
    pub fn happens(&mut self, event: Event) {
        self.news(News::Event { event: Box::new(event), past: false });
    }

    pub fn tick(&mut self, ms: u64) {
        self.now_ms += ms;
        self.handle(Input::Tick);
    }

    pub fn key(&mut self, code: KeyCode) {
        self.handle(Input::Key(KeyEvent::new(code, KeyModifiers::NONE)));
    }

    pub fn ctrl(&mut self, letter: char) {
        self.handle(Input::Key(KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL)));
    }

    pub fn alt(&mut self, letter: char) {
        self.handle(Input::Key(KeyEvent::new(KeyCode::Char(letter), KeyModifiers::ALT)));
    }

    /// Types a text, letter by letter.
    pub fn types(&mut self, text: &str) {
        text.chars().for_each(|letter| self.key(KeyCode::Char(letter)));
    }

    /// The wishes since the last call.
    pub fn take_wishes(&mut self) -> Vec<Wish> {
        std::mem::take(&mut self.wishes)
    }

    /// The screen, drawn by a terminal in memory.
    pub fn draw(&self) -> (Buffer, Drawn) {
        let size = self.model.size;
        let mut terminal = Terminal::new(TestBackend::new(size.width, size.height)).unwrap();
        let mut drawn = Drawn::default();
        terminal
            .draw(|frame| {
                drawn = view::draw(&self.model, frame.buffer_mut());
                if let Some(cursor) = drawn.cursor {
                    frame.set_cursor_position(cursor);
                }
            })
            .unwrap();
        (terminal.backend().buffer().clone(), drawn)
    }

    /// The screen as text, row by row.
    pub fn text(&self) -> String {
        rows(&self.draw().0).join("\n") + "\n"
    }

    /// Compares the screen with the file of this name.
    pub fn compare(&self, name: &str) {
        let (buffer, drawn) = self.draw();
        let mut text = rows(&buffer).join("\n") + "\n---\n";
        match drawn.cursor {
            Some(cursor) => text += &format!("cursor {},{}\n", cursor.x, cursor.y),
            None => text += "no cursor\n",
        }
        for link in &drawn.links {
            text += &format!("link {},{} {} {}\n", link.at.x, link.at.y, link.columns, link.address);
        }
        same(&format!("src/client/screen/tests/snapshots/{name}.txt"), &text);
    }
}

/// Compares a text with what a file of the project says. With `SYNCNET_SNAPSHOTS=write` in the environment
/// the file is written instead: look at the difference before it is committed.
pub fn same(path: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("SYNCNET_SNAPSHOTS").is_some_and(|value| value == "write") {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();
        return;
    }
    let kept = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        kept == text,
        "{path} says:\n{kept}\nbut it is:\n{text}\nIf that is right, run the test with SYNCNET_SNAPSHOTS=write"
    );
}

/// The rows of a picture, without blanks at their ends. The cell under the second half of a wide letter is
/// left out.
pub fn rows(buffer: &Buffer) -> Vec<String> {
    let area = buffer.area();
    (area.top()..area.bottom())
        .map(|y| {
            let (mut row, mut covered) = (String::new(), 0);
            for x in area.left()..area.right() {
                let symbol = buffer[(x, y)].symbol();
                if x >= covered {
                    row.push_str(symbol);
                    covered = x + symbol.cell_width();
                }
            }
            row.trim_end().to_owned()
        })
        .collect()
}

pub fn sends(wishes: &[Wish]) -> Vec<(&str, &str)> {
    let sends = wishes.iter().filter_map(|wish| match wish {
        Wish::Send { room, body, .. } => Some((room.as_str(), body.as_str())),
        _ => None,
    });
    sends.collect()
}

pub fn current(world: &World) -> String {
    world.model.current_room().unwrap().title().to_owned()
}
