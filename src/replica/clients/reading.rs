//! Requests that change nothing: answered from memory, or looked up beside the writer, once this server is
//! known to be up to date.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    chat::{rights::ClusterPermission, views::Viewer},
    disk::{EventRange, RoomId, Search},
    fanout::{ConnId, EventQuery, Instruction, Purpose},
    protocol::{
        RoomName, UserKey, UserName,
        answer::{
            Answer, AuditPage, HistoryPage, HookList, MemberList, PinList, Pong, PresenceChange, PresenceSet,
            PresenceState, RoomList, RoomNames, TypingShown, TypingState, UserList,
        },
        checked::Seq,
        envelope::{AnswerTo, Claims},
        file::FILE_CHUNK_BYTES,
        limits::HISTORY_BYTES,
        name::RoomKey,
        peer::PeerMessage,
        refusal::{Code, Refusal},
        request::{self, Audit, Export, ExportRooms, History, HistoryRange, Presence, Request, Users},
        said::Said,
        search,
    },
};

use super::{
    super::{
        io::Output,
        query::{AnswerQuery, Query, Read},
    },
    Clients,
    env::Env,
    presence,
    reads::{Known, Waiting},
};

/// The cost of looking at a room or a user in a list, as the bytes of an answer that take about the same
/// time.
const LOOK_BYTES: usize = 32;

impl Clients {
    /// Answers a read, or lets it wait until this server knows everything that was acknowledged before it
    /// came: this server's state may be old even if it leads, see `doubts`.
    pub(super) fn read(
        &mut self,
        env: &mut Env<'_>,
        conn: ConnId,
        to: AnswerTo,
        request: Request,
        claims: Claims,
    ) {
        let is_free = !tells_of_state(&request) || self.may_be_stale(env, conn, &request, claims.room);
        let read = Waiting::new(env.now.mono_ms, conn, to, request, claims);
        if is_free && env.state.check_lamport(claims.lamport_timestamp).is_ok() {
            return self.answer_read(env, read, Known::Here);
        }
        let to = read.to.clone();
        if let Err(refusal) = self.reads.push(read) {
            self.refuse(env, conn, to, refusal);
        }
    }

    /// Whether a read may be answered by what this server has: it knows that it has lost the majority, and
    /// the answer says so.
    fn may_be_stale(
        &mut self,
        env: &mut Env<'_>,
        conn: ConnId,
        request: &Request,
        room: Option<RoomId>,
    ) -> bool {
        if !env.server.is_stale() {
            return false;
        }
        let connection = self.connections.get_mut(conn);
        let is_operator = connection.as_ref().is_some_and(|connection| connection.is_operator);
        let user = connection.and_then(|connection| connection.user.as_ref()).map(UserName::key);
        let viewer = user.as_ref().map(|user| Viewer { user, now_ms: env.now.wall_ms, room });
        // A room that may not be read is like one that does not exist. Either refusal would be final.
        let seen = |room: &RoomName| Some(env.state.visible_room(viewer?, room).ok()?.1);
        match request {
            Request::Rooms(_) | Request::Search(request::Search { room: None, .. }) => true,
            Request::Members(request::Members { room, .. })
            | Request::Pins(request::Pins { room })
            | Request::Search(request::Search { room: Some(room), .. }) => seen(room).is_some(),
            // The answer must contain what the client has seen.
            Request::History(History { room, range, .. }) => {
                let known = match range {
                    HistoryRange::Last | HistoryRange::Since(_) => 0,
                    HistoryRange::Before(seq) => seq.saturating_sub(1),
                    HistoryRange::After(seq) => *seq,
                };
                seen(room).is_some_and(|room| room.last_seq >= known)
            }
            // These are for finding out what is wrong. They show that no server leads.
            Request::Servers(_) | Request::PlanServers(_) => {
                self.manages_servers(env, user.as_ref(), is_operator).is_ok()
            }
            _ => false,
        }
    }

