//! The envelope of a request and of its answer, in every dialect.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{refusal::Refusal, room_id::RoomId};

/// The client's own id for a request, echoed in its answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RequestId {
    Number(i64),
    /// A string of up to 64 bytes.
    Text(String),
}

/// The part of a request that is the same for all requests.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestHead {
    /// The type of the request; empty if it could not be read.
    pub msg_type: Cow<'static, str>,
    /// The user that the client claims to be.
    pub sender_id: Option<String>,
    /// The sender's Lamport clock, 0 if it keeps none.
    pub lamport_timestamp: u64,
    /// Echoed in the answer.
    pub request_id: Option<RequestId>,
    /// The number of the room that the request is about, if the client knows it: then the name does not
    /// count. It stands beside the name, among the fields of the request.
    pub room_id: Option<RoomId>,
}

/// What a client says beside a request, and what counts when the request is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Claims {
    /// The client's Lamport clock.
    pub lamport_timestamp: u64,
    /// The number of the room that it means.
    pub room: Option<RoomId>,
}

impl RequestHead {
    /// What counts when the request is judged.
    pub fn claims(&self) -> Claims {
        Claims { lamport_timestamp: self.lamport_timestamp, room: self.room_id }
    }

    /// The part of this that the answer repeats.
    pub fn answer_to(&self) -> AnswerTo {
        AnswerTo { msg_type: self.msg_type.clone(), request_id: self.request_id.clone() }
    }
}

/// Why a line holds no request.
#[derive(Debug, Clone, PartialEq)]
pub enum BadRequest {
    /// Its envelope cannot be read, so it is not known what it asks.
    Envelope(Refusal),
    /// Its type is unknown, or a field is wrong.
    Fields(Refusal),
}

impl BadRequest {
    pub fn refusal(self) -> Refusal {
        match self {
            BadRequest::Envelope(refusal) | BadRequest::Fields(refusal) => refusal,
        }
    }
}

/// Names the request that an answer belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AnswerTo {
    /// The request's `msg_type`; empty if it could not be read.
    pub msg_type: Cow<'static, str>,
    /// The request's `request_id`.
    pub request_id: Option<RequestId>,
}
