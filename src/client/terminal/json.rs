//! Updates as JSON objects, one a line, for programs.
//!
//! Every object has a `type`. Events have the fields they have on the wire.

use serde_json::{Value, json};

use crate::{
    client::{
        ask::{Outcome, Reply},
        outbox::Message,
        update::{Connection, Update},
    },
    protocol::{request::Kind, text::is_harmful},
};

/// The line that tells of `update`, without its line end. `command` is the command that it answers, if it
/// answers one.
///
/// Everything that a terminal could act on is escaped, so the line is safe to print.
pub fn line(update: &Update, command: &str) -> String {
    let mut object = object(update);
    if !command.is_empty() {
        object["command"] = command.into();
    }
    escaped(&object.to_string())
}

/// A line that tells of something wrong with the input.
pub fn error_line(reason: &str) -> String {
    escaped(&json!({ "type": "error", "reason": reason }).to_string())
}

/// Characters that JSON leaves unescaped occur only inside strings, so an escape means the same there.
fn escaped(json: &str) -> String {
    let mut line = String::with_capacity(json.len());
    for character in json.chars() {
        if is_harmful(character) {
            line.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            line.push(character);
        }
    }
    line
}

fn object(update: &Update) -> Value {
    match update {
        Update::Connection(connection) => self::connection(connection),
        Update::Retry { in_ms } => json!({ "type": "retry", "in_ms": in_ms }),
        Update::Joined { room, created, topic, role, last_seq, pins, resumed } => json!({
            "type": "joined", "room": room, "created": created, "topic": topic, "role": role,
            "last_seq": last_seq, "pins": pins, "resumed": resumed,
        }),
        Update::Event { event, past } => {
            let mut object = json!(event);
            object["type"] = "event".into();
            object["past"] = (*past).into();
            object
        }
        Update::Unreadable { room, seq, reason } => {
            json!({ "type": "unreadable", "room": room, "seq": seq, "reason": reason })
        }
        Update::RoomRestarted { room } => json!({ "type": "room_restarted", "room": room }),
        Update::Restored => json!({ "type": "restored" }),
        Update::Left { room } => json!({ "type": "left", "room": room }),
        Update::Renamed(renamed) => {
            json!({ "type": "room_renamed", "room": renamed.to, "old_name": renamed.from })
        }
        Update::RoomRefused { room, refusal } => json!({
            "type": "room_refused", "room": room, "code": refusal.code, "reason": refusal.reason,
        }),
        Update::Queued { message, online } => {
            let mut object = self::message("queued", message);
            object["online"] = (*online).into();
            object
        }
        Update::Acked { message, seq, duplicate } => {
            let mut object = self::message("acked", message);
            object["seq"] = (*seq).into();
            object["duplicate"] = (*duplicate).into();
            object
        }
        Update::Refused { message, refusal, uncertain } => {
            let mut object = self::message("refused", message);
            object["code"] = json!(refusal.code);
            object["reason"] = refusal.reason.as_str().into();
            object["uncertain"] = (*uncertain).into();
            object
        }
        Update::Answered { tag, reply } => {
            let mut object = self::reply(reply);
            object["tag"] = (*tag).into();
            object
        }
        Update::Servers(list) => json!({ "type": "servers_changed", "servers": list.servers,
            "leader_id": list.leader_id, "term": list.term }),
        Update::LoggedIn { username, account, administrator } => json!({
            "type": "logged_in", "username": username, "account": account, "administrator": administrator,
        }),
        Update::LoginNeeded { refusal, wanted, .. } => json!({
            "type": "login_needed", "code": refusal.code, "reason": refusal.reason, "wanted": wanted,
        }),
        Update::Typing { room, username } => json!({ "type": "typing", "room": room, "username": username }),
        Update::ReadElsewhere { room, seq, unread, mentions } => json!({
            "type": "read", "room": room, "seq": seq, "unread_messages": unread, "mentions": mentions,
        }),
        Update::Presence { username, state } => {
            json!({ "type": "presence", "username": username, "state": state })
        }
        Update::Invitation { room, by, invited } => {
            json!({ "type": if *invited { "invited" } else { "uninvited" }, "room": room, "by": by })
        }
        Update::Uploaded { tag, file } => json!({ "type": "uploaded", "tag": tag, "file": file }),
        Update::Downloaded { tag, file, path } => {
            json!({ "type": "downloaded", "tag": tag, "file": file, "path": path.to_string_lossy() })
        }
        Update::TransferFailed { tag, reason } => {
            json!({ "type": "transfer_failed", "tag": tag, "reason": reason })
        }
        Update::Stopped { reason } => json!({ "type": "stopped", "reason": reason }),
    }
}

fn connection(connection: &Connection) -> Value {
    let text = connection.to_string();
    match connection {
        Connection::Up { server_id, address, before } => json!({
            "type": "connection", "state": "up", "server_id": server_id, "address": address.to_string(),
            "before": before.as_ref().map(|before| before.server_id.as_str()),
            "gap_ms": before.as_ref().map(|before| before.gap_ms), "text": text,
        }),
        Connection::Down { reason, no_majority } => {
            json!({
                "type": "connection", "state": "down", "reason": reason, "no_majority": no_majority, "text": text,
            })
        }
    }
}

fn message(kind: &str, message: &Message) -> Value {
    json!({
        "type": kind, "client_msg_id": message.client_msg_id, "room": message.room, "body": message.body,
    })
}

/// An answer with a name of its own is an object of that type with the fields that it has on the wire; any
/// other outcome is a `changed`.
fn reply(reply: &Reply) -> Value {
    let request = &reply.request;
    match &reply.outcome {
        Outcome::Done(answer) if answer.msg_type() == "ack" => {
            let mut data = json!(answer);
            data["for"] = request.msg_type().into();
            json!({ "type": "changed", "outcome": "done", "data": data })
        }
        Outcome::Done(answer) => {
            let mut object = json!(answer);
            object["type"] = answer.msg_type().into();
            object["outcome"] = "done".into();
            if request.is_paged() {
                object["more"] = reply.next().is_some().into();
            }
            object
        }
        Outcome::Refused(refusal) => {
            let kind = if request.kind() == Kind::Write { "changed" } else { "answer_refused" };
            json!({ "type": kind, "outcome": "refused", "code": refusal.code, "reason": refusal.reason })
        }
        Outcome::Unknown => json!({ "type": "changed", "outcome": "unknown" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_json_and_holds_nothing_a_terminal_acts_on() {
        let reason = "\u{1b}[2J\u{9b}\u{202e}\n\u{7f}é";
        let line = error_line(reason);
        assert!(!line.chars().any(is_harmful), "{line}");
        let read: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["reason"], reason);
    }
}
