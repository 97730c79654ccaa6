//! What a server says, as a line: written by servers, read by clients.

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;

use super::read_envelope;
use crate::protocol::{
    answer::{Answer, Push},
    envelope::{AnswerTo, RequestHead, RequestId},
    event::{Event, seconds},
    object::Text,
    said::{Content, Pushed, Said},
};

#[derive(Serialize)]
struct Line<'a, D: Serialize> {
    msg_type: &'a str,
    sender_id: &'a str,
    data: D,
    lamport_timestamp: u64,
    #[serde(with = "seconds")]
    created_at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a RequestId>,
}

/// `data` of an answer: the request's type, then the answer's own fields.
#[derive(Serialize)]
struct Answering<'a> {
    #[serde(rename = "for")]
    msg_type: &'a str,
    #[serde(flatten)]
    answer: &'a Answer,
}

impl Said {
    /// The line of JSON, with its line end: made at the first call.
    pub fn json(&self) -> Arc<[u8]> {
        self.line(write_said)
    }
}

fn write_said(content: &Content) -> Vec<u8> {
    match content {
        Content::Answer { to, answer, by } => write(&Line {
            msg_type: answer.msg_type(),
            sender_id: by.server_id.as_str(),
            data: Answering { msg_type: &to.msg_type, answer },
            lamport_timestamp: by.lamport_timestamp,
            created_at: by.now_ms,
            request_id: to.request_id.as_ref(),
        }),
        Content::Push { push, by } => write(&Line {
            msg_type: push.msg_type(),
            sender_id: by.server_id.as_str(),
            data: push,
            lamport_timestamp: by.lamport_timestamp,
            created_at: by.now_ms,
            request_id: None,
        }),
        Content::Event(Pushed { is_message, author, lamport_timestamp, created_at, json }) => write(&Line {
            msg_type: if *is_message { "chat" } else { "room_event" },
            sender_id: author.as_str(),
            data: json,
            lamport_timestamp: *lamport_timestamp,
            created_at: *created_at,
            request_id: None,
        }),
    }
}

fn write<D: Serialize>(line: &Line<'_, D>) -> Vec<u8> {
    let mut bytes =
        serde_json::to_vec(line).expect("strings, numbers and maps with string keys always encode");
    bytes.push(b'\n');
    bytes
}

#[derive(Debug, Clone)]
pub struct ServerLine {
    /// The server that says it, or the author of an event.
    pub sender_id: String,
    /// The sender's Lamport clock, or the event's timestamp.
    pub lamport_timestamp: u64,
    pub heard: Heard,
}

/// What a line from a server says.
#[derive(Debug, Clone)]
pub enum Heard {
    /// The answer to a request.
    Answer(AnswerTo, Answer),
    /// Something happened in a room.
    Event(Box<Event>),
    Push(Push),
    /// Something that only later versions say.
    Unknown(AnswerTo),
}

/// A line that cannot be read, with as much of it as could be.
#[derive(Debug, Clone)]
pub struct Unreadable {
    pub reason: String,
    /// The `msg_type` of the line; empty if that could not be read.
    pub msg_type: String,
    /// The sender's Lamport clock, 0 if that could not be read.
    pub lamport_timestamp: u64,
    /// The request that it answers, if it answers one.
    pub to: AnswerTo,
    /// Its `data`, if that could be read.
    pub data: Option<Box<RawValue>>,
}

