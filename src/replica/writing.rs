//! A request that changes something: refused early where that is certain, else proposed.

use std::{collections::BTreeSet, sync::Arc};

use sha2::{Digest, Sha256};

use crate::{
    chat::{
        Action, Evidence, Proposal, Standing,
        command::Administer,
        rights::{self, ClusterDeed, Office},
    },
    planted::{Bug, planted},
    protocol::{
        Event, Request, RoomName, UserName,
        answer::{Answer, Asked, SentAnswer},
        file::FileId,
        refusal::{Code, Refusal},
        request::{Administration, Destination},
        status::Role,
    },
};

use super::{
    config::Followers,
    io::{ConnId, Now},
    leading::Leading,
    replica::{Core, Replica},
    session::{Then, Write, WriteAnswer},
    storage::{EventRow, RoomId, Storage, StorageError},
};

/// When to come back after a request that was refused because too much waits.
const SHED_RETRY_MS: u64 = 100;

impl<S: Storage> Replica<S> {
    pub(super) fn write(
        &mut self,
        now: Now,
        conn: ConnId,
        asked: Asked,
        request: Request,
        lamport_timestamp: u64,
    ) {
        if self.redirects() {
            return self.redirect(now, conn, asked);
        }
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let unasked =
            if matches!(request, Request::Chat { .. }) { session.take_unasked(None) } else { vec![] };
        self.follow(conn, unasked);
        if let Err(refusal) = self.keep_order(conn, &request) {
            return self.refuse(now, conn, asked, refusal, false);
        }
        let Some((asked, request)) = self.hash_first(now, conn, asked, request, lamport_timestamp) else {
            return;
        };
        let then = match &request {
            Request::CreateJoin { room, after, history, .. } => {
                Then::Join { room: room.key(), after: *after, history: *history }
            }
            _ => Then::Answer,
        };
        let hasty = planted(Bug::AckOnPropose).then(|| self.hasty_ack(now, &asked, &request)).flatten();
        let client_msg_id = match &request {
            Request::Chat { client_msg_id, .. } => Some(client_msg_id.clone()),
            _ => None,
        };
        match self.action(request) {
            Err(refusal) => self.refuse(now, conn, asked, refusal, false),
            Ok(action) => {
                let seq = self.proposals.next_seq();
                let Some(proposal) = self.proposal(conn, action, lamport_timestamp, None) else { return };
                if !self.propose(now, conn, Write { asked, then }, &proposal) {
                    return;
                }
                if let (Some(session), Some(id)) = (self.sessions.get_mut(conn), client_msg_id) {
                    session.taken(id.as_deref());
                }
                if let (Some(session), Some(line)) = (self.sessions.get_mut(conn), hasty) {
                    session.answer(seq, WriteAnswer::Line(line.into()));
                    self.flush_answers(conn);
                }
            }
        }
    }

    /// The proposal of a connection. `named` is who it is about where nobody needs to be logged in.
    pub(super) fn proposal(
        &mut self,
        conn: ConnId,
        action: Action,
        lamport_timestamp: u64,
        named: Option<UserName>,
    ) -> Option<Proposal> {
        let session = self.sessions.get_mut(conn)?;
        let standing =
            if session.is_operator && for_operators(&action) { Standing::Operator } else { session.standing };
        let user = named.or_else(|| session.user.clone()).or_else(|| {
            // An operator is nobody in particular, and a webhook is known by its token.
            UserName::new(if session.is_operator { "operator" } else { "webhook" })
        })?;
        Some(Proposal { user, standing, lamport_timestamp, action })
    }

    /// Proposes, unless it is over a limit or it is certain that the log will refuse; whether it was proposed.
    pub(super) fn propose(&mut self, now: Now, conn: ConnId, write: Write, proposal: &Proposal) -> bool {
        let allowed = self.may_propose(now, conn, proposal);
        if let Err(refusal) = allowed.and_then(|()| self.admit(now, conn, proposal)) {
            self.note_shed(conn, &proposal.action, &refusal);
            self.refuse(now, conn, write.asked, refusal, false);
            return false;
        }
        self.enqueue(now, conn, write, proposal);
        true
    }

    /// The same for what was counted before.
    pub(super) fn propose_counted(&mut self, now: Now, conn: ConnId, write: Write, proposal: &Proposal) {
        match self.may_propose(now, conn, proposal) {
            Ok(()) => self.enqueue(now, conn, write, proposal),
            Err(refusal) => self.refuse(now, conn, write.asked, refusal, false),
        }
    }

