//! Requests about rooms: membership, lists, webhooks, and typing, which is not kept.

use serde::{Deserialize, Serialize};

use crate::protocol::{
    answer::{MemberList, RoomList},
    checked::{Body, ClientMsgId, DisplayName, HookId, Limit, Seq, Whole},
    credential::{ChosenPassword, Password, Token},
    limits::{HISTORY_DEFAULT, HISTORY_MAX, LIST_MAX},
    name::{RoomName, UserName},
};

/// Makes the user a member of a room, which is created if it does not exist, and lets this connection follow
/// it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CreateJoin {
    pub room: RoomName,
    /// Of a room that this request creates: whether it is private.
    #[serde(default)]
    pub private: bool,
    /// The room's password, or the one to give to a room that this request creates. Only in the second case
    /// must it fit the rules for a new one (see [`ChosenPassword`]).
    pub password: Option<Password>,
    /// A resume: the last `seq` that the client has.
    pub after: Option<Seq>,
    /// Without `after`: how many of the last events to give; [`HISTORY_DEFAULT`] if it is left out.
    pub history: Option<Whole<0, { HISTORY_MAX as u64 }>>,
}

impl CreateJoin {
    /// Whether the client has events of the room. If the room is gone, it is not created again for such a
    /// client.
    pub fn resumes(&self) -> bool {
        self.after.is_some_and(|after| after.get() > 0)
    }

    /// How many of the last events are asked for.
    pub fn history(&self) -> usize {
        self.history.map_or(HISTORY_DEFAULT, |history| history.get() as usize)
    }
}

/// Ends the user's membership.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leave {
    pub room: RoomName,
}

/// Gives a room another name. Nothing else of it changes, and the old name is free again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenameRoom {
    /// The name until now.
    pub room: RoomName,
    /// A name that no room has.
    pub name: RoomName,
}

/// Deletes a room with everything in it, for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteRoom {
    pub room: RoomName,
}

/// Changes the password of a room.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoomPassword {
    pub room: RoomName,
    /// `None`: the room has no password any more.
    pub password: Option<ChosenPassword>,
}

/// Lists the rooms that the user may see.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rooms {
    /// Those whose folded names come after this.
    pub after: Option<RoomName>,
    /// [`LIST_MAX`] if it is left out.
    pub limit: Option<Limit<{ LIST_MAX as u64 }>>,
    /// Only those of which the user is a member.
    #[serde(default)]
    pub joined: bool,
}

impl Rooms {
    /// How many are asked for.
    pub fn limit(&self) -> usize {
        self.limit.map_or(LIST_MAX, |limit| limit.get() as usize)
    }

    pub(super) fn next(&self, page: &RoomList) -> Option<Rooms> {
        let last = page.rooms.last().filter(|_| page.more)?;
        Some(Rooms { after: Some(last.room.clone()), ..self.clone() })
    }
}

/// Lists a room's members.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Members {
    pub room: RoomName,
    /// Those whose folded names come after this.
    pub after: Option<UserName>,
    /// [`LIST_MAX`] if it is left out.
    pub limit: Option<Limit<{ LIST_MAX as u64 }>>,
}

impl Members {
    /// How many are asked for.
    pub fn limit(&self) -> usize {
        self.limit.map_or(LIST_MAX, |limit| limit.get() as usize)
    }

    pub(super) fn next(&self, page: &MemberList) -> Option<Members> {
        let last = page.members.last().filter(|_| page.more)?;
        Some(Members { after: Some(last.username.clone()), ..self.clone() })
    }
}

/// Shows the user typing to the members that are online. It has no answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Typing {
    pub room: RoomName,
}

/// Tells whether the user is at the keyboard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetPresence {
    /// What the user is seen as from now on.
    pub state: Presence,
}

/// What a user who has a connection is seen as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", rename_all = "snake_case")]
pub enum Presence {
    /// At the keyboard.
    Online,
    /// Not at the keyboard.
    Away,
}

impl TryFrom<String> for Presence {
    type Error = &'static str;

    fn try_from(word: String) -> Result<Presence, &'static str> {
        match word.as_str() {
            "online" => Ok(Presence::Online),
            "away" => Ok(Presence::Away),
            _ => Err("must be online or away"),
        }
    }
}

/// Makes a web address at which tools post into a room.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CreateHook {
    pub room: RoomName,
    /// The author of its messages.
    pub username: UserName,
}

/// Removes such an address.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeleteHook {
    pub room: RoomName,
    /// The address, as `hooks` names it.
    pub hook_id: HookId,
}

/// Lists the web addresses of a room.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hooks {
    pub room: RoomName,
}

/// Posts by such an address: the server makes it from a `POST /hooks/TOKEN` over HTTP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HookPost {
    /// The token in the address.
    pub token: Token,
    pub body: Body,
    /// What the tool calls itself.
    pub display_name: Option<DisplayName>,
    /// Names the message for ever, as that of a `chat` does.
    pub client_msg_id: Option<ClientMsgId>,
    /// Names the message for a minute if it has no `client_msg_id`: a second one under it is the same
    /// message.
    pub repeat_id: Option<ClientMsgId>,
    /// Whether it is a further piece of the message before: a slow room does not hold it up. Only the server
    /// that has cut the message says so.
    #[serde(skip)]
    pub goes_on: bool,
}
