//! Messages on the screen: what is unread, older history, and what is done to one of them.

use ratatui::{
    crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind},
    style::Modifier,
};

use crate::{
    client::screen::{
        acts::Input,
        model::room::{Item, ScrollPosition},
        news::{News, Wish},
    },
    protocol::{
        EventKind, Request,
        answer::{Hit, RoomSummary},
        checked::{Body, Emoji, Seq},
        request::{Delete, Edit, History, HistoryRange, Pin, React, Unpin},
    },
};

use super::world::{World, current, event, message, room, summary, user};

fn reads(wishes: &[Wish]) -> Vec<(&str, u64)> {
    let reads = wishes.iter().filter_map(|wish| match wish {
        Wish::Read { room, seq } => Some((room.as_str(), *seq)),
        _ => None,
    });
    reads.collect()
}

/// The part of a room's history that is wished for.
fn range_of(wish: &Wish) -> Option<HistoryRange> {
    match wish {
        Wish::Ask(Request::History(history)) => Some(history.range),
        _ => None,
    }
}

fn place(seq: u64) -> Seq {
    Seq::try_from(seq).unwrap()
}

#[test]
fn reading_is_what_somebody_does_and_not_what_opens() {
    let mut world = World::team(100, 30);
    // Looking around marks nothing.
    for number in ['4', '2', '1', '3'] {
        world.alt(number);
    }
    world.handle(Input::Key(KeyEvent::new(KeyCode::Down, KeyModifiers::ALT)));
    world.alt('3');
    assert_eq!(reads(&world.take_wishes()), []);
    assert!(world.text().contains("unread from here"));
    // While peeking, not even scrolling does.
    world.alt('p');
    world.key(KeyCode::PageUp);
    world.key(KeyCode::PageDown);
    world.alt('a');
    assert_eq!(reads(&world.take_wishes()), []);
    world.alt('p');
    world.alt('3');
    world.types("x");
    assert_eq!(reads(&world.take_wishes()), [("lobby", 12)]);
    let lobby = world.model.current_room().unwrap();
    assert_eq!((lobby.unread, lobby.mentions), (0, 0));
    assert!(world.text().contains("unread from here"), "the line stays as long as the room is open");
    // What comes while the user does nothing is not read yet.
    world.happens(message("lobby", 13, "bob", 0, "news"));
    assert_eq!(world.model.current_room().unwrap().unread, 1);
    world.ctrl('u');
    assert_eq!(reads(&world.take_wishes()), [("lobby", 13)]);
    world.happens(message("lobby", 14, "bob", 0, "more"));
    world.key(KeyCode::Esc);
    assert_eq!(reads(&world.take_wishes()), [("lobby", 14)]);
    assert!(!world.text().contains("unread from here"));
}

#[test]
fn a_room_opens_at_the_first_unread_message_even_if_that_is_far_back() {
    let mut world = World::new(80, 12);
    world.online();
    let events: Vec<_> =
        (401..=460).map(|seq| message("lobby", seq, "bob", 500 - seq, &format!("m{seq}"))).collect();
    world.join("lobby", "", &events);
    world.take_wishes();
    world.news(News::Rooms { rooms: vec![summary("lobby", 2, 460, 200, 260)], joined: true });
    let asked = world.take_wishes().into_iter().find_map(|wish| match wish {
        Wish::Ask(Request::History(History { range: range @ HistoryRange::After(_), .. })) => Some(range),
        _ => None,
    });
    assert_eq!(asked, Some(HistoryRange::After(200)));
    let page = (201..=300).map(|seq| message("lobby", seq, "bob", 500 - seq, &format!("m{seq}"))).collect();
    let range = HistoryRange::After(200);
    world.news(News::History { room: room("lobby"), range, events: page, last_seq: 460, more: true });
    let text = world.text();
    assert!(text.contains("unread from here") && text.contains("m201") && !text.contains("m460"), "{text}");
    // It counts what was shown, and not more.
    world.key(KeyCode::PageDown);
    let seen = reads(&world.take_wishes()).last().map(|(_, seq)| *seq).unwrap();
    assert!((205..230).contains(&seen), "{seen}");
    // The gap between 300 and 401 is asked for when one comes near.
    (0..16).for_each(|_| world.key(KeyCode::PageDown));
    assert!(world.take_wishes().iter().any(|wish| range_of(wish) == Some(HistoryRange::After(300))));
    assert!(!world.text().contains("m401"), "nothing is passed over unseen");
    world.handle(Input::Key(KeyEvent::new(KeyCode::End, KeyModifiers::CONTROL)));
    assert!(world.text().contains("m460"));
}

