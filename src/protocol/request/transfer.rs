//! Requests that take rooms out of a cluster and into another.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::protocol::{
    checked::{ClientMsgId, Emoji, Limit, Seq, Topic},
    event::{EventKind, Message},
    export::{ImportEvent, RoomInfo},
    limits::{EMOJI_PER_MESSAGE, HISTORY_MAX, IMPORT_MAX, LIST_MAX, Limits, REACTIONS_PER_MESSAGE},
    name::RoomName,
    refusal::Refusal,
    text::{counted, is_visible},
};

/// Appends events of another time or cluster to a room. The room must end just before the first of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Import {
    /// The room, which is created if it does not exist.
    pub room: RoomName,
    /// The `seq` that the first of the events is to have.
    pub first_seq: Seq,
    /// 1 to [`IMPORT_MAX`] events, in order and without a hole.
    pub events: Vec<ImportEvent>,
}

impl Import {
    pub(super) fn check(&self, limits: &Limits) -> Result<(), Refusal> {
        if self.events.is_empty() || self.events.len() > IMPORT_MAX {
            return Err(Refusal::bad_request(format!("events must be 1 to {IMPORT_MAX}")));
        }
        let wrong = |reason: String| Refusal::bad_request(format!("events: {reason}"));
        let mut ids = BTreeSet::new();
        for (event, expected) in self.events.iter().zip(self.first_seq.get()..) {
            if let Some(seq) = event.seq.filter(|seq| *seq != expected) {
                return Err(wrong(format!("seq must be {expected} where {seq} stands")));
            }
            let kind = event.event.event_kind();
            if let Ok(kind) = &kind {
                fits(kind, expected)?;
                if let EventKind::Message(Message { client_msg_id, .. }) = kind
                    && !client_msg_id.is_empty()
                    && !ids.insert((event.event.author.key(), client_msg_id.clone()))
                {
                    return Err(wrong(format!("event {expected}: another one has its client_msg_id")));
                }
            }
            let seen = match &kind {
                Ok(EventKind::Reaction { emoji, .. }) => Emoji::new(emoji.as_str()).map(drop),
                Ok(EventKind::Topic { topic }) => Topic::new(topic.as_str()).map(drop),
                Ok(EventKind::Message(message)) => {
                    message.reactions.keys().try_for_each(|emoji| Emoji::new(emoji.as_str()).map(drop))
                }
                _ => Ok(()),
            };
            seen.map_err(|invalid| invalid.of("events: a reaction or topic"))?;
            let (body, may_be_empty) = match &kind {
                Ok(EventKind::Message(message)) => {
                    (message.body.as_str(), message.deleted.is_some() || message.file.is_some())
                }
                Ok(EventKind::Edited { body: Some(body), .. }) => (body.as_str(), false),
                _ => continue,
            };
            if body.len() > limits.body_bytes || body.contains('\0') {
                return Err(wrong(format!(
                    "a body has at most {} and no NUL",
                    counted(limits.body_bytes as u64, "byte")
                )));
            }
            if !may_be_empty && !is_visible(body) {
                return Err(wrong("a body shows nothing".into()));
            }
        }
        Ok(())
    }
}

/// Checks what an event at place `seq` says of itself and of other events of its room.
fn fits(kind: &EventKind, seq: u64) -> Result<(), Refusal> {
    let wrong = |reason: String| Err(Refusal::bad_request(format!("events: event {seq}: {reason}")));
    match kind {
        EventKind::Message(message) => {
            let Message { client_msg_id, reply_to, edited, deleted, reactions, .. } = message;
            if !client_msg_id.is_empty()
                && let Err(invalid) = ClientMsgId::new(client_msg_id.as_str())
            {
                return wrong(format!("client_msg_id {invalid}"));
            }
            if reply_to.is_some_and(|to| to == 0 || to >= seq) {
                return wrong("reply_to must be the seq of an earlier event".into());
            }
            if [edited, deleted].into_iter().flatten().any(|by| *by <= seq) {
                return wrong("edited and deleted must be the seq of a later event".into());
            }
            let users = reactions.values().map(Vec::len).sum::<usize>();
            if reactions.len() > EMOJI_PER_MESSAGE || users > REACTIONS_PER_MESSAGE {
                return wrong(format!(
                    "a message has at most {EMOJI_PER_MESSAGE} different reactions, and {REACTIONS_PER_MESSAGE} in all"
                ));
            }
            Ok(())
        }
        EventKind::Edited { target, .. }
        | EventKind::Deleted { target }
        | EventKind::Reaction { target, .. }
        | EventKind::Pinned { target }
        | EventKind::Unpinned { target }
            if *target == 0 || *target >= seq =>
        {
            wrong("target must be the seq of an earlier event".into())
        }
        _ => Ok(()),
    }
}

