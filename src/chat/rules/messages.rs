//! Rules of messages.

use super::{
    super::{
        State,
        dedup::{Digest, Slot},
        evidence::Evidence,
        rights::{self, Deed},
        room::Room,
        user::UserId,
    },
    Asking, Place, Saying, Verdict, banned_from_cluster, no_room,
    rooms::other_of_two,
};
use crate::{
    planted::{Bug, planted},
    protocol::{
        answer::SentAnswer,
        credential::TokenHash,
        event::{Event, Message},
        file::FileId,
        name::{RoomName, UserName},
        refusal::{Code, Refusal},
        request::Destination,
    },
};

/// Different reactions that one message may have.
pub const EMOJI_PER_MESSAGE: usize = 20;
/// Reactions that one message may have in all.
pub const REACTIONS_PER_MESSAGE: usize = 500;

impl State {
    pub(super) fn decide_chat<'a>(
        &self,
        asking: &Asking<'_>,
        to: &'a Destination,
        body: &'a str,
        client_msg_id: &'a str,
        reply_to: Option<u64>,
        file_id: Option<FileId>,
    ) -> Result<Verdict<'a>, Refusal> {
        // A conversation of two is begun by whoever speaks first, whichever way they name it.
        let (room, with) = match to {
            Destination::Room(room) => (room.clone(), other_of_two(asking.user, room)),
            Destination::User(with) => (RoomName::direct(asking.user, with), Some(with.clone())),
        };
        let saying = Saying {
            body,
            client_msg_id,
            reply_to,
            file_id,
            display_name: None,
            id: Digest::of_id(client_msg_id),
            content: Digest::of_content(&room.key(), body, reply_to, file_id),
        };
        // Before membership: who sends again after leaving still learns where the message stands.
        if let Some(slot) = self.sent(asking.id, saying.id) {
            return self.repeat(slot, &saying).map(Verdict::Repeat);
        }
        let place = match (self.room_id(&room.key()), with) {
            (None, Some(with)) => {
                self.must_be_open(&with)?;
                if reply_to.is_some() {
                    return Err(Refusal::bad_request(
                        "reply_to names an event of a conversation yet to begin",
                    ));
                }
                Place::Direct { room, with }
            }
            (None, None) => return Err(no_room(&room)),
            (Some(_), _) => {
                let (id, found) = self.may(asking, Deed::Say, &room)?;
                check_reply(found, reply_to)?;
                self.check_pace(asking, found)?;
                Place::Room(id)
            }
        };
        if let Some(file_id) = file_id {
            self.may_show(asking, file_id)?;
        }
        Ok(Verdict::Say { author: None, place, message: saying })
    }

    /// What a webhook posts is said by its bot, who has to be a member like anybody else.
    pub(super) fn decide_hook_post<'a>(
        &self,
        asking: &Asking<'_>,
        token: &TokenHash,
        body: &'a str,
        client_msg_id: &'a str,
        display_name: Option<&'a str>,
    ) -> Result<Verdict<'a>, Refusal> {
        let unknown = || Refusal::new(Code::NotFound, "there is no such webhook");
        let hook = self.hooks.get(token).ok_or_else(unknown)?;
        let room = self.room_by_id(hook.room).ok_or_else(unknown)?;
        let bot = self.users.get(&hook.user).ok_or_else(unknown)?;
        if bot.account.is_banned(asking.now_ms) {
            return Err(banned_from_cluster(&bot.name));
        }
        let asking = Asking { user: &bot.name, id: Some(hook.user), ..*asking };
        let saying = Saying {
            body,
            client_msg_id,
            reply_to: None,
            file_id: None,
            display_name,
            id: Digest::of_id(client_msg_id),
            content: Digest::of_content(&room.name.key(), body, None, None),
        };
        if let Some(slot) = self.sent(asking.id, saying.id) {
            return self.repeat(slot, &saying).map(Verdict::Repeat);
        }
        let (id, room) = self.may(&asking, Deed::Say, &room.name)?;
        self.check_pace(&asking, room)?;
        Ok(Verdict::Say { author: asking.id, place: Place::Room(id), message: saying })
    }

    fn sent(&self, user: Option<UserId>, id: Digest) -> Option<&Slot> {
        self.users.get(&user?)?.sent.find(id)
    }

    /// The answer to a message whose `client_msg_id` has been used.
    fn repeat(&self, slot: &Slot, saying: &Saying<'_>) -> Result<SentAnswer, Refusal> {
        let same = slot.content == saying.content;
        let room = self.rooms.get(&slot.room).filter(|_| same).ok_or_else(|| {
            Refusal::bad_request("client_msg_id was used before, for a message with another text or room")
        })?;
        Ok(SentAnswer {
            client_msg_id: saying.client_msg_id.into(),
            room: room.name.clone(),
            seq: slot.seq,
            lamport_timestamp: slot.lamport,
            duplicate: true,
        })
    }

    /// In a slow room a member waits between two messages; those who keep order do not.
    fn check_pace(&self, asking: &Asking<'_>, room: &Room) -> Result<(), Refusal> {
        let pause_ms = u64::from(room.settings.slow_s) * 1000;
        let keeps_order = rights::allows(Deed::Mute, self.circumstances(room, asking.id, asking.now_ms));
        let spoke_ms = asking.id.and_then(|id| room.spoke_ms.get(&id));
        let Some(spoke_ms) = spoke_ms.filter(|_| pause_ms > 0 && !keeps_order) else { return Ok(()) };
        // A clock that was set back must not silence anybody for longer than the pause.
        let wait_ms = (spoke_ms + pause_ms).saturating_sub(asking.now_ms).min(pause_ms);
        if wait_ms == 0 || *spoke_ms > asking.now_ms {
            return Ok(());
        }
        let reason = format!("{} is slow: one message every {} s", room.name, room.settings.slow_s);
        Err(Refusal::new(Code::RateLimited, reason).retry_after(wait_ms))
    }

    pub(super) fn decide_edit<'a>(
        &self,
        asking: &Asking<'a>,
        name: &RoomName,
        body: &'a str,
    ) -> Result<Verdict<'a>, Refusal> {
        let deed = if planted(Bug::MutedMayEdit) { Deed::DeleteOwn } else { Deed::Edit };
        let (room, _) = self.may(asking, deed, name)?;
        let (target, message) = known(asking.evidence, name)?;
        if target.author.key() != asking.user.key() {
            let reason = format!("{} is {}'s message; only they can edit it", target.seq, target.author);
            return Err(Refusal::new(Code::Forbidden, reason));
        }
        if message.body == body {
            return Ok(Verdict::Already { room, seq: message.edited.unwrap_or(target.seq) });
        }
        let Evidence { target, last_edit } = asking.evidence;
        let target = target.clone().ok_or_else(|| no_event(name))?;
        Ok(Verdict::Edit { room, target, last_edit: last_edit.clone(), body })
    }

    pub(super) fn decide_delete<'a>(
        &self,
        asking: &Asking<'a>,
        name: &RoomName,
    ) -> Result<Verdict<'a>, Refusal> {
        if planted(Bug::EvidenceBeforeRights) {
            asking.evidence.message().ok_or_else(|| no_event(name))?;
        }
        // First whether the room may be seen at all: what is in it must not show otherwise.
        let (room, _) = self.may(asking, Deed::See, name)?;
        let target = asking.evidence.target.as_ref().ok_or_else(|| no_event(name))?;
        let message = asking.evidence.message().ok_or_else(|| no_message(target))?;
        let is_own = target.author.key() == asking.user.key();
        self.may(asking, if is_own { Deed::DeleteOwn } else { Deed::DeleteOthers }, name)?;
        if let Some(seq) = message.deleted {
            return Ok(Verdict::Already { room, seq });
        }
        let last_edit = asking.evidence.last_edit.clone();
        Ok(Verdict::Delete { room, target: target.clone(), last_edit })
    }

    pub(super) fn decide_react<'a>(
        &self,
        asking: &Asking<'a>,
        name: &RoomName,
        emoji: &'a str,
        remove: bool,
    ) -> Result<Verdict<'a>, Refusal> {
        let (room, found) = self.may(asking, Deed::React, name)?;
        let (_, message) = known(asking.evidence, name)?;
        let reactions = &message.reactions;
        let has = reactions.get(emoji).is_some_and(|users| has_name(users, asking.user));
        if has != remove {
            return Ok(Verdict::Already { room, seq: found.last_seq });
        }
        let is_full = !remove
            && ((reactions.len() >= EMOJI_PER_MESSAGE && !reactions.contains_key(emoji))
                || reactions.values().map(Vec::len).sum::<usize>() >= REACTIONS_PER_MESSAGE);
        if is_full {
            return Err(Refusal::new(Code::Forbidden, "the message has as many reactions as one may have"));
        }
        let target = asking.evidence.target.clone().ok_or_else(|| no_event(name))?;
        Ok(Verdict::React { room, target, emoji, remove })
    }

    pub(super) fn decide_mark_read<'a>(
        &self,
        asking: &Asking<'_>,
        name: &RoomName,
        seq: u64,
    ) -> Result<Verdict<'a>, Refusal> {
        let (room, found) = self.may(asking, Deed::MarkRead, name)?;
        if seq > found.last_seq {
            return Err(Refusal::bad_request(format!("seq must be at most {}", found.last_seq)));
        }
        let user = asking.id.and_then(|id| self.users.get(&id));
        let last_read = user.and_then(|user| user.rooms.get(&room)).map_or(0, |reading| reading.last_read);
        Ok(match seq > last_read {
            true => Verdict::MarkRead { room, seq },
            false => Verdict::Already { room, seq: last_read },
        })
    }
}

