//! What is unread in a room of more messages than are counted, and what is stored of it.

use super::{World, entry};
use crate::{
    chance::Chance,
    chat::{
        Authority, Command, Reply,
        command::{Delete, DeleteRoom, Edit, Expire, Join, RoomSettings, Say},
        entities::recent::COUNTED_MAX,
        rows,
    },
    disk::{RoomId, Row},
    protocol::{
        moderation::{self, Retention},
        name::{RoomName, UserName},
        request::Destination,
    },
};

/// Made by the first entry, which comes after a second.
const ROOM: RoomId = RoomId((1 << 16) + 1_000);

fn lobby() -> RoomName {
    RoomName::new("lobby").unwrap()
}

fn message(id: u64, body: &str) -> Say {
    let to = Destination::Room(lobby());
    Say { to, body: body.into(), client_msg_id: id.to_string(), reply_to: None, file_id: None, is_here: true }
}

/// Alice's room, in which bob writes.
#[derive(Default)]
struct Story {
    world: World,
    /// Of each message that the room has had: its place, whether it names alice, and whether it is deleted.
    messages: Vec<(u64, bool, bool)>,
    first_seq: u64,
}

impl Story {
    fn begin() -> Story {
        let mut story = Story::default();
        story.act("alice", Join::new(lobby()));
        story.act("bob", Join::new(lobby()));
        story
    }

    fn act(&mut self, user: &str, command: impl Into<Command>) -> Reply {
        let mut entry = entry(self.world.index + 1, user, 0, command);
        if matches!(entry.proposal.command, Command::Expire(_)) {
            entry.proposal.authority = Authority::Cluster;
        }
        self.world.apply(&entry).outcome.expect("nothing is sent twice").expect("all of it is allowed")
    }

    fn say(&mut self, names_alice: bool) {
        let say = message(self.world.index, if names_alice { "for @alice" } else { "for all" });
        let Reply::Sent(sent) = self.act("bob", say) else { panic!("a message is answered by its place") };
        self.messages.push((sent.seq, names_alice, false));
    }

    /// The place in `messages` of one that is still there.
    fn pick(&self, chance: &mut Chance) -> Option<usize> {
        let place = chance.below(self.messages.len() as u64 + 1) as usize;
        let (seq, _, deleted) = self.messages.get(place)?;
        (!deleted && *seq >= self.first_seq).then_some(place)
    }

    fn edit(&mut self, place: usize, names_alice: bool) {
        let (seq, named, _) = &mut self.messages[place];
        *named = names_alice;
        let body = if names_alice { "to @alice" } else { "to all" }.into();
        let edit = Edit { room: lobby(), seq: *seq, body };
        self.act("bob", edit);
    }

    fn delete(&mut self, place: usize) {
        let (seq, _, deleted) = &mut self.messages[place];
        *deleted = true;
        let delete = Delete { room: lobby(), seq: *seq };
        self.act("bob", delete);
    }

    fn expire(&mut self, kept: u64) {
        let retention = Retention::new(None, Some(kept));
        let changes = moderation::RoomSettings { retention: Some(retention), ..Default::default() };
        self.act("alice", RoomSettings { room: lobby(), changes });
        let before_seq = self.world.state.room_by_id(ROOM).unwrap().last_seq + 1 - kept;
        self.act("cluster", Expire { room: ROOM, before_seq, retention });
        self.first_seq = self.first_seq.max(before_seq);
    }

    /// Checks what is unread to alice, who has read nothing since she joined, and that the stored rows give
    /// the same.
    fn check(&self) {
        let alice = self.world.state.user_id(&UserName::new("alice").unwrap().key()).unwrap();
        let unread = self.world.state.unread(alice, ROOM);
        let counted = &self.messages[self.messages.len().saturating_sub(COUNTED_MAX as usize)..];
        let there = || counted.iter().filter(|(seq, _, deleted)| !deleted && *seq >= self.first_seq);
        assert_eq!(unread.messages, there().count() as u64);
        assert_eq!(unread.first, there().next().map(|(seq, ..)| *seq));
        assert_eq!(unread.mentions, there().filter(|(_, named, _)| *named).count() as u64);
        assert!(self.world.loaded() == self.world.state, "the rows are the whole state");
    }

    fn stored(&self) -> usize {
        self.world.rows.keys().filter(|key| key[0] == rows::RECENT).count()
    }
}

#[test]
fn the_newest_messages_are_counted_whatever_becomes_of_them() {
    let chance = &mut Chance(8);
    let mut story = Story::begin();
    for step in 0..3 * COUNTED_MAX {
        match chance.below(40) {
            0..=3 => {
                if let Some(place) = story.pick(chance) {
                    story.delete(place);
                }
            }
            4..=7 => {
                if let Some(place) = story.pick(chance) {
                    story.edit(place, chance.below(2) == 0);
                }
            }
            8 if step % 10 == 0 && step > 100 => {
                story.expire(1 + chance.below(2 * COUNTED_MAX).min(step / 2))
            }
            _ => story.say(chance.below(3) == 0),
        }
        if step % 17 == 0 {
            story.check();
        }
    }
    story.check();
    assert!(story.messages.len() > 2 * COUNTED_MAX as usize);
    story.act("alice", DeleteRoom { room: lobby() });
    assert_eq!(story.stored(), 0, "of a room that is gone nothing is left");
    assert!(story.world.loaded() == story.world.state);
}

#[test]
fn most_messages_write_no_row_of_their_own() {
    let mut story = Story::begin();
    let mut written = 0;
    for _ in 0..2 * COUNTED_MAX {
        let entry = entry(story.world.index + 1, "bob", 0, message(story.world.index, "for all"));
        let effects = story.world.apply(&entry).effects;
        let dirty = effects.dirty.iter().filter_map(|dirty| story.world.state.row_of(*dirty));
        let rows: Vec<Row> = effects.rows.iter().cloned().chain(dirty).collect();
        written += rows.iter().filter(|row| row.key[0] == rows::RECENT).count() as u64;
        let bytes: usize =
            rows.iter().map(|row| row.key.len() + row.value.as_ref().map_or(0, Vec::len)).sum();
        assert!(bytes < 1_000, "{bytes} bytes of rows for a message");
    }
    assert_eq!(written, 2 * COUNTED_MAX / 20);
    assert_eq!(story.stored() as u64, COUNTED_MAX / 20);
}
