//! What decided commands mean for the clients of this server, and the answers to those that asked.

use std::sync::Arc;

use crate::{
    chat::{
        Authority, Command, Effects, Ended, MemberChange, Published, Reply, Room,
        effects::{DeletedRoom, Invitation, ReadUpTo},
        entities::hook::hook_id,
    },
    fanout::{ConnId, Instruction, Join},
    protocol::{
        answer::{
            AccountName, Answer, BotCreated, Done, HookCreated, Invited, JoinAnswer, Left, PasswordChanged,
            Placed, Push, ReadElsewhere, Receiving, RoomDeleted, ServersChanged, Uninvited,
        },
        envelope::AnswerTo,
        file::FILE_CHUNK_BYTES,
        name::UserName,
        refusal::{Code, Refusal},
        said::Said,
    },
    replica::io::Query,
};

use super::{
    super::io::Output,
    Clients,
    connection::{Connection, WriteAnswer},
    env::Env,
    pending_write::{FollowUp, Write},
    reads::Known,
    throttle::Guarded,
};

/// When a client may ask again for what the leader could not read.
const UNKNOWN_RETRY_MS: u64 = 5_000;

/// A command that the log has decided, and its outcome.
pub struct Decided<'a> {
    pub index: u64,
    pub command: &'a Command,
    pub effects: Effects,
    /// The connection that waits for the answer, and the number of its proposal.
    pub asker: Option<(ConnId, u64)>,
    /// The answer, if the command was carried out or refused now, and not at an earlier entry.
    pub outcome: Option<Result<Reply, Refusal>>,
}

impl Clients {
    /// Tells the clients what a command has changed, and gives its answer to the one that asked.
    pub fn decided(&mut self, env: &mut Env<'_>, decided: Decided<'_>) {
        let Decided { index, command, effects, asker, outcome } = decided;
        let Effects { events, rewritten, membership, invitations, ended, deleted, read, .. } = effects;
        let asking = asker.map(|(conn, _)| conn);
        self.follow_joined(env, &membership, &events, asking);
        let has_spoken = matches!(&outcome, Some(Ok(Reply::Sent(answer))) if !answer.duplicate);
        if let (true, Some(conn), Some(published)) = (has_spoken, asking, events.first())
            && self.speaks_for_itself(conn, command, &published.event.author)
        {
            // A user who posts in a room follows it from then on.
            let before = published.event.seq - 1;
            let (room, name) = (published.room, published.event.room.clone());
            env.fan_out(Instruction::Follow { conn, room, name, after: before, last_seq: before });
        }
        for row in rewritten {
            env.fan_out(Instruction::Rewrite(Box::new(row)));
        }
        for published in events {
            env.fan_out(Instruction::Publish {
                room: published.room,
                seq: published.event.seq,
                said: Said::event(&published.event, published.json),
            });
        }
        self.unfollow_left(env, &membership);
        for invitation in invitations {
            self.tell_of_invitation(env, invitation);
        }
        for read in read {
            self.tell_of_reading(env, read, asking);
        }
        for DeletedRoom { room, room_id, by, members } in deleted {
            let push = RoomDeleted { by, room, room_id: Some(room_id) };
            let said = Said::push(push, env.signature());
            for conn in members.iter().flat_map(|user| self.connections.of_user(user)) {
                env.fan_out(Instruction::Say { conn, said: Arc::clone(&said) });
            }
        }
        if let (Some(outcome), Some((conn, seq))) = (outcome, asker) {
            if let Err(refusal) = &outcome {
                self.note_shed(conn, command, refusal);
            }
            self.answer_write(env, index, conn, seq, outcome);
        }
        for Ended { user, .. } in ended.iter().filter(|_| command.operation().ends_trust()) {
            self.throttle.forget_homes(&Guarded::Account(user.clone()));
        }
        for ended in &ended {
            self.end_sessions(env, ended, asking);
        }
    }

    /// Lets the connections of new members follow the room, except the one that asked: it has its answer.
    fn follow_joined(
        &mut self,
        env: &mut Env<'_>,
        membership: &[MemberChange],
        events: &[Published],
        asking: Option<ConnId>,
    ) {
        for change in membership.iter().filter(|change| change.joined) {
            // Without an event of the join they begin with the next event.
            let next = env.state.room_by_id(change.room).map_or(1, |room| room.last_seq + 1);
            let of_room = events.iter().find(|published| published.room == change.room);
            let seq = of_room.map_or(next, |published| published.event.seq);
            for conn in
                self.connections.of_user(&change.user).into_iter().filter(|conn| Some(*conn) != asking)
            {
                self.follow_unasked(env, conn, change.room, seq - 1, seq - 1);
            }
        }
    }

