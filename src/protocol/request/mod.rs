//! Requests: what a client can ask, read from an envelope and checked field by field.

#[cfg(test)]
mod bad_forms;
mod fields;
mod groups;
mod transfer;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use self::fields::Fields;
use super::{
    credential::{Password, Token},
    envelope::Envelope,
    export::{Imported, ImportedRoom},
    file::{FileId, NewFile},
    limits::{
        DISPLAY_NAME_BYTES, HISTORY_DEFAULT, HISTORY_MAX, LIST_MAX, Limits, SEARCH_DEFAULT, SEARCH_MAX,
    },
    moderation::Moderation,
    name::{RoomName, UserName},
    refusal::{Code, Refusal},
};

/// A well-formed request. Whether it is allowed is decided later.
#[derive(Debug, Clone)]
pub enum Request {
    /// Make an account.
    Register {
        /// Its name.
        username: UserName,
        /// Its password.
        password: Password,
        /// Whether it administers the cluster: only an operator may ask for that.
        admin: bool,
    },
    /// Log this connection in.
    Login(Login),
    /// End the session of this connection, and its token with it.
    Logout {
        /// All other sessions of the account, too.
        everywhere: bool,
    },
    /// Give the own account another password. Its other sessions end.
    ChangePassword {
        /// The password that it has.
        old: Password,
        /// The one it is to have.
        new: Password,
    },
    /// Give the own account up.
    CloseAccount {
        /// The password that it has.
        password: Password,
    },
    /// Begin to prove that this connection is an operator's.
    OperatorChallenge,
    /// Prove it.
    OperatorLogin {
        /// The answer to the challenge.
        proof: [u8; 32],
    },
    /// Do something to an account, as an administrator.
    Administer(Administration),
    /// List the users of the cluster, as an administrator.
    Users {
        /// Those whose folded names come after this.
        after: Option<UserName>,
        /// At most so many.
        limit: usize,
    },
    /// Make an account for a program, with a token in the place of a password.
    CreateBot {
        /// Its name.
        username: UserName,
    },
    /// Make a web address at which tools post into a room.
    CreateHook {
        /// The room.
        room: RoomName,
        /// Who its messages are from.
        username: UserName,
    },
    /// Remove such an address.
    DeleteHook {
        /// The room.
        room: RoomName,
        /// Which, as `hooks` calls it.
        hook_id: String,
    },
    /// List the web addresses of a room.
    Hooks {
        /// The room.
        room: RoomName,
    },
    /// Post by such an address. The HTTP door asks this.
    HookPost {
        /// Of the address.
        token: Token,
        /// The text.
        body: String,
        /// What the tool calls itself.
        display_name: Option<String>,
    },
    /// Become a member of a room, creating it where it does not exist, and follow it on this connection.
    CreateJoin {
        /// The room.
        room: RoomName,
        /// Where it is created: whether it is private.
        private: bool,
        /// What opens it; where it is created, what will open it.
        password: Option<Password>,
        /// Resume: the last `seq` the client has.
        after: Option<u64>,
        /// Without `after`: how many of the last events to give.
        history: usize,
    },
    /// Stop being a member.
    Leave {
        /// The room.
        room: RoomName,
    },
    /// Say something.
    Chat {
        /// Where.
        to: Destination,
        /// The text.
        body: String,
        /// The sender's own name for this message; without it the send is not protected against doubling.
        client_msg_id: Option<String>,
        /// The `seq` of the message it answers.
        reply_to: Option<u64>,
        /// The file that it shows.
        file_id: Option<FileId>,
        /// The `client_msg_id` of the connection's message before it: where that was refused for load, so
        /// is this one.
        follows: Option<String>,
    },
    /// Give a message another text.
    Edit {
        /// The room.
        room: RoomName,
        /// The message.
        seq: u64,
        /// The text.
        body: String,
    },
    /// Delete a message.
    Delete {
        /// The room.
        room: RoomName,
        /// The message.
        seq: u64,
    },
    /// React to a message, or take a reaction back.
    React {
        /// The room.
        room: RoomName,
        /// The message.
        seq: u64,
        /// With what.
        emoji: String,
        /// Whether to take it back.
        remove: bool,
    },
    /// Note that everything up to an event has been read.
    MarkRead {
        /// The room.
        room: RoomName,
        /// The event.
        seq: u64,
    },
    /// Do something to a room or to one of its people.
    Moderate {
        /// The room.
        room: RoomName,
        /// What.
        what: Moderation,
    },
    /// Change what opens a room.
    RoomPassword {
        /// The room.
        room: RoomName,
        /// The new password; `None` for none.
        password: Option<Password>,
    },
    /// Take over events of another time or cluster into a room that has just these before them.
    Import {
        /// The room, which is created where it does not exist.
        room: RoomName,
        /// The `seq` that the first of the events is to have.
        first_seq: u64,
        /// The events.
        events: Vec<Imported>,
    },
    /// Make a room what it was at another time or in another cluster, but for its events.
    ImportRoom {
        /// The room.
        room: RoomName,
        /// What it is to be.
        info: Box<ImportedRoom>,
    },
    /// Read any room, as an operator, or any public one, as an administrator.
    Export {
        /// The room.
        room: RoomName,
        /// Events above this `seq`.
        after: u64,
        /// At most so many events.
        limit: usize,
    },
    /// List the rooms that `export` gives.
    ExportRooms {
        /// Those whose folded names come after this.
        after: Option<RoomName>,
        /// At most so many.
        limit: usize,
    },
    /// Read events of a room.
    History {
        /// The room.
        room: RoomName,
        /// From where, and in which direction.
        range: HistoryRange,
        /// At most so many events.
        limit: usize,
    },
    /// Look for messages by their words.
    Search {
        /// What to look for.
        words: String,
        /// In this room only.
        room: Option<RoomName>,
        /// Of this author only.
        author: Option<UserName>,
        /// Not before this time, milliseconds since the Unix epoch.
        since_ms: Option<u64>,
        /// Not after this time.
        until_ms: Option<u64>,
        /// Only what has a lower Lamport timestamp: to page.
        before: Option<u64>,
        /// At most so many hits.
        limit: usize,
    },
    /// List the rooms.
    Rooms {
        /// Those whose folded names come after this.
        after: Option<RoomName>,
        /// At most so many.
        limit: usize,
        /// Only those of which the user is a member.
        joined: bool,
    },
    /// List a room's members.
    Members {
        /// The room.
        room: RoomName,
        /// Those whose folded names come after this.
        after: Option<UserName>,
        /// At most so many.
        limit: usize,
    },
    /// Tell the room that the user is typing.
    Typing {
        /// The room.
        room: RoomName,
    },
    /// Say whether the user is at the keyboard.
    SetPresence {
        /// Whether they are away.
        away: bool,
    },
    /// Begin an upload.
    FileBegin(NewFile),
    /// Some bytes of it.
    FileChunk {
        /// The upload.
        file_id: FileId,
        /// Where in the file they stand.
        offset: u64,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// End it: from now on the file can be read.
    FileEnd {
        /// The upload.
        file_id: FileId,
        /// Of the whole content.
        sha256: [u8; 32],
    },
    /// Read a piece of a file.
    FileRead {
        /// The file.
        file_id: FileId,
        /// From where on; a multiple of the size of a chunk.
        offset: u64,
    },
    /// Remove a file.
    FileDelete {
        /// The file.
        file_id: FileId,
    },
    /// List the servers (`client_discovery` asks the same).
    ServerList,
    /// This server's status as JSON.
    Status,
    /// Answer with the same data.
    Ping {
        /// Only once everything committed anywhere before has been applied here.
        barrier: bool,
        /// Given back as it is.
        data: Map<String, Value>,
    },
}

/// How somebody says who they are.
#[derive(Debug, Clone)]
pub enum Login {
    /// By a name that nobody has registered.
    Guest(UserName),
    /// By name and password.
    Password(UserName, Password),
    /// By a token of an earlier login, or of a bot.
    Token(Token),
}

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Destination {
    /// Into a room.
    Room(RoomName),
    /// To a person.
    User(UserName),
}

/// What an administrator does to an account.
#[derive(Debug, Clone)]
pub enum Administration {
    /// Make it an administrator's, or not.
    SetAdmin {
        /// Whose.
        username: UserName,
        /// Whether it is.
        admin: bool,
    },
    /// Give it another password. Its sessions end.
    SetPassword {
        /// Whose.
        username: UserName,
        /// Which.
        password: Password,
    },
    /// Shut the user out of the whole cluster.
    Ban {
        /// Whom.
        username: UserName,
        /// For so long; `None` until they are unbanned.
        seconds: Option<u32>,
    },
    /// Let the user in again.
    Unban {
        /// Whom.
        username: UserName,
    },
    /// Close the account.
    DeleteAccount {
        /// Whose.
        username: UserName,
    },
}

/// Which part of a room's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryRange {
    /// The newest.
    Last,
    /// The newest of those below this `seq`.
    Before(u64),
    /// The oldest of those above this `seq`.
    After(u64),
    /// The oldest of those made at or after this time, milliseconds since the Unix epoch.
    Since(u64),
}

