//! Requests about messages: saying them, changing them, and finding them again.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::protocol::{
    answer::{HistoryPage, SearchPage},
    checked::{Body, ClientMsgId, Emoji, Limit, Seq, Time, Words},
    file::FileId,
    limits::{HISTORY_DEFAULT, HISTORY_MAX, SEARCH_DEFAULT, SEARCH_MAX},
    name::{RoomName, UserName},
    object::Text,
};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ChatFields", into = "ChatFields")]
pub struct Chat {
    /// The room, or the user it is said to.
    pub to: Destination,
    pub body: Body,
    /// The sender's own name for this message; without it the send is not protected against doubling.
    pub client_msg_id: Option<ClientMsgId>,
    /// The message that it answers.
    pub reply_to: Option<Seq>,
    /// The file that it shows.
    pub file_id: Option<FileId>,
    /// The `client_msg_id` of the connection's message before it: if that was refused for load, so is this
    /// one.
    pub follows: Option<ClientMsgId>,
}

/// The destination of a message or of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Destination {
    Room(RoomName),
    User(UserName),
}

impl Destination {
    /// Of the fields `room` and `to`, one of which must be there.
    pub fn new(room: Option<RoomName>, to: Option<UserName>) -> Result<Self, &'static str> {
        match (room, to) {
            (Some(room), None) => Ok(Destination::Room(room)),
            (None, Some(user)) => Ok(Destination::User(user)),
            (None, None) => Err("room is missing, or to for a direct message"),
            (Some(_), Some(_)) => Err("give room or to, not both"),
        }
    }

    pub(super) fn into_fields(self) -> (Option<RoomName>, Option<UserName>) {
        match self {
            Destination::Room(room) => (Some(room), None),
            Destination::User(user) => (None, Some(user)),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct ChatFields {
    room: Option<RoomName>,
    to: Option<UserName>,
    body: Body,
    client_msg_id: Option<ClientMsgId>,
    follows: Option<ClientMsgId>,
    reply_to: Option<Seq>,
    file_id: Option<FileId>,
}

impl TryFrom<ChatFields> for Chat {
    type Error = &'static str;

    fn try_from(fields: ChatFields) -> Result<Chat, &'static str> {
        let ChatFields { room, to, body, client_msg_id, follows, reply_to, file_id } = fields;
        let to = Destination::new(room, to)?;
        Ok(Chat { to, body, client_msg_id, reply_to, file_id, follows })
    }
}

impl From<Chat> for ChatFields {
    fn from(chat: Chat) -> ChatFields {
        let Chat { to, body, client_msg_id, reply_to, file_id, follows } = chat;
        let (room, to) = to.into_fields();
        ChatFields { room, to, body, client_msg_id, follows, reply_to, file_id }
    }
}

/// Gives a message another text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Edit {
    pub room: RoomName,
    pub seq: Seq,
    pub body: Body,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Delete {
    pub room: RoomName,
    pub seq: Seq,
}

/// Reacts to a message, or takes a reaction back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct React {
    pub room: RoomName,
    pub seq: Seq,
    pub emoji: Emoji,
    /// Whether to take it back.
    #[serde(default)]
    pub remove: bool,
}

/// Pins a message of a room: it is in the list that newcomers get.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pin {
    pub room: RoomName,
    pub seq: Seq,
}

/// Takes a pin off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unpin {
    pub room: RoomName,
    pub seq: Seq,
}

/// Lists the pinned messages of a room.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pins {
    pub room: RoomName,
}

/// Notes that everything up to an event has been read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MarkRead {
    pub room: RoomName,
    pub seq: Seq,
}

/// Reads events of a room.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "HistoryFields", into = "HistoryFields")]
pub struct History {
    pub room: RoomName,
    /// From where, and in which direction.
    pub range: HistoryRange,
    /// [`HISTORY_DEFAULT`] if it is left out.
    pub limit: Option<Limit<{ HISTORY_MAX as u64 }>>,
}

impl History {
    /// How many events are asked for.
    pub fn limit(&self) -> usize {
        self.limit.map_or(HISTORY_DEFAULT, |limit| limit.get() as usize)
    }

    /// The next page goes on in the same direction.
    pub(super) fn next(&self, page: &HistoryPage) -> Option<History> {
        let (first, last) = (page.events.first(), page.events.last());
        let range = match self.range {
            _ if !page.more => return None,
            HistoryRange::Last | HistoryRange::Before(_) => HistoryRange::Before(seq(first?)?),
            HistoryRange::After(_) | HistoryRange::Since(_) => HistoryRange::After(seq(last?)?),
        };
        Some(History { range, ..self.clone() })
    }
}

/// A part of a room's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryRange {
    Last,
    /// The newest of those below this `seq`.
    Before(u64),
    /// The oldest of those above this `seq`.
    After(u64),
    /// The oldest of those made at or after this time, milliseconds since the Unix epoch.
    Since(u64),
}

#[derive(Serialize, Deserialize)]
struct HistoryFields {
    room: RoomName,
    before: Option<Seq>,
    after: Option<Seq>,
    since: Option<Time>,
    limit: Option<Limit<{ HISTORY_MAX as u64 }>>,
}

impl TryFrom<HistoryFields> for History {
    type Error = &'static str;

    fn try_from(fields: HistoryFields) -> Result<History, &'static str> {
        let HistoryFields { room, before, after, since, limit } = fields;
        let range = match (before, after, since) {
            (None, None, None) => HistoryRange::Last,
            (Some(seq), None, None) => HistoryRange::Before(seq.get()),
            (None, Some(seq), None) => HistoryRange::After(seq.get()),
            (None, None, Some(time)) => HistoryRange::Since(time.at_ms),
            _ => return Err("give one of before, after and since"),
        };
        Ok(History { room, range, limit })
    }
}

