//! Carrying out committed commands.

use std::sync::Arc;

use serde_json::value::{RawValue, to_raw_value};

use super::{
    command::{Command, Origin},
    dedup::Slot,
    origin::Newest,
    room::{Role, Room},
    rows,
    rules::{Message, Verdict},
    state::State,
    user::{User, UserId},
};
use crate::{
    planted::{self, Bug, planted},
    protocol::{
        answer::SentAnswer,
        event::{Event, EventKind},
        name::{RoomName, UserKey, UserName},
        refusal::Refusal,
    },
    replica::storage::{EventRow, RoomId, Row},
};

/// What became of a command.
#[derive(Debug, Clone)]
pub struct Applied {
    /// Where the command came from.
    pub origin: Origin,
    /// The answer; `None` where the command was skipped, because its origin's count says that it is a
    /// repeat or comes too early. A skipped command leaves no trace at all.
    pub outcome: Option<Result<Reply, Refusal>>,
    /// What happened in rooms, in order.
    pub events: Vec<Published>,
    /// The rows it touched, in order: of two with the same key the later counts.
    pub rows: Vec<Row>,
    /// Who became a member of what, or stopped being one.
    pub membership: Vec<MemberChange>,
}

/// The answer to a command that was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// To [`super::Action::Join`].
    Joined {
        /// The room.
        room_id: RoomId,
        /// Its name, in the case it was created with.
        room: RoomName,
        /// Whether this command created it.
        created: bool,
        /// Whether it is private.
        private: bool,
        /// Its topic.
        topic: String,
        /// What the user is in it.
        role: Role,
        /// Its newest event, that of the joining included.
        last_seq: u64,
    },
    /// To [`super::Action::Leave`].
    Left {
        /// The room.
        room_id: RoomId,
        /// Its name, in the case it was created with.
        room: RoomName,
    },
    /// To [`super::Action::Chat`].
    Sent(SentAnswer),
    /// To [`super::Action::Nothing`].
    Nothing,
}

/// An event, for history and for whoever follows the room.
#[derive(Debug, Clone)]
pub struct Published {
    /// The room.
    pub room: RoomId,
    /// The log entry that made it.
    pub index: u64,
    /// The event.
    pub event: Arc<Event>,
    /// Its JSON, as it is stored and sent.
    pub json: Arc<RawValue>,
}

impl Published {
    /// The event as it is stored.
    pub fn row(&self) -> EventRow {
        EventRow {
            room: self.room,
            seq: self.event.seq,
            index: self.index,
            created_at_ms: self.event.created_at,
            author: self.event.author.key(),
            json: Arc::clone(&self.json),
        }
    }
}

/// A user became a member of a room or stopped being one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberChange {
    /// The user.
    pub user: UserKey,
    /// The room.
    pub room: RoomId,
    /// Whether they are a member now.
    pub joined: bool,
}

/// The entry that is being applied, and what it has led to so far.
struct Turn {
    index: u64,
    created_at_ms: u64,
    /// The client's Lamport timestamp.
    claimed: u64,
    events: Vec<Published>,
    rows: Vec<Row>,
    membership: Vec<MemberChange>,
}

impl State {
    /// Applies the command at `index` of the log. Commands come in the order of the log, each once.
    pub fn apply(&mut self, index: u64, command: &Command) -> Applied {
        let Command { origin, created_at_ms, proposal } = command;
        let mut turn = Turn {
            index,
            created_at_ms: *created_at_ms,
            claimed: proposal.lamport_timestamp,
            events: Vec::new(),
            rows: Vec::new(),
            membership: Vec::new(),
        };
        let outcome = self.origins.accept(*origin).then(|| {
            turn.rows.push(rows::origin(origin.node_id, &Newest { boot: origin.boot, seq: origin.seq }));
            let clock_before = self.clock;
            let verdict = self.decide(&proposal.user, &proposal.action, proposal.lamport_timestamp)?;
            let reply = self.carry_out(&mut turn, &proposal.user, verdict);
            if self.clock != clock_before {
                turn.rows.push(rows::clock(&self.clock));
            }
            Ok(reply)
        });
        let Turn { events, rows, membership, .. } = turn;
        Applied { origin: *origin, outcome, events, rows, membership }
    }

    /// Does what was decided. Nothing in here refuses: that would leave half a command behind.
    fn carry_out(&mut self, turn: &mut Turn, user: &UserName, verdict: Verdict<'_>) -> Reply {
        match verdict {
            Verdict::Nothing => Reply::Nothing,
            Verdict::Create { room } => self.create(turn, user, room),
            Verdict::Enter(room) => {
                let user = self.user_or_new(turn, user);
                self.enter(turn, user, room, Role::Member);
                self.joined(user, room, false)
            }
            Verdict::Stay(room) => {
                self.clock.hear(turn.claimed);
                let user = self.user_or_new(turn, user);
                self.joined(user, room, false)
            }
            Verdict::Leave(room) => self.leave(turn, user, room),
            Verdict::Say { room, message } => Reply::Sent(self.say(turn, user, room, &message)),
            Verdict::Repeat(answer) => {
                self.clock.hear(turn.claimed);
                Reply::Sent(answer)
            }
        }
    }

