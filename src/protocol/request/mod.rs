//! Requests: what a client can ask. Each is a struct with serde both ways; one table says which `msg_type`
//! names it.
//!
//! A request that exists is well formed: its fields were checked when they were made. [`Request::check`]
//! checks what concerns several fields or the configuration. Whether the request is allowed is decided later.
//!
//! A request may be part of a log command, where its fields are written by position, so none may be left out
//! when it is serialised. The JSON codec (`crate::json`) leaves absent fields out.

mod accounts;
mod audit;
mod cluster;
mod files;
mod messages;
mod moderation;
mod operations;
mod rooms;
mod transfer;

pub use self::{
    accounts::*, audit::*, cluster::*, files::*, messages::*, moderation::*, operations::*, rooms::*,
    transfer::*,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    answer::{
        AccountName, Answer, AuditPage, BanAnswer, BotCreated, Challenge, Done, FileAnswer, FilePiece,
        HistoryPage, HookCreated, HookList, JoinAnswer, Left, LoggedIn, MemberList, PasswordChanged, PinList,
        Placed, Pong, PresenceSet, Redirect, RoomList, RoomNames, SearchPage, SentAnswer, ServerPlan,
        ServerTable, ServersChanged, UserList,
    },
    checked::{Body, Seq},
    export::ExportPage,
    limits::Limits,
    name::RoomName,
    refusal::{Code, Refusal},
    status::{ServerList, Status},
    text::counted,
};

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It says who the client is. It changes replicated state, too, but is not ordered among the others.
    Login,
    /// It changes replicated state, and so is answered in the order it was sent.
    Write,
    /// It changes nothing; its answer may overtake others.
    Read,
}

/// A type of request, with the type of its answer if it is carried out.
pub trait Answered: Into<Request> {
    type Answer: TryFrom<Answer, Error = Answer>;
}

/// The table of requests: `msg_type`, type, the fields that name the room and the message that it is about,
/// what becomes of it, and the answer if it is carried out. If the answer is a page of a list, a function
/// follows that gives the request for the next page.
///
/// `$each` is a macro that gets all rows. A request that it has no rule for does not compile.
macro_rules! requests {
    ($each:ident) => {
        $each! {
            "register" => Register: Write -> AccountName;
            "login" => Login: Login -> LoggedIn;
            "logout" => Logout: Write -> AccountName;
            "change_password" => ChangePassword: Write -> PasswordChanged;
            "close_account" => CloseAccount: Write -> AccountName;
            "operator_challenge" => OperatorChallenge: Login -> Challenge;
            "operator_login" => OperatorLogin: Login -> Done;
            "set_admin" => SetAdmin: Write -> AccountName;
            "set_password" => SetPassword: Write -> AccountName;
            "ban" => Ban { room }: Write -> BanAnswer;
            "unban" => Unban { room }: Write -> BanAnswer;
            "delete_account" => DeleteAccount: Write -> AccountName;
            "users" => Users: Read -> UserList, next;
            "audit" => Audit: Read -> AuditPage, next;
            "block" => Block: Write -> AccountName;
            "unblock" => Unblock: Write -> AccountName;
            "create_bot" => CreateBot: Write -> BotCreated;

            "create_join" => CreateJoin: Write -> JoinAnswer;
            "leave" => Leave: Write -> Left;
            "rename_room" => RenameRoom { room }: Write -> Placed;
            "delete_room" => DeleteRoom { room }: Write -> Left;
            "room_password" => RoomPassword { room }: Write -> Placed;
            "rooms" => Rooms: Read -> RoomList, next;
            "members" => Members { room }: Read -> MemberList, next;
            "typing" => Typing { room }: Read -> Done;
            "set_presence" => SetPresence: Read -> PresenceSet;
            "create_hook" => CreateHook { room }: Write -> HookCreated;
            "delete_hook" => DeleteHook { room }: Write -> Placed;
            "hooks" => Hooks { room }: Read -> HookList;
            "hook_post" => HookPost: Write -> SentAnswer;

            "topic" => SetTopic { room }: Write -> Placed;
            "invite" => Invite { room }: Write -> Placed;
            "uninvite" => Uninvite { room }: Write -> Placed;
            "kick" => Kick { room }: Write -> Placed;
            "mute" => Mute { room }: Write -> Placed;
            "unmute" => Unmute { room }: Write -> Placed;
            "set_role" => SetRole { room }: Write -> Placed;
            "room_settings" => ChangeSettings { room }: Write -> Placed;

            "chat" => Chat: Write -> SentAnswer;
            "edit" => Edit { room, seq }: Write -> Placed;
            "delete" => Delete { room, seq }: Write -> Placed;
            "react" => React { room, seq }: Write -> Placed;
            "pin" => Pin { room, seq }: Write -> Placed;
            "unpin" => Unpin { room, seq }: Write -> Placed;
            "pins" => Pins { room }: Read -> PinList;
            "mark_read" => MarkRead { room, seq }: Write -> Placed;
            "history" => History { room }: Read -> HistoryPage, next;
            "search" => Search: Read -> SearchPage, next;

            "file_begin" => FileBegin: Write -> FileAnswer;
            "file_chunk" => FileChunk: Write -> FileAnswer;
            "file_end" => FileEnd: Write -> FileAnswer;
            "file_read" => FileRead: Read -> FilePiece;
            "file_delete" => FileDelete: Write -> FileAnswer;

            "import" => Import: Write -> Placed;
            "import_room" => ImportRoom: Write -> Placed;
            "export" => Export: Read -> ExportPage;
            "export_rooms" => ExportRooms: Read -> RoomNames;

            "servers" => Servers: Read -> ServerTable;
            "plan_servers" => PlanServers: Read -> ServerPlan;
            "change_servers" => ChangeServers: Write -> ServersChanged;
            "server_list" or "client_discovery" => ListServers: Read -> ServerList;
            "status_request" => AskStatus: Read -> Box<Status>;
            "ping" => Ping: Read -> Pong;
            "transfer_leader" => TransferLeader: Write -> Done;
            "backup_made" => BackupMade: Write -> Done;
        }
    };
}
pub(crate) use requests;

