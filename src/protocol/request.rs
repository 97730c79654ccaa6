//! Requests: what a client can ask, read from an envelope and checked field by field.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    credential::{Password, Token},
    envelope::Envelope,
    file::{FILE_CHUNK_BYTES, FILE_NAME_BYTES, FileId, NewFile, is_content_type, is_file_name},
    hex,
    limits::{
        CLIENT_MSG_ID_BYTES, DISPLAY_NAME_BYTES, EMOJI_BYTES, HISTORY_DEFAULT, HISTORY_MAX, IMPORT_MAX,
        LIST_MAX, Limits, QUERY_BYTES, SEARCH_DEFAULT, SEARCH_MAX, TIME_END_S, TOPIC_BYTES,
    },
    moderation::{Moderation, Retention, Role, RoomSettings},
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
        /// Whether it administers the cluster: only an operator or an administrator may ask for that.
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

/// A message of another time or cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// Who said it.
    pub author: UserName,
    /// When, milliseconds since the Unix epoch.
    #[serde(with = "super::event::seconds")]
    pub created_at: u64,
    /// The text. What is not a message (a join, say) keeps its place as an empty one.
    #[serde(default)]
    pub body: String,
    /// The `seq` of the message it answers.
    #[serde(default)]
    pub reply_to: Option<u64>,
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
        Ok(match envelope.msg_type.as_str() {
            "create_hook" => Request::CreateHook { room: fields.room()?, username: fields.user("username")? },
            "delete_hook" => {
                Request::DeleteHook { room: fields.room()?, hook_id: fields.text("hook_id")?.into() }
            }
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
            "import" => Request::Import {
                room: fields.room()?,
                first_seq: fields.integer("first_seq")?,
                events: fields.imported(limits)?,
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
            "members" => Request::Members { room: fields.room()? },
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

    /// Whether it needs to know who asks.
    pub fn needs_login(&self) -> bool {
        !matches!(
            self,
            Request::Register { .. }
                | Request::Login(_)
                | Request::OperatorChallenge
                | Request::OperatorLogin { .. }
                | Request::HookPost { .. }
                | Request::ServerList
                | Request::Status
                | Request::Ping { .. }
        )
    }
}

/// The `data` of a request, read field by field; each error names its field.
struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    fn optional_text(&self, field: &str) -> Result<Option<&str>, Refusal> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Refusal::bad_request(format!("{field} must be a string"))),
        }
    }

    fn text(&self, field: &str) -> Result<&str, Refusal> {
        self.optional_text(field)?.ok_or_else(|| Refusal::bad_request(format!("{field} is missing")))
    }

    fn flag(&self, field: &str) -> Result<bool, Refusal> {
        match self.get(field) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(Refusal::bad_request(format!("{field} must be true or false"))),
        }
    }

    fn optional_integer(&self, field: &str) -> Result<Option<u64>, Refusal> {
        match self.get(field) {
            None => Ok(None),
            Some(value) => {
                value.as_u64().filter(|&number| i64::try_from(number).is_ok()).map(Some).ok_or_else(|| {
                    Refusal::bad_request(format!("{field} must be an unsigned integer below 2^63"))
                })
            }
        }
    }

    fn name<N>(&self, field: &str, check: fn(&str) -> Option<N>) -> Result<N, Refusal> {
        check(self.text(field)?)
            .ok_or_else(|| Refusal::bad_request(format!("{field} must be 1 to 32 of A-Z a-z 0-9 _ . -")))
    }

    fn optional_name<N>(&self, field: &str, check: fn(&str) -> Option<N>) -> Result<Option<N>, Refusal> {
        self.get(field).map(|_| self.name(field, check)).transpose()
    }

    fn room(&self) -> Result<RoomName, Refusal> {
        self.name("room", RoomName::new)
    }

    fn user(&self, field: &str) -> Result<UserName, Refusal> {
        self.name(field, UserName::new)
    }

    fn integer(&self, field: &str) -> Result<u64, Refusal> {
        self.optional_integer(field)?.ok_or_else(|| Refusal::bad_request(format!("{field} is missing")))
    }

    fn seq(&self) -> Result<u64, Refusal> {
        self.integer("seq")
    }

    fn destination(&self) -> Result<Destination, Refusal> {
        match (self.get("room"), self.get("to")) {
            (Some(_), None) => Ok(Destination::Room(self.room()?)),
            (None, Some(_)) => Ok(Destination::User(self.user("to")?)),
            (None, None) => Err(Refusal::bad_request("room is missing, or to for a direct message")),
            (Some(_), Some(_)) => Err(Refusal::bad_request("give room or to, not both")),
        }
    }

    /// A text of one line for people to read.
    fn short_text(&self, field: &str, most: usize) -> Result<Option<String>, Refusal> {
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

    fn emoji(&self) -> Result<String, Refusal> {
        let emoji = self.short_text("emoji", EMOJI_BYTES)?.unwrap_or_default();
        if emoji.is_empty() || emoji.chars().any(char::is_whitespace) {
            return Err(Refusal::bad_request("emoji must be one to 64 bytes without white space"));
        }
        Ok(emoji)
    }

    fn words(&self) -> Result<String, Refusal> {
        let words = self.text("query")?;
        if words.len() > QUERY_BYTES {
            return Err(Refusal::bad_request(format!("query may have {QUERY_BYTES} bytes")));
        }
        Ok(words.to_owned())
    }

    fn away(&self) -> Result<bool, Refusal> {
        match self.text("state")? {
            "away" => Ok(true),
            "online" => Ok(false),
            _ => Err(Refusal::bad_request("state must be online or away")),
        }
    }

    /// Seconds since the Unix epoch, as milliseconds.
    fn optional_time(&self, field: &str) -> Result<Option<u64>, Refusal> {
        let Some(value) = self.get(field) else { return Ok(None) };
        let seconds = value.as_f64().filter(|seconds| (0.0..TIME_END_S).contains(seconds));
        let seconds = seconds
            .ok_or_else(|| Refusal::bad_request(format!("{field} must be a number of seconds since 1970")))?;
        Ok(Some((seconds * 1000.0).round() as u64))
    }

    /// How long something lasts.
    fn seconds(&self) -> Result<Option<u32>, Refusal> {
        self.small("seconds", 1)
    }

    fn small(&self, field: &str, least: u32) -> Result<Option<u32>, Refusal> {
        let Some(number) = self.optional_integer(field)? else { return Ok(None) };
        u32::try_from(number)
            .ok()
            .filter(|number| *number >= least)
            .map(Some)
            .ok_or_else(|| Refusal::bad_request(format!("{field} must be {least} to {}", u32::MAX)))
    }

    fn password(&self, field: &str) -> Result<Password, Refusal> {
        Password::new(self.text(field)?)
    }

    fn optional_password(&self, field: &str) -> Result<Option<Password>, Refusal> {
        self.optional_text(field)?.map(Password::new).transpose()
    }

    fn optional_chosen_password(&self, field: &str) -> Result<Option<Password>, Refusal> {
        self.optional_text(field)?.map(Password::chosen).transpose()
    }

    fn digest(&self, field: &str) -> Result<[u8; 32], Refusal> {
        let mut bytes = [0; 32];
        match hex::decode(self.text(field)?, &mut bytes) {
            true => Ok(bytes),
            false => Err(Refusal::bad_request(format!("{field} must be 64 lower-case hexadecimal digits"))),
        }
    }

    fn file_id(&self) -> Result<FileId, Refusal> {
        self.optional_file_id()?.ok_or_else(|| Refusal::bad_request("file_id is missing"))
    }

    fn optional_file_id(&self) -> Result<Option<FileId>, Refusal> {
        let Some(text) = self.optional_text("file_id")? else { return Ok(None) };
        let id = FileId::parse(text);
        id.map(Some).ok_or_else(|| Refusal::bad_request("file_id must be 32 lower-case hexadecimal digits"))
    }

    /// Requests about accounts.
    fn account_request(&self, msg_type: &str) -> Result<Option<Request>, Refusal> {
        let username = || self.user("username");
        Ok(Some(match msg_type {
            "register" => Request::Register {
                username: username()?,
                password: Password::chosen(self.text("password")?)?,
                admin: self.flag("admin")?,
            },
            "login" => Request::Login(match (self.optional_text("token")?, self.get("password")) {
                (Some(token), None) => Login::Token(Token::parse(token)?),
                (None, Some(_)) => Login::Password(username()?, self.password("password")?),
                (None, None) => Login::Guest(username()?),
                (Some(_), Some(_)) => return Err(Refusal::bad_request("give token or password, not both")),
            }),
            "logout" => Request::Logout { everywhere: self.flag("everywhere")? },
            "change_password" => Request::ChangePassword {
                old: self.password("old")?,
                new: Password::chosen(self.text("new")?)?,
            },
            "close_account" => Request::CloseAccount { password: self.password("password")? },
            "operator_challenge" => Request::OperatorChallenge,
            "operator_login" => Request::OperatorLogin { proof: self.digest("proof")? },
            "set_admin" => Request::Administer(Administration::SetAdmin {
                username: username()?,
                admin: self.flag("admin")?,
            }),
            "set_password" => Request::Administer(Administration::SetPassword {
                username: username()?,
                password: Password::chosen(self.text("password")?)?,
            }),
            // Without a room it is the whole cluster that somebody is shut out of.
            "ban" if self.get("room").is_none() => {
                Request::Administer(Administration::Ban { username: username()?, seconds: self.seconds()? })
            }
            "unban" if self.get("room").is_none() => {
                Request::Administer(Administration::Unban { username: username()? })
            }
            "delete_account" => Request::Administer(Administration::DeleteAccount { username: username()? }),
            "users" => Request::Users {
                after: self.optional_name("after", UserName::new)?,
                limit: self.count("limit", HISTORY_MAX, 1..=LIST_MAX)?,
            },
            "create_bot" => Request::CreateBot { username: username()? },
            _ => return Ok(None),
        }))
    }

    /// Requests about files.
    fn file_request(&self, msg_type: &str) -> Result<Option<Request>, Refusal> {
        Ok(Some(match msg_type {
            "file_begin" => Request::FileBegin(NewFile {
                room: self.room()?,
                name: self.file_name()?,
                size: self.integer("size")?,
                content_type: self.content_type()?,
            }),
            "file_chunk" => Request::FileChunk {
                file_id: self.file_id()?,
                offset: self.integer("offset")?,
                bytes: self.chunk()?,
            },
            "file_end" => Request::FileEnd { file_id: self.file_id()?, sha256: self.digest("sha256")? },
            "file_read" => Request::FileRead {
                file_id: self.file_id()?,
                offset: self.optional_integer("offset")?.unwrap_or(0),
            },
            "file_delete" => Request::FileDelete { file_id: self.file_id()? },
            _ => return Ok(None),
        }))
    }

    fn file_name(&self) -> Result<String, Refusal> {
        let name = self.text("name")?;
        if !is_file_name(name) {
            return Err(Refusal::bad_request(format!(
                "name must be a file name of 1 to {FILE_NAME_BYTES} bytes, without slashes and control characters"
            )));
        }
        Ok(name.to_owned())
    }

    fn content_type(&self) -> Result<String, Refusal> {
        let text = self.optional_text("content_type")?.unwrap_or("application/octet-stream");
        if !is_content_type(text) {
            return Err(Refusal::bad_request("content_type must be like text/plain"));
        }
        Ok(text.to_owned())
    }

    fn chunk(&self) -> Result<Vec<u8>, Refusal> {
        let bytes = STANDARD.decode(self.text("bytes")?);
        let bytes = bytes.map_err(|_| Refusal::bad_request("bytes must be base64 with its padding"))?;
        if bytes.is_empty() || bytes.len() > FILE_CHUNK_BYTES {
            return Err(Refusal::bad_request(format!("bytes must hold 1 to {FILE_CHUNK_BYTES} bytes")));
        }
        Ok(bytes)
    }

    fn imported(&self, limits: &Limits) -> Result<Vec<Imported>, Refusal> {
        let events = self.get("events").cloned().unwrap_or_default();
        let events: Vec<Imported> = serde_json::from_value(events)
            .map_err(|error| Refusal::bad_request(format!("events: {error}")))?;
        if events.is_empty() || events.len() > IMPORT_MAX {
            return Err(Refusal::bad_request(format!("events must be 1 to {IMPORT_MAX}")));
        }
        if events.iter().any(|event| event.body.len() > limits.body_bytes || event.body.contains('\0')) {
            return Err(Refusal::bad_request(format!(
                "events: a body has at most {} bytes and no NUL",
                limits.body_bytes
            )));
        }
        Ok(events)
    }

    /// What is done to a room or to one of its people.
    fn moderation(&self, msg_type: &str) -> Result<Option<Moderation>, Refusal> {
        let username = || self.user("username");
        Ok(Some(match msg_type {
            "topic" => {
                self.text("topic")?;
                let topic = self.short_text("topic", TOPIC_BYTES)?.unwrap_or_default();
                Moderation::Topic { topic }
            }
            "invite" => Moderation::Invite { username: username()? },
            "kick" => Moderation::Kick { username: username()? },
            "ban" => Moderation::Ban { username: username()?, seconds: self.seconds()? },
            "unban" => Moderation::Unban { username: username()? },
            "mute" => Moderation::Mute { username: username()?, seconds: self.seconds()? },
            "unmute" => Moderation::Unmute { username: username()? },
            "set_role" => match self.text("role")? {
                "muted" => Moderation::Mute { username: username()?, seconds: None },
                word => {
                    let role = Role::parse(word);
                    let role = role.ok_or_else(|| {
                        Refusal::bad_request("role must be owner, moderator, member or muted")
                    })?;
                    Moderation::SetRole { username: username()?, role }
                }
            },
            "room_settings" => Moderation::Configure(self.room_settings()?),
            _ => return Ok(None),
        }))
    }

    fn room_settings(&self) -> Result<RoomSettings, Refusal> {
        let given = |field: &str| self.0.contains_key(field);
        let optional_flag = |field: &str| given(field).then(|| self.flag(field)).transpose();
        let settings = RoomSettings {
            private: optional_flag("private")?,
            archived: optional_flag("archived")?,
            slow_s: self.small("slow_s", 0)?,
            // Both at once: what is null or left out beside the other is kept without limit.
            retention: match given("keep_days") || given("keep_events") {
                false => None,
                true => Some(Retention {
                    days: self.small("keep_days", 1)?,
                    events: self.optional_integer("keep_events")?,
                }),
            },
        };
        match settings == RoomSettings::default() {
            true => Err(Refusal::bad_request(
                "give at least one of private, archived, slow_s, keep_days, keep_events",
            )),
            false => Ok(settings),
        }
    }

    fn body(&self, limits: &Limits) -> Result<String, Refusal> {
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

    fn client_msg_id(&self, field: &str) -> Result<Option<String>, Refusal> {
        match self.optional_text(field)? {
            None => Ok(None),
            Some(id) if (1..=CLIENT_MSG_ID_BYTES).contains(&id.len()) => Ok(Some(id.to_owned())),
            Some(_) => Err(Refusal::bad_request(format!("{field} must have 1 to 64 bytes"))),
        }
    }

    fn count(
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

    fn range(&self) -> Result<HistoryRange, Refusal> {
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