impl Request {
    /// Reads the request out of its envelope.
    pub fn parse(envelope: &Envelope, limits: &Limits) -> Result<Request, Refusal> {
        let fields = Fields(&envelope.data);
        if let Some(request) = fields.account_request(&envelope.msg_type)? {
            return Ok(request);
        }
        if let Some(request) = fields.file_request(&envelope.msg_type)? {
            return Ok(request);
        }
        if let Some(request) = fields.transfer_request(&envelope.msg_type, limits)? {
            return Ok(request);
        }
        Ok(match envelope.msg_type.as_str() {
            "create_hook" => Request::CreateHook { room: fields.room()?, username: fields.user("username")? },
            "delete_hook" => Request::DeleteHook { room: fields.room()?, hook_id: fields.hook_id()? },
            "hooks" => Request::Hooks { room: fields.room()? },
            "hook_post" => Request::HookPost {
                token: Token::parse(fields.text("token")?)?,
                body: fields.body(limits)?,
                display_name: fields.short_text("display_name", DISPLAY_NAME_BYTES)?,
            },
            "create_join" => Request::CreateJoin {
                room: fields.room()?,
                private: fields.flag("private")?,
                password: fields.optional_password("password")?,
                after: fields.optional_integer("after")?,
                history: fields.count("history", HISTORY_DEFAULT, 0..=HISTORY_MAX)?,
            },
            "leave" => Request::Leave { room: fields.room()? },
            "chat" => Request::Chat {
                to: fields.destination()?,
                body: fields.body(limits)?,
                client_msg_id: fields.client_msg_id("client_msg_id")?,
                follows: fields.client_msg_id("follows")?,
                reply_to: fields.optional_integer("reply_to")?,
                file_id: fields.optional_file_id()?,
            },
            "edit" => Request::Edit { room: fields.room()?, seq: fields.seq()?, body: fields.body(limits)? },
            "delete" => Request::Delete { room: fields.room()?, seq: fields.seq()? },
            "react" => Request::React {
                room: fields.room()?,
                seq: fields.seq()?,
                emoji: fields.emoji()?,
                remove: fields.flag("remove")?,
            },
            "mark_read" => Request::MarkRead { room: fields.room()?, seq: fields.integer("seq")? },
            "room_password" => Request::RoomPassword {
                room: fields.room()?,
                password: fields.optional_chosen_password("password")?,
            },
            "history" => Request::History {
                room: fields.room()?,
                range: fields.range()?,
                limit: fields.count("limit", HISTORY_DEFAULT, 1..=HISTORY_MAX)?,
            },
            "search" => Request::Search {
                words: fields.words()?,
                room: fields.optional_name("room", RoomName::new)?,
                author: fields.optional_name("author", UserName::new)?,
                since_ms: fields.optional_time("since")?,
                until_ms: fields.optional_time("until")?,
                before: fields.optional_integer("before")?,
                limit: fields.count("limit", SEARCH_DEFAULT, 1..=SEARCH_MAX)?,
            },
            "rooms" => Request::Rooms {
                after: fields.optional_name("after", RoomName::new)?,
                limit: fields.count("limit", LIST_MAX, 1..=LIST_MAX)?,
                joined: fields.flag("joined")?,
            },
            "members" => Request::Members {
                room: fields.room()?,
                after: fields.optional_name("after", UserName::new)?,
                limit: fields.count("limit", LIST_MAX, 1..=LIST_MAX)?,
            },
            "typing" => Request::Typing { room: fields.room()? },
            "set_presence" => Request::SetPresence { away: fields.away()? },
            "server_list" | "client_discovery" => Request::ServerList,
            "status_request" => Request::Status,
            "ping" => Request::Ping { barrier: fields.flag("barrier")?, data: envelope.data.clone() },
            other => match fields.moderation(other)? {
                Some(what) => Request::Moderate { room: fields.room()?, what },
                None => {
                    let shown: String = other.chars().take(40).collect();
                    return Err(Refusal::new(Code::UnknownType, format!("no request is called {shown:?}")));
                }
            },
        })
    }