/// The room in a field of a request, which may be left out.
trait MaybeRoom {
    fn maybe(&self) -> Option<&RoomName>;
    fn maybe_mut(&mut self) -> Option<&mut RoomName>;
}

impl MaybeRoom for RoomName {
    fn maybe(&self) -> Option<&RoomName> {
        Some(self)
    }

    fn maybe_mut(&mut self) -> Option<&mut RoomName> {
        Some(self)
    }
}

impl MaybeRoom for Option<RoomName> {
    fn maybe(&self) -> Option<&RoomName> {
        self.as_ref()
    }

    fn maybe_mut(&mut self) -> Option<&mut RoomName> {
        self.as_mut()
    }
}

/// The enum of all requests, and what it does the same way with each.
macro_rules! request_enum {
    (@room $request:ident) => {{
        let _ = $request;
        None
    }};
    (@room $request:ident $room:ident) => { MaybeRoom::maybe(&$request.$room) };
    (@room_mut $request:ident) => {{
        let _ = $request;
        None
    }};
    (@room_mut $request:ident $room:ident) => { MaybeRoom::maybe_mut(&mut $request.$room) };
    (@place $request:ident) => {{
        let _ = $request;
        None
    }};
    (@place $request:ident $seq:ident) => { Some(&mut $request.$seq) };
    (@next $request:ident $given:ident) => {{
        let _ = ($request, $given);
        None
    }};
    (@next $request:ident $given:ident $next:ident) => {
        $given.try_into().ok().and_then(|page| $request.$next(page)).map(Request::from)
    };
    (@paged) => { false };
    (@paged $next:ident) => { true };
    ($($msg_type:literal $(or $alias:literal)? => $name:ident $({$room:ident $(, $seq:ident)?})?:
        $kind:ident -> $answer:ty $(, $next:ident)?;)*) => {
        #[derive(Debug, Clone, PartialEq)]
        pub enum Request {
            $(#[doc = concat!("`", $msg_type, "`")] $name($name),)*
        }

        impl Request {
            /// Every `msg_type` that names a request.
            pub const MSG_TYPES: &'static [&'static str] = &[$($msg_type, $($alias,)?)*];

            /// The `msg_type` that names it, the first one if there are two.
            pub fn msg_type(&self) -> &'static str {
                match self {
                    $(Request::$name(_) => $msg_type,)*
                }
            }

            /// What becomes of it.
            pub fn kind(&self) -> Kind {
                match self {
                    $(Request::$name(_) => Kind::$kind,)*
                }
            }

            /// The room that it is about, if it is about one alone that exists already.
            pub fn room(&self) -> Option<&RoomName> {
                match self {
                    $(Request::$name(request) => request_enum!(@room request $($room)?),)*
                }
            }

            /// The same room, for the caller to change.
            pub fn room_mut(&mut self) -> Option<&mut RoomName> {
                match self {
                    $(Request::$name(request) => request_enum!(@room_mut request $($room)?),)*
                }
            }

            /// The place of the message that it is about, for the caller to change; `None` if it is about
            /// none.
            pub fn place_mut(&mut self) -> Option<&mut Seq> {
                match self {
                    $(Request::$name(request) => request_enum!(@place request $($($seq)?)?),)*
                }
            }

            /// Whether its answer is a page of a list, behind which there may be another one.
            pub fn is_paged(&self) -> bool {
                match self {
                    $(Request::$name(_) => request_enum!(@paged $($next)?),)*
                }
            }

            /// The request for the page behind `answer`, the answer to this one; `None` if there is no such
            /// page.
            pub fn next_page(&self, answer: &Answer) -> Option<Request> {
                match self {
                    $(Request::$name(request) => request_enum!(@next request answer $($next)?),)*
                }
            }

            /// Reads the fields of the request that `msg_type` names; `None` if it names none.
            pub fn read<'de, D: Deserializer<'de>>(
                msg_type: &str,
                fields: D,
            ) -> Option<Result<Request, D::Error>> {
                match msg_type {
                    $($msg_type $(| $alias)? => Some($name::deserialize(fields).map(Request::$name)),)*
                    _ => None,
                }
            }
        }

        /// The fields alone: `msg_type` is the envelope's.
        impl Serialize for Request {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    $(Request::$name(request) => request.serialize(serializer),)*
                }
            }
        }

        $(impl From<$name> for Request {
            fn from(request: $name) -> Request {
                Request::$name(request)
            }
        })*

        $(impl Answered for $name {
            type Answer = $answer;
        })*

        impl Answer {
            /// Reads the answer `msg_type` to a request that `asked` names; `None` if this version knows no
            /// such answer.
            pub fn read<'de, D: Deserializer<'de>>(
                msg_type: &str,
                asked: &str,
                data: D,
            ) -> Option<Result<Answer, D::Error>> {
                match (msg_type, asked) {
                    ("nack", _) => Some(Refusal::deserialize(data).map(Answer::from)),
                    ("redirect", _) => Some(Redirect::deserialize(data).map(Answer::from)),
                    $((_, $msg_type $(| $alias)?) => Some(<$answer>::deserialize(data).map(Answer::from)),)*
                    _ => None,
                }
            }
        }
    };
}