    /// Answers the reads that waited for the state to be up to date.
    pub fn answer_reads(&mut self, env: &mut Env<'_>) {
        while !env.outputs.are_enough()
            && let Some(read) = self.reads.next_ready(env.server.applied_index())
        {
            if read.request.is_awaited() {
                self.go_on_with(env, read);
            } else {
                self.answer_read(env, read, Known::Everywhere);
            }
        }
    }

    fn answer_read(&mut self, env: &mut Env<'_>, read: Waiting, known: Known) {
        let Waiting { conn, to, request, claims, .. } = read;
        if let Err(refusal) = env.state.check_lamport(claims.lamport_timestamp) {
            return self.refuse(env, conn, to, refusal);
        }
        // While it waited its session may have ended.
        let Some(connection) = self.connections.get_mut(conn).filter(|connection| !connection.closing) else {
            return;
        };
        let is_operator = connection.is_operator;
        let looked_at = looks_through(env, &request, claims.room);
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let user = connection.user.as_ref().map(UserName::key);
        if looked_at > 0 && known == Known::Everywhere {
            // What was answered while it waited was not counted yet when it was let in.
            let who = (user.clone(), connection.addr);
            if let Err(refusal) =
                self.rates.volume(env.now.mono_ms, &env.config.limits, &connection.traffic, who)
            {
                return self.refuse(env, conn, to, refusal);
            }
        }
        if looked_at > 0 {
            self.charge(env, conn, looked_at * LOOK_BYTES);
            env.outputs.spend(looked_at * LOOK_BYTES);
        }
        let answer = match request {
            Request::Ping(ping) => Ok(Pong::new(ping.into_data()).into()),
            Request::ListServers(_) => Ok(env.server.server_list(self.count()).into()),
            Request::AskStatus(_) => Ok(Box::new(env.server.status(env.now, self.count())).into()),
            Request::Users(users) => self.users(env, user.as_ref(), is_operator, &users),
            Request::Servers(_) => self
                .manages_servers(env, user.as_ref(), is_operator)
                .map(|()| env.server.server_table().into()),
            Request::PlanServers(plan) => self
                .manages_servers(env, user.as_ref(), is_operator)
                .map(|()| env.server.plan_servers(&plan.change).into()),
            Request::Audit(audit) => self.audit(env, user.as_ref(), is_operator, &audit),
            Request::ExportRooms(export) => self
                .exporter(env, user.as_ref(), is_operator)
                .map(|viewer| self.exported_rooms(env, viewer, &export)),
            Request::Export(export) => {
                let limit = export.limit();
                let Export { room, after, .. } = export;
                let after = after.get();
                let viewer = self.exporter(env, user.as_ref(), is_operator);
                match viewer.and_then(|viewer| env.state.exported(viewer, &room, after == 0)) {
                    Ok((id, page)) => {
                        let before = page.last_seq + 1;
                        let max_bytes = HISTORY_BYTES;
                        let range = EventRange { after, before, oldest_first: true, limit, max_bytes };
                        return self.query(env, conn, to, Read::Export { room: id, range, page });
                    }
                    Err(refusal) => Err(refusal),
                }
            }
            request => {
                // All other requests were refused before if there was no login.
                let Some(user) = &user else { return };
                let viewer = Viewer { user, now_ms: env.now.wall_ms, room: claims.room };
                match self.answer_user(env, (conn, &to), viewer, request, known) {
                    Ok(Some(answer)) => Ok(answer),
                    Ok(None) => return,
                    Err(refusal) => Err(refusal),
                }
            }
        };
        let said = Said::answer(to, answer.unwrap_or_else(Answer::Nack), env.signature());
        if looked_at > 0 {
            self.charge(env, conn, said.bytes());
        }
        env.fan_out(Instruction::Say { conn, said });
    }

    /// Counts what an answer cost for the connection: else short questions with long answers would be free.
    fn charge(&mut self, env: &mut Env<'_>, conn: ConnId, bytes: usize) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let who = (connection.user.as_ref().map(UserName::key), connection.addr);
        self.rates.answered(env.now.mono_ms, &env.config.limits, &mut connection.traffic, who, bytes);
    }

