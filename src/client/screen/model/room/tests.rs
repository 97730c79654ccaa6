//! A room as its events come.

use super::{
    known::{EVENTS_BEHIND, EVENTS_MAX},
    *,
};
use crate::protocol::Message;

fn event(seq: u64, kind: EventKind) -> Event {
    let (room, author) = (RoomName::new("den").unwrap(), UserName::new("bob").unwrap());
    Event { room, seq, author, lamport_timestamp: seq, created_at: seq * 1000, kind }
}

fn message(seq: u64) -> Event {
    event(seq, EventKind::Message(Message { body: format!("text {seq}"), ..Message::default() }))
}

fn room() -> (Room, UserKey) {
    let me = UserName::new("alice").unwrap().key();
    (Room::new(RoomName::new("den").unwrap(), &me), me)
}

#[test]
fn a_reader_stays_inside_what_is_known() {
    let (mut room, _) = room();
    (10..=12).for_each(|seq| room.take(message(seq), true));
    room.take_page(HistoryRange::After(2), vec![message(3), message(4)], 12, true);
    assert_eq!(room.before(Item::Event(10)), None);
    assert_eq!(room.after(Item::Event(4)), None, "5 to 9 are not known");
    room.take_page(HistoryRange::Before(10), (5..=9).map(message).collect(), 12, true);
    assert_eq!(room.after(Item::Event(4)), Some(Item::Event(5)));
    assert_eq!(room.newest(), Some(Item::Event(12)));
}

#[test]
fn edits_and_reactions_change_their_message_and_have_no_rows() {
    let (mut room, _) = room();
    room.take(message(1), true);
    room.take(event(2, EventKind::Edited { target: 1, body: Some("new".into()) }), true);
    let reaction = |remove| EventKind::Reaction { target: 1, emoji: "👍".into(), remove };
    room.take(event(3, reaction(false)), true);
    assert_eq!(room.message(1).unwrap().1.body, "new");
    assert_eq!(room.message(1).unwrap().1.reactions.len(), 1);
    room.take(event(4, reaction(true)), true);
    assert!(room.message(1).unwrap().1.reactions.is_empty());
    assert_eq!((room.after(Item::Event(1)), room.newest()), (None, Some(Item::Event(1))));
    room.take(event(5, EventKind::Deleted { target: 1 }), true);
    assert_eq!(room.message(1).unwrap().1.body, "");
}

#[test]
fn a_change_that_came_before_its_page_is_not_lost() {
    let (mut room, _) = room();
    room.take(message(8), true);
    room.take(event(9, EventKind::Edited { target: 3, body: Some("new".into()) }), true);
    room.take_page(HistoryRange::Before(8), vec![message(3)], 8, true);
    assert_eq!(room.message(3).unwrap().1.body, "new");
}

#[test]
fn own_messages_stand_below_the_newest_until_their_event_comes() {
    let (mut room, me) = room();
    room.take(message(1), true);
    let outgoing = Outgoing {
        client_msg_id: "a-1".into(),
        body: "x".into(),
        reply_to: None,
        at_ms: 0,
        state: State::Pending,
        again: false,
    };
    room.queue(outgoing);
    let item = room.newest().unwrap();
    assert_eq!((room.before(item), room.after(Item::Event(1))), (Some(Item::Event(1)), Some(item)));
    room.selected = Some(item);
    room.take(message(2), true);
    room.arrived("a-1", 2);
    assert_eq!((room.newest(), room.selected), (Some(Item::Event(2)), Some(Item::Event(2))));
    room.last_read = Some(0);
    room.recount(&me);
    assert_eq!(room.unread, 2);
}

#[test]
fn what_is_kept_of_a_room_is_bounded() {
    let (mut room, _) = room();
    (1..=2_000).for_each(|seq| room.take(message(seq), true));
    room.leave_screen();
    assert_eq!(room.events.len(), EVENTS_BEHIND);
    assert_eq!(room.spans.newest(), Some((1_501, 2_000)));
    assert_eq!(room.begins, None, "the beginning has to be asked for again");
    let page: Vec<Event> = (1..=EVENTS_MAX as u64).map(message).collect();
    room.take_page(HistoryRange::Before(1_501), page, 30_000, false);
    assert_eq!(room.events.len(), EVENTS_MAX);
}
