//! The list of rooms: which one comes next, is found, is renamed or goes.

use ratatui::crossterm::event::KeyCode;

use crate::{
    client::renamed::Renamed,
    client::screen::{
        acts::Input,
        model::preferences::{Notify, Preferences},
        news::{News, Wish},
    },
    protocol::{EventKind, request::Rooms},
};

use super::world::{World, current, event, message, room, sends, summary, user, with};

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
fn a_room_with_another_name_is_still_that_room() {
    let mut world = World::team(100, 30);
    world.types("a draft");
    let (name, old_name) = (room("hall"), room("lobby"));
    world.happens(event("lobby", 13, "bob", 0, EventKind::Renamed { name, old_name }));
    assert_eq!(current(&world), "lobby", "the event alone is history");
    let renamed = |from, to, swaps| News::Renamed(Renamed { from: room(from), to: room(to), swaps });
    world.news(renamed("lobby", "hall", false));
    assert_eq!(current(&world), "hall");
    assert!(world.model.rooms.keys().all(|key| *key != room("lobby").key()));
    world.key(KeyCode::Enter);
    assert_eq!(sends(&world.take_wishes()), [("hall", "a draft")]);
    // Two rooms have exchanged their names.
    world.types("another draft");
    let others = world.model.rooms[&room("dev").key()].unread;
    world.news(renamed("hall", "dev", true));
    assert_eq!(current(&world), "dev");
    assert_eq!(world.model.rooms[&room("hall").key()].unread, others);
    world.key(KeyCode::Enter);
    assert_eq!(sends(&world.take_wishes()), [("dev", "another draft")]);
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
