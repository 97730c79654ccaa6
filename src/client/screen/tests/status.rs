//! The lines that say how it is: the server, the leader, and the users who type.

use crate::client::screen::news::{News, Wish};

use super::world::{NOW_MS, World, message, room, user};

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
