//! A user becomes a member of a room, which is created if there is none of that name.

use serde::{Deserialize, Serialize};

use super::super::{
    access::{Context, forbidden, no_room, reserved_room},
    draft::{Asked, Draft, Write},
    effects::Effects,
    entities::{
        room::{Role, other_of_two},
        user_id::UserId,
    },
    operation::{Checked, Operation},
    reply::Reply,
    rights::{Permission, RoomRole},
    rows,
    secret::{Made, Secret},
    state::State,
};
use crate::{
    disk::RoomId,
    protocol::{
        credential::Verifier,
        name::{RoomName, UserName},
        refusal::{Code, Refusal},
        request::{self, Destination},
    },
};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    pub room: RoomName,
    /// The settings of the room if this creates it.
    pub new: NewRoom,
    /// The log entry that set the room's password, if the user has shown to know it.
    pub password_rev: Option<u64>,
    /// The client has events of the room: if the room is gone, it is not created again.
    pub resumes: bool,
    /// Of a direct conversation: whether the other user was online when it was asked for.
    pub is_here: bool,
}

impl Join {
    /// A join without a password; a new room is public.
    pub fn new(room: RoomName) -> Join {
        Join { room, new: NewRoom::default(), password_rev: None, resumes: false, is_here: false }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NewRoom {
    /// Whether only its members see it.
    pub private: bool,
    /// The verifier of its password; `None` if it has none.
    pub password: Option<Box<Verifier>>,
}

/// The plan of a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// The room is created.
    Create,
    Enter(RoomId),
}

impl Write for request::CreateJoin {
    type Becomes = Join;

    fn draft(self, asked: &Asked<'_>) -> Result<Draft<Self::Becomes>, Refusal> {
        let resumes = self.resumes();
        let request::CreateJoin { room, private, password, .. } = self;
        let new = NewRoom { private, password: None };
        let is_here = asked.is_other_online(&Destination::Room(room.clone()));
        let mut join = Join { room, new, password_rev: None, resumes, is_here };
        let Some(password) = password else { return Ok(join.into()) };
        let Some((id, found)) = asked.state.room_meant(asked.room, &join.room) else {
            if asked.room.is_some() {
                // It is not made anew, and the check refuses it.
                return Ok(join.into());
            }
            // The password of a new room follows the rules for any new password.
            password.check_chosen().map_err(|invalid| invalid.of("password"))?;
            join.new.password = Some(Verifier::unmade());
            return Ok(Draft::with(join, Secret::Set(password)));
        };
        let is_member = asked.user.is_some_and(|user| asked.state.is_member(&user.key(), id));
        Ok(match &found.settings.password {
            Some(verifier) if !is_member => {
                let (room, verifier) = (found.name.key(), verifier.clone());
                let password_rev = found.settings.password_rev;
                Draft::with(join, Secret::Room { room, password, verifier, password_rev })
            }
            _ => join.into(),
        })
    }
}

impl Operation for Join {
    type Plan = Plan;

    fn complete(&mut self, made: Made) {
        match made {
            Made::Verifier(password) => self.new.password = Some(password),
            Made::Entry(password_rev) => self.password_rev = Some(password_rev),
            Made::TokenHash(_) | Made::Session(..) => {}
        }
    }

    fn names(&self) -> Vec<UserName> {
        self.room.direct_pair().map(|(one, other)| vec![one, other]).unwrap_or_default()
    }

    fn creates(&self, _user: &UserName) -> Option<RoomName> {
        (!self.resumes).then(|| self.room.clone())
    }

    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<Plan>, Refusal> {
        let Some((id, room)) = state.room_meant(context.room, &self.room) else {
            return match self.room.direct_pair() {
                _ if self.resumes || context.room.is_some() => Err(context.no_room(&self.room)),
                None if self.room.is_reserved() => Err(reserved_room(&self.room)),
                None => Ok(Checked::Change(Plan::Create)),
                Some(_) => {
                    let with = other_of_two(context.user, &self.room).ok_or_else(|| no_room(&self.room))?;
                    state.may_begin_conversation(context, &self.room, &with, self.is_here)?;
                    Ok(Checked::Change(Plan::Create))
                }
            };
        };
        if let Some(user) = context.id.filter(|user| room.members.contains_key(user)) {
            return Ok(Checked::Unchanged(state.joined(user, id, context.now_ms, false)));
        }
        let mut access = state.access(room, context.id, context.now_ms);
        let settings = &room.settings;
        if access.role == RoomRole::Stranger && settings.password.is_some() {
            // A user who was not invited needs the password.
            if self.password_rev != Some(settings.password_rev) {
                return Err(if room.private {
                    context.no_room(&self.room)
                } else {
                    Refusal::new(Code::Forbidden, format!("{} is entered with its password", room.name))
                });
            }
            access.role = RoomRole::Invited;
        }
        let knows_of_it = !room.private || access.role == RoomRole::Invited;
        if access.allows(Permission::Join) {
            Ok(Checked::Change(Plan::Enter(id)))
        } else if knows_of_it {
            Err(forbidden(context.user, Permission::Join, &room.name, access))
        } else {
            Err(context.no_room(&self.room))
        }
    }

    fn apply(&self, plan: Plan, state: &mut State, user: &UserName, effects: &mut Effects) -> Reply {
        let user = state.user_or_new(effects, user);
        let (room, created) = match plan {
            Plan::Create => (state.create_room(effects, user, &self.room, &self.new), true),
            Plan::Enter(room) => {
                let role = state.role_of_newcomer(user, room);
                state.enter(effects, user, room, role);
                (room, false)
            }
        };
        state.joined(user, room, effects.created_at_ms, created)
    }
}

impl State {
    /// A room with its owner; a direct conversation with its two members.
    fn create_room(&mut self, effects: &mut Effects, user: UserId, name: &RoomName, new: &NewRoom) -> RoomId {
        if let Some((one, other)) = name.direct_pair() {
            return self.begin_conversation(effects, user, name, &[one, other]);
        }
        let id = self.new_room(effects, user, name, new.private);
        if let Some(password) = &new.password {
            let settings = &mut self.room_mut(id).settings;
            settings.password = Some(password.clone());
            settings.password_rev = effects.index;
            effects.rows.push(rows::settings(id, settings));
        }
        self.enter(effects, user, id, Role::Owner);
        id
    }

    /// The answer to a join: the room as it is now.
    fn joined(&self, user: UserId, room_id: RoomId, now_ms: u64, created: bool) -> Reply {
        let room = self.room_by_id(room_id).expect("a join is answered once there is the room");
        Reply::Joined {
            room_id,
            room: room.name.clone(),
            created,
            private: room.private,
            topic: room.topic.clone(),
            role: self.role_word(room, user, now_ms).expect("a join is answered once the user is a member"),
            first_seq: room.first_seq(),
            last_seq: room.last_seq,
        }
    }
}