    /// The answer to a user's question; `None` if it comes later, or not at all.
    fn answer_user(
        &mut self,
        env: &mut Env<'_>,
        (conn, to): (ConnId, &AnswerTo),
        viewer: Viewer<'_>,
        request: Request,
        known: Known,
    ) -> Result<Option<Answer>, Refusal> {
        let user = viewer.user;
        let stale = known == Known::Here;
        Ok(Some(match request {
            Request::Rooms(rooms) => {
                let (limit, joined) = (rooms.limit(), rooms.joined);
                let after = rooms.after.map(|room| room.key());
                let (rooms, more) = env.state.room_summaries(viewer, after.as_ref(), joined, limit);
                RoomList { more, rooms, stale }.into()
            }
            Request::Members(members) => {
                let limit = members.limit();
                let (id, room) = env.state.visible_room(viewer, &members.room)?;
                let room = room.name.clone();
                let presence = |user: &UserKey| match self.presence.state(user) {
                    PresenceState::Offline => (false, false),
                    PresenceState::Away => (true, true),
                    PresenceState::Online => (true, false),
                };
                let after = members.after.map(|user| user.key());
                let (members, more) = env.state.members(id, env.now.wall_ms, after.as_ref(), limit, presence);
                MemberList { members, more, room, stale }.into()
            }
            Request::Hooks(request::Hooks { room }) => {
                let (room, hooks) = env.state.hooks(viewer, &room)?;
                HookList { hooks, room }.into()
            }
            Request::Pins(request::Pins { room }) => {
                let (_, room) = env.state.visible_room(viewer, &room)?;
                let pins = room.pins().map(|pinned| pinned.seq).collect();
                PinList { pins, room: room.name.clone(), stale }.into()
            }
            Request::History(history) => {
                let query = self.history_query(env, viewer, (conn, to), &history, stale)?;
                let query = Query::Events(query);
                if let HistoryRange::Since(_) = history.range {
                    // When events were made is looked up among those that are written.
                    self.queries.push((env.server.applied_index(), query));
                } else {
                    env.outputs.push(Output::Query(query));
                }
                return Ok(None);
            }
            Request::Search(search) => {
                if search::Query::parse(search.query.as_str()).is_none() {
                    let reason = "query has nothing to look for: name a word, a number, a symbol or an emoji";
                    return Err(Refusal::bad_request(reason));
                }
                let limit = search.limit();
                let request::Search { query, room, author, since, until, before, .. } = search;
                let room =
                    room.map(|room| env.state.visible_room(viewer, &room).map(|(id, _)| id)).transpose()?;
                let readable = match room {
                    Some(room) => [room].into(),
                    None => env.state.visible_rooms(viewer),
                };
                let renamed = env.state.renamed_among(&readable);
                // It is looked up a moment later, when there may be newer messages. The user may have had to
                // leave a room by then, and must not get those.
                let end = env.state.lamport().saturating_add(1);
                let search = Search {
                    query: query.into(),
                    room,
                    readable: Arc::new(readable),
                    author: author.map(|author| author.key()),
                    since_ms: since.map(|time| time.at_ms),
                    until_ms: until.map(|time| time.at_ms),
                    before_lamport: Some(before.map_or(end, |before| before.get().min(end))),
                    limit,
                };
                self.query(env, conn, to.clone(), Read::Search { search, renamed, stale });
                return Ok(None);
            }
            Request::FileRead(request::FileRead { file_id, offset }) => {
                let file = env.state.visible_file(viewer, file_id)?;
                if !offset.is_multiple_of(FILE_CHUNK_BYTES as u64) {
                    let reason = format!("offset must be a multiple of {FILE_CHUNK_BYTES}");
                    return Err(Refusal::bad_request(reason));
                }
                self.query(env, conn, to.clone(), Read::FileChunk { file, offset });
                return Ok(None);
            }
            Request::Typing(typing) => {
                self.typing(env, conn, viewer, &typing.room);
                return Ok(None);
            }
            Request::SetPresence(request::SetPresence { state }) => {
                self.presence.set_away(env.now.mono_ms, user, state == Presence::Away);
                PresenceSet { state }.into()
            }
            _ => return Ok(None),
        }))
    }

