//! Stories of the screen: inputs, and the wishes that follow.

use ratatui::{
    crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind},
    style::Modifier,
};

use super::world::{NOW_MS, World, event, message, room, summary, user, with};
use crate::{
    client::{
        screen::{
            model::{
                Input,
                preferences::{Notify, Preferences},
                room::{Item, ScrollPosition},
            },
            news::{News, Wish},
        },
        terminal::secrets::PasswordKind,
    },
    protocol::{
        EventKind, Request,
        answer::Hit,
        checked::{Body, Emoji, Seq},
        request::{Delete, Edit, History, HistoryRange, Pin, React, Rooms, Unpin},
    },
};

pub(super) fn sends(wishes: &[Wish]) -> Vec<(&str, &str)> {
    let sends = wishes.iter().filter_map(|wish| match wish {
        Wish::Send { room, body, .. } => Some((room.as_str(), body.as_str())),
        _ => None,
    });
    sends.collect()
}

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

pub(super) fn current(world: &World) -> String {
    world.model.current_room().unwrap().title().to_owned()
}

#[test]
fn what_is_typed_is_sent_and_a_draft_stays_in_its_room() {
    let mut world = World::team(100, 30);
    world.types("half a thought");
    world.alt('2');
    assert_eq!(current(&world), "dev");
    world.types("other");
    world.alt('3');
    world.key(KeyCode::Enter);
    assert_eq!(sends(&world.take_wishes()), [("lobby", "half a thought")]);
    world.alt('2');
    world.key(KeyCode::Enter);
    assert_eq!(sends(&world.take_wishes()), [("dev", "other")]);
    assert!(world.model.current_room().unwrap().composer.is_empty());
    world.types("//slashed");
    world.key(KeyCode::Enter);
    world.types("two");
    world.handle(Input::Key(KeyEvent::new(KeyCode::Enter, KeyModifiers::ALT)));
    world.types("lines");
    world.key(KeyCode::Enter);
    world.types("   ");
    world.key(KeyCode::Enter);
    assert_eq!(sends(&world.take_wishes()), [("dev", "/slashed"), ("dev", "two\nlines")]);
}

