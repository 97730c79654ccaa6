//! Requests that change nothing: answered from memory, or looked up beside the writer.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    chat::{
        rights::{self, ClusterDeed},
        views::Viewer,
    },
    planted::{Bug, planted},
    protocol::{
        Request, RoomName, UserKey, UserName,
        answer::{Answer, Asked, HistoryPage, Push},
        file::FILE_CHUNK_BYTES,
        limits::HISTORY_BYTES,
        name::RoomKey,
        peer::PeerMessage,
        refusal::{Code, Refusal},
        request::{HistoryRange, Login},
    },
};

use super::{
    fanout::Fan,
    io::{ConnId, Now, Purpose, Query},
    lookup::{Look, Lookup, Wanted},
    presence,
    replica::Replica,
    storage::{EventRange, RoomId, Search, Storage},
};

/// What it costs to look at a room or a user of a list, in bytes of an answer: about as much time as these take.
const LOOK_BYTES: usize = 32;

impl<S: Storage> Replica<S> {
    pub(super) fn read(&mut self, now: Now, conn: ConnId, asked: Asked, request: Request) {
        // A room that may not be read is waited for like one that does not exist: an answer at once would
        // tell them apart, and an invitation may be on its way.
        let session = self.sessions.get_mut(conn);
        let is_operator = session.as_ref().is_some_and(|session| session.is_operator);
        let user = session.and_then(|session| session.user.as_ref()).map(UserName::key);
        let viewer = user.as_ref().map(|user| Viewer { user, now_ms: now.wall_ms });
        let seen = |room: &RoomName| Some(self.state.visible_room(viewer?, room).ok()?.1);
        let barrier = match &request {
            Request::Ping { barrier, .. } => *barrier && !planted(Bug::BarrierSkipped),
            // The client has seen more than this server has applied, or speaks of a room that may be
            // newer: what it has seen must not be missing from the answer.
            Request::History { room, range, .. } => {
                let last_seq = seen(room).map(|room| room.last_seq);
                let seen = match range {
                    HistoryRange::Last | HistoryRange::Since(_) => 0,
                    HistoryRange::Before(seq) => seq.saturating_sub(1),
                    HistoryRange::After(seq) => *seq,
                };
                last_seq.is_none_or(|last_seq| seen > last_seq)
            }
            Request::Members { room, .. }
            | Request::Hooks { room }
            | Request::Search { room: Some(room), .. } => seen(room).is_none(),
            // Nor for an administrator of a room that is not to be seen; to an operator none is hidden.
            Request::Export { room, .. } => match is_operator {
                true => self.state.room(&room.key()).is_none(),
                false => seen(room).is_none(),
            },
            // Nothing that is committed may be missing.
            Request::ExportRooms { .. } => true,
            Request::FileRead { file_id, .. } => {
                viewer.is_none_or(|viewer| self.state.visible_file(viewer, *file_id).is_err())
            }
            _ => false,
        };
        if barrier {
            if let Err(refusal) = self.reads.push(now.mono_ms, conn, asked.clone(), request) {
                self.refuse(now, conn, asked, refusal, false);
            }
        } else {
            self.answer_read(now, conn, asked, request);
        }
    }

    /// Answers the reads that waited for the state to be up to date.
    pub(super) fn answer_reads(&mut self, now: Now) {
        while !self.has_said_enough()
            && let Some(read) = self.reads.next_ready(self.applied_index())
        {
            self.answer_read(now, read.conn, read.asked, read.request);
        }
    }

