//! Refusals: ordinary answers that say no. Every code of the contract is defined here and nowhere else.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a request was not carried out. The wire form is the name in snake case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Not JSON, not UTF-8, not an object, no `msg_type`, or nested too deep.
    BadJson,
    /// A line or a body over its limit.
    TooLarge,
    /// A `msg_type` that is not known.
    UnknownType,
    /// A field is missing, of the wrong type or out of range.
    BadRequest,
    /// Needs a login, or `sender_id` is not the logged-in user.
    NotAuthenticated,
    /// Wrong name or password.
    BadCredentials,
    /// The name belongs to another user.
    NameTaken,
    /// Not allowed to this user.
    Forbidden,
    /// No such room, event, user or file, or a private one.
    NotFound,
    /// Over a limit; the answer says when to come back.
    RateLimited,
    /// No majority in time. The outcome is unknown: send again with the same `client_msg_id`.
    Unavailable,
    /// The server sheds load; nothing was proposed.
    Overloaded,
}

impl Code {
    pub const ALL: [Code; 12] = [
        Code::BadJson,
        Code::TooLarge,
        Code::UnknownType,
        Code::BadRequest,
        Code::NotAuthenticated,
        Code::BadCredentials,
        Code::NameTaken,
        Code::Forbidden,
        Code::NotFound,
        Code::RateLimited,
        Code::Unavailable,
        Code::Overloaded,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Code::BadJson => "bad_json",
            Code::TooLarge => "too_large",
            Code::UnknownType => "unknown_type",
            Code::BadRequest => "bad_request",
            Code::NotAuthenticated => "not_authenticated",
            Code::BadCredentials => "bad_credentials",
            Code::NameTaken => "name_taken",
            Code::Forbidden => "forbidden",
            Code::NotFound => "not_found",
            Code::RateLimited => "rate_limited",
            Code::Unavailable => "unavailable",
            Code::Overloaded => "overloaded",
        }
    }

    /// Whether the same request may succeed later without being changed.
    pub fn retryable(self) -> bool {
        matches!(self, Code::RateLimited | Code::Unavailable | Code::Overloaded)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A request that was not carried out, and why.
///
/// In JSON it is the `data` of a nack, which says `retryable`, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Nack", from = "Nack")]
pub struct Refusal {
    /// The kind of refusal.
    pub code: Code,
    /// One sentence for people: what is wrong and, if it helps, what to do.
    pub reason: String,
    /// When to try again, if that is known.
    pub retry_after_ms: Option<u64>,
}

impl Refusal {
    /// A refusal without a time to come back at.
    pub fn new(code: Code, reason: impl Into<String>) -> Self {
        Refusal { code, reason: reason.into(), retry_after_ms: None }
    }

    /// A field that is missing, of the wrong type or out of range; `reason` names the field.
    pub fn bad_request(reason: impl Into<String>) -> Self {
        Refusal::new(Code::BadRequest, reason)
    }

    /// The same refusal with a time to come back at.
    pub fn retry_after(mut self, retry_after_ms: u64) -> Self {
        self.retry_after_ms = Some(retry_after_ms);
        self
    }
}

#[derive(Serialize, Deserialize)]
struct Nack {
    code: Code,
    #[serde(default)]
    reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    #[serde(default)]
    retryable: bool,
}

impl From<Refusal> for Nack {
    fn from(refusal: Refusal) -> Nack {
        let Refusal { code, reason, retry_after_ms } = refusal;
        Nack { code, reason, retry_after_ms, retryable: code.retryable() }
    }
}

impl From<Nack> for Refusal {
    fn from(nack: Nack) -> Refusal {
        Refusal { code: nack.code, reason: nack.reason, retry_after_ms: nack.retry_after_ms }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.reason)
    }
}
