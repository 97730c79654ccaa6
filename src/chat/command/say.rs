//! Messages: in a room or to another user, exactly once.

use serde::{Deserialize, Serialize};

use super::super::{
    access::{Context, no_room},
    account::no_user,
    draft::{Asked, Draft, Write},
    effects::Effects,
    entities::{
        dedup::{Digest, Slot},
        room::{Room, room_of},
        user_id::UserId,
    },
    operation::{Checked, Operation},
    reply::Reply,
    rights::Permission,
    rows,
    state::State,
};
use crate::{
    disk::RoomId,
    protocol::{
        answer::SentAnswer,
        checked::Seq,
        event::{EventKind, Message},
        file::FileId,
        name::{RoomName, UserName},
        refusal::{Code, Refusal},
        request::{self, Destination},
    },
};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Say {
    /// The room or the user.
    pub to: Destination,
    pub body: String,
    /// (user, `client_msg_id`) has one place for ever.
    pub client_msg_id: String,
    /// The `seq` of the message that it answers.
    pub reply_to: Option<u64>,
    /// The file that it shows.
    pub file_id: Option<FileId>,
    /// Of a message to a user: whether they were online when it was sent.
    pub is_here: bool,
}

/// The destination of a message, and the digests by which a repeat is recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    place: Place,
    digests: Digests,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// Into a room of which the author is a member.
    Room(RoomId),
    /// Into a direct conversation that begins with it.
    Direct { room: RoomName, with: UserName },
}

impl Write for request::Chat {
    type Becomes = Say;

    fn draft(self, asked: &Asked<'_>) -> Result<Draft<Self::Becomes>, Refusal> {
        let request::Chat { to, body, client_msg_id, reply_to, file_id, .. } = self;
        let client_msg_id = client_msg_id.map_or_else(|| asked.own_msg_id(), String::from);
        let reply_to = reply_to.map(Seq::get);
        let is_here = asked.is_other_online(&to);
        Ok(Say { to, body: body.into(), client_msg_id, reply_to, file_id, is_here }.into())
    }
}

impl Operation for Say {
    type Plan = Plan;

    fn names(&self) -> Vec<UserName> {
        match &self.to {
            Destination::User(with) => vec![with.clone()],
            Destination::Room(room) => {
                room.direct_pair().map(|(one, other)| vec![one, other]).unwrap_or_default()
            }
        }
    }

    /// A message creates no rooms but direct conversations.
    fn creates(&self, user: &UserName) -> Option<RoomName> {
        match &self.to {
            Destination::User(with) => Some(RoomName::direct(user, with)),
            Destination::Room(room) => room.direct_pair().map(|_| room.clone()),
        }
    }

    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<Plan>, Refusal> {
        // A direct conversation begins with its first message, whether the message names it or the other
        // user.
        let (name, with) = room_of(context.user, &self.to);
        let found = state.room_meant(context.room, &name);
        if context.room.is_some() && found.is_none() {
            return Err(context.no_room(&name));
        }
        let Say { client_msg_id, body, reply_to, file_id, .. } = self;
        let now_named = found.map_or(&name, |(_, room)| &room.name);
        let sent = Sending::new(now_named, client_msg_id, body, *reply_to, *file_id);
        let sent = Sending { told: &name, number: context.room, ..sent };
        // Before membership is checked: a user who sends it again after leaving still learns its place.
        if let Some(reply) = state.sent_before(context.id, &sent, context.now_ms)? {
            return Ok(Checked::Unchanged(reply));
        }
        let digests = sent.digests;
        let place = match (found, with) {
            (None, Some(with)) => {
                state.may_begin_conversation(context, &name, &with, self.is_here)?;
                if self.reply_to.is_some() {
                    return Err(Refusal::bad_request(
                        "reply_to names an event of a conversation yet to begin",
                    ));
                }
                Place::Direct { room: name, with }
            }
            (None, None) => return Err(no_room(&name)),
            (Some(_), _) => {
                let (id, room) = state.may(context, Permission::Say, &name)?;
                state.must_not_be_blocked(context, &room.name)?;
                check_reply(room, self.reply_to)?;
                state.check_pace(context, room)?;
                Place::Room(id)
            }
        };
        if let Some(file_id) = self.file_id {
            state.may_show(context, file_id)?;
        }
        Ok(Checked::Change(Plan { place, digests }))
    }