    fn unfollow_left(&mut self, env: &mut Env<'_>, membership: &[MemberChange]) {
        for change in membership.iter().filter(|change| !change.joined) {
            for conn in self.connections.of_user(&change.user) {
                if let Some(connection) = self.connections.get_mut(conn) {
                    connection.leaves(change.room);
                }
                env.fan_out(Instruction::Unfollow { conn, room: change.room });
            }
        }
    }

    fn tell_of_invitation(&mut self, env: &mut Env<'_>, invitation: Invitation) {
        let Invitation { user, room, room_id, by, invited } = invitation;
        let room_id = Some(room_id);
        let push: Push = match invited {
            true => Invited { by, room, room_id }.into(),
            false => Uninvited { by, room, room_id }.into(),
        };
        let said = Said::push(push, env.signature());
        for conn in self.connections.of_user(&user) {
            env.fan_out(Instruction::Say { conn, said: Arc::clone(&said) });
        }
    }

    /// Tells the user's other connections how far a room has been read.
    fn tell_of_reading(&mut self, env: &mut Env<'_>, read: ReadUpTo, asking: Option<ConnId>) {
        let ReadUpTo { user, room, seq } = read;
        let name = env.state.room_by_id(room).map(|room| room.name.clone());
        let (Some(name), Some(user_name)) = (name, env.state.name_of(user)) else { return };
        let unread = env.state.unread(user, room);
        let (mentions, unread_messages) = (unread.mentions, unread.messages);
        let read = ReadElsewhere { mentions, room: name, seq, unread_messages };
        let said = Said::push(read, env.signature());
        let conns = self.connections.of_user(&user_name.key());
        for conn in conns.into_iter().filter(|conn| Some(*conn) != asking) {
            env.fan_out(Instruction::Say { conn, said: Arc::clone(&said) });
        }
    }

    /// Whether `author` of a message is the user that the connection is logged in as. A webhook's bot is a
    /// member, but a client that posts by its token is not logged in, and must not get the room's events.
    fn speaks_for_itself(&mut self, conn: ConnId, command: &Command, author: &UserName) -> bool {
        let user = self.connections.get_mut(conn).and_then(|connection| connection.user.as_ref());
        let is_own = user.is_some_and(|user| user.key() == author.key());
        matches!(command, Command::Say(_)) && is_own
    }

    /// The log has decided what `conn` asked for.
    fn answer_write(
        &mut self,
        env: &mut Env<'_>,
        index: u64,
        conn: ConnId,
        seq: u64,
        outcome: Result<Reply, Refusal>,
    ) {
        let by = env.signature();
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let Some(Write { to, follow_up }) = connection.waiting(seq).cloned() else { return };
        let known = |answer: Answer| WriteAnswer::Known(Said::answer(to.clone(), answer, by.clone()));
        if let FollowUp::Judge(proposal) = follow_up {
            let refusal = self.judged(env, conn, &proposal);
            let Some(connection) = self.connections.get_mut(conn) else { return };
            connection.answer(seq, known(refusal.into()));
            return self.flush_answers(env, conn);
        }
        let renews = matches!(follow_up, FollowUp::Renew(_));
        if let FollowUp::LogIn(_) | FollowUp::Guest(_) = &follow_up {
            let outcome = match outcome {
                Ok(Reply::Account { username }) => Ok(username),
                Err(refusal) => Err(refusal),
                Ok(_) => Err(not_read()),
            };
            let token = if let FollowUp::LogIn(token) = follow_up { Some(token) } else { None };
            let answer = self.login_decided(env, conn, token, outcome, Known::Everywhere);
            return self.answer_login(env, conn, (seq, to), answer);
        }
        let answer = match outcome {
            Err(refusal) => known(refusal.into()),
            Ok(Reply::Sent(sent)) => known(sent.into()),
            Ok(Reply::Left { room, .. }) => known(Left { room }.into()),
            Ok(Reply::Placed { room, seq, duplicate }) => known(match follow_up {
                FollowUp::Token(token) => {
                    let hook_id = hook_id(&token.hash());
                    HookCreated { duplicate, hook_id, room, seq, token }.into()
                }
                _ => Placed { duplicate, room, seq, warning: None }.into(),
            }),
            Ok(Reply::Invited { room, seq, duplicate, is_known }) => {
                let warning =
                    (!is_known).then(|| "nobody has used this name yet; is it spelled right?".to_owned());
                known(Placed { duplicate, room, seq, warning }.into())
            }
            Ok(Reply::Account { username }) => known(match follow_up {
                FollowUp::Token(token) => BotCreated { token, username }.into(),
                FollowUp::Renew(token) => {
                    connection.authority = Authority::Session(token.hash());
                    PasswordChanged { token, username }.into()
                }
                _ => AccountName { username }.into(),
            }),
            Ok(Reply::Receiving { file_id, received }) => {
                known(Receiving { chunk_bytes: FILE_CHUNK_BYTES as u64, file_id, received }.into())
            }
            Ok(Reply::File(file)) => known(Answer::File(file.into())),
            Ok(Reply::Done) => known(Done {}.into()),
            Ok(Reply::ServersChanged { version }) => known(ServersChanged { version }.into()),
            // A proposal that timed out also becomes nothing, but its connection was told so then.
            Ok(Reply::Nothing) => known(not_read().into()),
            Ok(Reply::Joined { room_id, room, created, private, topic, role, first_seq, last_seq }) => {
                let (after, history) = match follow_up {
                    FollowUp::Join { after, history, .. } => (after, history),
                    _ => (None, 0),
                };
                connection.joins(room_id);
                let pins = env.state.room_by_id(room_id).into_iter().flat_map(Room::pins);
                let answer = JoinAnswer {
                    room,
                    room_id: Some(room_id),
                    created,
                    private,
                    topic,
                    role: role.into(),
                    first_seq,
                    last_seq,
                    pins: pins.map(|pinned| pinned.seq).collect(),
                    events: Vec::new(),
                    more: false,
                };
                let join = Join {
                    conn,
                    room: room_id,
                    index,
                    to,
                    answer,
                    after,
                    history,
                    unwritten: Vec::new(),
                    by,
                };
                WriteAnswer::Join(Box::new(join))
            }
        };
        connection.answer(seq, answer);
        self.flush_answers(env, conn);
        if renews {
            self.answered(conn, env.outputs);
        }
    }

