//! The `data` of a request, read field by field; each error names its field.

use serde_json::{Map, Value};

use super::{Destination, HistoryRange};
use crate::protocol::{
    credential::Password,
    file::FileId,
    hex,
    limits::{CLIENT_MSG_ID_BYTES, EMOJI_BYTES, Limits, QUERY_BYTES, TIME_END_S},
    name::{RoomName, UserName},
    refusal::{Code, Refusal},
};

/// The refusal of a request that lacks a field which must be there.
pub(super) fn missing(field: &str) -> Refusal {
    Refusal::bad_request(format!("{field} is missing"))
}

/// The fields. What is null is left out.
pub(super) struct Fields<'a>(pub &'a Map<String, Value>);

impl Fields<'_> {
    pub(super) fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    pub(super) fn optional_text(&self, field: &str) -> Result<Option<&str>, Refusal> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Refusal::bad_request(format!("{field} must be a string"))),
        }
    }

    pub(super) fn text(&self, field: &str) -> Result<&str, Refusal> {
        self.optional_text(field)?.ok_or_else(|| missing(field))
    }

    pub(super) fn optional_flag(&self, field: &str) -> Result<Option<bool>, Refusal> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(Refusal::bad_request(format!("{field} must be true or false"))),
        }
    }

    /// A flag that is not set where it is left out.
    pub(super) fn flag(&self, field: &str) -> Result<bool, Refusal> {
        Ok(self.optional_flag(field)?.unwrap_or(false))
    }

    pub(super) fn optional_integer(&self, field: &str) -> Result<Option<u64>, Refusal> {
        match self.get(field) {
            None => Ok(None),
            Some(value) => {
                value.as_u64().filter(|&number| i64::try_from(number).is_ok()).map(Some).ok_or_else(|| {
                    Refusal::bad_request(format!("{field} must be an unsigned integer below 2^63"))
                })
            }
        }
    }

    pub(super) fn name<N>(&self, field: &str, check: fn(&str) -> Option<N>) -> Result<N, Refusal> {
        check(self.text(field)?)
            .ok_or_else(|| Refusal::bad_request(format!("{field} must be 1 to 32 of A-Z a-z 0-9 _ . -")))
    }

    pub(super) fn optional_name<N>(
        &self,
        field: &str,
        check: fn(&str) -> Option<N>,
    ) -> Result<Option<N>, Refusal> {
        self.get(field).map(|_| self.name(field, check)).transpose()
    }

    pub(super) fn room(&self) -> Result<RoomName, Refusal> {
        self.name("room", RoomName::new)
    }

    pub(super) fn user(&self, field: &str) -> Result<UserName, Refusal> {
        self.name(field, UserName::new)
    }

    pub(super) fn integer(&self, field: &str) -> Result<u64, Refusal> {
        self.optional_integer(field)?.ok_or_else(|| missing(field))
    }

    pub(super) fn seq(&self) -> Result<u64, Refusal> {
        self.integer("seq")
    }

    pub(super) fn destination(&self) -> Result<Destination, Refusal> {
        match (self.get("room"), self.get("to")) {
            (Some(_), None) => Ok(Destination::Room(self.room()?)),
            (None, Some(_)) => Ok(Destination::User(self.user("to")?)),
            (None, None) => Err(Refusal::bad_request("room is missing, or to for a direct message")),
            (Some(_), Some(_)) => Err(Refusal::bad_request("give room or to, not both")),
        }
    }

    /// A text of one line for people to read.
    pub(super) fn short_text(&self, field: &str, most: usize) -> Result<Option<String>, Refusal> {
        match self.optional_text(field)? {
            None => Ok(None),
            Some(text) if text.len() > most => Err(Refusal::bad_request(format!(
                "{field} has {} bytes; at most {most} are allowed",
                text.len()
            ))),
            Some(text) if text.chars().any(char::is_control) => {
                Err(Refusal::bad_request(format!("{field} contains a control character")))
            }
            Some(text) => Ok(Some(text.to_owned())),
        }
    }

    pub(super) fn emoji(&self) -> Result<String, Refusal> {
        let emoji = self.short_text("emoji", EMOJI_BYTES)?.unwrap_or_default();
        if emoji.is_empty() || emoji.chars().any(char::is_whitespace) {
            return Err(Refusal::bad_request("emoji must be one to 64 bytes without white space"));
        }
        Ok(emoji)
    }

    pub(super) fn words(&self) -> Result<String, Refusal> {
        let words = self.text("query")?;
        if words.len() > QUERY_BYTES {
            return Err(Refusal::bad_request(format!("query may have {QUERY_BYTES} bytes")));
        }
        Ok(words.to_owned())
    }

    pub(super) fn away(&self) -> Result<bool, Refusal> {
        match self.text("state")? {
            "away" => Ok(true),
            "online" => Ok(false),
            _ => Err(Refusal::bad_request("state must be online or away")),
        }
    }

    /// Seconds since the Unix epoch, as milliseconds.
    pub(super) fn optional_time(&self, field: &str) -> Result<Option<u64>, Refusal> {
        let Some(value) = self.get(field) else { return Ok(None) };
        let seconds = value.as_f64().filter(|seconds| (0.0..TIME_END_S).contains(seconds));
        let seconds = seconds
            .ok_or_else(|| Refusal::bad_request(format!("{field} must be a number of seconds since 1970")))?;
        Ok(Some((seconds * 1000.0).round() as u64))
    }

    /// How long something lasts.
    pub(super) fn seconds(&self) -> Result<Option<u32>, Refusal> {
        self.small("seconds", 1)
    }

    pub(super) fn small(&self, field: &str, least: u32) -> Result<Option<u32>, Refusal> {
        let Some(number) = self.optional_integer(field)? else { return Ok(None) };
        u32::try_from(number)
            .ok()
            .filter(|number| *number >= least)
            .map(Some)
            .ok_or_else(|| Refusal::bad_request(format!("{field} must be {least} to {}", u32::MAX)))
    }

    pub(super) fn password(&self, field: &str) -> Result<Password, Refusal> {
        Password::new(self.text(field)?)
    }

    pub(super) fn optional_password(&self, field: &str) -> Result<Option<Password>, Refusal> {
        self.optional_text(field)?.map(Password::new).transpose()
    }

    pub(super) fn optional_chosen_password(&self, field: &str) -> Result<Option<Password>, Refusal> {
        self.optional_text(field)?.map(Password::chosen).transpose()
    }

    pub(super) fn digest(&self, field: &str) -> Result<[u8; 32], Refusal> {
        let mut bytes = [0; 32];
        match hex::decode(self.text(field)?, &mut bytes) {
            true => Ok(bytes),
            false => Err(Refusal::bad_request(format!("{field} must be 64 lower-case hexadecimal digits"))),
        }
    }

    pub(super) fn hook_id(&self) -> Result<String, Refusal> {
        let text = self.text("hook_id")?;
        match hex::decode(text, &mut [0; 8]) {
            true => Ok(text.to_owned()),
            false => Err(Refusal::bad_request("hook_id must be 16 lower-case hexadecimal digits")),
        }
    }

    pub(super) fn file_id(&self) -> Result<FileId, Refusal> {
        self.optional_file_id()?.ok_or_else(|| missing("file_id"))
    }

    pub(super) fn optional_file_id(&self) -> Result<Option<FileId>, Refusal> {
        let Some(text) = self.optional_text("file_id")? else { return Ok(None) };
        let id = FileId::parse(text);
        id.map(Some).ok_or_else(|| Refusal::bad_request("file_id must be 32 lower-case hexadecimal digits"))
    }

    pub(super) fn body(&self, limits: &Limits) -> Result<String, Refusal> {
        let body = self.text("body")?;
        if body.is_empty() {
            return Err(Refusal::bad_request("body is empty"));
        }
        if body.len() > limits.body_bytes {
            let reason = format!("body has {} bytes; at most {} are allowed", body.len(), limits.body_bytes);
            return Err(Refusal::new(Code::TooLarge, reason));
        }
        if body.contains('\0') {
            return Err(Refusal::bad_request("body contains a NUL character"));
        }
        Ok(body.to_owned())
    }

    pub(super) fn client_msg_id(&self, field: &str) -> Result<Option<String>, Refusal> {
        match self.optional_text(field)? {
            None => Ok(None),
            Some(id) if (1..=CLIENT_MSG_ID_BYTES).contains(&id.len()) => Ok(Some(id.to_owned())),
            Some(_) => Err(Refusal::bad_request(format!("{field} must have 1 to 64 bytes"))),
        }
    }

    pub(super) fn count(
        &self,
        field: &str,
        default: usize,
        allowed: std::ops::RangeInclusive<usize>,
    ) -> Result<usize, Refusal> {
        let Some(count) = self.optional_integer(field)? else { return Ok(default) };
        usize::try_from(count).ok().filter(|count| allowed.contains(count)).ok_or_else(|| {
            Refusal::bad_request(format!("{field} must be {} to {}", allowed.start(), allowed.end()))
        })
    }

    pub(super) fn range(&self) -> Result<HistoryRange, Refusal> {
        let (before, after) = (self.optional_integer("before")?, self.optional_integer("after")?);
        match (before, after, self.optional_time("since")?) {
            (None, None, None) => Ok(HistoryRange::Last),
            (Some(seq), None, None) => Ok(HistoryRange::Before(seq)),
            (None, Some(seq), None) => Ok(HistoryRange::After(seq)),
            (None, None, Some(at_ms)) => Ok(HistoryRange::Since(at_ms)),
            _ => Err(Refusal::bad_request("give one of before, after and since")),
        }
    }
}