#[test]
fn history_goes_on_as_one_scrolls_and_nothing_moves_when_it_comes() {
    let mut world = World::new(80, 14);
    world.online();
    let page = |from: u64, to: u64| {
        (from..=to).map(|seq| message("lobby", seq, "bob", 2_000 - seq, &format!("m{seq}")))
    };
    let events: Vec<_> = page(101, 160).collect();
    world.join("lobby", "", &events);
    let before = |wishes: Vec<Wish>| {
        wishes
            .into_iter()
            .filter_map(|wish| match wish {
                Wish::Ask(Request::History(History { range: HistoryRange::Before(seq), .. })) => Some(seq),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    world.take_wishes();
    (0..5).for_each(|_| world.key(KeyCode::PageUp));
    assert_eq!(before(world.take_wishes()), [101], "asked for once, and before it is needed");
    let shown = world.text();
    let range = HistoryRange::Before(101);
    world.news(News::History {
        room: room("lobby"),
        range,
        events: page(1, 100).collect(),
        last_seq: 160,
        more: false,
    });
    assert_eq!(world.text(), shown);
    (0..40).for_each(|_| world.key(KeyCode::PageUp));
    assert!(world.text().contains("m1\n"), "{}", world.text());
    assert!(before(world.take_wishes()).is_empty(), "the beginning is the beginning");
    // New messages do not move the view, and End goes to them.
    let messages = |world: &World| -> Vec<String> {
        world.text().lines().take(10).map(|line| line.chars().skip(20).collect()).collect()
    };
    let shown = messages(&world);
    world.happens(message("lobby", 161, "bob", 0, "m161"));
    assert_eq!(messages(&world), shown);
    assert!(world.text().contains("new · End"));
    world.key(KeyCode::End);
    assert!(
        world.text().contains("m161") && world.model.current_room().unwrap().at == ScrollPosition::Present
    );
}

#[test]
fn a_selected_message_is_answered_edited_reacted_to_and_deleted() {
    let mut world = World::team(100, 30);
    world.ctrl('s');
    assert_eq!(world.model.current_room().unwrap().selected, Some(Item::Event(12)));
    let marked =
        world.draw().0.content().iter().filter(|cell| cell.modifier.contains(Modifier::REVERSED)).count();
    assert!(marked > 20, "it can be seen");
    world.key(KeyCode::Char('r'));
    world.types("sure");
    assert!(world.text().contains("replying to carol: No hurry"));
    world.key(KeyCode::Enter);
    let wishes = world.take_wishes();
    assert!(wishes.contains(&Wish::Send { room: room("lobby"), body: "sure".into(), reply_to: Some(12) }));
    // Up, past the events without rows, to one's own.
    (0..3).for_each(|_| world.ctrl('s'));
    assert_eq!(world.model.current_room().unwrap().selected, Some(Item::Event(10)));
    world.key(KeyCode::Char('e'));
    world.types("!");
    world.key(KeyCode::Enter);
    let edit = Edit { room: room("lobby"), seq: place(10), body: Body::new("Fine with me!").unwrap() };
    assert!(world.take_wishes().contains(&Wish::Ask(edit.into())));
    world.ctrl('s');
    world.key(KeyCode::Char('e'));
    assert!(world.text().contains("only its author can edit a message"));
    world.key(KeyCode::Char('+'));
    world.key(KeyCode::Char('4'));
    let emoji = Emoji::new("🎉").unwrap();
    let react = |remove| {
        Wish::Ask(React { room: room("lobby"), seq: place(12), emoji: emoji.clone(), remove }.into())
    };
    assert!(world.take_wishes().contains(&react(false)));
    let reaction = EventKind::Reaction { target: 12, emoji: "🎉".into(), remove: false };
    world.happens(event("lobby", 13, "alice", 0, reaction));
    assert!(world.text().contains("🎉 1"));
    world.key(KeyCode::Char('+'));
    world.types("🎉");
    world.key(KeyCode::Enter);
    assert!(world.take_wishes().contains(&react(true)), "the same again takes it back");
    world.key(KeyCode::Char('d'));
    assert!(world.text().contains("Delete this message for everyone?"));
    world.key(KeyCode::Char('y'));
    assert!(world.take_wishes().contains(&Wish::Ask(Delete { room: room("lobby"), seq: place(12) }.into())));
    world.happens(event("lobby", 14, "alice", 0, EventKind::Deleted { target: 12 }));
    assert!(world.text().contains("this message was deleted"));
}

#[test]
fn what_is_offered_is_what_one_may_do() {
    let mut world = World::team(100, 30);
    world.ctrl('s');
    assert!(world.text().contains(" r reply · + react · Esc back "), "{}", world.text());
    let role = EventKind::Role { username: user("alice"), role: "moderator".into() };
    world.happens(event("lobby", 13, "bob", 0, role));
    assert!(world.text().contains(" r reply · + react · p pin · d delete · Esc back "), "{}", world.text());
    let role = EventKind::Role { username: user("alice"), role: "member".into() };
    world.happens(event("lobby", 14, "bob", 0, role));
    assert!(!world.text().contains("d delete"), "{}", world.text());
    // An administrator keeps order in public rooms.
    world.news(News::LoggedIn { user: user("alice"), administrator: true });
    assert!(world.text().contains(" r reply · + react · p pin · d delete · Esc back "), "{}", world.text());
    let secret = RoomSummary { private: true, ..summary("lobby", 5, 14, 14, 0) };
    world.news(News::Rooms { rooms: vec![secret], joined: true });
    assert!(!world.text().contains("d delete"), "{}", world.text());
    world.key(KeyCode::Esc);
    // In a conversation of two both may pin.
    world.alt('4');
    world.ctrl('s');
    assert!(world.text().contains(" r reply · + react · p pin · Esc back "), "{}", world.text());
}

#[test]
fn a_message_is_pinned_and_the_pin_taken_off() {
    let mut world = World::team(100, 30);
    world.ctrl('s');
    world.key(KeyCode::Char('p'));
    let pin = Pin { room: room("lobby"), seq: place(12) };
    assert!(world.take_wishes().contains(&Wish::Ask(pin.into())));
    world.happens(event("lobby", 13, "alice", 0, EventKind::Pinned { target: 12 }));
    assert!(world.text().contains("after lunch is fine (pinned)") && world.text().contains("1 pinned"));
    world.key(KeyCode::Char('p'));
    let unpin = Unpin { room: room("lobby"), seq: place(12) };
    assert!(world.take_wishes().contains(&Wish::Ask(unpin.into())));
    world.happens(event("lobby", 14, "alice", 0, EventKind::Unpinned { target: 12 }));
    assert!(!world.text().contains("pinned)"));
    // A user who joins is told what is pinned; a deleted message is not pinned any more.
    let (topic, last_seq) = (String::new(), 14);
    world.news(News::Joined { room: room("lobby"), topic, last_seq, pins: vec![10], resumed: true });
    assert!(world.text().contains("Fine with me (pinned)"));
    world.happens(event("lobby", 15, "alice", 0, EventKind::Deleted { target: 10 }));
    assert!(!world.text().contains("pinned)"));
}

#[test]
fn what_is_read_on_another_device_is_not_unread_here() {
    let mut world = World::team(100, 30);
    let dev = |world: &World| world.model.rooms[&room("dev").key()].unread;
    assert_eq!(dev(&world), 1);
    world.news(News::ReadElsewhere { room: room("dev"), seq: 2, unread: 0, mentions: 0 });
    assert_eq!(dev(&world), 0);
    // A late report says less, and changes nothing.
    world.news(News::ReadElsewhere { room: room("dev"), seq: 1, unread: 1, mentions: 0 });
    assert_eq!(dev(&world), 0);
    world.happens(message("dev", 3, "bob", 0, "more"));
    assert_eq!(dev(&world), 1);
}

#[test]
fn a_hit_of_a_search_is_shown_in_its_place() {
    let mut world = World::team(100, 30);
    world.ctrl('f');
    world.types("cake in:lobby");
    world.key(KeyCode::Enter);
    let wishes = world.take_wishes();
    let search = wishes.iter().find_map(|wish| match wish {
        Wish::Search { search, text } if text == "cake in:lobby" => Some(*search),
        _ => None,
    });
    let old = message("announcements", 7, "dave", 90_000, "cake on Friday");
    let hit = Hit { event: old.clone(), snippet: "**cake** on Friday".into() };
    world.news(News::SearchFailed { search: search.unwrap() + 9, reason: "of another search".into() });
    world.news(News::Found { search: search.unwrap(), hits: vec![hit], span: None });
    world.key(KeyCode::Enter);
    assert_eq!(current(&world), "announcements");
    let range = world.take_wishes().into_iter().find_map(|wish| match wish {
        Wish::Ask(Request::History(History { range: range @ HistoryRange::After(_), .. })) => Some(range),
        _ => None,
    });
    let events = (1..=40).map(|seq| {
        if seq == 7 { old.clone() } else { message("announcements", seq, "dave", 90_000, &format!("m{seq}")) }
    });
    let (room, range) = (room("announcements"), range.unwrap());
    world.news(News::Joined {
        room: room.clone(),
        topic: String::new(),
        last_seq: 40,
        pins: vec![],
        resumed: false,
    });
    world.news(News::History { room, range, events: events.collect(), last_seq: 40, more: false });
    assert_eq!(world.model.current_room().unwrap().selected, Some(Item::Event(7)));
    assert!(world.text().contains("cake on Friday"));
}

#[test]
fn the_mouse_is_of_use_where_it_is_wanted() {
    let mut world = World::team(100, 30);
    let mouse = |kind, column, row| MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE };
    world.handle(Input::Mouse(mouse(MouseEventKind::Down(MouseButton::Left), 5, 2)));
    assert_eq!(current(&world), "dev");
    world.alt('3');
    let row = world.text().lines().position(|line| line.contains("Fine with me")).unwrap();
    world.handle(Input::Mouse(mouse(
        MouseEventKind::Down(MouseButton::Left),
        45,
        u16::try_from(row).unwrap(),
    )));
    assert_eq!(world.model.current_room().unwrap().selected, Some(Item::Event(10)));
    world.handle(Input::Mouse(mouse(MouseEventKind::ScrollUp, 45, 10)));
}
