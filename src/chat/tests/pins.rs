//! How many messages may be pinned.

use super::{World, entry};
use crate::{
    chat::{
        Command, Reply,
        command::{Import, Join, Pin, Say, Unpin},
        entities::room::PINS_MAX,
    },
    protocol::{
        event::EventKind,
        export::Imported,
        name::{RoomName, UserName},
        refusal::Code,
        request::Destination,
    },
};

fn lobby() -> RoomName {
    RoomName::new("lobby").unwrap()
}

/// A command of alice's: allowed, or refused with the given code.
fn act(world: &mut World, command: impl Into<Command>) -> Result<Reply, Code> {
    let entry = entry(world.index + 1, "alice", 0, command);
    world.apply(&entry).outcome.expect("nothing is sent twice").map_err(|refusal| refusal.code)
}

fn pinned(world: &World) -> Vec<u64> {
    world.state.room(&lobby().key()).unwrap().pins().map(|pinned| pinned.seq).collect()
}

#[test]
fn a_room_has_a_hundred_pins_and_no_more() {
    let mut world = World::default();
    act(&mut world, Join::new(lobby())).unwrap();
    let first = 2;
    let end = first + PINS_MAX as u64;
    for seq in first..=end {
        let client_msg_id = seq.to_string();
        let to = Destination::Room(lobby());
        let say = Say { to, body: "x".into(), client_msg_id, reply_to: None, file_id: None, is_here: true };
        act(&mut world, say).unwrap();
    }
    for seq in first..end {
        act(&mut world, Pin { room: lobby(), seq }).unwrap();
    }
    assert_eq!(pinned(&world), (first..end).rev().collect::<Vec<_>>());
    assert_eq!(act(&mut world, Pin { room: lobby(), seq: end }), Err(Code::Forbidden));
    assert!(act(&mut world, Pin { room: lobby(), seq: first }).is_ok(), "it is pinned already");
    act(&mut world, Unpin { room: lobby(), seq: first }).unwrap();
    act(&mut world, Pin { room: lobby(), seq: end }).unwrap();
    assert_eq!(pinned(&world), (first + 1..=end).rev().collect::<Vec<_>>());
    assert_eq!(world.loaded(), world.state);
}

#[test]
fn an_import_pins_no_more_than_a_room_may_have() {
    let mut world = World::default();
    let author = UserName::new("bob").unwrap();
    let count = PINS_MAX as u64 + 1;
    let messages = (0..count).map(|_| Imported::message(author.clone(), 5_000, "x".into()));
    let pins = (1..=count).map(|target| Imported {
        author: author.clone(),
        created_at: 5_000,
        kind: serde_json::to_string(&EventKind::Pinned { target }).unwrap(),
    });
    let import = Import { room: lobby(), first_seq: 1, events: messages.chain(pins).collect() };
    let mut entry = entry(1, "root", 0, import);
    entry.proposal.authority = crate::chat::Authority::Operator;
    world.apply(&entry).outcome.unwrap().unwrap();
    assert_eq!(pinned(&world), (1..count).rev().collect::<Vec<_>>());
}
