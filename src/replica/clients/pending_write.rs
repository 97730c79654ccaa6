//! A write on its way through the log, and what its answer will need.

use crate::{
    chat::Proposal,
    protocol::{
        RoomId,
        checked::Seq,
        credential::Token,
        envelope::AnswerTo,
        name::{RoomKey, UserName},
        request::CreateJoin,
    },
};

/// A write that waits for the log's decision.
#[derive(Debug, Clone)]
pub struct Write {
    /// The request that gets the answer.
    pub to: AnswerTo,
    /// What its answer needs besides the decision.
    pub follow_up: FollowUp,
}

/// What the answer to a write needs besides the log's decision.
#[derive(Debug, Clone)]
pub enum FollowUp {
    Answer,
    /// Events of the room that was joined.
    Join {
        room: RoomKey,
        /// Its number, if the client gave it.
        id: Option<RoomId>,
        /// The last event that the client has.
        after: Option<u64>,
        /// Else how many of the last events it wants.
        history: usize,
    },
    /// The connection is logged in by this token.
    LogIn(Token),
    /// The connection is logged in as a guest of this name.
    Guest(UserName),
    /// The token that was drawn for it.
    Token(Token),
    /// The connection goes on under this token.
    Renew(Token),
    /// An empty proposal was decided: now judge the request by the state, which is as new as the request.
    Judge(Box<Proposal>),
}

impl Write {
    /// Whether it is a `create_join` of the room that has this number and is called so.
    pub fn joins(&self, number: RoomId, key: &RoomKey) -> bool {
        match &self.follow_up {
            FollowUp::Join { room, id, .. } => id.map_or(room == key, |id| id == number),
            _ => false,
        }
    }
}

impl FollowUp {
    /// What the answer to a `create_join` needs.
    pub fn join(join: &CreateJoin, id: Option<RoomId>) -> FollowUp {
        let after = join.after.map(Seq::get);
        FollowUp::Join { room: join.room.key(), id, after, history: join.history() }
    }
}