requests!(request_enum);

impl Request {
    /// Checks what one field alone does not show.
    ///
    /// # Errors
    /// A body is longer than the configuration allows (`too_large`), a token does not have the form of one
    /// (`bad_credentials`), or fields do not fit together.
    pub fn check(&self, limits: &Limits) -> Result<(), Refusal> {
        match self {
            Request::Chat(Chat { body, .. }) | Request::Edit(Edit { body, .. }) => check_body(body, limits),
            Request::HookPost(HookPost { token, body, .. }) => {
                token.check()?;
                check_body(body, limits)
            }
            Request::Login(Login::Token(token)) => token.check(),
            Request::ChangeSettings(change) => change.check(),
            Request::Import(import) => import.check(limits),
            _ => Ok(()),
        }
    }
}

impl Request {
    /// The room that it names, beside whose name its number may stand. An import and an export go from one
    /// cluster to another, where rooms have other numbers.
    pub fn named_room(&self) -> Option<&RoomName> {
        match self {
            Request::CreateJoin(CreateJoin { room, .. }) | Request::Leave(Leave { room }) => Some(room),
            Request::Chat(Chat { to: Destination::Room(room), .. })
            | Request::FileBegin(FileBegin { to: Destination::Room(room), .. }) => Some(room),
            Request::Search(search) => search.room.as_ref(),
            request => request.room(),
        }
    }

    /// Whether the client's next line is read only after the answer. So it is if the request decides who the
    /// client is, if it needs a secret made or checked (the reading thread does that), or if something that
    /// it names must be looked up first.
    pub fn is_awaited(&self) -> bool {
        match self {
            Request::CreateJoin(CreateJoin { password, .. }) => password.is_some(),
            Request::RoomPassword(RoomPassword { password, .. }) => password.is_some(),
            Request::Register(_)
            | Request::SetPassword(_)
            | Request::ChangePassword(_)
            | Request::CloseAccount(_)
            | Request::CreateBot(_)
            | Request::CreateHook(_)
            | Request::DeleteHook(_) => true,
            request => request.kind() == Kind::Login,
        }
    }
}

fn check_body(body: &Body, limits: &Limits) -> Result<(), Refusal> {
    let (bytes, most) = (body.as_str().len(), limits.body_bytes);
    if bytes > most {
        let reason = format!("body has {}; at most {most} are allowed", counted(bytes as u64, "byte"));
        return Err(Refusal::new(Code::TooLarge, reason));
    }
    Ok(())
}