    fn enqueue(&mut self, now: Now, conn: ConnId, write: Write, proposal: &Proposal) {
        let seq = self.proposals.push(now.mono_ms, conn, proposal);
        if let Some(session) = self.sessions.get_mut(conn) {
            session.wait_for(write, seq);
        }
    }

    /// Whether there is room for a proposal, and it is not certain that the log will refuse it.
    pub(super) fn may_propose(&mut self, now: Now, conn: ConnId, proposal: &Proposal) -> Result<(), Refusal> {
        // Only the leader's state is the newest: what is missing here may be acknowledged elsewhere already, and
        // a refusal is for good. What of this connection still waits may change the rules' answer, too.
        if self.leading.as_ref().is_some_and(Leading::is_ready)
            && self.sessions.get_mut(conn).is_some_and(|session| !session.has_writes())
        {
            self.check_early(now, proposal)?;
        }
        if self.proposals.is_full(self.config.limits.pending_proposals) {
            let reason = "too much waits for its commit; nothing was proposed";
            return Err(Refusal::new(Code::Overloaded, reason).retry_after(SHED_RETRY_MS));
        }
        Ok(())
    }

    pub(super) fn check_early(&mut self, now: Now, proposal: &Proposal) -> Result<(), Refusal> {
        match self.evidence(&proposal.action) {
            Ok(evidence) => self.state.check(now.wall_ms, proposal, &evidence),
            Err(error) => {
                self.broken = Some(error);
                Ok(())
            }
        }
    }

    /// The events of history that a command needs to be decided, as they are after everything applied so
    /// far.
    pub(super) fn evidence(&self, action: &Action) -> Result<Evidence, StorageError> {
        let mut evidence = Evidence::default();
        let Some((room, seq)) = self.state.wanted(action) else { return Ok(evidence) };
        if self.state.room_by_id(room).is_none_or(|room| seq < room.first_seq()) {
            return Ok(evidence);
        }
        evidence.target = self.stored_event(room, seq)?;
        if let Some(edit) = evidence.wanted() {
            evidence.last_edit = self.stored_event(room, edit)?;
        }
        Ok(evidence)
    }

    /// When an event of history was made.
    pub(super) fn created_at_ms(&self, room: RoomId, seq: u64) -> Result<Option<u64>, StorageError> {
        Ok(self.stored_row(room, seq)?.map(|row| row.created_at_ms))
    }

    fn stored_row(&self, room: RoomId, seq: u64) -> Result<Option<EventRow>, StorageError> {
        match self.unsaved.event(room, seq) {
            Some(row) => Ok(Some(row.clone())),
            None => match &self.core {
                Core::Formed(consensus) => consensus.storage().event(room, seq),
                Core::Unformed(_) | Core::Changing => Ok(None),
            },
        }
    }

    fn stored_event(&self, room: RoomId, seq: u64) -> Result<Option<Arc<Event>>, StorageError> {
        let Some(row) = self.stored_row(room, seq)? else { return Ok(None) };
        let event: Event = serde_json::from_str(row.json.get()).map_err(|error| {
            StorageError::Doubtful(format!("event {seq} of room {} does not decode: {error}", room.0))
        })?;
        Ok(Some(Arc::new(event)))
    }

    /// What `Bug::AckOnPropose` says: the place that the message will have if nothing comes between.
    fn hasty_ack(&self, now: Now, asked: &Asked, request: &Request) -> Option<Vec<u8>> {
        let Request::Chat { to: Destination::Room(room), client_msg_id: Some(client_msg_id), .. } = request
        else {
            return None;
        };
        let sent = SentAnswer {
            client_msg_id: client_msg_id.clone(),
            room: room.clone(),
            seq: self.state.room(&room.key())?.last_seq + 1,
            lamport_timestamp: self.state.lamport() + 1,
            duplicate: false,
        };
        Some(Answer::Sent(sent).line(asked, &self.signature(now)))
    }

    /// Remembers a message that is refused for load or for a rate: what says that it follows it would overtake it.
    pub(super) fn note_shed(&mut self, conn: ConnId, action: &Action, refusal: &Refusal) {
        if let Action::Chat { client_msg_id, .. } = action
            && matches!(refusal.code, Code::RateLimited | Code::Overloaded)
            && let Some(session) = self.sessions.get_mut(conn)
        {
            session.shed(Some(client_msg_id));
        }
    }

