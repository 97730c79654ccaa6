//! Requests that change something and are no messages: all go one way.
//!
//! A change is written once, on the connection of the moment (or on the next one where there is none), and
//! answered with what the server says. When the connection is lost before that, what became of it is not
//! known, and the user is told so: unlike a message it has no id by which a server would recognise it. It
//! may be repeated; servers take an edit, a deletion, a reaction or a deed of moderation twice without harm.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::protocol::{FileId, RoomName, UserName};

use super::{login::Secret, own::Target};

/// A request that changes something. `Debug` shows no secrets.
#[derive(Clone, PartialEq)]
pub struct Change {
    msg_type: String,
    data: Map<String, Value>,
    /// The message that it is about.
    target: Option<Target>,
}

impl Change {
    /// Any request: for what has no function of its own here.
    pub fn new(msg_type: impl Into<String>, data: Value) -> Self {
        let data = match data {
            Value::Object(data) => data,
            _ => Map::new(),
        };
        Change { msg_type: msg_type.into(), data, target: None }
    }

    /// A request about a message of `room`.
    fn about(msg_type: &str, target: impl Into<Target>, data: Value) -> Self {
        let mut change = Change::new(msg_type, data);
        change.aim(target.into());
        change
    }

    /// Give an own message another text.
    pub fn edit(room: &RoomName, target: impl Into<Target>, body: &str) -> Self {
        Change::about("edit", target, json!({ "room": room, "body": body }))
    }

    /// Delete a message.
    pub fn delete(room: &RoomName, target: impl Into<Target>) -> Self {
        Change::about("delete", target, json!({ "room": room }))
    }

    /// React to a message, or take a reaction back.
    pub fn react(room: &RoomName, target: impl Into<Target>, emoji: &str, remove: bool) -> Self {
        Change::about("react", target, json!({ "room": room, "emoji": emoji, "remove": remove }))
    }

    /// Mark everything up to `seq` as read; without it, everything that was shown.
    pub fn mark_read(room: &RoomName, seq: Option<u64>) -> Self {
        Change::new("mark_read", json!({ "room": room, "seq": seq }))
    }

    /// Say what a room is about.
    pub fn topic(room: &RoomName, topic: &str) -> Self {
        Change::new("topic", json!({ "room": room, "topic": topic }))
    }

    /// `invite`, `kick`, `ban`, `unban`, `mute` or `unmute` somebody.
    pub fn moderate(what: &str, room: &RoomName, user: &UserName, seconds: Option<u32>) -> Self {
        let mut data = json!({ "room": room, "username": user });
        if let Some(seconds) = seconds {
            data["seconds"] = seconds.into();
        }
        Change::new(what, data)
    }

    /// Make somebody something else in a room.
    pub fn set_role(room: &RoomName, user: &UserName, role: &str) -> Self {
        Change::new("set_role", json!({ "room": room, "username": user, "role": role }))
    }

    /// Change what opens a room; `None`: nothing does any more.
    pub fn room_password(room: &RoomName, password: Option<&Secret>) -> Self {
        Change::new("room_password", json!({ "room": room, "password": password.map(Secret::expose) }))
    }

    /// End the session; with `everywhere` those on other devices too.
    pub fn logout(everywhere: bool) -> Self {
        Change::new("logout", json!({ "everywhere": everywhere }))
    }

    /// Choose another password.
    pub fn change_password(old: &Secret, new: &Secret) -> Self {
        Change::new("change_password", json!({ "old": old.expose(), "new": new.expose() }))
    }

    /// Give the account up.
    pub fn close_account(password: &Secret) -> Self {
        Change::new("close_account", json!({ "password": password.expose() }))
    }

    /// Say whether somebody is at the keyboard. It is said again on each new connection.
    pub fn presence(away: bool) -> Self {
        Change::new("set_presence", json!({ "state": if away { "away" } else { "online" } }))
    }

    /// Make an account for a program; the answer has its `token`.
    pub fn create_bot(user: &UserName) -> Self {
        Change::new("create_bot", json!({ "username": user }))
    }

