//! What a room is told to forget: all servers the same, and not by a wrong clock.

use crate::{
    disk::{EventRange, Reader, RoomId, Storage},
    replica::clocks::DISTRUST_MS,
    storage::Kept,
};

use super::{JOIN, chat, cluster::Cluster};

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

fn settings(keep: &str) -> String {
    format!(
        r#"{{"msg_type":"room_settings","sender_id":"alice","request_id":"set","data":{{"room":"lobby",{keep}}}}}"#
    )
}

fn first_seq(cluster: &Cluster, number: usize) -> u64 {
    let lobby = crate::protocol::RoomName::new("lobby").unwrap().key();
    cluster.replica(number).state().room(&lobby).map_or(0, |room| room.first_seq())
}

#[test]
fn a_room_keeps_as_many_events_as_it_is_told_and_all_servers_the_same() {
    let mut cluster = Cluster::led_by_the_last(3);
    cluster.say(1, 1, &[JOIN]);
    let lines: Vec<String> = (0..50).map(|number| chat(&format!("m{number}"))).collect();
    cluster.say(1, 1, &lines.iter().map(String::as_str).collect::<Vec<_>>());
    cluster.run_ms(2_000);
    assert_eq!(first_seq(&cluster, 1), 1, "no setting asked for it");
    cluster.say(1, 1, &[&settings(r#""keep_events":10"#)]);
    cluster.run_ms(2_000);
    // 52 events with that of the join and that of the settings.
    for number in 1..=3 {
        assert_eq!(first_seq(&cluster, number), 43);
        let reader = cluster.disk(number).reader();
        let range =
            EventRange { after: 0, before: u64::MAX, oldest_first: true, limit: 100, max_bytes: 1 << 20 };
        let room = cluster.replica(number).state().rooms_from(RoomId(0)).next().unwrap().0;
        let kept: Vec<u64> = reader.events(room, &range).unwrap().iter().map(|row| row.seq).collect();
        assert_eq!(kept, (43..=52).collect::<Vec<_>>());
    }
    assert!(!cluster.is_closed(1, 1));
    // A new leader goes on with it, and its proposals are its own.
    cluster.kill(3);
    cluster.elect(2);
    cluster.say(1, 1, &[&chat("one"), &chat("more")]);
    cluster.run_ms(2_000);
    assert_eq!([first_seq(&cluster, 1), first_seq(&cluster, 2)], [45; 2]);
    assert_eq!(cluster.replica(1).state(), cluster.replica(2).state());
    // And stops when it is told to.
    cluster.say(1, 1, &[&settings(r#""keep_events":0"#)]);
    cluster.say(1, 1, &[&chat("and"), &chat("more of it")]);
    cluster.run_ms(2_000);
    assert_eq!(first_seq(&cluster, 2), 45);
}

#[test]
fn what_is_old_goes_with_the_days_and_not_with_a_clock_that_jumps() {
    let mut cluster = Cluster::led_by_the_last(3);
    cluster.say(1, 1, &[JOIN, &chat("a"), &chat("b"), &settings(r#""keep_days":2"#)]);
    cluster.run_ms(1_000);
    // Two days pass, as for servers that slept.
    cluster.now.mono_ms += DAY_MS;
    cluster.now.wall_ms += DAY_MS;
    cluster.run_ms(1_000);
    cluster.say(1, 2, &[JOIN, &chat("c")]);
    cluster.run_ms(1_000);
    assert_eq!(first_seq(&cluster, 3), 1);
    // A clock that jumps by a year makes nothing old.
    cluster.now.wall_ms += 365 * DAY_MS;
    cluster.run_ms(5_000);
    assert_eq!(first_seq(&cluster, 3), 1);
    cluster.now.wall_ms -= 365 * DAY_MS;
    cluster.run_ms(1_000);
    cluster.now.mono_ms += DAY_MS;
    cluster.now.wall_ms += DAY_MS;
    cluster.run_ms(2_000);
    for number in 1..=3 {
        assert_eq!(first_seq(&cluster, number), 5, "what was said a day ago stays");
    }
}

#[test]
fn what_was_said_before_a_clock_went_back_is_not_forgotten_with_what_seems_older() {
    let mut cluster = Cluster::led_by_the_last(3);
    cluster.say(1, 1, &[JOIN, &settings(r#""keep_days":2"#)]);
    cluster.run_ms(1_000);
    cluster.now.wall_ms += 3 * DAY_MS;
    cluster.say(1, 1, &[&chat("a")]);
    cluster.run_ms(1_000);
    cluster.now.wall_ms -= 3 * DAY_MS;
    let lines = ["b", "c", "d", "e", "f", "g", "h"].map(chat);
    cluster.say(1, 1, &lines.iter().map(String::as_str).collect::<Vec<_>>());
    cluster.run_ms(1_000);
    // By the times alone the events around it are old.
    cluster.now.mono_ms += 5 * DAY_MS / 2;
    cluster.now.wall_ms += 5 * DAY_MS / 2;
    cluster.run_ms(5_000);
    assert_eq!(first_seq(&cluster, 3), 3);
    cluster.now.mono_ms += 3 * DAY_MS;
    cluster.now.wall_ms += 3 * DAY_MS;
    cluster.run_ms(5_000);
    assert_eq!([first_seq(&cluster, 1), first_seq(&cluster, 3)], [10; 2], "the newest stays");
}

#[test]
fn a_server_that_starts_with_a_wrong_clock_and_leads_destroys_nothing() {
    let mut cluster = Cluster::led_by_the_last(3);
    cluster.say(1, 1, &[JOIN, &chat("a"), &chat("b"), &settings(r#""keep_days":2"#)]);
    cluster.run_ms(1_000);
    cluster.kill(3);
    cluster.ahead_ms.insert(3, 365 * DAY_MS as i64);
    cluster.start(3);
    cluster.run_ms(400);
    cluster.elect(3);
    cluster.run_ms(5_000);
    // However long it shows another time than the others.
    cluster.now.mono_ms += DAY_MS;
    cluster.now.wall_ms += DAY_MS;
    cluster.run_ms(5_000);
    assert_eq!(first_seq(&cluster, 1), 1);
    for number in 1..=3 {
        let note = cluster.status(number).note;
        assert!(note.contains("the clock of server3 is 31536000 s ahead"), "{note}");
    }
    // All of them agree on it, and have done so for a while.
    cluster.ahead_ms = [(1, 365 * DAY_MS as i64), (2, 365 * DAY_MS as i64), (3, 365 * DAY_MS as i64)].into();
    cluster.run_ms(5_000);
    assert_eq!(first_seq(&cluster, 1), 1, "two clocks have just jumped");
    cluster.now.mono_ms += DISTRUST_MS;
    cluster.now.wall_ms += DISTRUST_MS;
    cluster.run_ms(5_000);
    assert_eq!(first_seq(&cluster, 1), 4);
}

#[test]
fn a_room_is_not_read_again_before_its_first_event_is_old_enough() {
    let mut cluster = Cluster::led_by_the_last(3);
    cluster.say(3, 1, &[JOIN, &chat("a"), &chat("b"), &settings(r#""keep_days":2"#)]);
    cluster.run_ms(2_000);
    // Every read of one of these finds it damaged.
    (0..4).for_each(|event| assert!(cluster.disk(3).corrupt(Kept::Event, event, 9)));
    cluster.run_ms(20_000);
    assert!(cluster.quarantined.is_empty());
}

#[test]
fn a_room_of_many_old_events_forgets_them_in_pieces() {
    let mut cluster = Cluster::led_by_the_last(1);
    cluster.say(1, 1, &[JOIN]);
    cluster.run_ms(40);
    for round in 0..11 {
        let lines: Vec<String> = (0..1_000).map(|number| chat(&format!("{round}.{number}"))).collect();
        cluster.say(1, 1, &lines.iter().map(String::as_str).collect::<Vec<_>>());
        cluster.run_ms(1_000);
    }
    cluster.say(1, 1, &[&settings(r#""keep_events":1"#)]);
    cluster.run_ms(260);
    assert_eq!(first_seq(&cluster, 1), 1 + crate::chat::command::EXPIRE_MAX);
    cluster.run_ms(500);
    // Now the disk has so much to wipe that it is waited for.
    assert_eq!(first_seq(&cluster, 1), 1 + 2 * crate::chat::command::EXPIRE_MAX);
    cluster.run_ms(2_000);
    assert_eq!(first_seq(&cluster, 1), 1 + 2 * crate::chat::command::EXPIRE_MAX);
    // It gets there although no client writes anything.
    cluster.run_ms(40_000);
    assert_eq!(first_seq(&cluster, 1), 11_002);
    assert_eq!(cluster.replica(1).storage().unwiped(), 0);
}
