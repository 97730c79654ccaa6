//! Committed entries become state, rows, events and answers.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    chat::{
        Action, Applied as Outcome, Command, Reply,
        apply::{Effects, Invitation},
        command::Administer,
        hook::hook_id,
    },
    planted::{Bug, planted},
    protocol::{
        answer::{Answer, JoinAnswer, Push},
        file::FILE_CHUNK_BYTES,
        name::UserName,
        peer::{LogEntry, LogEntryKind},
        refusal::{Code, Refusal},
    },
};

use super::{
    fanout::{Fan, Join},
    io::{ConnId, Look, Now},
    members::{ConfStep, Configure},
    replica::{Core, Replica},
    session::{Then, Write, WriteAnswer},
    storage::{Applied, Row, Storage, StorageError},
    throttle::Guarded,
};

/// When a client may ask again for what the leader could not read.
const UNKNOWN_RETRY_MS: u64 = 5_000;

impl<S: Storage> Replica<S> {
    pub(super) fn apply(&mut self, now: Now, entries: Vec<LogEntry>) -> Result<(), StorageError> {
        let Some(last) = entries.last().map(|entry| (entry.index, entry.term)) else { return Ok(()) };
        for entry in entries {
            match entry.kind {
                // What a new leader writes to commit what it found.
                LogEntryKind::Command if entry.data.is_empty() => {}
                LogEntryKind::Command => {
                    // Skipping an entry that others understand would make the states differ for ever.
                    let command = Command::decode(&entry.data).map_err(|error| {
                        StorageError::Failed(format!("entry {} cannot be applied: {error}", entry.index))
                    })?;
                    self.apply_command(now, entry.index, &command)?;
                }
                LogEntryKind::Configure => self.apply_configure(&entry)?,
            }
        }
        let Core::Formed(consensus) = &mut self.core else { return Ok(()) };
        consensus.applied(last.0);
        let conf = consensus.conf().clone();
        self.unsaved.batch.applied = Some(Applied { index: last.0, term: last.1, conf });
        self.unsaved.since_ms.get_or_insert(now.mono_ms);
        Ok(())
    }

    fn apply_configure(&mut self, entry: &LogEntry) -> Result<(), StorageError> {
        let configure = Configure::decode(&entry.data).map_err(|error| {
            StorageError::Failed(format!("entry {} cannot be applied: {error}", entry.index))
        })?;
        if let Core::Formed(consensus) = &mut self.core {
            consensus.apply_configure(&configure.steps)?;
        }
        self.unsaved.batch.rows.extend(self.members.apply(&configure));
        for step in &configure.steps {
            if let ConfStep::Remove(node) = step {
                let rows: Vec<Row> = self.state.forget_origin(*node);
                self.unsaved.batch.rows.extend(rows);
                if *node == self.identity.node_id {
                    self.quarantine("the cluster has replaced this server's data".into());
                }
            }
        }
        Ok(())
    }

    fn apply_command(&mut self, now: Now, index: u64, command: &Command) -> Result<(), StorageError> {
        let evidence = self.evidence(&command.proposal.action)?;
        let Outcome { origin, outcome, effects } = self.state.apply(index, command, &evidence);
        let Effects {
            events,
            rewritten,
            rows,
            membership,
            invitations,
            ended,
            chunks,
            removed_files,
            expired,
        } = effects;
        let batch = &mut self.unsaved.batch;
        batch.rows.extend(rows);
        batch.chunks.extend(chunks);
        batch.removed_files.extend(removed_files);
        batch.expired.extend(expired);
        self.unsaved.extend(events.iter().map(crate::chat::Published::row));
        self.unsaved.extend(rewritten.iter().cloned());
        let here = origin.node_id == self.identity.node_id && origin.boot == self.identity.boot;
        let asker = match &outcome {
            Some(_) if here => {
                self.proposals.decided(now.mono_ms, origin.seq).and_then(|pending| pending.conn)
            }
            _ => None,
        };
        for change in &membership {
            if change.joined {
                // Without an event that says so they begin with the next one.
                let next = self.state.room_by_id(change.room).map_or(1, |room| room.last_seq + 1);
                let of_room = events.iter().find(|published| published.room == change.room);
                let seq = of_room.map_or(next, |published| published.event.seq);
                let others =
                    self.sessions.of_user(&change.user).into_iter().filter(|conn| Some(*conn) != asker);
                for conn in others.collect::<Vec<_>>() {
                    self.follow_unasked(conn, change.room, seq - 1, seq - 1);
                }
            }
        }
        let has_spoken = matches!(&outcome, Some(Ok(Reply::Sent(answer))) if !answer.duplicate);
        if let (true, Some(conn), Some(published)) = (has_spoken, asker, events.first())
            && self.speaks_for_itself(conn, &command.proposal.action, &published.event.author)
        {
            // Whoever speaks in a room hears it from then on.
            let before = published.event.seq - 1;
            self.fan(Fan::Follow { conn, room: published.room, after: before, last_seq: before });
        }
        for row in rewritten {
            self.fan(Fan::Rewrite(Box::new(row)));
        }
        for published in events {
            self.fan(Fan::Publish { room: published.room, event: published.event, json: published.json });
        }
        for change in membership {
            if !change.joined {
                for conn in self.sessions.of_user(&change.user) {
                    if let Some(session) = self.sessions.get_mut(conn) {
                        session.leaves(change.room);
                    }
                    if !planted(Bug::KickKeepsFollowing) {
                        self.fan(Fan::Unfollow { conn, room: change.room });
                    }
                }
            }
        }
        for Invitation { user, room, by, invited } in invitations {
            let line: Arc<[u8]> =
                Push::Invitation { room, by, invited }.line(None, &self.signature(now)).into();
            for conn in self.sessions.of_user(&user) {
                self.fan(Fan::Say { conn, line: Arc::clone(&line) });
            }
        }
        if let (Some(outcome), Some(conn)) = (outcome, asker) {
            if let Err(refusal) = &outcome {
                self.note_shed(conn, &command.proposal.action, refusal);
            }
            self.answer_write(now, index, conn, origin.seq, outcome);
        }
        for ended in &ended {
            if unsettles(&command.proposal.action) {
                self.throttle.forget_homes(&Guarded::Account(ended.user.clone()));
            }
            self.end_sessions(now, ended, asker);
        }
        if let Some(conn) = asker {
            // A login has let go of what the connection sent behind it.
            self.take_held(now, conn);
        }
        Ok(())
    }

