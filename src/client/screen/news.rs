//! The types between the screen's core and the rest: what it is told, and what it wants.
//!
//! They use the types of the protocol and of typed commands. Only `session` knows the client library.

use crate::{
    client::{renamed::Renamed, terminal::secrets::PasswordKind},
    protocol::{
        Event, Request, RoomName, RoomSummary, UserName,
        answer::{Hit, Member, PresenceState},
        request::HistoryRange,
    },
};

use super::model::preferences::Preferences;

/// Something that the client has to tell.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// Logged in at a server; `text` says so to people.
    Online {
        server: String,
        text: String,
        /// Whether there was a connection before.
        again: bool,
    },
    /// For a while no server could be used. The search goes on.
    Offline {
        /// Why the last attempt failed.
        reason: String,
        /// Whether servers answer, but have no majority: then everything can still be read.
        no_majority: bool,
    },
    /// The next attempt comes after this time.
    Retry {
        /// Milliseconds from now.
        in_ms: u64,
    },
    /// Who leads the cluster; `None` while there is no leader.
    Leader(Option<String>),
    /// Logged in under this name, as it was registered.
    LoggedIn {
        user: UserName,
        /// Whether the user administers the cluster.
        administrator: bool,
    },
    /// Nothing goes on until the user logs in.
    LoginNeeded {
        reason: String,
        /// Whether the user has asked for it, by a logout.
        wanted: bool,
    },
    /// Everything begins again, as another user.
    Restarted(UserName),
    /// A room is joined, or joined again on another server.
    Joined {
        room: RoomName,
        /// Its topic, empty if none was set.
        topic: String,
        last_seq: u64,
        /// The pinned messages, the newest pin first.
        pins: Vec<u64>,
        /// Whether it goes on where it stopped.
        resumed: bool,
    },
    Left(RoomName),
    /// A room could not be joined or left.
    RoomRefused {
        room: RoomName,
        reason: String,
    },
    /// The servers know less of the room than was shown: it begins anew.
    RoomRestarted(RoomName),
    /// The servers were restored from a backup: known places are no longer valid.
    Restored,
    /// Something happened in a room.
    Event {
        event: Box<Event>,
        /// Whether it is older than the joining of the room.
        past: bool,
    },
    /// A room has another name from now on.
    Renamed(Renamed),
    /// Something took a place in a room that cannot be read.
    Unreadable {
        room: RoomName,
        seq: u64,
    },
    /// An own message is kept, and will be sent.
    Queued {
        room: RoomName,
        client_msg_id: String,
        body: String,
        /// The message that it answers, if that has a place.
        reply_to: Option<u64>,
    },
    /// An own message has its place.
    Acked {
        room: RoomName,
        client_msg_id: String,
        seq: u64,
    },
    /// An own message was refused for good.
    Refused {
        room: RoomName,
        client_msg_id: String,
        body: String,
        reason: String,
    },
    /// The user has read a room further, on another device.
    ReadElsewhere {
        room: RoomName,
        /// The last event that is read.
        seq: u64,
        /// Messages of others that are unread still.
        unread: u64,
        /// Those of them that name the user.
        mentions: u64,
    },
    Typing {
        room: RoomName,
        user: UserName,
    },
    /// A user has come online, gone offline, or is away.
    Presence {
        user: UserName,
        /// What the user is seen as now.
        state: PresenceState,
    },
    /// The user was invited to a room, or is not any more.
    Invitation {
        room: RoomName,
        by: UserName,
        /// Whether they are invited now.
        invited: bool,
    },
    /// There is no history for the user.
    HistoryRefused {
        room: RoomName,
        reason: String,
    },
    /// A page of history.
    History {
        room: RoomName,
        /// What was asked for.
        range: HistoryRange,
        /// Those of its events that can be read, oldest first.
        events: Vec<Event>,
        /// The newest event of the room.
        last_seq: u64,
        /// Whether there are more in that direction.
        more: bool,
    },
    /// The rooms: all that the user may see, or those to which they belong.
    Rooms {
        /// The rooms, by name.
        rooms: Vec<RoomSummary>,
        /// Whether only the user's own were asked for.
        joined: bool,
    },
    /// The members of a room, or a further page of them.
    Members {
        room: RoomName,
        /// Its members, by name.
        members: Vec<Member>,
        /// Whether this is the first page.
        first: bool,
    },
    /// What a search found.
    Found {
        /// The number that the search was given.
        search: u64,
        /// The messages, newest first.
        hits: Vec<Hit>,
        /// The time span of the search, in the user's time zone, if it was limited.
        span: Option<String>,
    },
    /// A search was refused.
    SearchFailed {
        /// The number that the search was given.
        search: u64,
        reason: String,
    },
    /// Candidates for a typed path.
    Paths {
        /// Where the path begins in its line, in bytes.
        start: usize,
        candidates: Vec<String>,
    },
    /// Lines for people; if they answer a command, it is in `title`.
    Said {
        title: String,
        lines: Vec<String>,
    },
    /// Something was asked of the servers, now or once there is one.
    Asked,
    /// A command needs a password.
    SecretNeeded {
        /// The command, to be given once more with the passwords.
        line: String,
        /// Passwords that were typed for it before.
        secrets: Vec<String>,
        wanted: PasswordKind,
    },
    /// A command asks for a search.
    Search(String),
    /// A command has made this room the one to be shown.
    GoTo(RoomName),
    /// A command marks the room as read.
    ReadAll(RoomName),
    /// A command shows the help.
    Help,
    /// A command ends the client.
    Quit,
    /// Nothing more will happen.
    Stopped {
        reason: String,
    },
}

/// Something that is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Wish {
    Send {
        room: RoomName,
        body: String,
        /// The message that it answers.
        reply_to: Option<u64>,
    },
    /// Ask something of the servers.
    Ask(Request),
    /// Carry out a command of the line mode.
    Command {
        line: String,
        /// The room that is shown.
        room: Option<RoomName>,
        /// Passwords that were typed for it.
        secrets: Vec<String>,
    },
    /// Join a room and follow its events.
    Join(RoomName),
    /// A search under a number, written as `/search` takes it. `News::Found` follows.
    Search {
        search: u64,
        text: String,
    },
    /// Everything in a room up to an event has been read by a person.
    Read {
        room: RoomName,
        seq: u64,
    },
    Typing(RoomName),
    /// Find candidates for a typed path; `News::Paths` follows.
    Paths {
        /// Where the path begins in its line, in bytes.
        start: usize,
        /// The typed part of it.
        text: String,
    },
    /// Keep the preferences for later runs.
    Keep(Preferences),
    /// Let a text be written in the user's editor; `Input::Written` follows.
    Editor(String),
    /// Stop, as a job of the shell.
    Suspend,
    Repaint,
    Bell,
    /// Show a notification on the desktop.
    Notify {
        title: String,
        text: String,
    },
    Quit,
}