/// Gives a room the settings and members that it had at another time or in another cluster; not its events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImportRoom {
    /// The room, which is created if it does not exist.
    pub room: RoomName,
    pub info: Box<RoomInfo>,
}

/// Reads any room, as an operator, or any public one, as an administrator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Export {
    pub room: RoomName,
    /// Events above this `seq`; from the beginning if it is left out.
    #[serde(default)]
    pub after: Seq,
    /// [`HISTORY_MAX`] if it is left out.
    pub limit: Option<Limit<{ HISTORY_MAX as u64 }>>,
}

impl Export {
    /// How many events are asked for.
    pub fn limit(&self) -> usize {
        self.limit.map_or(HISTORY_MAX, |limit| limit.get() as usize)
    }
}

/// Lists the rooms that `export` gives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExportRooms {
    /// Those whose folded names come after this.
    pub after: Option<RoomName>,
    /// [`HISTORY_MAX`] if it is left out.
    pub limit: Option<Limit<{ LIST_MAX as u64 }>>,
}

impl ExportRooms {
    /// How many are asked for.
    pub fn limit(&self) -> usize {
        self.limit.map_or(HISTORY_MAX, |limit| limit.get() as usize)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn import(events: &[Value]) -> Result<(), String> {
        let events = events.iter().map(|event| {
            let mut event = event.clone();
            event["author"] = json!("zed");
            event["created_at"] = json!(5);
            event
        });
        let request = json!({"room": "den", "first_seq": 1, "events": events.collect::<Vec<_>>()});
        let request: Import = serde_json::from_value(request).map_err(|error| error.to_string())?;
        request.check(&Limits::default()).map_err(|refusal| refusal.reason)
    }

    #[test]
    fn imported_events_follow_the_rules_of_others() {
        let names: Vec<String> = (0..501).map(|number| format!("u{number}")).collect();
        let emoji: Value = (0..21)
            .map(|number| (format!("e{number}"), json!(["zed"])))
            .collect::<serde_json::Map<_, _>>()
            .into();
        let said = json!({"body": "a"});
        for (events, reason) in [
            (vec![json!({"body": "a", "client_msg_id": "x".repeat(65)})], "client_msg_id must"),
            (
                vec![json!({"body": "a", "client_msg_id": "q"}), json!({"body": "b", "client_msg_id": "q"})],
                "event 2: another",
            ),
            (vec![said.clone(), json!({"body": "b", "reply_to": 2})], "event 2: reply_to"),
            (vec![said.clone(), json!({"body": "b", "reply_to": 0})], "event 2: reply_to"),
            (vec![json!({"body": "a", "edited": 1})], "event 1: edited"),
            (vec![json!({"body": "", "deleted": 1})], "event 1: edited and deleted"),
            (vec![json!({"body": "a", "reactions": {"👍": names}})], "event 1: a message has at most"),
            (vec![json!({"body": "a", "reactions": emoji})], "event 1: a message has at most"),
            (vec![json!({"kind": "reaction", "target": 1, "emoji": "👍"})], "event 1: target"),
            (vec![json!({"kind": "deleted", "target": 9})], "event 1: target"),
            (vec![json!({"kind": "pinned", "target": 0})], "event 1: target"),
        ] {
            let refused = import(&events).expect_err(reason);
            assert!(refused.starts_with("events: ") && refused.contains(reason), "{refused}");
        }
        let good = [
            json!({"body": "a", "client_msg_id": "q", "edited": 3, "reactions": {"👍": ["zed", "yan"]}}),
            json!({"body": "b", "reply_to": 1}),
            json!({"kind": "edited", "target": 1, "body": "a"}),
            json!({"kind": "reaction", "target": 2, "emoji": "👍"}),
        ];
        assert_eq!(import(&good), Ok(()));
    }
}
