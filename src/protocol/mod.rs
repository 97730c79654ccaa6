//! What clients and servers say to each other, and servers among themselves.
//!
//! Pure data. Nothing here knows a socket, a room's state or the consensus library. The contract for
//! clients is in `docs/PROTOCOL.md`; this module is its only implementation, used by servers, by the
//! client library and by the tests alike. Its lines are those of [`crate::json`].

pub mod answer;
pub mod audit;
pub mod binary;
pub mod checked;
pub mod credential;
pub mod datagram;
pub mod directory;
pub mod emoji;
pub mod envelope;
pub mod event;
pub mod export;
pub mod file;
pub mod limits;
pub mod mentions;
pub mod moderation;
pub mod name;
pub mod object;
pub mod operator;
pub mod peer;
pub mod refusal;
pub mod report;
pub mod request;
pub mod room_id;
pub mod rules;
pub mod said;
pub mod scram;
pub mod script;
pub mod seal;
pub mod search;
pub mod secret;
pub mod status;
pub mod text;

pub use answer::{Answer, HistoryPage, JoinAnswer, Member, Push, RoomSummary};
pub use envelope::{AnswerTo, RequestHead, RequestId};
pub use event::{Event, EventKind, Message};
pub use file::{FileId, FileInfo};
pub use limits::Limits;
pub use moderation::Role;
pub use name::{RoomKey, RoomName, ServerId, UserKey, UserName};
pub use refusal::{Code, Refusal};
pub use request::Request;
pub use room_id::RoomId;
pub use said::Said;
pub use status::{ServerInfo, ServerList, Status};