    /// Refuses a message for load, where there is too much of it or where the message that it follows was
    /// so refused: a client with several messages on their way must find them in its order, or not at all.
    fn keep_order(&mut self, conn: ConnId, request: &Request) -> Result<(), Refusal> {
        let Request::Chat { client_msg_id, follows, .. } = request else { return Ok(()) };
        let full = self.proposals.is_full(self.config.limits.pending_proposals);
        let Some(session) = self.sessions.get_mut(conn) else { return Ok(()) };
        if !full && !session.overtakes(follows.as_deref()) {
            return Ok(());
        }
        session.shed(client_msg_id.as_deref());
        let reason = match full {
            true => "too much waits for its commit; nothing was proposed",
            false => "the message that it follows was refused for load; send that one first",
        };
        Err(Refusal::new(Code::Overloaded, reason).retry_after(SHED_RETRY_MS))
    }

    /// The limits that each server watches over by itself. They are settings, which may differ between
    /// servers for a while, so they are asked for before the log and not by the rules. What passes is counted.
    pub(super) fn admit(&mut self, now: Now, conn: ConnId, proposal: &Proposal) -> Result<(), Refusal> {
        let Proposal { user, action, .. } = proposal;
        let is_privileged = self.is_privileged(conn);
        let Some(session) = self.sessions.get_mut(conn) else { return Ok(()) };
        let (addr, has_writes) = (session.addr, session.has_writes());
        let limits = &self.config.limits;
        let now_ms = now.mono_ms;
        if !is_privileged {
            // What is sent before the first write is decided is of the same guest.
            let is_new = |name: &UserName| self.state.user(&name.key()).is_none();
            let own = (proposal.standing == Standing::Guest && !has_writes).then_some(user);
            let names = named(action).into_iter().chain(own.cloned());
            let new = names.filter(is_new).map(|name| name.key()).collect::<BTreeSet<_>>();
            match action {
                Action::Register { .. } => self.rates.registration(now_ms, limits, addr)?,
                Action::Login { .. } | Action::HookPost { .. } => {}
                _ if !new.is_empty() => self.rates.new_names(now_ms, limits, addr, new.len() as u64)?,
                _ => {}
            }
        }
        let creates = match action {
            Action::Join { room } | Action::Create { room, .. } => Some(room.clone()),
            Action::Chat { to: Destination::User(with), .. } => Some(RoomName::direct(user, with)),
            Action::Chat { to: Destination::Room(room), .. } if room.direct_pair().is_some() => {
                Some(room.clone())
            }
            _ => None,
        };
        if creates.is_some_and(|room| self.state.room(&room.key()).is_none()) {
            if self.state.rooms_created(&user.key()) >= limits.rooms_per_user as u64 {
                let reason = format!("you have created {} rooms; no more are allowed", limits.rooms_per_user);
                return Err(Refusal::new(Code::Forbidden, reason));
            }
            self.rates.new_room(now_ms, limits, (user.key(), addr))?;
        }
        if let Action::FileBegin { file, .. } = action {
            let used = self.state.user(&user.key()).map_or(0, |user| user.file_bytes);
            if file.size > limits.file_bytes {
                let reason = format!("a file may have {} bytes", limits.file_bytes);
                return Err(Refusal::new(Code::TooLarge, reason));
            }
            if used.saturating_add(file.size) > limits.file_bytes_per_user {
                let reason = format!(
                    "your files have {used} bytes; {} are allowed in all, so delete some first",
                    limits.file_bytes_per_user
                );
                return Err(Refusal::new(Code::TooLarge, reason));
            }
            self.rates.upload(now_ms, limits, (user.key(), addr), file.size)?;
        }
        Ok(())
    }

    /// Whether a connection makes as many accounts and sets as many passwords as it likes: an operator's or an
    /// administrator's.
    pub(super) fn is_privileged(&mut self, conn: ConnId) -> bool {
        let Some(session) = self.sessions.get_mut(conn) else { return false };
        let user = session.user.as_ref().filter(|_| session.standing != Standing::Guest);
        let office = self.state.office_of(user.map(UserName::key).as_ref(), session.is_operator);
        rights::allows_in_cluster(ClusterDeed::PassLimits, office)
    }

