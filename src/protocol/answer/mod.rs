//! What a server says to clients: answers to requests, and pushes. Each is a struct with serde both ways; a
//! table gives its `msg_type`. The type of an ack's data depends on the request; the table of requests gives
//! it.
//!
//! The order of the fields is that in which they are written.

mod accounts;
mod audit;
mod cluster;
mod files;
mod messages;
mod pushes;
mod rooms;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

pub use self::{accounts::*, audit::*, cluster::*, files::*, messages::*, pushes::*, rooms::*};
use super::{
    export::ExportPage,
    name::ServerId,
    refusal::Refusal,
    status::{ServerList, Status},
};

/// The table of what is said, by its `msg_type`.
macro_rules! said {
    ($(#[$meta:meta])* $said:ident: $($name:ident($type:ty) in $msg_type:literal;)*) => {
        $(#[$meta])*
        #[derive(Debug, Clone)]
        pub enum $said {
            $(#[doc = concat!("In a `", $msg_type, "`.")] $name($type),)*
        }

        impl $said {
            /// Its `msg_type`.
            pub fn msg_type(&self) -> &'static str {
                match self {
                    $($said::$name(_) => $msg_type,)*
                }
            }
        }

        /// The `data` alone.
        impl Serialize for $said {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    $($said::$name(said) => said.serialize(serializer),)*
                }
            }
        }

        $(impl From<$type> for $said {
            fn from(said: $type) -> $said {
                $said::$name(said)
            }
        })*

        $(impl<'a> TryFrom<&'a $said> for &'a $type {
            type Error = ();
            fn try_from(said: &'a $said) -> Result<&'a $type, ()> {
                if let $said::$name(said) = said { Ok(said) } else { Err(()) }
            }
        })*

        $(impl TryFrom<$said> for $type {
            type Error = $said;
            fn try_from(said: $said) -> Result<$type, $said> {
                match said {
                    $said::$name(said) => Ok(said),
                    other => Err(other),
                }
            }
        })*
    };
}

said! {
    /// An answer to a request.
    Answer:
    LoggedIn(LoggedIn) in "ack";
    Account(AccountName) in "ack";
    BotCreated(BotCreated) in "ack";
    PasswordChanged(PasswordChanged) in "ack";
    Challenge(Challenge) in "ack";
    Done(Done) in "ack";
    Joined(JoinAnswer) in "ack";
    Left(Left) in "ack";
    Placed(Placed) in "ack";
    HookCreated(HookCreated) in "ack";
    PresenceSet(PresenceSet) in "ack";
    Sent(SentAnswer) in "ack";
    Receiving(Receiving) in "ack";
    File(FileDone) in "ack";
    History(HistoryPage) in "history";
    Rooms(RoomList) in "rooms";
    Members(MemberList) in "members";
    Users(UserList) in "users";
    Audit(AuditPage) in "audit";
    Hooks(HookList) in "hooks";
    Pins(PinList) in "pins";
    Search(SearchPage) in "search";
    Export(ExportPage) in "export";
    ExportRooms(RoomNames) in "export_rooms";
    FilePiece(FilePiece) in "file";
    ServerTable(ServerTable) in "servers";
    ServerPlan(ServerPlan) in "plan_servers";
    ServersChanged(ServersChanged) in "ack";
    ServerList(ServerList) in "server_list";
    Status(Box<Status>) in "status";
    Pong(Pong) in "pong";
    Redirect(Redirect) in "redirect";
    Nack(Refusal) in "nack";
}

/// For requests with one of two answers: about a room or the whole cluster, of a whole file or of one that is
/// being uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Either<A, B> {
    This(A),
    That(B),
}

/// The answer to `ban` and `unban`: the event in the room, or the account that is banned from the cluster.
pub type BanAnswer = Either<Placed, AccountName>;
/// The answer to what moves a file: the whole file, or an upload that goes on.
pub type FileAnswer = Either<FileDone, Receiving>;

impl<A: Into<Answer>, B: Into<Answer>> From<Either<A, B>> for Answer {
    fn from(answer: Either<A, B>) -> Answer {
        match answer {
            Either::This(answer) => answer.into(),
            Either::That(answer) => answer.into(),
        }
    }
}

impl<A, B> TryFrom<Answer> for Either<A, B>
where
    A: TryFrom<Answer, Error = Answer>,
    B: TryFrom<Answer, Error = Answer>,
{
    type Error = Answer;
    fn try_from(answer: Answer) -> Result<Self, Answer> {
        match A::try_from(answer) {
            Ok(answer) => Ok(Either::This(answer)),
            Err(other) => B::try_from(other).map(Either::That),
        }
    }
}

