//! Carrying out committed commands.

mod accounts;
mod files;
mod messages;
mod rooms;

use std::sync::Arc;

use serde_json::value::{RawValue, to_raw_value};

use super::{
    command::{Action, Command, Origin},
    evidence::Evidence,
    origin::Newest,
    room::Room,
    rows,
    rules::Verdict,
    state::State,
    user::{User, UserId},
};
use crate::{
    planted::{self, Bug, planted},
    protocol::{
        answer::SentAnswer,
        credential::TokenHash,
        event::{Event, EventKind},
        file::{FileId, FileInfo},
        name::{RoomName, UserKey, UserName},
        refusal::Refusal,
    },
    replica::storage::{ChunkRow, EventRow, RoomId, Row},
};

/// What became of a command.
#[derive(Debug, Clone)]
pub struct Applied {
    /// Where the command came from.
    pub origin: Origin,
    /// The answer; `None` where the command was skipped, because its origin's count says that it is a
    /// repeat or comes too early. A skipped command leaves no trace at all.
    pub outcome: Option<Result<Reply, Refusal>>,
    /// What it changed.
    pub effects: Effects,
}

/// What a command changed, beside the state itself.
#[derive(Debug, Clone, Default)]
pub struct Effects {
    /// What happened in rooms, in order.
    pub events: Vec<Published>,
    /// Events of earlier commands as they are from now on.
    pub rewritten: Vec<EventRow>,
    /// The rows it touched, in order: of two with the same key the later counts.
    pub rows: Vec<Row>,
    /// Who became a member of what, or stopped being one.
    pub membership: Vec<MemberChange>,
    /// Who may enter a room of which they are no member, or not any more.
    pub invitations: Vec<Invitation>,
    /// Whose sessions ended.
    pub ended: Vec<Ended>,
    /// A piece of a file to keep.
    pub chunks: Vec<ChunkRow>,
    /// Files that are gone.
    pub removed_files: Vec<FileId>,
    /// Rooms that forgot their events before this one.
    pub expired: Vec<(RoomId, u64)>,
}

/// The answer to a command that was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// To [`super::Action::Join`], [`super::Action::Create`] and [`super::Action::Unlock`].
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
        /// What the user is in it, in the word that `members` has for it.
        role: &'static str,
        /// The first event that it still has.
        first_seq: u64,
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
    /// To [`super::Action::Chat`] and [`super::Action::HookPost`].
    Sent(SentAnswer),
    /// To what changes something in a room.
    Placed {
        /// The room.
        room: RoomName,
        /// The event that says so.
        seq: u64,
        /// Whether it was so already, and the event is an earlier one.
        duplicate: bool,
    },
    /// To what changes an account.
    Account {
        /// Its name, in the case it was created with.
        username: UserName,
    },
    /// To [`super::Action::FileBegin`] and [`super::Action::FileChunk`], and to [`super::Action::FileDelete`] of
    /// an upload that was not ended.
    Receiving {
        /// The upload.
        file_id: FileId,
        /// How many bytes of it have arrived.
        received: u64,
    },
    /// To [`super::Action::FileEnd`] and [`super::Action::FileDelete`].
    File(FileInfo),
    /// To [`super::Action::Nothing`], and to what the cluster itself does: no client waits for these.
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

/// A user was invited to a room, or is not any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// The user.
    pub user: UserKey,
    /// The room.
    pub room: RoomName,
    /// Whose doing it is.
    pub by: UserName,
    /// Whether they are invited now.
    pub invited: bool,
}

/// Sessions of a user have ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The user.
    pub user: UserKey,
    /// Which.
    pub which: Which,
    /// Why, in one sentence.
    pub reason: &'static str,
}

/// Which sessions of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// All, a guest's too.
    All,
    /// That of this token.
    One(TokenHash),
    /// All but that of this token.
    AllBut(TokenHash),
    /// Those who came as a guest.
    Guests,
}

/// The entry that is being applied, and what it has led to so far.
struct Turn {
    index: u64,
    created_at_ms: u64,
    effects: Effects,
}