/// Reads one line of a server, without its line end.
///
/// # Errors
/// It is no JSON, or a field of it is wrong.
pub fn read_server_line(line: &[u8]) -> Result<ServerLine, Unreadable> {
    let mut head = RequestHead::default();
    let read = read_envelope(line, &mut head);
    let RequestHead { msg_type, sender_id, lamport_timestamp, request_id, .. } = head;
    let mut to = AnswerTo { msg_type: "".into(), request_id };
    let unreadable = |to: &AnswerTo, reason: String, data: Option<&RawValue>| Unreadable {
        reason,
        msg_type: msg_type.clone().into_owned(),
        lamport_timestamp,
        to: to.clone(),
        data: data.map(ToOwned::to_owned),
    };
    let data = read.map_err(|refusal| unreadable(&to, refusal.to_string(), None))?;
    let mut asked = None;
    // An object, as the envelope says.
    let _ = Text(data).each_field(|name, value| {
        if name == "for" {
            asked = Text(value).string();
        }
    });
    let heard = if let Some(asked) = asked {
        to.msg_type = asked.clone().into_owned().into();
        Answer::read(&msg_type, &asked, Text(data))
            .map(|answer| answer.map(|answer| Heard::Answer(to.clone(), answer)))
    } else if matches!(&*msg_type, "chat" | "room_event") {
        // By serde's own reader: events have the spelling of servers.
        let event = serde_json::from_str::<Event>(data.get());
        Some(event.map(|event| Heard::Event(Box::new(event))).map_err(serde::de::Error::custom))
    } else {
        Push::read(&msg_type, Text(data)).map(|push| push.map(Heard::Push))
    };
    let heard =
        heard.transpose().map_err(|fault| unreadable(&to, format!("{msg_type}: {fault}"), Some(data)))?;
    let heard = heard.unwrap_or(Heard::Unknown(to));
    Ok(ServerLine { sender_id: sender_id.unwrap_or_default(), lamport_timestamp, heard })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{
        Code, Refusal, RoomName, ServerId,
        answer::{HistoryPage, Placed, Pong, Signature},
        said::Said,
    };

    fn by() -> Signature {
        Signature { server_id: ServerId::new("server1").unwrap(), lamport_timestamp: 3, now_ms: 1_500 }
    }

    fn line(said: &Said) -> String {
        String::from_utf8(said.json().to_vec()).unwrap()
    }

    #[test]
    fn answers_carry_what_they_answer() {
        let to = AnswerTo { msg_type: "ping".into(), request_id: Some(RequestId::Number(7)) };
        let data = RawValue::from_string(r#"{"for":"me","x":1}"#.into()).unwrap();
        assert_eq!(
            line(&Said::answer(to.clone(), Pong::new(data), by())),
            "{\"msg_type\":\"pong\",\"sender_id\":\"server1\",\"data\":{\"for\":\"ping\",\"x\":1},\
             \"lamport_timestamp\":3,\"created_at\":1.5,\"request_id\":7}\n"
        );
        let refusal = Refusal::new(Code::RateLimited, "slow down").retry_after(20);
        let nack = line(&Said::nack(to.clone(), refusal.clone(), by()));
        assert!(nack.contains(r#""retry_after_ms":20,"retryable":true"#), "{nack}");
        let Heard::Answer(heard, Answer::Nack(again)) =
            read_server_line(nack.trim().as_bytes()).unwrap().heard
        else {
            panic!("{nack}")
        };
        assert_eq!((heard, again), (to, refusal));
    }

    #[test]
    fn an_ack_is_read_as_what_its_request_is_answered_with() {
        let to = AnswerTo { msg_type: "topic".into(), request_id: None };
        let placed = Placed { duplicate: false, room: RoomName::new("den").unwrap(), seq: 7, warning: None };
        let ack = line(&Said::answer(to, placed.clone(), by()));
        let Heard::Answer(_, Answer::Placed(again)) = read_server_line(ack.trim().as_bytes()).unwrap().heard
        else {
            panic!("{ack}")
        };
        assert_eq!(again, placed);
        let newer = br#"{"msg_type":"ack","data":{"for":"fly"},"request_id":3}"#;
        let heard = read_server_line(newer).unwrap().heard;
        assert!(matches!(heard, Heard::Unknown(AnswerTo { request_id: Some(RequestId::Number(3)), .. })));
        let bad =
            br#"{"msg_type":"ack","data":{"for":"topic","room":7},"request_id":3,"lamport_timestamp":9}"#;
        let bad = read_server_line(bad).unwrap_err();
        assert_eq!((bad.to.msg_type.as_ref(), bad.lamport_timestamp), ("topic", 9));
        assert_eq!(bad.reason, "ack: room must be a string");
    }

    #[test]
    fn a_page_keeps_its_events_as_they_are_stored() {
        let raw = RawValue::from_string(r#"{"seq":1,"n":1.50}"#.into()).unwrap();
        let page = HistoryPage {
            room: RoomName::new("lobby").unwrap(),
            events: vec![raw],
            first_seq: 1,
            last_seq: 1,
            more: false,
            stale: false,
        };
        let to = AnswerTo { msg_type: "history".into(), request_id: None };
        let line = line(&Said::answer(to, page, by()));
        assert!(line.contains(r#""events":[{"seq":1,"n":1.50}]"#), "{line}");
        assert!(matches!(
            read_server_line(line.trim().as_bytes()).unwrap().heard,
            Heard::Answer(_, Answer::History(page)) if page.events[0].get() == r#"{"seq":1,"n":1.50}"#
        ));
    }
}