    fn query(&mut self, env: &Env<'_>, conn: ConnId, to: AnswerTo, read: Read) {
        let query = AnswerQuery { conn, to, read };
        self.queries.push((env.server.applied_index(), Query::Answer(query)));
    }

    /// The user in whose name is exported: none for an operator, who sees everything; for an administrator
    /// the own.
    fn exporter<'a>(
        &self,
        env: &mut Env<'_>,
        user: Option<&'a UserKey>,
        is_operator: bool,
    ) -> Result<Option<Viewer<'a>>, Refusal> {
        let role = env.state.cluster_role_of(user, is_operator);
        if role.may(ClusterPermission::ExportAll) {
            return Ok(None);
        }
        match user.filter(|_| role.may(ClusterPermission::Export)) {
            Some(user) => Ok(Some(Viewer { user, now_ms: env.now.wall_ms, room: None })),
            None => Err(Refusal::new(Code::Forbidden, "only an operator or an administrator may export")),
        }
    }

    fn users(
        &self,
        env: &mut Env<'_>,
        user: Option<&UserKey>,
        is_operator: bool,
        asked: &Users,
    ) -> Result<Answer, Refusal> {
        let role = env.state.cluster_role_of(user, is_operator);
        if !role.may(ClusterPermission::ListUsers) {
            return Err(Refusal::new(Code::Forbidden, "only an administrator may list the users"));
        }
        let after = asked.after.as_ref().map(UserName::key);
        let online = |user: &UserKey| self.presence.state(user) != PresenceState::Offline;
        let (users, more) = env.state.accounts(env.now.wall_ms, after.as_ref(), asked.limit(), online);
        Ok(UserList { more, users }.into())
    }

    fn manages_servers(
        &self,
        env: &Env<'_>,
        user: Option<&UserKey>,
        is_operator: bool,
    ) -> Result<(), Refusal> {
        if env.state.cluster_role_of(user, is_operator).may(ClusterPermission::ManageServers) {
            return Ok(());
        }
        Err(Refusal::new(Code::Forbidden, "only an operator may look after the servers"))
    }

    fn audit(
        &self,
        env: &Env<'_>,
        user: Option<&UserKey>,
        is_operator: bool,
        asked: &Audit,
    ) -> Result<Answer, Refusal> {
        let role = env.state.cluster_role_of(user, is_operator);
        let viewer = user.map(|user| Viewer { user, now_ms: env.now.wall_ms, room: None });
        let viewer = if role.may(ClusterPermission::ReadWholeAudit) {
            None
        } else if role.may(ClusterPermission::ReadAudit) && viewer.is_some() {
            viewer
        } else {
            return Err(Refusal::new(Code::Forbidden, "only an administrator may read the audit log"));
        };
        let before = asked.before.map_or(u64::MAX, Seq::get);
        let (entries, more) = env.state.audit(viewer, before, asked.limit());
        Ok(AuditPage { entries, more }.into())
    }

    fn exported_rooms(&self, env: &Env<'_>, viewer: Option<Viewer<'_>>, asked: &ExportRooms) -> Answer {
        let after = asked.after.as_ref().map(RoomName::key);
        let (rooms, more) = env.state.exported_rooms(viewer, after.as_ref(), asked.limit());
        RoomNames { more, rooms }.into()
    }

    fn history_query(
        &self,
        env: &Env<'_>,
        viewer: Viewer<'_>,
        (conn, to): (ConnId, &AnswerTo),
        asked: &History,
        stale: bool,
    ) -> Result<EventQuery, Refusal> {
        let (range, limit) = (asked.range, asked.limit());
        let (id, room) = env.state.visible_room(viewer, &asked.room)?;
        let end = room.last_seq + 1;
        let (after, before, oldest_first) = match range {
            HistoryRange::Last => (0, end, false),
            HistoryRange::Before(seq) => (0, seq.min(end), false),
            HistoryRange::After(seq) => (seq, end, true),
            // The query finds out where it begins.
            HistoryRange::Since(_) => (0, end, true),
        };
        let page = HistoryPage {
            room: room.name.clone(),
            events: Vec::new(),
            first_seq: room.first_seq(),
            last_seq: room.last_seq,
            more: false,
            stale,
        };
        // What the room has forgotten may still be there.
        let after = after.max(room.first_seq().saturating_sub(1));
        let events = EventRange { after, before, oldest_first, limit, max_bytes: HISTORY_BYTES };
        let waits = matches!(range, HistoryRange::Since(_));
        Ok(EventQuery {
            conn,
            room: id,
            unwritten: if waits { Vec::new() } else { env.unwritten(id, &events) },
            range: events,
            purpose: Purpose::History { to: to.clone(), range, page },
        })
    }

    /// Shows a user typing to the members of the room that are online, here and on the other servers.
    fn typing(&mut self, env: &mut Env<'_>, conn: ConnId, viewer: Viewer<'_>, room: &RoomName) {
        let Ok((id, found)) = env.state.visible_room(viewer, room) else { return };
        if !env.state.may_type(viewer, id) {
            return;
        }
        let key = found.name.key();
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let Some(user) = connection.user.clone() else { return };
        if !connection.types(env.now.mono_ms) {
            return;
        }
        env.server.tell_peers(&PeerMessage::Typing { user: user.clone(), room: key }, env.outputs);
        self.show_typing(env, id, &user);
    }

    /// A user of another server is typing.
    pub fn heard_typing(&mut self, env: &mut Env<'_>, user: &UserName, room: &RoomKey) {
        if let Some(id) = env.state.room_id(room) {
            self.show_typing(env, id, user);
        }
    }

    fn show_typing(&mut self, env: &mut Env<'_>, id: RoomId, user: &UserName) {
        let Some(room) = env.state.room_by_id(id) else { return };
        let (room, username) = (room.name.clone(), user.clone());
        let typing = TypingShown { room, state: TypingState::Typing, username };
        let said = Said::push(typing, env.signature());
        let others = self.connections.members_here(env.state, id, &user.key());
        for conn in others {
            env.fan_out(Instruction::Say { conn, said: Arc::clone(&said) });
        }
    }

    /// Shows who has come, gone or stepped away to those who share a room with them.
    pub(super) fn show_presence(&mut self, env: &mut Env<'_>) {
        for (user, state) in self.presence.news(env.now.mono_ms) {
            let Some(known) = env.state.user(&user) else { continue };
            let said = Said::push(PresenceChange { state, username: known.name.clone() }, env.signature());
            let rooms: Vec<RoomId> = known.rooms.keys().copied().collect();
            let mut conns = BTreeSet::new();
            for room in rooms {
                let is_small = env
                    .state
                    .room_by_id(room)
                    .is_some_and(|room| room.member_count() <= presence::SHOWN_TO_MAX);
                if is_small {
                    conns.extend(self.connections.members_here(env.state, room, &user));
                }
            }
            for conn in conns {
                env.fan_out(Instruction::Say { conn, said: Arc::clone(&said) });
            }
        }
    }
}

/// Whether the answer to a read tells of what the servers have in common, and so of what was acknowledged.
fn tells_of_state(request: &Request) -> bool {
    match request {
        Request::Ping(ping) => ping.has_barrier(),
        Request::ListServers(_) | Request::AskStatus(_) | Request::Typing(_) | Request::SetPresence(_) => {
            false
        }
        _ => true,
    }
}

/// How many rooms or users a request may make this server go through, beyond the limit in the request.
fn looks_through(env: &Env<'_>, request: &Request, room: Option<RoomId>) -> usize {
    match request {
        Request::Rooms(_) | Request::ExportRooms(_) | Request::Search(request::Search { room: None, .. }) => {
            env.state.room_count()
        }
        Request::Members(members) => {
            let room = room.or_else(|| env.state.room_id(&members.room.key()));
            let room = room.and_then(|id| env.state.room_by_id(id));
            room.map_or(1, |room| room.member_count() as usize)
        }
        Request::Users(users) => users.limit(),
        Request::Audit(audit) => audit.limit(),
        _ => 0,
    }
}