    fn apply(
        &self,
        Plan { place, digests }: Plan,
        state: &mut State,
        user: &UserName,
        effects: &mut Effects,
    ) -> Reply {
        let author = state.user_or_new(effects, user);
        let room = match place {
            Place::Room(room) => room,
            Place::Direct { room, with } => {
                let name = state.user_name(author);
                state.begin_conversation(effects, author, &room, &[name, with])
            }
        };
        let message = Message {
            body: self.body.clone(),
            client_msg_id: self.client_msg_id.clone(),
            reply_to: self.reply_to,
            file: self.file_id.and_then(|id| state.file_info(id)),
            ..Message::default()
        };
        state.say(effects, author, room, digests, message)
    }
}

fn check_reply(room: &Room, reply_to: Option<u64>) -> Result<(), Refusal> {
    if reply_to.is_some_and(|seq| seq == 0 || seq > room.last_seq) {
        let reason = format!("reply_to must be the seq of an event of the room: 1 to {}", room.last_seq);
        return Err(Refusal::bad_request(reason));
    }
    Ok(())
}

/// The digests by which dedup recognises a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Digests {
    /// Of its `client_msg_id`.
    pub id: Digest,
    /// Of its text and place.
    pub content: Digest,
}

fn used_before() -> Refusal {
    Refusal::bad_request("client_msg_id was used before, for a message with another text or room")
}

/// A message that may have come before.
pub(super) struct Sending<'a> {
    /// The present name of its room.
    room: &'a RoomName,
    /// The name that its author knows the room by, which may be an older one.
    told: &'a RoomName,
    /// The number of its room, if its author gave that.
    number: Option<RoomId>,
    client_msg_id: &'a str,
    body: &'a str,
    reply_to: Option<u64>,
    file_id: Option<FileId>,
    pub digests: Digests,
}

impl<'a> Sending<'a> {
    pub fn new(
        room: &'a RoomName,
        client_msg_id: &'a str,
        body: &'a str,
        reply_to: Option<u64>,
        file_id: Option<FileId>,
    ) -> Self {
        let content = Digest::of_content(&room.key(), body, reply_to, file_id);
        let digests = Digests { id: Digest::of_id(client_msg_id), content };
        Sending { room, told: room, number: None, client_msg_id, body, reply_to, file_id, digests }
    }

    /// The digest of its content if its room had this name.
    fn content_in(&self, room: &RoomName) -> Digest {
        Digest::of_content(&room.key(), self.body, self.reply_to, self.file_id)
    }
}

// Shared by what may begin a direct conversation.
impl State {
    /// Whether the user may begin a direct conversation with another one, in the room of this name. One with
    /// oneself needs no other user.
    pub(super) fn may_begin_conversation(
        &self,
        context: &Context<'_>,
        room: &RoomName,
        with: &UserName,
        is_here: bool,
    ) -> Result<(), Refusal> {
        if with.key() != context.user.key() && !self.is_known(with, is_here) {
            return Err(no_user(with));
        }
        self.must_be_open(with)?;
        self.must_not_be_blocked(context, room)
    }
}

// Shared by messages of users and posts of webhooks.
impl State {
    /// The answer to a message whose `client_msg_id` the author has used before.
    pub(super) fn sent_before(
        &self,
        author: Option<UserId>,
        sent: &Sending<'_>,
        now_ms: u64,
    ) -> Result<Option<Reply>, Refusal> {
        let content = sent.digests.content;
        let Some(slot) = self.slot(author, sent) else { return Ok(None) };
        let named = sent.number.or_else(|| self.room_id(&sent.room.key()));
        // Only users who may see a room are told its present name.
        let is_seen = |room: &Room| self.access(room, author, now_ms).allows(Permission::See);
        let Some(room) = self.rooms.get(&slot.room) else {
            // Its room was deleted, and another room may have the name now, which the author may not be
            // allowed to see.
            let other = named.and_then(|id| self.rooms.get(&id));
            return Err(if other.is_some_and(is_seen) { used_before() } else { no_room(sent.told) });
        };
        // It may have been sent under a name that the room had then.
        let is_seen = is_seen(room);
        let knows_it = is_seen || sent.number.is_some();
        let mut old_names = room.old_names.iter().filter(|_| knows_it && named == Some(slot.room));
        if slot.content != content && !old_names.any(|name| slot.content == sent.content_in(name)) {
            return Err(used_before());
        }
        Ok(Some(Reply::Sent(SentAnswer {
            client_msg_id: sent.client_msg_id.into(),
            room: if is_seen { room.name.clone() } else { sent.told.clone() },
            seq: slot.seq,
            lamport_timestamp: slot.lamport,
            duplicate: true,
        })))
    }