said! {
    /// Something a client is told without a request. What happens in a room is an [`Event`](super::Event).
    Push:
    ServerList(ServerList) in "server_list";
    Typing(TypingShown) in "typing";
    Presence(PresenceChange) in "presence";
    Invited(Invited) in "invited";
    Uninvited(Uninvited) in "uninvited";
    RoomDeleted(RoomDeleted) in "room_deleted";
    Read(ReadElsewhere) in "read";
    SessionEnded(SessionEnded) in "session_ended";
    Redirect(Redirect) in "redirect";
}

impl Push {
    /// Reads the push that `msg_type` names; `None` if it names none.
    pub fn read<'de, D: Deserializer<'de>>(msg_type: &str, data: D) -> Option<Result<Push, D::Error>> {
        Some(match msg_type {
            "server_list" => ServerList::deserialize(data).map(Push::ServerList),
            "typing" => TypingShown::deserialize(data).map(Push::Typing),
            "presence" => PresenceChange::deserialize(data).map(Push::Presence),
            "invited" => Invited::deserialize(data).map(Push::Invited),
            "uninvited" => Uninvited::deserialize(data).map(Push::Uninvited),
            "read" => ReadElsewhere::deserialize(data).map(Push::Read),
            "room_deleted" => RoomDeleted::deserialize(data).map(Push::RoomDeleted),
            "session_ended" => SessionEnded::deserialize(data).map(Push::SessionEnded),
            "redirect" => Redirect::deserialize(data).map(Push::Redirect),
            _ => return None,
        })
    }
}

impl Push {
    /// About how many bytes its data takes when it is written out.
    pub fn weight(&self) -> usize {
        match self {
            Push::ServerList(list) => (list.servers.len() + 1) * ITEM_BYTES,
            _ => ITEM_BYTES,
        }
    }
}

/// Who says something, and with which clock readings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The server that says it.
    pub server_id: ServerId,
    pub lamport_timestamp: u64,
    /// Its wall clock, milliseconds since the Unix epoch.
    pub now_ms: u64,
}

/// About how many bytes a room or a user of a list takes beside its texts.
const ITEM_BYTES: usize = 96;

impl Answer {
    /// About how many bytes its data takes when it is written out. Long parts are counted, short ones
    /// estimated.
    pub fn weight(&self) -> usize {
        let events =
            |events: &[Box<RawValue>]| events.iter().map(|event| event.get().len() + 1).sum::<usize>();
        let items = |count: usize, texts: usize| count * ITEM_BYTES + texts;
        match self {
            Answer::Joined(join) => events(&join.events) + join.topic.len() + ITEM_BYTES,
            Answer::History(page) => events(&page.events) + ITEM_BYTES,
            Answer::Export(page) => {
                events(&page.events) + items(page.info.members.len() + 1, page.info.topic.len())
            }
            Answer::Rooms(list) => {
                let texts = |room: &RoomSummary| room.room.as_str().len() + room.topic.len() + ITEM_BYTES;
                items(list.rooms.len(), list.rooms.iter().map(texts).sum())
            }
            Answer::Members(list) => {
                items(list.members.len(), list.members.iter().map(|one| one.username.as_str().len()).sum())
            }
            Answer::Users(list) => {
                items(list.users.len(), list.users.iter().map(|one| one.username.as_str().len()).sum())
            }
            Answer::Audit(page) => items(2 * page.entries.len(), 0),
            Answer::Hooks(list) => items(list.hooks.len(), 0),
            Answer::ExportRooms(list) => list.rooms.iter().map(|room| room.as_str().len() + 3).sum(),
            Answer::Search(page) => page.hits.iter().map(Hit::weight).sum(),
            Answer::FilePiece(piece) => piece.bytes.len().div_ceil(3) * 4 + 2 * ITEM_BYTES,
            Answer::Pong(pong) => pong.bytes(),
            Answer::ServerTable(table) => items(2 * table.servers.len() + 1, 0),
            Answer::ServerList(list) => items(list.servers.len(), 0),
            Answer::Status(status) => items(status.peers.len() + 3, 0),
            Answer::Nack(refusal) => ITEM_BYTES + refusal.reason.len(),
            _ => ITEM_BYTES,
        }
    }
}
