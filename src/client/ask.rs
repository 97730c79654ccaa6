//! A user's requests to the servers, apart from messages, and their outcomes.
//!
//! A read is asked again on the next connection until it is answered. A write is asked once: if the
//! connection is lost before the answer, its outcome is unknown, and the user is told so. Unlike a message,
//! it has no id by which a server would recognise a repeat. The user may repeat it: servers take an edit, a
//! deletion, a reaction or a moderator's request twice without harm.

use crate::protocol::{
    Answer, Refusal,
    checked::Seq,
    request::{Kind, Presence, Request, SetPresence},
};

use super::{own::Target, renamed::Renamed};

/// A request, and the message that it is about, whose place may not be known yet. `Debug` shows no secrets.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetedRequest {
    request: Request,
    target: Option<Target>,
}

impl<R: Into<Request>> From<R> for TargetedRequest {
    fn from(request: R) -> TargetedRequest {
        TargetedRequest { request: request.into(), target: None }
    }
}

impl TargetedRequest {
    /// `request` is about the message `target`: the place in it is replaced by the target's once that is
    /// known.
    pub fn about(target: impl Into<Target>, request: impl Into<Request>) -> TargetedRequest {
        let mut ask = TargetedRequest::from(request);
        ask.aim(target.into());
        ask
    }

    /// The request in its present form.
    pub fn request(&self) -> &Request {
        &self.request
    }

    pub(super) fn request_mut(&mut self) -> &mut Request {
        &mut self.request
    }

    /// The room that it is about has another name.
    pub(super) fn rename(&mut self, renamed: &Renamed) {
        if let Some(room) = self.request.room_mut()
            && let Some(name) = renamed.of(room)
        {
            *room = name.clone();
        }
    }

    pub(super) fn into_request(self) -> Request {
        self.request
    }

    pub(super) fn target(&self) -> Option<&Target> {
        self.target.as_ref()
    }

    /// It is about this message.
    pub(super) fn aim(&mut self, target: Target) {
        if let (Target::Seq(seq), Some(place)) = (&target, self.request.place_mut()) {
            // No room has an event beyond the last place, so a place beyond it becomes the last one.
            *place = Seq::try_from((*seq).min(i64::MAX as u64)).unwrap_or_default();
        }
        self.target = Some(target);
    }

    /// Whether it is about the message at a place.
    pub(super) fn names_place(&mut self) -> bool {
        match &self.target {
            Some(target) => matches!(target, Target::Seq(_)),
            None => self.request.place_mut().is_some(),
        }
    }

    /// Whether it has to wait for everything that was asked for before it.
    pub(super) fn is_last(&self) -> bool {
        matches!(self.request, Request::Logout(_) | Request::CloseAccount(_))
    }

    pub(super) fn is_write(&self) -> bool {
        self.request.kind() == Kind::Write
    }

    /// Whether a server may be silent while it works on it, because it hashes a password.
    pub(super) fn takes_long(&self) -> bool {
        self.request.is_awaited()
    }

    /// Whether the user is away from now on, if it says that.
    pub(super) fn away(&self) -> Option<bool> {
        match &self.request {
            Request::SetPresence(SetPresence { state }) => Some(*state == Presence::Away),
            _ => None,
        }
    }
}

/// The outcome of a request.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It is done; the type of the answer depends on the request.
    Done(Answer),
    /// It was refused, and nothing has changed.
    Refused(Refusal),
    /// The connection was lost before the answer to a write. It may be repeated.
    Unknown,
}

/// A request of the user, and its outcome.
#[derive(Debug, Clone)]
pub struct Reply {
    /// As it was asked, so that an answer can be shown beside its question.
    pub request: Request,
    /// The outcome.
    pub outcome: Outcome,
}

impl Reply {
    /// The request for the next page, if there is one.
    pub fn next(&self) -> Option<Request> {
        match &self.outcome {
            Outcome::Done(answer) => self.request.next_page(answer),
            Outcome::Refused(_) | Outcome::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{
        RoomName,
        credential::{ChosenPassword, Password},
        request::{ChangePassword, Delete},
    };

    #[test]
    fn secrets_are_not_shown() {
        let (old, new) = (Password::new("hunter22").unwrap(), ChosenPassword::new("hunter33").unwrap());
        assert!(!format!("{:?}", TargetedRequest::from(ChangePassword { old, new })).contains("hunter"));
    }

    #[test]
    fn a_request_gets_its_place_when_that_is_known() {
        let den = RoomName::new("den").unwrap();
        let delete = |seq: u64| Delete { room: den.clone(), seq: Seq::try_from(seq).unwrap() };
        let mut ask = TargetedRequest::about(Target::Last, delete(0));
        ask.aim(Target::Seq(7));
        assert_eq!(ask.request(), &delete(7).into());
        assert_eq!(TargetedRequest::about(u64::MAX, delete(0)).request(), &delete(i64::MAX as u64).into());
    }
}