    /// What is proposed for a request that needs no hashing, or no more.
    fn action(&self, request: Request) -> Result<Action, Refusal> {
        Ok(match request {
            Request::CreateJoin { room, private: true, .. } => {
                Action::Create { room, private: true, password: None }
            }
            Request::CreateJoin { room, .. } => Action::Join { room },
            Request::Leave { room } => Action::Leave { room },
            Request::Chat { to, body, client_msg_id, reply_to, file_id, .. } => {
                let client_msg_id = client_msg_id.unwrap_or_else(|| self.own_msg_id());
                Action::Chat { to, body, client_msg_id, reply_to, file_id }
            }
            Request::HookPost { token, body, display_name } => {
                Action::HookPost { token: token.hash(), body, client_msg_id: self.own_msg_id(), display_name }
            }
            Request::Edit { room, seq, body } => Action::Edit { room, seq, body },
            Request::Delete { room, seq } => Action::Delete { room, seq },
            Request::React { room, seq, emoji, remove } => Action::React { room, seq, emoji, remove },
            Request::MarkRead { room, seq } => Action::MarkRead { room, seq },
            Request::Moderate { room, what } => Action::Moderate { room, what },
            Request::RoomPassword { room, .. } => Action::RoomPassword { room, password: None },
            Request::Import { room, first_seq, events } => Action::Import { room, first_seq, events },
            Request::ImportRoom { room, info } => Action::ImportRoom { room, info },
            Request::Logout { everywhere } => Action::Logout { everywhere },
            Request::Administer(Administration::SetAdmin { username, admin }) => {
                Action::Administer { username, what: Administer::SetAdmin(admin) }
            }
            Request::Administer(Administration::Ban { username, seconds }) => {
                Action::Administer { username, what: Administer::Ban(seconds) }
            }
            Request::Administer(Administration::Unban { username }) => {
                Action::Administer { username, what: Administer::Unban }
            }
            Request::Administer(Administration::DeleteAccount { username }) => {
                Action::Administer { username, what: Administer::Delete }
            }
            Request::DeleteHook { room, hook_id } => {
                let token = self.state.hook_of_id(&hook_id);
                let token = token.ok_or_else(|| {
                    Refusal::new(Code::NotFound, format!("{room} has no webhook of that id"))
                })?;
                Action::DeleteHook { room, token }
            }
            Request::FileBegin(file) => Action::FileBegin { file_id: self.new_file_id(), file },
            Request::FileChunk { file_id, offset, bytes } => Action::FileChunk { file_id, offset, bytes },
            Request::FileEnd { file_id, sha256 } => Action::FileEnd { file_id, sha256 },
            Request::FileDelete { file_id } => Action::FileDelete { file_id },
            // What needs hashing has been proposed by then, and reads are no writes.
            _ => Action::Nothing,
        })
    }

    /// The id of a message whose client gave it none.
    fn own_msg_id(&self) -> String {
        let (node_id, boot) = (self.identity.node_id, self.identity.boot);
        format!("{node_id}-{boot}-{}", self.proposals.next_seq())
    }

    /// An id that no other file has: it is made of the proposal's number, which is given once. It is no
    /// secret: who may read a file is asked each time.
    fn new_file_id(&self) -> FileId {
        let digest = Sha256::digest(format!("file {}", self.own_msg_id()));
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        FileId(id)
    }

    fn redirects(&self) -> bool {
        self.config.followers == Followers::Redirect && self.role() != Role::Leader
    }

    fn redirect(&mut self, now: Now, conn: ConnId, asked: Asked) {
        let Some(push) = self.redirect_push("the leader takes this") else {
            let refusal = Refusal::new(Code::Unavailable, "there is no leader at the moment; try again");
            return self.refuse(now, conn, asked, refusal, true);
        };
        let line = push.line(Some(&asked), &self.signature(now)).into();
        if let Some(session) = self.sessions.get_mut(conn) {
            session.answer_in_turn(WriteAnswer::Last(line));
        }
        self.flush_answers(conn);
    }
}

/// Whom an action names that comes into being by it, where nobody has spoken of them yet.
fn named(action: &Action) -> Vec<UserName> {
    match action {
        Action::Chat { to: Destination::User(with), .. } => vec![with.clone()],
        Action::Join { room }
        | Action::Create { room, .. }
        | Action::Chat { to: Destination::Room(room), .. } => {
            room.direct_pair().map(|(one, other)| vec![one, other]).unwrap_or_default()
        }
        Action::Moderate { what, .. } => what.target().into_iter().cloned().collect(),
        Action::Administer { username, .. } => vec![username.clone()],
        _ => Vec::new(),
    }
}

/// What is done in an operator's name rather than in a user's.
fn for_operators(action: &Action) -> bool {
    rights::allows_in_cluster(rights::deed_of_action(action), Office::Operator)
}