    /// Whether it changes replicated state, and so is answered in the order it was sent. Logins change it,
    /// too, but have no place among the others.
    pub fn is_write(&self) -> bool {
        match self {
            Request::CreateJoin { .. }
            | Request::Leave { .. }
            | Request::Chat { .. }
            | Request::Edit { .. }
            | Request::Delete { .. }
            | Request::React { .. }
            | Request::MarkRead { .. }
            | Request::Moderate { .. }
            | Request::RoomPassword { .. }
            | Request::Import { .. }
            | Request::ImportRoom { .. }
            | Request::Register { .. }
            | Request::Logout { .. }
            | Request::ChangePassword { .. }
            | Request::CloseAccount { .. }
            | Request::Administer(_)
            | Request::CreateBot { .. }
            | Request::CreateHook { .. }
            | Request::DeleteHook { .. }
            | Request::HookPost { .. }
            | Request::FileBegin(_)
            | Request::FileChunk { .. }
            | Request::FileEnd { .. }
            | Request::FileDelete { .. } => true,
            Request::Login(_)
            | Request::OperatorChallenge
            | Request::OperatorLogin { .. }
            | Request::Users { .. }
            | Request::Export { .. }
            | Request::ExportRooms { .. }
            | Request::Hooks { .. }
            | Request::History { .. }
            | Request::Search { .. }
            | Request::Rooms { .. }
            | Request::Members { .. }
            | Request::Typing { .. }
            | Request::SetPresence { .. }
            | Request::FileRead { .. }
            | Request::ServerList
            | Request::Status
            | Request::Ping { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(msg_type: &str, data: &str) -> Result<Request, Refusal> {
        let line = format!(r#"{{"msg_type":"{msg_type}","data":{data}}}"#);
        Request::parse(&Envelope::parse(line.as_bytes()).unwrap(), &Limits::default())
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let Ok(Request::CreateJoin { after: None, history: 50, .. }) =
            parse("create_join", r#"{"room":"a"}"#)
        else {
            panic!("create_join with defaults")
        };
        let Ok(Request::History { range: HistoryRange::Last, limit: 50, .. }) =
            parse("history", r#"{"room":"a"}"#)
        else {
            panic!("history with defaults")
        };
    }

    #[test]
    fn every_bad_field_is_named() {
        for (msg_type, data, field) in [
            ("login", r#"{}"#, "username"),
            ("create_join", r#"{"room":"a b"}"#, "room"),
            ("create_join", r#"{"room":"a","after":-1}"#, "after"),
            ("create_join", r#"{"room":"a","after":9223372036854775808}"#, "after"),
            ("create_join", r#"{"room":"a","history":501}"#, "history"),
            ("chat", r#"{"room":"a"}"#, "body"),
            ("chat", r#"{"room":"a","body":""}"#, "body"),
            ("chat", r#"{"room":"a","body":"\u0000"}"#, "body"),
            ("chat", r#"{"room":"a","body":"x","client_msg_id":""}"#, "client_msg_id"),
            ("chat", r#"{"room":"a","body":"x","client_msg_id":7}"#, "client_msg_id"),
            ("chat", r#"{"room":"a","body":"x","follows":""}"#, "follows"),
            ("history", r#"{"room":"a","limit":0}"#, "limit"),
            ("history", r#"{"room":"a","before":1,"after":2}"#, "before"),
            ("history", r#"{"room":"a","since":-1}"#, "since"),
            ("history", r#"{"room":"a","since":"monday"}"#, "since"),
            ("register", r#"{"username":"a","password":"short"}"#, "password"),
            ("register", r#"{"username":"a"}"#, "password"),
            ("login", r#"{"username":"a","password":"x","token":"y"}"#, "token"),
            ("operator_login", r#"{"proof":"00"}"#, "proof"),
            ("chat", r#"{"body":"x"}"#, "room"),
            ("chat", r#"{"body":"x","room":"a","to":"b"}"#, "to"),
            ("chat", r#"{"body":"x","to":"@b"}"#, "to"),
            ("chat", r#"{"body":"x","room":"a","file_id":"7"}"#, "file_id"),
            ("edit", r#"{"room":"a","seq":1}"#, "body"),
            ("edit", r#"{"room":"a","body":"x"}"#, "seq"),
            ("delete", r#"{"room":"a","seq":"1"}"#, "seq"),
            ("react", r#"{"room":"a","seq":1,"emoji":""}"#, "emoji"),
            ("react", r#"{"room":"a","seq":1,"emoji":"a b"}"#, "emoji"),
            ("search", r#"{}"#, "query"),
            ("search", r#"{"query":"x","limit":0}"#, "limit"),
            ("mark_read", r#"{"room":"a"}"#, "seq"),
            ("topic", r#"{"room":"a"}"#, "topic"),
            ("topic", r#"{"room":"a","topic":"\u001b[2J"}"#, "topic"),
            ("invite", r#"{"room":"a"}"#, "username"),
            ("kick", r#"{"username":"a"}"#, "room"),
            ("mute", r#"{"room":"a","username":"b","seconds":0}"#, "seconds"),
            ("ban", r#"{"room":"a","username":"b","seconds":4294967296}"#, "seconds"),
            ("set_role", r#"{"room":"a","username":"b","role":"king"}"#, "role"),
            ("room_settings", r#"{"room":"a"}"#, "private"),
            ("room_settings", r#"{"room":"a","private":1}"#, "private"),
            ("set_presence", r#"{"state":"gone"}"#, "state"),
            ("file_begin", r#"{"room":"a","name":"../x","size":1}"#, "name"),
            ("file_begin", r#"{"room":"a","name":"x","size":-1}"#, "size"),
            ("file_begin", r#"{"room":"a","name":"x","size":1,"content_type":"x"}"#, "content_type"),
            ("file_chunk", r#"{"file_id":"x","offset":0,"bytes":""}"#, "file_id"),
            (
                "file_chunk",
                r#"{"file_id":"00000000000000000000000000000000","offset":0,"bytes":"*"}"#,
                "bytes",
            ),
            ("file_end", r#"{"file_id":"00000000000000000000000000000000","sha256":"x"}"#, "sha256"),
            ("import", r#"{"room":"a","first_seq":1,"events":[]}"#, "events"),
            ("import", r#"{"room":"a","first_seq":1,"events":7}"#, "events"),
            ("import", r#"{"room":"a","first_seq":1,"events":[{}]}"#, "events"),
            ("import", r#"{"room":"a","events":[{"author":"a","created_at":1,"body":"x"}]}"#, "first_seq"),
            (
                "import",
                r#"{"room":"a","first_seq":2,"events":[{"author":"a","created_at":1,"body":"x","seq":1}]}"#,
                "seq",
            ),
            (
                "import",
                r#"{"room":"a","first_seq":1,"events":[{"author":"a","created_at":1,"body":"\u0000"}]}"#,
                "body",
            ),
            (
                "import",
                r#"{"room":"a","first_seq":1,"events":[{"author":"a","created_at":1,"kind":"dance"}]}"#,
                "dance",
            ),
            ("import_room", r#"{"room":"a"}"#, "info"),
            ("import_room", r#"{"room":"a","info":{"private":1}}"#, "info"),
            ("import_room", r#"{"room":"a","info":{"private":true,"topic":"\u001b"}}"#, "topic"),
            ("export", r#"{}"#, "room"),
            ("export", r#"{"room":"a","after":-1}"#, "after"),
            ("export", r#"{"room":"a","limit":501}"#, "limit"),
            ("export_rooms", r#"{"after":"a b"}"#, "after"),
            ("export_rooms", r#"{"limit":0}"#, "limit"),
            ("ping", r#"{"barrier":"yes"}"#, "barrier"),
        ] {
            let refusal = parse(msg_type, data).expect_err(data);
            assert_eq!(refusal.code, Code::BadRequest, "{data}");
            assert!(refusal.reason.contains(field), "{data}: {}", refusal.reason);
        }
    }

    #[test]
    fn a_body_over_its_limit_is_too_large() {
        let data = format!(r#"{{"room":"a","body":"{}"}}"#, "x".repeat(16 * 1024 + 1));
        assert_eq!(parse("chat", &data).unwrap_err().code, Code::TooLarge);
        assert_eq!(parse("dance", "{}").unwrap_err().code, Code::UnknownType);
    }
}
