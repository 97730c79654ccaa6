//! How long the full-screen client takes from a key to the next picture, in a room of ten thousand messages.
//!
//! `cargo bench --bench screen -- [MESSAGES]`; it needs no cluster and no terminal: pictures are drawn into
//! memory, in two sizes. The goal is one frame of a screen with 60 pictures a second, 16 ms.

use std::{
    env,
    time::{Duration, Instant},
};

use jiff::tz::TimeZone;
use ratatui::{
    Terminal,
    backend::TestBackend,
    crossterm::event::{KeyCode, KeyEvent, KeyModifiers},
    layout::Size,
};
use syncnet::{
    client::screen::{
        acts::Input,
        model::{Model, Start, preferences::Preferences},
        news::News,
        view,
    },
    protocol::{Event, EventKind, Message, RoomId, RoomName, RoomSummary, UserName, answer::Member},
};

const NOW_MS: u64 = 1_795_858_200_000;
/// Members of the room, and other rooms beside it.
const PEOPLE: u64 = 200;
/// How often each key is pressed.
const PRESSES: usize = 300;

fn main() {
    // Cargo gives an argument of its own.
    let messages = env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(10_000);
    for size in [Size::new(80, 24), Size::new(220, 70)] {
        println!("{} x {} characters, {messages} messages, {PEOPLE} rooms", size.width, size.height);
        let mut terminal =
            Terminal::new(TestBackend::new(size.width, size.height)).expect("memory never fails");
        let mut model = filled(size, messages);
        let none = KeyModifiers::NONE;
        for (what, code, modifiers) in [
            ("a letter", KeyCode::Char('x'), none),
            ("Ctrl-C, the input is empty", KeyCode::Char('c'), KeyModifiers::CONTROL),
            ("PgUp", KeyCode::PageUp, none),
            ("PgDn", KeyCode::PageDown, none),
            ("Ctrl-S, select", KeyCode::Char('s'), KeyModifiers::CONTROL),
            ("Alt-↓, another room", KeyCode::Down, KeyModifiers::ALT),
        ] {
            let mut times: Vec<Duration> = (0..PRESSES)
                .map(|_| {
                    let began = Instant::now();
                    model.handle(NOW_MS, Input::Key(KeyEvent::new(code, modifiers)));
                    while model.poll_wish().is_some() {}
                    terminal
                        .draw(|frame| drop(view::draw(&model, frame.buffer_mut())))
                        .expect("memory never fails");
                    began.elapsed()
                })
                .collect();
            times.sort_unstable();
            let ms = |at: usize| times[at].as_secs_f64() * 1_000.0;
            let (median, most) = (ms(PRESSES / 2), ms(PRESSES - 1));
            let verdict = if most < 16.0 { "within" } else { "OVER" };
            println!("  {what:<28} median {median:>7.3} ms, longest {most:>7.3} ms, {verdict} 16 ms");
        }
    }
}

fn room(number: u64) -> RoomName {
    RoomName::new(&format!("room-{number}")).expect("letters and digits make a name")
}

fn user(number: u64) -> UserName {
    UserName::new(&format!("user-{number}")).expect("letters and digits make a name")
}

/// A screen with everything there is.
fn filled(size: Size, messages: u64) -> Model {
    let start = Start {
        user: user(0),
        rooms: vec![room(0)],
        size,
        zone: TimeZone::UTC,
        colours: true,
        preferences: Preferences::default(),
    };
    let mut model = Model::new(NOW_MS, start);
    let mut tell = |news| {
        model.handle(NOW_MS, Input::News(news));
        while model.poll_wish().is_some() {}
    };
    tell(News::Online { server: "server1".into(), text: String::new(), again: false });
    tell(News::Joined {
        room: room(0),
        topic: "everything".into(),
        last_seq: messages,
        pins: vec![],
        resumed: false,
    });
    for seq in 1..=messages {
        let words =
            "Words of a usual length, @user-3, with https://example.com/an/address and 漢字 in between. ";
        let body = words.repeat(1 + (seq % 3) as usize);
        let kind = EventKind::Message(Message { body, client_msg_id: seq.to_string(), ..Message::default() });
        let created_at = NOW_MS - (messages - seq) * 40_000;
        let author = user(seq % PEOPLE);
        let event = Event { room: room(0), seq, author, lamport_timestamp: seq, created_at, kind };
        tell(News::Event { event: Box::new(event), past: true });
    }
    let rooms = (0..PEOPLE).map(|number| RoomSummary {
        room: room(number),
        room_id: Some(RoomId(number)),
        private: false,
        topic: String::new(),
        members: PEOPLE,
        last_seq: messages,
        joined: true,
        invited: false,
        last_read: messages / 2,
        unread: messages / 2,
        unread_messages: messages / 2,
        first_unread: Some(messages / 2 + 1),
        mentions: 0,
        role: "member".into(),
        archived: false,
    });
    tell(News::Rooms { rooms: rooms.collect(), joined: true });
    let member = |number| {
        let (role, online, away) = ("member".into(), true, false);
        Member { username: user(number), role, online, away, bot: false, created_by: None }
    };
    tell(News::Members { room: room(0), members: (0..PEOPLE).map(member).collect(), first: true });
    model
}