    fn create(&mut self, turn: &mut Turn, user: &UserName, name: &RoomName) -> Reply {
        let user = self.user_or_new(turn, user);
        let creator = self.user_mut(user);
        creator.rooms_created += 1;
        turn.rows.push(rows::user(user, creator));
        let id = RoomId(turn.index);
        let room = Room::new(name.clone());
        turn.rows.push(rows::room(id, &room));
        self.room_ids.insert(name.key(), id);
        self.rooms.insert(id, room);
        self.enter(turn, user, id, Role::Owner);
        self.joined(user, id, true)
    }

    fn enter(&mut self, turn: &mut Turn, user: UserId, room: RoomId, role: Role) {
        self.room_mut(room).members.insert(user, role);
        self.user_mut(user).rooms.insert(room);
        turn.rows.push(rows::member(room, user, role));
        self.publish(turn, room, user, EventKind::Joined);
        self.member_changed(turn, user, room, true);
    }

    fn leave(&mut self, turn: &mut Turn, user: &UserName, room: RoomId) -> Reply {
        let user = self.user_or_new(turn, user);
        self.publish(turn, room, user, EventKind::Left);
        self.room_mut(room).members.remove(&user);
        self.user_mut(user).rooms.remove(&room);
        turn.rows.push(rows::no_member(room, user));
        self.member_changed(turn, user, room, false);
        Reply::Left { room_id: room, room: self.room_mut(room).name.clone() }
    }

    fn say(&mut self, turn: &mut Turn, user: &UserName, room: RoomId, message: &Message<'_>) -> SentAnswer {
        let user = self.user_or_new(turn, user);
        let kind = EventKind::Message {
            body: message.body.into(),
            client_msg_id: message.client_msg_id.into(),
            reply_to: message.reply_to,
        };
        self.clock.messages += 1;
        let event = self.publish(turn, room, user, kind);
        let slot = Slot {
            id: message.id,
            content: message.content,
            room,
            seq: event.seq,
            lamport: event.lamport_timestamp,
        };
        let place = self.user_mut(user).sent.remember(slot);
        turn.rows.push(rows::sent(user, place, &slot));
        SentAnswer {
            client_msg_id: message.client_msg_id.into(),
            room: event.room.clone(),
            seq: event.seq,
            lamport_timestamp: event.lamport_timestamp,
            duplicate: false,
        }
    }

    /// The answer to a join: the room as it is now.
    fn joined(&mut self, user: UserId, room_id: RoomId, created: bool) -> Reply {
        let room = self.room_mut(room_id);
        Reply::Joined {
            room_id,
            room: room.name.clone(),
            created,
            private: room.private,
            topic: room.topic.clone(),
            role: room.members.get(&user).copied().expect("a join is answered once the user is a member"),
            last_seq: room.last_seq,
        }
    }

    /// Gives the room its next event.
    fn publish(&mut self, turn: &mut Turn, room_id: RoomId, author: UserId, kind: EventKind) -> Arc<Event> {
        let lamport_timestamp = self.clock.next(turn.claimed);
        let author = self.user_mut(author).name.clone();
        let room = self.room_mut(room_id);
        room.last_seq += 1;
        let created_at =
            if planted(Bug::ClockInApply) { planted::wall_clock_ms() } else { turn.created_at_ms };
        let event = Arc::new(Event {
            room: room.name.clone(),
            seq: room.last_seq,
            author,
            lamport_timestamp,
            created_at,
            kind,
        });
        turn.rows.push(rows::last_seq(room_id, event.seq));
        let json = to_raw_value(&*event).expect("strings and numbers always encode");
        let published =
            Published { room: room_id, index: turn.index, event: Arc::clone(&event), json: json.into() };
        turn.events.push(published);
        event
    }

    fn member_changed(&mut self, turn: &mut Turn, user: UserId, room: RoomId, joined: bool) {
        let user = self.user_mut(user).name.key();
        turn.membership.push(MemberChange { user, room, joined });
    }

    /// The user of that name, who comes into being with the first command that is carried out for them.
    fn user_or_new(&mut self, turn: &mut Turn, name: &UserName) -> UserId {
        if let Some(id) = self.user_ids.get(&name.key()) {
            return *id;
        }
        let id = UserId(turn.index);
        let user = User::new(name.clone());
        turn.rows.push(rows::user(id, &user));
        self.user_ids.insert(name.key(), id);
        self.users.insert(id, user);
        id
    }

    fn room_mut(&mut self, id: RoomId) -> &mut Room {
        self.rooms.get_mut(&id).expect("a verdict names rooms that exist, and none is ever removed")
    }

    fn user_mut(&mut self, id: UserId) -> &mut User {
        self.users.get_mut(&id).expect("a user's number is only given where there is one")
    }
}