impl From<History> for HistoryFields {
    fn from(history: History) -> HistoryFields {
        let History { room, range, limit } = history;
        let mut fields = HistoryFields { room, before: None, after: None, since: None, limit };
        match range {
            HistoryRange::Last => {}
            HistoryRange::Before(seq) => fields.before = Seq::try_from(seq).ok(),
            HistoryRange::After(seq) => fields.after = Seq::try_from(seq).ok(),
            HistoryRange::Since(at_ms) => fields.since = Some(Time { at_ms }),
        }
        fields
    }
}

/// Looks for messages by their words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Search {
    pub query: Words,
    /// In this room only.
    pub room: Option<RoomName>,
    /// Of this author only.
    pub author: Option<UserName>,
    /// Not before this time.
    pub since: Option<Time>,
    /// Not after this time.
    pub until: Option<Time>,
    /// Only what has a lower Lamport timestamp: to page.
    pub before: Option<Seq>,
    /// [`SEARCH_DEFAULT`] if it is left out.
    pub limit: Option<Limit<{ SEARCH_MAX as u64 }>>,
}

impl Search {
    /// How many hits are asked for.
    pub fn limit(&self) -> usize {
        self.limit.map_or(SEARCH_DEFAULT, |limit| limit.get() as usize)
    }

    /// The next page goes on behind the last hit, or at the place at which the server ended the search.
    pub(super) fn next(&self, page: &SearchPage) -> Option<Search> {
        // A full page may be the last one; only another request tells.
        let last = page.hits.last().filter(|_| page.hits.len() >= self.limit());
        let cut_at = page.before.filter(|_| page.more);
        let before = cut_at.or(last.map(|hit| hit.event.lamport_timestamp))?;
        Some(Search { before: Some(Seq::try_from(before).ok()?), ..self.clone() })
    }
}

/// The place of an event as it is stored.
fn seq(event: &RawValue) -> Option<u64> {
    #[derive(Deserialize)]
    struct Place {
        seq: u64,
    }
    Place::deserialize(Text(event)).ok().map(|place| place.seq)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::protocol::{Answer, Request, request};

    fn event(seq: u64) -> Value {
        json!({ "room": "den", "seq": seq, "author": "bob", "lamport_timestamp": 100 + seq, "created_at": 1.0,
            "kind": "message", "body": "x", "client_msg_id": "b", "snippet": "x" })
    }

    /// The request for the page behind the answer with this `data`.
    fn next(request: impl Into<Request>, mut data: Value) -> Option<Request> {
        let request = request.into();
        data["room"] = json!("den");
        let answer = Answer::read(request.msg_type(), request.msg_type(), data).unwrap().unwrap();
        request.next_page(&answer)
    }

    #[test]
    fn a_page_of_history_goes_on_in_its_direction() {
        let history =
            |range| History { room: RoomName::new("den").unwrap(), range, limit: Some(Limit::clamped(2)) };
        for (range, behind) in [
            (HistoryRange::Last, HistoryRange::Before(4)),
            (HistoryRange::Before(6), HistoryRange::Before(4)),
            (HistoryRange::After(3), HistoryRange::After(5)),
            (HistoryRange::Since(7), HistoryRange::After(5)),
        ] {
            let page = |more: bool| json!({ "events": [event(4), event(5)], "more": more });
            assert_eq!(next(history(range), page(true)), Some(history(behind).into()));
            assert_eq!(next(history(range), page(false)), None);
        }
    }

    #[test]
    fn a_search_goes_on_behind_its_last_hit_or_where_it_was_cut() {
        let search = |before: Option<u64>| Search {
            query: Words::new("x").unwrap(),
            room: None,
            author: None,
            since: None,
            until: None,
            before: before.map(|before| Seq::try_from(before).unwrap()),
            limit: Some(Limit::clamped(2)),
        };
        let hits = json!([event(5), event(4)]);
        let then = |before| Some(search(Some(before)).into());
        assert_eq!(next(search(None), json!({ "hits": hits, "more": false })), then(104));
        let cut = json!({ "hits": [event(5)], "more": true, "before": 103 });
        assert_eq!(next(search(None), cut), then(103));
        assert_eq!(next(search(None), json!({ "hits": [event(5)], "more": false })), None);
    }

    #[test]
    fn lists_go_on_behind_their_last_name() {
        let (den, bob) = (RoomName::new("den").unwrap(), UserName::new("bob").unwrap());
        let rooms = |after| request::Rooms { joined: true, after, limit: None };
        let summary = json!({ "room": "den", "private": false, "topic": "", "members": 1, "last_seq": 0,
            "joined": true, "last_read": 0, "unread": 0 });
        let data = json!({ "rooms": [summary], "more": true });
        assert_eq!(next(rooms(None), data), Some(rooms(Some(den.clone())).into()));
        let members = |after| request::Members { room: den.clone(), after, limit: None };
        let member = json!({ "username": "bob", "role": "member", "online": true });
        let data = json!({ "members": [member], "more": true });
        assert_eq!(next(members(None), data), Some(members(Some(bob.clone())).into()));
        assert_eq!(next(members(None), json!({ "members": [] })), None);
        let users = |after| request::Users { after, limit: None };
        let user = json!({ "username": "bob", "account": true, "admin": false, "bot": false, "banned": false,
            "online": true });
        let data = json!({ "users": [user], "more": true });
        assert_eq!(next(users(None), data), Some(users(Some(bob)).into()));
    }
}