    fn answer_read(&mut self, now: Now, conn: ConnId, asked: Asked, request: Request) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        if let Request::Login(Login::Token(token)) = &request {
            return self.token_is_known_now(now, conn, &asked, token);
        }
        let is_operator = session.is_operator;
        let looked_at = self.looks_through(&request);
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let user = session.user.as_ref().map(UserName::key);
        if looked_at > 0 {
            self.charge(now, conn, looked_at * LOOK_BYTES);
            self.spent_bytes += looked_at * LOOK_BYTES;
        }
        let answer = match request {
            Request::Ping { data, .. } => Ok(Answer::Pong(data)),
            Request::ServerList => Ok(Answer::ServerList(self.server_list())),
            Request::Status => Ok(Answer::Status(Box::new(self.status(now)))),
            Request::Users { after, limit } => {
                self.users(now, user.as_ref(), is_operator, after.as_ref(), limit)
            }
            Request::ExportRooms { after, limit } => {
                self.exporter(now, user.as_ref(), is_operator).map(|viewer| {
                    let after = after.map(|room| room.key());
                    let (rooms, more) = self.state.exported_rooms(viewer, after.as_ref(), limit);
                    Answer::ExportRooms { rooms, more }
                })
            }
            Request::Export { room, after, limit } => {
                let viewer = self.exporter(now, user.as_ref(), is_operator);
                match viewer.and_then(|viewer| self.state.exported(viewer, &room, after == 0)) {
                    Ok((id, page)) => {
                        let before = page.last_seq + 1;
                        let max_bytes = HISTORY_BYTES;
                        let range = EventRange { after, before, oldest_first: true, limit, max_bytes };
                        return self.look_up(conn, &asked, Wanted::Export { room: id, range, page });
                    }
                    Err(refusal) => Err(refusal),
                }
            }
            request => {
                // The rest has been asked for a login before.
                let Some(user) = user else { return };
                match self.answer_user(now, conn, &asked, &user, request) {
                    Ok(Some(answer)) => Ok(answer),
                    Ok(None) => return,
                    Err(refusal) => Err(refusal),
                }
            }
        };
        let line: Arc<[u8]> = answer.unwrap_or_else(Answer::Nack).line(&asked, &self.signature(now)).into();
        if looked_at > 0 {
            self.charge(now, conn, line.len());
        }
        self.fan(Fan::Say { conn, line });
    }

    /// How many rooms or users a request may make this server go through, where that is not bounded by the
    /// request.
    fn looks_through(&self, request: &Request) -> usize {
        match request {
            Request::Rooms { .. } | Request::ExportRooms { .. } | Request::Search { room: None, .. } => {
                self.state.room_count()
            }
            Request::Members { room, .. } => {
                self.state.room(&room.key()).map_or(1, |room| room.member_count() as usize)
            }
            Request::Users { limit, .. } => *limit,
            _ => 0,
        }
    }

    /// Lets the connection pay for what it has asked for beyond its line: else short questions with long answers
    /// would cost it nothing.
    fn charge(&mut self, now: Now, conn: ConnId, bytes: usize) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let who = (session.user.as_ref().map(UserName::key), session.addr);
        self.rates.answered(now.mono_ms, &self.config.limits, &mut session.traffic, who, bytes);
    }

    /// The answer to a user's question; `None` where it comes later, or not at all.
    fn answer_user(
        &mut self,
        now: Now,
        conn: ConnId,
        asked: &Asked,
        user: &UserKey,
        request: Request,
    ) -> Result<Option<Answer>, Refusal> {
        let viewer = Viewer { user, now_ms: now.wall_ms };
        Ok(Some(match request {
            Request::Rooms { after, limit, joined } => {
                let after = after.map(|room| room.key());
                let (rooms, more) = self.state.room_summaries(viewer, after.as_ref(), joined, limit);
                Answer::Rooms { rooms, more }
            }
            Request::Members { room, after, limit } => {
                let (id, room) = self.state.visible_room(viewer, &room)?;
                let room = room.name.clone();
                let presence = |user: &UserKey| match self.presence.state(user) {
                    presence::State::Offline => (false, false),
                    presence::State::Away => (true, true),
                    presence::State::Online => (true, false),
                };
                let after = after.map(|user| user.key());
                let (members, more) = self.state.members(id, now.wall_ms, after.as_ref(), limit, presence);
                Answer::Members { room, members, more }
            }
            Request::Hooks { room } => {
                let hooks = self.state.hooks(viewer, &room)?;
                Answer::Hooks { room, hooks }
            }
            Request::History { room, range, limit } => {
                let query = self.history_query(viewer, conn, asked, &room, range, limit)?;
                self.looks.push((self.applied_index(), Look::Events(query)));
                return Ok(None);
            }
            Request::Search { words, room, author, since_ms, until_ms, before, limit } => {
                let room =
                    room.map(|room| self.state.visible_room(viewer, &room).map(|(id, _)| id)).transpose()?;
                let readable = match room {
                    Some(room) => [room].into(),
                    None => self.state.visible_rooms(viewer),
                };
                // It is looked up a moment later, when there may be more: what was said after the asker had to
                // leave a room is not for them, though they were in it when this was judged.
                let end = self.state.lamport().saturating_add(1);
                let search = Search {
                    query: words,
                    room,
                    readable: Arc::new(readable),
                    author: author.map(|author| author.key()),
                    since_ms,
                    until_ms,
                    before_lamport: Some(before.map_or(end, |before| before.min(end))),
                    limit,
                };
                self.look_up(conn, asked, Wanted::Search(search));
                return Ok(None);
            }
            Request::FileRead { file_id, offset } => {
                let file = self.state.visible_file(viewer, file_id)?;
                if !offset.is_multiple_of(FILE_CHUNK_BYTES as u64) {
                    let reason = format!("offset must be a multiple of {FILE_CHUNK_BYTES}");
                    return Err(Refusal::bad_request(reason));
                }
                self.look_up(conn, asked, Wanted::FileChunk { file, offset });
                return Ok(None);
            }
            Request::Typing { room } => {
                self.typing(now, conn, viewer, &room);
                return Ok(None);
            }
            Request::SetPresence { away } => {
                self.presence.set_away(now.mono_ms, user, away);
                let state = if away { "away" } else { "online" };
                Answer::Done(serde_json::Map::from_iter([("state".into(), state.into())]))
            }
            _ => return Ok(None),
        }))
    }

    fn look_up(&mut self, conn: ConnId, asked: &Asked, what: Wanted) {
        let lookup = Lookup { conn, asked: asked.clone(), what };
        self.looks.push((self.applied_index(), Look::Answer(lookup)));
    }

    /// As whom somebody exports: an operator as nobody in particular, who sees everything; an administrator as
    /// themselves.
    fn exporter<'a>(
        &self,
        now: Now,
        user: Option<&'a UserKey>,
        is_operator: bool,
    ) -> Result<Option<Viewer<'a>>, Refusal> {
        let office = self.state.office_of(user, is_operator);
        if rights::allows_in_cluster(ClusterDeed::ExportAll, office) {
            return Ok(None);
        }
        match user.filter(|_| rights::allows_in_cluster(ClusterDeed::Export, office)) {
            Some(user) => Ok(Some(Viewer { user, now_ms: now.wall_ms })),
            None => Err(Refusal::new(Code::Forbidden, "only an operator or an administrator may export")),
        }
    }

    fn users(
        &self,
        now: Now,
        user: Option<&UserKey>,
        is_operator: bool,
        after: Option<&UserName>,
        limit: usize,
    ) -> Result<Answer, Refusal> {
        let office = self.state.office_of(user, is_operator);
        if !rights::allows_in_cluster(ClusterDeed::ListUsers, office) {
            return Err(Refusal::new(Code::Forbidden, "only an administrator may list the users"));
        }
        let after = after.map(UserName::key);
        let online = |user: &UserKey| self.presence.state(user) != presence::State::Offline;
        let (users, more) = self.state.accounts(now.wall_ms, after.as_ref(), limit, online);
        Ok(Answer::Users { users, more })
    }

    fn history_query(
        &self,
        viewer: Viewer<'_>,
        conn: ConnId,
        asked: &Asked,
        name: &RoomName,
        range: HistoryRange,
        limit: usize,
    ) -> Result<Query, Refusal> {
        let (id, room) = self.state.visible_room(viewer, name)?;
        let end = room.last_seq + 1;
        let (after, before, oldest_first) = match range {
            HistoryRange::Last => (0, end, false),
            HistoryRange::Before(seq) => (0, seq.min(end), false),
            HistoryRange::After(seq) => (seq, end, true),
            // Where it begins is found out by whoever looks it up.
            HistoryRange::Since(_) => (0, end, true),
        };
        let page = HistoryPage {
            room: room.name.clone(),
            events: Vec::new(),
            first_seq: room.first_seq(),
            last_seq: room.last_seq,
            more: false,
            stale: self.is_stale(),
        };
        Ok(Query {
            conn,
            room: id,
            range: EventRange { after, before, oldest_first, limit, max_bytes: HISTORY_BYTES },
            purpose: Purpose::History { asked: asked.clone(), range, page },
        })
    }

    /// Whether newer events may exist that this server cannot know of.
    fn is_stale(&self) -> bool {
        match self.leader() {
            None => true,
            Some(leader) if leader == self.config.server_id => false,
            // Over a link that is younger than the leader's next heartbeat it has been heard all the same.
            Some(leader) => self.view.peers.get(&leader).is_none_or(|peer| {
                let is_new = peer.linked && peer.last_heartbeat_ms.is_none();
                !(peer.alive || is_new)
            }),
        }
    }

    /// Shows somebody typing to the members of the room that are online, here and on the other servers.
    fn typing(&mut self, now: Now, conn: ConnId, viewer: Viewer<'_>, room: &RoomName) {
        let Some(id) = self.state.room_id(&room.key()).filter(|id| self.state.may_type(viewer, *id)) else {
            return;
        };
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let Some(user) = session.user.clone() else { return };
        if !session.types(now.mono_ms) {
            return;
        }
        self.tell_peers(&PeerMessage::Typing { user: user.clone(), room: room.key() });
        self.show_typing(now, id, &user);
    }

    /// A user of another server is typing.
    pub(super) fn heard_typing(&mut self, now: Now, user: &UserName, room: &RoomKey) {
        if let Some(id) = self.state.room_id(room) {
            self.show_typing(now, id, user);
        }
    }

    fn show_typing(&mut self, now: Now, id: RoomId, user: &UserName) {
        let Some(room) = self.state.room_by_id(id) else { return };
        let push = Push::Typing { room: room.name.clone(), username: user.clone() };
        let line: Arc<[u8]> = push.line(None, &self.signature(now)).into();
        let others = self.sessions.members_here(&self.state, id, &user.key());
        for conn in others {
            self.fan(Fan::Say { conn, line: Arc::clone(&line) });
        }
    }

    /// Shows who has come, gone or stepped away to those who share a room with them.
    pub(super) fn show_presence(&mut self, now: Now) {
        for (user, state) in self.presence.news(now.mono_ms) {
            let Some(known) = self.state.user(&user) else { continue };
            let push = Push::Presence { username: known.name.clone(), state: state.as_str() };
            let rooms: Vec<RoomId> = known.rooms.keys().copied().collect();
            let line: Arc<[u8]> = push.line(None, &self.signature(now)).into();
            let mut conns = BTreeSet::new();
            for room in rooms {
                let is_small = self
                    .state
                    .room_by_id(room)
                    .is_some_and(|room| room.member_count() <= presence::SHOWN_TO_MAX);
                if is_small {
                    conns.extend(self.sessions.members_here(&self.state, room, &user));
                }
            }
            for conn in conns {
                self.fan(Fan::Say { conn, line: Arc::clone(&line) });
            }
        }
    }
}