#[test]
fn many_lines_are_sent_after_a_question_only() {
    let mut world = World::team(100, 30);
    let lines = "1\n2\n3\n4\n5\n6\n";
    world.handle(Input::Paste(lines.into()));
    world.key(KeyCode::Enter);
    assert!(world.text().contains("Send 6 lines as one message?"));
    world.key(KeyCode::Char('n'));
    assert_eq!(sends(&world.take_wishes()), []);
    assert!(!world.model.current_room().unwrap().composer.is_empty(), "it is still there");
    world.key(KeyCode::Enter);
    world.key(KeyCode::Enter);
    assert_eq!(sends(&world.take_wishes()), [("lobby", lines)]);
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
fn the_next_room_is_the_one_that_matters_most() {
    let mut world = World::team(100, 30);
    world.alt('1');
    let rooms: Vec<String> = (0..4)
        .map(|_| {
            world.alt('a');
            current(&world)
        })
        .collect();
    // A mention, then a direct message, then the rest; then there is nothing.
    assert_eq!(rooms, ["lobby", "bob", "dev", "dev"]);
    assert!(world.text().contains("nothing is unread in another room"));
    // A room that is muted is passed over, unless it names the user.
    world.alt('3');
    world.alt('m');
    world.alt('1');
    world.happens(message("lobby", 13, "bob", 0, "hello"));
    world.alt('a');
    assert_eq!(current(&world), "announcements");
    world.happens(message("lobby", 14, "bob", 0, "hello @alice"));
    world.alt('a');
    assert_eq!(current(&world), "lobby");
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
fn a_room_with_another_name_is_still_that_room() {
    let mut world = World::team(100, 30);
    world.types("a draft");
    let (name, old_name) = (room("hall"), room("lobby"));
    world.happens(event("lobby", 13, "bob", 0, EventKind::Renamed { name, old_name }));
    assert_eq!(current(&world), "hall");
    assert!(world.model.rooms.keys().all(|key| *key != room("lobby").key()));
    world.key(KeyCode::Enter);
    assert_eq!(sends(&world.take_wishes()), [("hall", "a draft")]);
}

#[test]
fn up_edits_the_last_own_message_and_escape_brings_the_draft_back() {
    let mut world = World::team(100, 30);
    world.key(KeyCode::Up);
    assert_eq!(world.model.current_room().unwrap().composer.text(), "Fine with me");
    world.key(KeyCode::Esc);
    assert!(world.model.current_room().unwrap().composer.is_empty());
    world.types("a draft");
    world.key(KeyCode::Up);
    assert_eq!(world.model.current_room().unwrap().composer.text(), "a draft", "only in an empty input");
    world.alt('2');
    world.key(KeyCode::Up);
    assert!(world.text().contains("you have said nothing here yet that could be edited"));
}

#[test]
fn the_switcher_finds_rooms_and_people() {
    let mut world = World::team(100, 30);
    world.ctrl('k');
    assert!(
        world.take_wishes().contains(&Wish::Ask(Rooms { after: None, limit: None, joined: false }.into()))
    );
    let hidden = crate::protocol::RoomSummary { joined: false, ..summary("design", 3, 9, 0, 0) };
    world.news(News::Rooms { rooms: vec![hidden], joined: false });
    world.types("desi");
    world.key(KeyCode::Enter);
    assert_eq!(current(&world), "design");
    assert!(world.take_wishes().contains(&Wish::Join(room("design"))));
    world.ctrl('k');
    world.types("caro");
    world.key(KeyCode::Enter);
    assert_eq!(current(&world), "carol");
    assert!(world.take_wishes().contains(&Wish::Join(room("@alice,carol"))));
    world.ctrl('k');
    world.types("nothing like it");
    world.key(KeyCode::Enter);
    assert_eq!(current(&world), "carol");
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
fn commands_go_their_way_and_passwords_are_not_remembered() {
    let mut world = World::team(100, 30);
    let command = |wishes: Vec<Wish>| {
        wishes.into_iter().find_map(|wish| match wish {
            Wish::Command { line, secrets, .. } => Some((line, secrets)),
            _ => None,
        })
    };
    world.types("/topic more tea");
    world.key(KeyCode::Enter);
    assert_eq!(command(world.take_wishes()), Some(("/topic more tea".into(), vec![])));
    world.types("/password");
    world.key(KeyCode::Enter);
    world.take_wishes();
    let (line, wanted) = ("/password".to_owned(), PasswordKind::Next);
    world.news(News::SecretNeeded { line, secrets: vec!["old".into()], wanted });
    world.types("hunter22");
    assert!(!world.text().contains("hunter") && world.text().contains("••••••••"));
    world.key(KeyCode::Enter);
    world.types("hunter22");
    world.key(KeyCode::Enter);
    let asked = command(world.take_wishes());
    assert_eq!(asked, Some(("/password".into(), vec!["old".into(), "hunter22".into()])));
    world.types("/join den hunter22");
    world.key(KeyCode::Enter);
    world.ctrl('p');
    assert_eq!(world.model.current_room().unwrap().composer.text(), "/password");
    world.ctrl('c');
    world.news(News::Said { title: "/who".into(), lines: vec!["* in lobby: alice".into()] });
    assert!(world.text().contains("in lobby: alice"));
}

#[test]
fn tab_completes_commands_names_and_rooms() {
    let mut world = World::team(100, 30);
    for (typed, completed) in [
        ("/jo", "/join "),
        ("/join de", "/join dev "),
        ("hello @ca", "hello @carol "),
        ("hello Ca", "hello @carol "),
        ("/kick da", "/kick dave "),
        ("/sea", "/search "),
        ("/set", "/set "),
    ] {
        world.ctrl('c');
        world.types(typed);
        world.key(KeyCode::Tab);
        assert_eq!(world.model.current_room().unwrap().composer.text(), completed, "{typed}");
    }
    world.ctrl('c');
    world.types("/send ./a b");
    world.key(KeyCode::Tab);
    let wish = Wish::Paths { start: 6, text: "./a b".into() };
    assert!(world.take_wishes().contains(&wish));
    world.news(News::Paths { start: 6, candidates: vec!["./a b.txt".into()] });
    assert_eq!(world.model.current_room().unwrap().composer.text(), "/send ./a b.txt");
}

#[test]
fn notifications_are_off_until_one_wants_them_and_silent_rooms_stay_silent() {
    let told = |wishes: &[Wish]| {
        wishes.iter().filter(|wish| matches!(wish, Wish::Bell | Wish::Notify { .. })).count()
    };
    let happen = |world: &mut World, seq: u64| {
        world.happens(message("dev", seq, "bob", 0, "hi @alice"));
        world.happens(message("dev", seq + 1, "bob", 0, "hi all"));
        world.happens(message("@alice,bob", seq, "bob", 0, "hi"));
        told(&world.take_wishes())
    };
    let mut world = World::team(100, 30);
    assert_eq!(happen(&mut world, 3), 0);
    world.types("/set notify=bell");
    world.key(KeyCode::Enter);
    let kept = world.take_wishes().into_iter().find_map(|wish| match wish {
        Wish::Keep(preferences) => Some(preferences),
        _ => None,
    });
    assert_eq!(kept.unwrap().notify, Notify::Bell);
    assert_eq!(happen(&mut world, 5), 2, "a mention and a direct message");
    world.alt('2');
    assert_eq!(happen(&mut world, 7), 1, "the room is on the screen");
    world.handle(Input::Focus(false));
    assert_eq!(happen(&mut world, 9), 2, "and the terminal has no focus");
    world.alt('m');
    assert_eq!(happen(&mut world, 11), 1);
    let desktop = Preferences { notify: Notify::Desktop, ..Preferences::default() };
    let mut world = World::team_with(World::with(100, 30, true, desktop));
    world.happens(message("dev", 3, "bob", 0, "hi @alice"));
    let notify = Wish::Notify { title: "bob in dev".into(), text: "hi @alice".into() };
    assert!(world.take_wishes().contains(&notify));
}

#[test]
fn a_message_that_was_refused_can_be_sent_again() {
    let mut world = World::team(100, 30);
    let (client_msg_id, body) = ("a-1".to_owned(), "too soon".to_owned());
    world.news(News::Queued {
        room: room("lobby"),
        client_msg_id: client_msg_id.clone(),
        body: body.clone(),
        reply_to: None,
    });
    world.news(News::Refused { room: room("lobby"), client_msg_id, body, reason: "you are muted".into() });
    assert!(world.text().contains("✗ too soon") && world.text().contains("you are muted"));
    world.ctrl('s');
    world.key(KeyCode::Char('s'));
    assert_eq!(sends(&world.take_wishes()), [("lobby", "too soon")]);
    assert!(!world.text().contains("too soon"));
}

#[test]
fn ctrl_c_empties_and_then_ends() {
    let mut world = World::team(100, 30);
    world.types("text");
    world.ctrl('c');
    world.ctrl('p');
    assert_eq!(world.model.current_room().unwrap().composer.text(), "text", "it is not lost");
    world.ctrl('c');
    world.ctrl('c');
    assert!(!world.take_wishes().contains(&Wish::Quit));
    world.types("x");
    world.ctrl('c');
    world.ctrl('c');
    assert!(!world.take_wishes().contains(&Wish::Quit), "something was done in between");
    world.ctrl('c');
    assert!(world.take_wishes().contains(&Wish::Quit));
}

#[test]
fn the_status_line_says_how_it_is() {
    let mut world = World::new(100, 20);
    assert!(world.text().contains("looking for a server"));
    world.online();
    world.tick(60_000);
    assert!(world.text().contains("alice on server1 · leader server3"));
    world.news(News::Leader(None));
    assert!(world.text().contains("no leader for the moment: read only"));
    let offline = |no_majority| News::Offline { reason: "server1: it fell silent".into(), no_majority };
    world.news(offline(false));
    assert!(world.text().contains("no server, reconnecting · server1: it fell silent"));
    world.news(News::Retry { in_ms: 1_700 });
    assert!(world.text().contains("no server, reconnecting in 2 s"));
    assert_eq!(world.model.next_timeout_ms(), Some(NOW_MS + 61_000));
    world.news(offline(true));
    assert!(world.text().contains("no majority: read only, reconnecting in 2 s"));
    world.news(News::LoginNeeded { reason: "the token has ended".into(), wanted: false });
    assert!(world.text().contains("the token has ended: /login goes on"));
    world.tick(60_000);
    assert!(world.text().contains("logged out"));
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

#[test]
fn what_was_written_in_the_editor_is_in_the_input() {
    let mut world = World::team(100, 30);
    world.types("a beginning");
    world.ctrl('x');
    assert!(world.take_wishes().contains(&Wish::Editor("a beginning".into())));
    world.handle(Input::Written("a beginning\nand an end\n".into()));
    assert_eq!(world.model.current_room().unwrap().composer.text(), "a beginning\nand an end");
    world.handle(Input::Failed("cannot start vi".into()));
    assert!(world.text().contains("cannot start vi"));
}

#[test]
fn who_types_is_shown_until_the_message_comes() {
    let mut world = World::team(100, 30);
    world.news(News::Typing { room: room("lobby"), user: user("bob") });
    assert!(world.text().contains("bob is typing"));
    world.happens(message("lobby", 13, "bob", 0, "here"));
    assert!(!world.text().contains("is typing"));
    world.news(News::Typing { room: room("lobby"), user: user("bob") });
    world.tick(10_000);
    assert!(!world.text().contains("is typing"));
    // The client reports typing every few seconds, and never for a command.
    world.types("hello");
    world.ctrl('c');
    world.types("/who");
    let typing = world.take_wishes().into_iter().filter(|wish| matches!(wish, Wish::Typing(_))).count();
    assert_eq!(typing, 1);
}

#[test]
fn after_a_restore_of_the_cluster_every_room_begins_afresh() {
    let mut world = World::team(100, 30);
    assert!(world.text().contains("I moved the deploy"));
    world.news(News::Restored);
    assert!(world.text().contains("restored from a backup"));
    assert!(!world.text().contains("I moved the deploy"));
    world.happens(message("lobby", 1, "bob", 0, "first of all"));
    assert!(world.text().contains("first of all"));
}

#[test]
fn being_sent_out_and_leaving_end_in_another_room() {
    let mut world = World::team(100, 30);
    world.happens(event("lobby", 13, "bob", 0, EventKind::Kicked { username: user("alice") }));
    let reason = "you were sent out of the room".into();
    world.news(News::RoomRefused { room: room("lobby"), reason });
    assert!(world.text().contains("you were sent out"));
    world.news(News::Left(room("lobby")));
    assert_eq!(current(&world), "announcements");
    world.news(News::RoomRestarted(room("announcements")));
    world.happens(message("announcements", 1, "bob", 0, "first of all"));
    assert!(world.text().contains("first of all"));
    let own = with(message("announcements", 2, "alice", 0, "second"), |message| {
        message.client_msg_id = "a-9".into()
    });
    world.happens(own);
    assert!(world.text().contains("✓ second"));
}