    /// Answers a login that waited for the log, and lets its client be read from again.
    fn answer_login(&mut self, env: &mut Env<'_>, conn: ConnId, (seq, to): (u64, AnswerTo), answer: Answer) {
        let said = Said::answer(to, answer, env.signature());
        let Some(connection) = self.connections.get_mut(conn) else { return };
        connection.answer(seq, WriteAnswer::Known(said));
        self.flush_answers(env, conn);
        self.answered(conn, env.outputs);
    }

    /// Tells the clients whose writes have waited too long.
    pub(super) fn time_out_writes(&mut self, env: &mut Env<'_>) {
        let by = env.signature();
        for (seq, conn) in env.proposals.time_out(env.now.mono_ms) {
            let Some(connection) = self.connections.get_mut(conn).filter(|connection| !connection.closing)
            else {
                continue;
            };
            let Some(Write { to, follow_up }) = connection.waiting(seq).cloned() else { continue };
            if let FollowUp::Guest(username) = follow_up {
                // A guest may read what a minority has. The name gets into the log with the first message.
                let answer = self.login_decided(env, conn, None, Ok(username), Known::Here);
                self.answer_login(env, conn, (seq, to), answer);
                continue;
            }
            let reason =
                "no majority of the servers answered in time; the outcome is unknown, so send it again";
            let said = Said::nack(to, Refusal::new(Code::Unavailable, reason), by.clone());
            connection.answer(seq, WriteAnswer::Last(said));
            self.flush_answers(env, conn);
        }
    }

    pub(super) fn flush_answers(&mut self, env: &mut Env<'_>, conn: ConnId) {
        while let Some(answer) = self.connections.get_mut(conn).and_then(Connection::next_answer) {
            match answer {
                WriteAnswer::Known(said) => env.fan_out(Instruction::Answer { conn, said }),
                WriteAnswer::Last(said) => {
                    env.fan_out(Instruction::Answer { conn, said });
                    self.close(conn, env.outputs);
                }
                WriteAnswer::Join(mut join) => {
                    join.unwritten = env.unwritten(join.room, &join.range());
                    let query = Query::Events(join.query());
                    env.fan_out(Instruction::Join(join));
                    env.outputs.push(Output::Query(query));
                }
            }
        }
    }
}

/// The refusal of a proposal that the leader could not read.
fn not_read() -> Refusal {
    let reason = "the leader runs an older version, which does not know this; nothing happened";
    Refusal::new(Code::Overloaded, reason).retry_after(UNKNOWN_RETRY_MS)
}
