//! What is allowed, and what it comes to. The rules look at the state and change nothing.
//!
//! The same rules serve twice: before the log, to refuse early, and when a command is applied, where
//! their verdict binds. All that can be refused is refused here, so that carrying out cannot fail.

use super::{
    command::Action,
    dedup::{Digest, Slot},
    room::Room,
    state::State,
};
use crate::{
    protocol::{
        answer::SentAnswer,
        name::{RoomName, UserName},
        refusal::{Code, Refusal},
    },
    replica::storage::RoomId,
};

/// What an allowed action comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict<'a> {
    /// Nothing happens.
    Nothing,
    /// The room does not exist yet: it is created with the user as its owner.
    Create { room: &'a RoomName },
    /// The user becomes a member.
    Enter(RoomId),
    /// The user is a member already.
    Stay(RoomId),
    /// The user stops being a member.
    Leave(RoomId),
    /// The message gets the room's next place.
    Say { room: RoomId, message: Message<'a> },
    /// The message has had its place all along.
    Repeat(SentAnswer),
}

/// A message that may be said, with the digests that dedup knows it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message<'a> {
    pub body: &'a str,
    pub client_msg_id: &'a str,
    pub reply_to: Option<u64>,
    pub id: Digest,
    pub content: Digest,
}

impl State {
    /// Whether `user` may do `action`, claiming `lamport_timestamp`, and what it comes to.
    pub(super) fn decide<'a>(
        &self,
        user: &UserName,
        action: &'a Action,
        lamport_timestamp: u64,
    ) -> Result<Verdict<'a>, Refusal> {
        if *action == Action::Nothing {
            return Ok(Verdict::Nothing);
        }
        self.clock.check(lamport_timestamp)?;
        match action {
            Action::Nothing => Ok(Verdict::Nothing),
            Action::Join { room } => Ok(match self.room_id(&room.key()) {
                None => Verdict::Create { room },
                Some(id) if self.is_member(&user.key(), id) => Verdict::Stay(id),
                Some(id) => Verdict::Enter(id),
            }),
            Action::Leave { room } => Ok(Verdict::Leave(self.as_member(user, room)?.0)),
            Action::Chat { room, body, client_msg_id, reply_to } => {
                let message = Message {
                    body,
                    client_msg_id,
                    reply_to: *reply_to,
                    id: Digest::of_id(client_msg_id),
                    content: Digest::of_content(&room.key(), body, *reply_to),
                };
                self.decide_message(user, room, message)
            }
        }
    }

    fn decide_message<'a>(
        &self,
        user: &UserName,
        room: &RoomName,
        message: Message<'a>,
    ) -> Result<Verdict<'a>, Refusal> {
        // Before membership: who sends again after leaving still learns where the message stands.
        if let Some(slot) = self.user(&user.key()).and_then(|user| user.sent.find(message.id)) {
            return self.repeat(slot, &message).map(Verdict::Repeat);
        }
        let (id, room) = self.as_member(user, room)?;
        if message.reply_to.is_some_and(|seq| seq == 0 || seq > room.last_seq) {
            return Err(Refusal::bad_request(format!(
                "reply_to must be the seq of an event of the room: 1 to {}",
                room.last_seq
            )));
        }
        Ok(Verdict::Say { room: id, message })
    }

    /// The answer to a message whose `client_msg_id` has been used.
    fn repeat(&self, slot: &Slot, message: &Message<'_>) -> Result<SentAnswer, Refusal> {
        let same = slot.content == message.content;
        let room = self.rooms.get(&slot.room).filter(|_| same).ok_or_else(|| {
            Refusal::bad_request("client_msg_id was used before, for a message with another text or room")
        })?;
        Ok(SentAnswer {
            client_msg_id: message.client_msg_id.into(),
            room: room.name.clone(),
            seq: slot.seq,
            lamport_timestamp: slot.lamport,
            duplicate: true,
        })
    }

    /// The room, where it exists and `user` is a member.
    fn as_member(&self, user: &UserName, room: &RoomName) -> Result<(RoomId, &Room), Refusal> {
        let id = self.room_id(&room.key());
        let found = id.and_then(|id| Some((id, self.room_by_id(id)?)));
        let (id, found) =
            found.ok_or_else(|| Refusal::new(Code::NotFound, format!("there is no room {room}")))?;
        if !self.is_member(&user.key(), id) {
            let reason = format!("{user} is not a member of {}", found.name);
            return Err(Refusal::new(Code::Forbidden, reason));
        }
        Ok((id, found))
    }
}