    /// Make an address at which tools post; the answer has its `token`.
    pub fn create_hook(room: &RoomName, user: &UserName) -> Self {
        Change::new("create_hook", json!({ "room": room, "username": user }))
    }

    /// Remove such an address.
    pub fn delete_hook(room: &RoomName, hook_id: &str) -> Self {
        Change::new("delete_hook", json!({ "room": room, "hook_id": hook_id }))
    }

    /// Remove a file from the servers; messages that show it still name it.
    pub fn delete_file(file_id: FileId) -> Self {
        Change::new("file_delete", json!({ "file_id": file_id }))
    }

    /// As an administrator, shut somebody out of the whole cluster.
    pub fn ban_from_cluster(user: &UserName, seconds: Option<u32>) -> Self {
        Change::new("ban", json!({ "username": user, "seconds": seconds }))
    }

    /// As an administrator, let somebody in again who was shut out of the whole cluster.
    pub fn unban_from_cluster(user: &UserName) -> Self {
        Change::new("unban", json!({ "username": user }))
    }

    /// As an administrator, give somebody another password; their sessions end.
    pub fn set_password(user: &UserName, password: &Secret) -> Self {
        Change::new("set_password", json!({ "username": user, "password": password.expose() }))
    }

    /// As an administrator, make somebody one too, or take that back.
    pub fn set_admin(user: &UserName, admin: bool) -> Self {
        Change::new("set_admin", json!({ "username": user, "admin": admin }))
    }

    /// As an administrator, delete somebody's account.
    pub fn delete_account(user: &UserName) -> Self {
        Change::new("delete_account", json!({ "username": user }))
    }

    /// The `msg_type` of the request.
    pub fn msg_type(&self) -> &str {
        &self.msg_type
    }

    /// The `data` of the request.
    pub(super) fn data(&self) -> Value {
        Value::Object(self.data.clone())
    }

    /// The room it is about.
    pub(super) fn room(&self) -> Option<RoomName> {
        RoomName::new(self.data.get("room")?.as_str()?)
    }

    /// The message it is about.
    pub(super) fn target(&self) -> Option<&Target> {
        self.target.as_ref()
    }

    /// It is about this message.
    pub(super) fn aim(&mut self, target: Target) {
        if let Target::Seq(seq) = target {
            self.data.insert("seq".into(), seq.into());
        }
        self.target = Some(target);
    }

    /// Whether it has to wait for everything that was asked for before it.
    pub(super) fn is_last(&self) -> bool {
        matches!(self.msg_type.as_str(), "logout" | "close_account")
    }

    /// Whether a server works on it for so long that its silence means nothing: it hashes a password.
    pub(super) fn takes_long(&self) -> bool {
        matches!(
            self.msg_type.as_str(),
            "change_password" | "close_account" | "room_password" | "set_password"
        )
    }

    /// Whether somebody is away from now on, where it says that.
    pub(super) fn away(&self) -> Option<bool> {
        let state = self.data.get("state").filter(|_| self.msg_type == "set_presence")?;
        Some(state == "away")
    }

    /// Marks what was shown, where it names nothing to be marked.
    pub(super) fn fill_in(&mut self, shown: Option<u64>) {
        if self.msg_type == "mark_read" && self.data.get("seq").is_none_or(Value::is_null) {
            self.data.insert("seq".into(), shown.unwrap_or(0).into());
        }
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_secret = |field: &str| matches!(field, "password" | "old" | "new" | "token");
        let fields = self.data.iter().filter(|(field, _)| !is_secret(field));
        write!(f, "{} ", self.msg_type)?;
        f.debug_map().entries(fields).finish()
    }
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It is done; the fields depend on the request.
    Done(Map<String, Value>),
    /// It was refused, and nothing has changed.
    Refused(crate::protocol::Refusal),
    /// The connection was lost before the answer. It may be repeated.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let change = Change::change_password(&Secret::new("hunter2"), &Secret::new("hunter3"));
        assert!(!format!("{change:?}").contains("hunter"));
        assert_eq!(change.data()["old"], "hunter2");
    }
}