    /// The answer to a message that the author has already sent less than `within_ms` ago, by the times of
    /// the log entries. A clock that was set back does not make this longer.
    pub(super) fn sent_lately(
        &self,
        context: &Context<'_>,
        sent: &Sending<'_>,
        within_ms: u64,
    ) -> Option<Reply> {
        let slot = self.slot(context.id, sent)?;
        if slot.said_ms.abs_diff(context.now_ms) >= within_ms {
            return None;
        }
        // Another text under the same id is another message.
        self.sent_before(context.id, sent, context.now_ms).ok().flatten()
    }

    fn slot(&self, author: Option<UserId>, sent: &Sending<'_>) -> Option<&Slot> {
        self.users.get(&author?)?.sent.find(sent.digests.id)
    }

    /// In a slow room a member waits between two messages; owners and moderators do not. A bot counts with
    /// the person who made it, so that bots do not let a person write more often.
    pub(super) fn check_pace(&self, context: &Context<'_>, room: &Room) -> Result<(), Refusal> {
        let pause_ms = u64::from(room.settings.slow_s) * 1000;
        if pause_ms == 0 {
            return Ok(());
        }
        let keeps_order = |id| self.access(room, Some(id), context.now_ms).allows(Permission::Mute);
        let keeps_order = context.id.is_some_and(|id| keeps_order(id) || keeps_order(self.person_of(id)));
        let spoke_ms = context.id.and_then(|id| room.spoke_ms.get(&self.person_of(id)));
        let Some(spoke_ms) = spoke_ms.filter(|_| !keeps_order) else { return Ok(()) };
        // A clock that was set back must not silence a member for longer than the pause.
        let wait_ms = (spoke_ms + pause_ms).saturating_sub(context.now_ms).min(pause_ms);
        if wait_ms == 0 || *spoke_ms > context.now_ms {
            return Ok(());
        }
        let reason = format!("{} is slow: one message every {} s", room.name, room.settings.slow_s);
        Err(Refusal::new(Code::RateLimited, reason).retry_after(wait_ms))
    }

    /// The message gets the room's next place. The users whom it names are found here.
    pub(super) fn say(
        &mut self,
        effects: &mut Effects,
        author: UserId,
        room: RoomId,
        digests: Digests,
        message: Message,
    ) -> Reply {
        let client_msg_id = message.client_msg_id.clone();
        let file_id = message.file.as_ref().map(|file| file.file_id);
        let mentions = self.mentioned(effects.created_at_ms, room, author, &message.body);
        self.clock.messages += 1;
        let event = self.publish(effects, room, author, EventKind::Message(Message { mentions, ..message }));
        if let Some(file_id) = file_id {
            self.show_file(effects, file_id, room, event.seq);
        }
        if self.room_mut(room).settings.slow_s > 0 {
            let person = self.person_of(author);
            self.room_mut(room).spoke_ms.insert(person, effects.created_at_ms);
            effects.rows.push(rows::spoke(room, person, Some(effects.created_at_ms)));
        }
        let Digests { id, content } = digests;
        let (seq, lamport, said_ms) = (event.seq, event.lamport_timestamp, event.created_at);
        let slot = Slot { id, content, room, seq, lamport, said_ms };
        self.remember(effects, author, slot);
        Reply::Sent(SentAnswer {
            client_msg_id,
            room: event.room.clone(),
            seq: event.seq,
            lamport_timestamp: event.lamport_timestamp,
            duplicate: false,
        })
    }
}