    /// Whether `author` of a message is who the connection is logged in as. A webhook's bot is a member, but
    /// whoever posts by its token is nobody, and may hear nothing of the room.
    fn speaks_for_itself(&mut self, conn: ConnId, action: &Action, author: &UserName) -> bool {
        let user = self.sessions.get_mut(conn).and_then(|session| session.user.as_ref());
        let is_own = user.is_some_and(|user| user.key() == author.key());
        matches!(action, Action::Chat { .. }) && is_own || planted(Bug::HookFollows)
    }

    /// The log has decided what `conn` asked for.
    fn answer_write(
        &mut self,
        now: Now,
        index: u64,
        conn: ConnId,
        seq: u64,
        outcome: Result<Reply, Refusal>,
    ) {
        let by = self.signature(now);
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let Some(Write { asked, then }) = session.waiting(seq).cloned() else { return };
        let line = |answer: Answer| WriteAnswer::Line(answer.line(&asked, &by).into());
        if let Then::LogIn(token) = then {
            let outcome = match outcome {
                Ok(Reply::Account { username }) => Ok(username),
                Err(refusal) => Err(refusal),
                Ok(_) => Err(not_read()),
            };
            let answer = line(self.login_decided(now, conn, token, outcome));
            let Some(session) = self.sessions.get_mut(conn) else { return };
            session.answer(seq, answer);
            return self.flush_answers(conn);
        }
        let answer = match outcome {
            Err(refusal) => line(Answer::Nack(refusal)),
            Ok(Reply::Sent(sent)) => line(Answer::Sent(sent)),
            Ok(Reply::Left { room, .. }) => line(done(json!({ "room": room }))),
            Ok(Reply::Placed { room, seq, duplicate }) => {
                let mut fields = json!({ "room": room, "seq": seq, "duplicate": duplicate });
                if let Then::Token(token) = &then {
                    fields["token"] = token.expose().into();
                    fields["hook_id"] = hook_id(&token.hash()).into();
                }
                line(done(fields))
            }
            Ok(Reply::Account { username }) => {
                let mut fields = json!({ "username": username });
                if let Then::Token(token) = &then {
                    fields["token"] = token.expose().into();
                }
                line(done(fields))
            }
            Ok(Reply::Receiving { file_id, received }) => line(done(json!({
                "file_id": file_id, "received": received, "chunk_bytes": FILE_CHUNK_BYTES,
            }))),
            Ok(Reply::File(file)) => line(done(json!(file))),
            // A proposal that timed out becomes nothing as well, but its connection was told so then.
            Ok(Reply::Nothing) => line(Answer::Nack(not_read())),
            Ok(Reply::Joined { room_id, room, created, private, topic, role, first_seq, last_seq }) => {
                let (after, history) = match then {
                    Then::Join { after, history, .. } => (after, history),
                    _ => (None, 0),
                };
                session.joins(room_id);
                let answer = JoinAnswer {
                    room,
                    created,
                    private,
                    topic,
                    role: role.into(),
                    first_seq,
                    last_seq,
                    events: Vec::new(),
                    more: false,
                };
                let join = Join { conn, room: room_id, index, asked, answer, after, history, by };
                WriteAnswer::Join(Box::new(join))
            }
        };
        session.answer(seq, answer);
        self.flush_answers(conn);
    }

    /// Gives out the answers whose turn has come.
    pub(super) fn flush_answers(&mut self, conn: ConnId) {
        while let Some(answer) = self.sessions.get_mut(conn).and_then(super::session::Session::next_answer) {
            match answer {
                WriteAnswer::Line(line) => self.fan(Fan::Answer { conn, line }),
                WriteAnswer::Last(line) => {
                    self.fan(Fan::Answer { conn, line: Arc::clone(&line) });
                    self.close(conn);
                }
                WriteAnswer::Join(join) => {
                    self.looks.push((join.index, Look::Events(join.query())));
                    self.fan(Fan::Join(join));
                }
            }
        }
    }
}

/// Whether nobody is at home any more where an account was logged in to: it has another password, or may not
/// be used. Who only logs out keeps what protects them from being locked out.
fn unsettles(action: &Action) -> bool {
    match action {
        Action::ChangePassword { .. } | Action::CloseAccount { .. } => true,
        Action::Administer { what, .. } => {
            matches!(what, Administer::SetPassword(_) | Administer::Ban(_) | Administer::Delete)
        }
        _ => false,
    }
}

/// What is said of a proposal that the leader could not read.
fn not_read() -> Refusal {
    let reason = "the leader runs an older version, which does not know this; nothing happened";
    Refusal::new(Code::Overloaded, reason).retry_after(UNKNOWN_RETRY_MS)
}

/// An ack with these fields.
fn done(fields: Value) -> Answer {
    match fields {
        Value::Object(fields) => Answer::Done(fields),
        _ => Answer::Done(serde_json::Map::new()),
    }
}