/// Whether `name` is among `names`.
pub(in super::super) fn has_name(names: &[UserName], name: &UserName) -> bool {
    names.iter().any(|other| other.key() == name.key())
}

fn check_reply(room: &Room, reply_to: Option<u64>) -> Result<(), Refusal> {
    match reply_to.is_some_and(|seq| seq == 0 || seq > room.last_seq) {
        true => Err(Refusal::bad_request(format!(
            "reply_to must be the seq of an event of the room: 1 to {}",
            room.last_seq
        ))),
        false => Ok(()),
    }
}

/// The message that a request is about, where it is one that still has a text.
fn known<'e>(evidence: &'e Evidence, room: &RoomName) -> Result<(&'e Event, &'e Message), Refusal> {
    let target = evidence.target.as_deref().ok_or_else(|| no_event(room))?;
    let message = evidence.message().ok_or_else(|| no_message(target))?;
    match message.deleted {
        Some(_) => Err(Refusal::new(Code::NotFound, format!("message {} of {room} was deleted", target.seq))),
        None => Ok((target, message)),
    }
}

fn no_event(room: &RoomName) -> Refusal {
    Refusal::new(Code::NotFound, format!("{room} has no such event, or not any more"))
}

fn no_message(event: &Event) -> Refusal {
    Refusal::bad_request(format!("event {} of {} is not a message", event.seq, event.room))
}