impl State {
    /// Applies the command at `index` of the log, given the events that it asks for ([`State::wanted`]).
    /// Commands come in the order of the log, each once.
    pub fn apply(&mut self, index: u64, command: &Command, evidence: &Evidence) -> Applied {
        let Command { origin, created_at_ms, proposal } = command;
        let mut turn = Turn { index, created_at_ms: *created_at_ms, effects: Effects::default() };
        let outcome = self.origins.accept(*origin).then(|| {
            turn.effects
                .rows
                .push(rows::origin(origin.node_id, &Newest { boot: origin.boot, seq: origin.seq }));
            let clock_before = self.clock;
            let verdict = self.decide(*created_at_ms, proposal, evidence)?;
            // What took the place of a proposal that timed out claims nothing that was looked at.
            if proposal.action != Action::Nothing {
                self.clock.hear(proposal.lamport_timestamp);
            }
            let reply = self.carry_out(&mut turn, &proposal.user, verdict);
            if self.clock != clock_before {
                turn.effects.rows.push(rows::clock(&self.clock));
            }
            Ok(reply)
        });
        Applied { origin: *origin, outcome, effects: turn.effects }
    }

    /// Does what was decided. Nothing in here refuses: that would leave half a command behind.
    fn carry_out(&mut self, turn: &mut Turn, user: &UserName, verdict: Verdict<'_>) -> Reply {
        match verdict {
            Verdict::Nothing => Reply::Nothing,
            Verdict::Already { room, seq } => {
                Reply::Placed { room: self.room_name(room), seq, duplicate: true }
            }
            Verdict::Create { room, private, password } => self.create(turn, user, room, private, password),
            Verdict::Enter(room) => {
                let user = self.user_or_new(turn, user);
                let role = self.role_of_newcomer(user, room);
                self.enter(turn, user, room, role);
                self.joined(turn, user, room, false)
            }
            Verdict::Stay(room) => {
                let user = self.user_or_new(turn, user);
                self.joined(turn, user, room, false)
            }
            Verdict::Leave(room) => {
                let user = self.user_or_new(turn, user);
                self.leave(turn, user, room)
            }
            Verdict::Say { author, place, message } => {
                let author = author.unwrap_or_else(|| self.user_or_new(turn, user));
                Reply::Sent(self.say(turn, author, place, &message))
            }
            Verdict::Repeat(answer) => Reply::Sent(answer),
            Verdict::Edit { room, target, last_edit, body } => {
                self.edit(turn, user, room, &target, last_edit.as_deref(), body)
            }
            Verdict::Delete { room, target, last_edit } => {
                self.delete(turn, user, room, &target, last_edit.as_deref())
            }
            Verdict::React { room, target, emoji, remove } => {
                self.react(turn, user, room, &target, emoji, remove)
            }
            Verdict::MarkRead { room, seq } => self.mark_read(turn, user, room, seq),
            Verdict::Moderate { room, what } => self.moderate(turn, user, room, what),
            Verdict::RoomPassword { room, password } => self.set_room_password(turn, user, room, password),
            Verdict::Import { room, name, first_seq, events, batch } => {
                self.import(turn, user, (room, name), (first_seq, batch), events)
            }
            Verdict::ImportRoom { room, info } => self.import_room(turn, room, info),
            Verdict::Expire { room, before_seq } => self.expire(turn, room, before_seq),
            Verdict::Register { password, admin } => self.register(turn, user, password, admin),
            Verdict::Login { user, token, expires_ms, rehashed } => {
                self.log_in(turn, user, token, expires_ms, rehashed)
            }
            Verdict::Touch { user, token } => self.touch(turn, user, token),
            Verdict::Logout { user, token, everywhere } => self.log_out(turn, user, token, everywhere),
            Verdict::ChangePassword { user, token, password } => {
                self.change_password(turn, user, password, Some(token))
            }
            Verdict::CloseAccount { user } => self.close_account(turn, user),
            Verdict::Administer { username, what } => self.administer(turn, username, what),
            Verdict::CreateBot { username, token } => self.create_bot(turn, user, username, token),
            Verdict::CreateHook { room, username, token } => {
                self.create_hook(turn, user, room, username, token)
            }
            Verdict::DeleteHook { room, token } => self.delete_hook(turn, room, token),
            Verdict::FileBegin { room, file_id, file, instead_of } => {
                self.begin_file(turn, user, room, file_id, file, instead_of)
            }
            Verdict::FileChunk { file_id, received, bytes } => {
                self.receive_chunk(turn, file_id, received, bytes)
            }
            Verdict::FileEnd { file_id, sha256 } => self.end_file(turn, file_id, sha256),
            Verdict::FileWhole { file_id } => self.file_reply(file_id),
            Verdict::FileDelete { file_id } => self.delete_file(turn, file_id),
            Verdict::GiveUpUpload { file_id } => {
                self.remove_file(turn, file_id);
                Reply::Nothing
            }
        }
    }

