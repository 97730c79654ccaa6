//! What goes wrong, what waits and what is out of sight: the screen says so, and nothing is lost.

use ratatui::crossterm::event::KeyCode;

use super::world::{World, current, event, message, room, sends, summary};
use crate::{
    client::{
        screen::{
            acts::Input,
            model::room::ScrollPosition,
            news::{News, Wish},
        },
        terminal::secrets::PasswordKind,
    },
    protocol::{EventKind, Request, RoomId, RoomSummary, request::Rooms},
};

/// What is typed behind a mistake must not be said in the room.
#[test]
fn a_password_is_asked_for_until_it_can_be_one() {
    let mut world = World::team(100, 30);
    world.news(News::SecretNeeded {
        line: "/register".into(),
        secrets: vec![],
        wanted: PasswordKind::Chosen,
    });
    for (typed, shown) in [
        ("", "no password was typed"),
        ("short", "password must have at least 8 characters"),
        ("correct horse", "The same once more"),
        ("correct house", "the two were not the same"),
        ("correct horse", "The same once more"),
    ] {
        world.types(typed);
        world.key(KeyCode::Enter);
        assert!(world.text().contains(shown), "{typed}: {}", world.text());
    }
    assert_eq!(sends(&world.take_wishes()), []);
    world.types("correct horse");
    world.key(KeyCode::Enter);
    let wishes = world.take_wishes();
    let is_asked = |wish: &Wish| {
        matches!(wish, Wish::Command { line, secrets, .. }
            if line == "/register" && secrets == &["correct horse"])
    };
    assert!(wishes.iter().any(is_asked), "{wishes:?}");
    assert!(world.model.overlay.is_none());
}

#[test]
fn what_is_unread_follows_edits_and_deletions() {
    let mut world = World::team(100, 30);
    world.types("x");
    world.ctrl('u');
    let counts = |world: &World| {
        let lobby = world.model.current_room().unwrap();
        (lobby.unread, lobby.mentions)
    };
    world.happens(message("lobby", 13, "bob", 0, "one"));
    world.happens(message("lobby", 14, "bob", 0, "two @alice"));
    assert_eq!(counts(&world), (2, 1));
    let edited = |target, body: &str| EventKind::Edited { target, body: Some(body.into()) };
    world.happens(event("lobby", 15, "bob", 0, edited(13, "one, @alice.")));
    assert_eq!(counts(&world), (2, 2));
    world.happens(event("lobby", 16, "bob", 0, edited(14, "two `@alice`")));
    assert_eq!(counts(&world), (2, 1));
    world.happens(event("lobby", 17, "bob", 0, EventKind::Deleted { target: 13 }));
    assert_eq!(counts(&world), (1, 0));
    // If not everything unread is known here, the servers count.
    world.take_wishes();
    world.happens(message("dev", 900, "bob", 0, "far behind"));
    world.take_wishes();
    world.happens(event("dev", 901, "bob", 0, EventKind::Deleted { target: 900 }));
    let asks = |wish: &Wish| matches!(wish, Wish::Ask(Request::Rooms(Rooms { joined: true, .. })));
    assert!(world.take_wishes().iter().any(asks));
}

#[test]
fn drafts_last_from_one_run_to_the_next() {
    let mut world = World::team(100, 30);
    world.types("half a thought");
    world.alt('2');
    world.types("/login bob hunter22");
    let kept = world.model.preferences_at_end();
    let drafts: Vec<_> = kept.drafts.values().collect();
    assert_eq!(drafts, ["half a thought"], "a password is not kept");
    let mut world = World::team_with(World::with(100, 30, true, kept));
    assert_eq!(world.model.current_room().unwrap().composer.text(), "half a thought");
    // A room that got another name meanwhile gets the draft that was kept of it.
    let mut kept = world.model.preferences_at_end();
    let of_dev = RoomSummary { room_id: Some(RoomId(7)), ..summary("dev", 3, 9, 9, 0) };
    let (lobby, id) = (room("lobby").key(), RoomId(8));
    kept.numbers.insert(lobby.clone(), id);
    let mut later = World::with(100, 30, true, kept);
    let of_hall = RoomSummary { room_id: Some(id), ..summary("hall", 3, 9, 9, 0) };
    later.news(News::Rooms { rooms: vec![of_dev, of_hall], joined: true });
    assert_eq!(later.model.rooms[&room("hall").key()].composer.text(), "half a thought");
    assert_eq!(later.model.preferences_at_end().numbers, [(room("hall").key(), id)].into());
    // An edit is not, but what it had put aside.
    world.ctrl('s');
    (0..2).for_each(|_| world.key(KeyCode::Up));
    world.key(KeyCode::Char('e'));
    assert_eq!(world.model.current_room().unwrap().composer.text(), "Fine with me");
    assert_eq!(world.model.preferences_at_end().drafts.len(), 1);
    world.key(KeyCode::Esc);
    world.ctrl('c');
    assert!(world.model.preferences_at_end().drafts.is_empty());
}

