//! What stands around a request and around its answer, whatever the dialect.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::refusal::Refusal;

/// The client's own name for a request, echoed in its answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RequestId {
    Number(i64),
    /// A string of up to 64 bytes.
    Text(String),
}

/// What a request says beside its fields.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestHead {
    /// What is asked; empty where that could not be read.
    pub msg_type: Cow<'static, str>,
    /// The user that it claims to come from.
    pub sender_id: Option<String>,
    /// The sender's Lamport clock, 0 where it keeps none.
    pub lamport_timestamp: u64,
    /// Echoed in the answer.
    pub request_id: Option<RequestId>,
}

impl RequestHead {
    /// What an answer says that it answers.
    pub fn answer_to(&self) -> AnswerTo {
        AnswerTo { msg_type: self.msg_type.clone(), request_id: self.request_id.clone() }
    }
}

/// Why a line holds no request.
#[derive(Debug, Clone, PartialEq)]
pub enum BadRequest {
    /// Its envelope cannot be read, so that nothing is known of what it asks.
    Envelope(Refusal),
    /// What it asks is not known, or a field of it is wrong.
    Fields(Refusal),
}

impl BadRequest {
    pub fn refusal(self) -> Refusal {
        match self {
            BadRequest::Envelope(refusal) | BadRequest::Fields(refusal) => refusal,
        }
    }
}

/// The request that an answer answers: what it said of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AnswerTo {
    /// The request's `msg_type`; empty where it could not be read.
    pub msg_type: Cow<'static, str>,
    /// The request's `request_id`.
    pub request_id: Option<RequestId>,
}
