//! Requests that take rooms out of a cluster and into another.

use serde_json::Value;

use super::{Request, fields::Fields};
use crate::protocol::{
    event::EventKind,
    export::{Imported, ImportedRoom, RoomInfo},
    limits::{HISTORY_MAX, IMPORT_MAX, LIST_MAX, Limits},
    name::RoomName,
    refusal::Refusal,
};

impl Fields<'_> {
    /// Requests of export and import.
    pub(super) fn transfer_request(
        &self,
        msg_type: &str,
        limits: &Limits,
    ) -> Result<Option<Request>, Refusal> {
        Ok(Some(match msg_type {
            "import" => Request::Import {
                room: self.room()?,
                first_seq: self.integer("first_seq")?,
                events: self.imported(limits)?,
            },
            "import_room" => Request::ImportRoom { room: self.room()?, info: Box::new(self.room_info()?) },
            "export" => Request::Export {
                room: self.room()?,
                after: self.optional_integer("after")?.unwrap_or(0),
                limit: self.count("limit", HISTORY_MAX, 1..=HISTORY_MAX)?,
            },
            "export_rooms" => Request::ExportRooms {
                after: self.optional_name("after", RoomName::new)?,
                limit: self.count("limit", HISTORY_MAX, 1..=LIST_MAX)?,
            },
            _ => return Ok(None),
        }))
    }

    fn imported(&self, limits: &Limits) -> Result<Vec<Imported>, Refusal> {
        let wrong = |reason: String| Refusal::bad_request(format!("events: {reason}"));
        let first_seq = self.integer("first_seq")?;
        let Some(Value::Array(given)) = self.get("events") else {
            return Err(Refusal::bad_request(format!("events must be a list of 1 to {IMPORT_MAX}")));
        };
        if given.is_empty() || given.len() > IMPORT_MAX {
            return Err(Refusal::bad_request(format!("events must be 1 to {IMPORT_MAX}")));
        }
        let mut events = Vec::with_capacity(given.len());
        for (value, expected) in given.iter().zip(first_seq..) {
            let (event, seq) = Imported::read(value.clone()).map_err(wrong)?;
            if let Some(seq) = seq.filter(|seq| *seq != expected) {
                return Err(wrong(format!("seq must be {expected} where {seq} stands")));
            }
            if let Ok(EventKind::Message(message)) = event.event_kind()
                && (message.body.len() > limits.body_bytes || message.body.contains('\0'))
            {
                return Err(wrong(format!("a body has at most {} bytes and no NUL", limits.body_bytes)));
            }
            events.push(event);
        }
        Ok(events)
    }

    fn room_info(&self) -> Result<ImportedRoom, Refusal> {
        let wrong = |reason: String| Refusal::bad_request(format!("info: {reason}"));
        let info = self.get("info").cloned().unwrap_or_default();
        let info: RoomInfo = serde_json::from_value(info).map_err(|error| wrong(error.to_string()))?;
        ImportedRoom::try_from(info).map_err(wrong)
    }
}
