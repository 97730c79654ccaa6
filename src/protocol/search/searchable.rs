//! What of a stored event can be found by its words.

use std::borrow::Cow;

use serde::Deserialize;

/// The Lamport timestamp and the text of a stored event, if it is a message that has a text; no search finds
/// anything else.
///
/// Nothing else of the index depends on the form of events.
pub fn searchable(json: &str) -> Option<(u64, Cow<'_, str>)> {
    #[derive(Deserialize)]
    struct Said<'a> {
        kind: &'a str,
        lamport_timestamp: u64,
        #[serde(borrow)]
        body: Cow<'a, str>,
    }
    let said: Said<'_> = serde_json::from_str(json).ok()?;
    (said.kind == "message" && !said.body.is_empty()).then_some((said.lamport_timestamp, said.body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Event, EventKind, Message, RoomName, UserName};

    #[test]
    fn of_events_messages_with_a_text_are_searchable() {
        let mut event = Event {
            room: RoomName::new("lobby").unwrap(),
            seq: 7,
            author: UserName::new("alice").unwrap(),
            lamport_timestamp: 12,
            created_at: 1_763_677_200_123,
            kind: EventKind::Message(Message { body: "say \"hi\"".into(), ..Message::default() }),
        };
        let json = |event: &Event| serde_json::to_string(event).unwrap();
        assert_eq!(searchable(&json(&event)), Some((12, "say \"hi\"".into())));
        event.kind = EventKind::Message(Message::default());
        assert_eq!(searchable(&json(&event)), None);
        event.kind = EventKind::Joined;
        assert_eq!(searchable(&json(&event)), None);
        assert_eq!(searchable("{}"), None);
        assert_eq!(searchable("no json"), None);
    }
}
