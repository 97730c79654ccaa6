//! What an answer says to its question, and what is to be asked for the page behind it.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::protocol::{
    Event, RoomSummary,
    answer::{Account, Hit, Member},
    request::HistoryRange,
    server_message::Content,
};

use super::{
    io::{Question, Search},
    update::Reply,
};

/// The reply to `question`; the error is a sentence.
pub fn reply(question: &Question, content: Content) -> Result<Reply, String> {
    match (question, content) {
        (Question::History { room, range, limit }, Content::History { events, last_seq, more, .. }) => {
            let range = more.then(|| behind(*range, &events)).flatten();
            let next = range.map(|range| Question::History { room: room.clone(), range, limit: *limit });
            Ok(Reply::History { room: room.clone(), events, last_seq, next })
        }
        (Question::Servers, Content::ServerList(list)) => Ok(Reply::Servers(list)),
        (Question::Status, Content::Status(status)) => Ok(Reply::Status(status)),
        (Question::Barrier, Content::Other { .. }) => Ok(Reply::Barrier),
        (question, Content::Other { data, .. }) => listed(question, data),
        _ => Err("it answers something else".into()),
    }
}

/// Those of the answers that are lists.
fn listed(question: &Question, data: Map<String, Value>) -> Result<Reply, String> {
    let more = data.get("more").and_then(Value::as_bool).unwrap_or(false);
    match question {
        Question::Rooms { joined, .. } => {
            let rooms: Vec<RoomSummary> = field(data, "rooms")?;
            let last = rooms.last().filter(|_| more).map(|room| room.room.clone());
            let next = last.map(|last| Question::Rooms { joined: *joined, after: Some(last) });
            Ok(Reply::Rooms { rooms, joined: *joined, next })
        }
        Question::Search(search) => {
            let cut_at = data.get("before").and_then(Value::as_u64).filter(|_| more);
            let hits: Vec<Hit> = field(data, "hits")?;
            // A full page may be the last one; only asking for another tells.
            let last = hits.last().filter(|_| hits.len() >= search.limit);
            let before = cut_at.or(last.map(|hit| hit.event.lamport_timestamp));
            let next = before.map(|before| Search { before: Some(before), ..search.clone() });
            Ok(Reply::Search { hits, next: next.map(Question::Search) })
        }
        Question::Hooks(room) => Ok(Reply::Hooks { room: room.clone(), hooks: field(data, "hooks")? }),
        Question::Users { .. } => {
            let users: Vec<Account> = field(data, "users")?;
            let last = users.last().filter(|_| more).map(|user| user.username.clone());
            Ok(Reply::Users { users, next: last.map(|last| Question::Users { after: Some(last) }) })
        }
        Question::Members { room, .. } => {
            let members: Vec<Member> = field(data, "members")?;
            let last = members.last().filter(|_| more).map(|member| member.username.clone());
            let next = last.map(|last| Question::Members { room: room.clone(), after: Some(last) });
            Ok(Reply::Members { room: room.clone(), members, next })
        }
        Question::History { .. } | Question::Servers | Question::Status | Question::Barrier => {
            Err("it answers something else".into())
        }
    }
}

/// The range behind `events`, in the direction of `range`.
fn behind(range: HistoryRange, events: &[Event]) -> Option<HistoryRange> {
    match range {
        HistoryRange::Last | HistoryRange::Before(_) => {
            events.first().map(|event| HistoryRange::Before(event.seq))
        }
        HistoryRange::After(_) | HistoryRange::Since(_) => {
            events.last().map(|event| HistoryRange::After(event.seq))
        }
    }
}

fn field<T: for<'de> Deserialize<'de>>(mut data: Map<String, Value>, name: &str) -> Result<T, String> {
    let value = data.remove(name).ok_or_else(|| format!("{name} is missing"))?;
    serde_json::from_value(value).map_err(|error| format!("{name}: {error}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::protocol::{RoomName, UserName};

    fn event(seq: u64) -> Value {
        json!({ "room": "den", "seq": seq, "author": "bob", "lamport_timestamp": 100 + seq, "created_at": 1.0,
            "kind": "message", "body": "x", "client_msg_id": "b", "snippet": "x" })
    }

    /// What is asked behind the answer with this `data`.
    fn next(question: &Question, data: Value) -> Option<Question> {
        let Value::Object(data) = data else { panic!("an answer is an object") };
        let content = match question {
            Question::History { .. } => Content::History {
                events: field(data.clone(), "events").unwrap(),
                last_seq: 9,
                more: data["more"] == true,
                room: "den".into(),
            },
            _ => Content::Other { msg_type: String::new(), data },
        };
        reply(question, content).unwrap().next().cloned()
    }

    #[test]
    fn a_page_of_history_goes_on_in_its_direction() {
        let room = RoomName::new("den").unwrap();
        let history = |range| Question::History { room: room.clone(), range, limit: 2 };
        for (range, behind) in [
            (HistoryRange::Last, HistoryRange::Before(4)),
            (HistoryRange::Before(6), HistoryRange::Before(4)),
            (HistoryRange::After(3), HistoryRange::After(5)),
            (HistoryRange::Since(7), HistoryRange::After(5)),
        ] {
            let page = |more: bool| json!({ "events": [event(4), event(5)], "more": more });
            assert_eq!(next(&history(range), page(true)), Some(history(behind)));
            assert_eq!(next(&history(range), page(false)), None);
        }
    }

    #[test]
    fn a_search_goes_on_behind_its_last_hit_or_where_it_was_cut() {
        let search =
            |before| Question::Search(Search { words: "x".into(), before, limit: 2, ..Search::default() });
        let hits = json!([event(5), event(4)]);
        assert_eq!(next(&search(None), json!({ "hits": hits, "more": false })), Some(search(Some(104))));
        let cut = json!({ "hits": [event(5)], "more": true, "before": 103 });
        assert_eq!(next(&search(None), cut), Some(search(Some(103))));
        assert_eq!(next(&search(None), json!({ "hits": [event(5)], "more": false })), None);
    }

    #[test]
    fn lists_go_on_behind_their_last_name() {
        let (den, bob) = (RoomName::new("den").unwrap(), UserName::new("bob").unwrap());
        let rooms = |after| Question::Rooms { joined: true, after };
        let summary = json!({ "room": "den", "private": false, "topic": "", "members": 1, "last_seq": 0,
            "joined": true, "last_read": 0, "unread": 0 });
        let data = json!({ "rooms": [summary], "more": true });
        assert_eq!(next(&rooms(None), data), Some(rooms(Some(den.clone()))));
        let members = |after| Question::Members { room: den.clone(), after };
        let member = json!({ "username": "bob", "role": "member", "online": true });
        let data = json!({ "members": [member], "more": true });
        assert_eq!(next(&members(None), data), Some(members(Some(bob.clone()))));
        assert_eq!(next(&members(None), json!({ "members": [] })), None, "an older server knows no pages");
        let user = json!({ "username": "bob", "account": true, "admin": false, "bot": false, "banned": false,
            "online": true });
        let data = json!({ "users": [user], "more": true });
        assert_eq!(next(&Question::Users { after: None }, data), Some(Question::Users { after: Some(bob) }));
    }
}