#[test]
fn what_waits_for_a_server_is_told() {
    let mut world = World::team(100, 30);
    world.news(News::Asked);
    assert!(!world.text().contains("no server for now"));
    world.news(News::Offline { reason: "gone".into(), no_majority: false });
    world.news(News::Asked);
    assert!(world.text().contains("no server for now: this is done once there is one"));
    world.ctrl('f');
    world.types("tea");
    world.key(KeyCode::Enter);
    assert!(world.text().contains("no server for now: the search waits"));
    world.key(KeyCode::Esc);
    // The last message is one on its way, which has no place to be edited at.
    world.news(News::Queued {
        room: room("lobby"),
        client_msg_id: "a-1".into(),
        body: "new".into(),
        reply_to: None,
    });
    world.key(KeyCode::Up);
    assert!(world.text().contains("your last message is on its way"), "{}", world.text());
    assert!(world.model.current_room().unwrap().composer.is_empty());
    let (room, client_msg_id) = (room("lobby"), "a-1".into());
    world.news(News::Refused { room, client_msg_id, body: "new".into(), reason: "no".into() });
    // A refused one comes back into the input, by Up or by its own key.
    world.key(KeyCode::Up);
    assert_eq!(world.model.current_room().unwrap().composer.text(), "new");
    assert!(world.model.current_room().unwrap().outgoing.is_empty());
}

#[test]
fn narrow_screens_show_the_state_of_every_message() {
    let mut world = World::team(40, 14);
    world.news(News::Offline { reason: "gone".into(), no_majority: false });
    for number in 1..=2 {
        let (room, client_msg_id) = (room("lobby"), format!("a-{number}"));
        world.news(News::Queued { room, client_msg_id, body: format!("m{number}"), reply_to: None });
    }
    let text = world.text();
    assert!(text.contains("alice ○ m1") && text.contains("\n       ○ m2"), "{text}");
}

/// A conversation with a user who does not exist, or a room that is gone, can be put away.
#[test]
fn a_room_that_was_refused_can_be_left() {
    let mut world = World::team(100, 30);
    let ghost = room("@alice,ghost");
    world.news(News::GoTo(ghost.clone()));
    for body in ["one", "two"] {
        let (room, client_msg_id) = (ghost.clone(), body.to_owned());
        let reason = "there is no user ghost".into();
        world.news(News::Refused { room, client_msg_id, body: body.into(), reason });
    }
    let refused = News::RoomRefused { room: ghost.clone(), reason: "there is no user ghost".into() };
    world.news(refused.clone());
    let text = world.text();
    assert!(text.contains("✗ one") && text.contains("✗ two"), "all that was written is there: {text}");
    assert!(text.contains("  ghost: there is no user ghost"), "{text}");
    world.alt('2');
    let is_told = world.text().lines().any(|line| line.contains("ghost") && line.contains('✗'));
    assert!(is_told, "in the list of rooms: {}", world.text());
    world.news(News::GoTo(ghost.clone()));
    world.news(refused.clone());
    world.ctrl('s');
    assert!(world.text().contains("s send again · e change it · d remove · Esc back"));
    world.key(KeyCode::Esc);
    world.types("/leave");
    world.key(KeyCode::Enter);
    assert!(!world.text().contains("ghost ") && current(&world) != "ghost", "{}", world.text());
    world.news(refused);
    assert!(!world.model.rooms.contains_key(&ghost.key()), "it stays away");
}

#[test]
fn no_key_does_nothing_silently() {
    let mut world = World::team(100, 12);
    world.alt('9');
    assert!(world.text().contains("there is no room 9"));
    world.key(KeyCode::PageUp);
    world.key(KeyCode::PageUp);
    assert!(world.text().contains("End: present") && !world.text().contains("Ctrl-End"));
    world.ctrl('s');
    world.key(KeyCode::End);
    let lobby = world.model.current_room().unwrap();
    assert_eq!((lobby.at, lobby.selected), (ScrollPosition::Present, None));
    world.types("x");
    world.key(KeyCode::PageUp);
    assert!(world.text().contains("Ctrl-End: present"), "{}", world.text());
    world.ctrl('c');
    world.key(KeyCode::Esc);
    world.key(KeyCode::Home);
    assert!(world.text().contains("nothing is unread here"));
}

/// The box of a question may cover the message, and a long text has more lines than the input shows.
#[test]
fn what_is_out_of_sight_is_told() {
    let mut world = World::team(100, 30);
    world.ctrl('s');
    world.key(KeyCode::Char('d'));
    assert!(world.text().contains("carol: No hurry"), "{}", world.text());
    world.key(KeyCode::Char('n'));
    world.key(KeyCode::Esc);
    world.handle(Input::Paste("1\n2\n3\n4\n5\n6\n7\n8".into()));
    assert!(world.text().contains("─ ↑ 2 lines more ─"), "{}", world.text());
    world.ctrl('c');
    assert!(!world.text().contains("lines more"));
    world.key(KeyCode::F(1));
    world.key(KeyCode::Char('q'));
    assert!(world.model.overlay.is_none());
}