    /// Gives the room its next event.
    fn publish(&mut self, turn: &mut Turn, room_id: RoomId, author: UserId, kind: EventKind) -> Arc<Event> {
        let created_at =
            if planted(Bug::ClockInApply) { planted::wall_clock_ms() } else { turn.created_at_ms };
        self.publish_of(turn, room_id, author, created_at, kind)
    }

    /// Gives the room its next event, of another time.
    fn publish_of(
        &mut self,
        turn: &mut Turn,
        room_id: RoomId,
        author: UserId,
        created_at: u64,
        kind: EventKind,
    ) -> Arc<Event> {
        let lamport_timestamp = self.clock.next();
        let author = self.user_mut(author).name.clone();
        let room = self.room_mut(room_id);
        room.last_seq += 1;
        let event = Arc::new(Event {
            room: room.name.clone(),
            seq: room.last_seq,
            author,
            lamport_timestamp,
            created_at,
            kind,
        });
        turn.effects.rows.push(rows::last_seq(room_id, event.seq));
        let json = json(&event);
        let published = Published { room: room_id, index: turn.index, event: Arc::clone(&event), json };
        turn.effects.events.push(published);
        event
    }

    /// Replaces a stored event by what it has become. The log entry that made it is not known any more; it
    /// is now kept under the one that changed it.
    fn rewrite(turn: &mut Turn, room: RoomId, event: Event) {
        let row = EventRow {
            room,
            seq: event.seq,
            index: turn.index,
            created_at_ms: event.created_at,
            author: event.author.key(),
            json: json(&event),
        };
        turn.effects.rewritten.push(row);
    }

    fn member_changed(&mut self, turn: &mut Turn, user: UserId, room: RoomId, joined: bool) {
        let user = self.user_mut(user).name.key();
        turn.effects.membership.push(MemberChange { user, room, joined });
    }

    /// The user of that name, who comes into being with the first command that speaks of them.
    fn user_or_new(&mut self, turn: &mut Turn, name: &UserName) -> UserId {
        if let Some(id) = self.user_ids.get(&name.key()) {
            return *id;
        }
        let next = self.users.last_key_value().map_or(0, |(UserId(newest), _)| newest + 1);
        let id = UserId(turn.index.max(next));
        let user = User::new(name.clone());
        turn.effects.rows.push(rows::user(id, &user));
        self.user_ids.insert(name.key(), id);
        self.users.insert(id, user);
        id
    }

    fn room_name(&mut self, id: RoomId) -> RoomName {
        self.room_mut(id).name.clone()
    }

    fn room_mut(&mut self, id: RoomId) -> &mut Room {
        self.rooms.get_mut(&id).expect("a verdict names rooms that exist, and none is ever removed")
    }

    fn user_mut(&mut self, id: UserId) -> &mut User {
        self.users.get_mut(&id).expect("a user's number is only given where there is one")
    }
}

/// The answer to what an event says.
fn placed(event: &Event) -> Reply {
    Reply::Placed { room: event.room.clone(), seq: event.seq, duplicate: false }
}

/// An event as it is stored and sent.
fn json(event: &Event) -> Arc<RawValue> {
    to_raw_value(event).expect("strings and numbers always encode").into()
}
