//! One client connection, seen from the replica. It does not know which dialect the client speaks.

use core::net::IpAddr;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use crate::{
    chat::{Authority, Room, State, effects::SessionFilter},
    disk::RoomId,
    fanout::{ConnId, Join},
    protocol::{
        checked::ClientMsgId,
        name::{RoomKey, UserKey, UserName},
        said::Said,
    },
};

use super::{pending_job::PendingJob, pending_write::Write, rates::ConnTraffic};

/// How long after its login a connection that names no room gets to follow its user's rooms by itself.
/// A client that resumes sends `create_join` first, and that answer is where it begins.
pub const FOLLOW_DELAY_MS: u64 = 300;

/// The answer to a write, held back until the connection's earlier writes are answered.
#[derive(Debug)]
pub enum WriteAnswer {
    Known(Arc<Said>),
    /// The connection ends after it.
    Last(Arc<Said>),
    /// A `create_join` that was applied: its events have to be read first.
    Join(Box<Join>),
}

/// Least time between two typing notices of a connection. One that comes sooner is dropped: these have no
/// answer.
const TYPING_PAUSE_MS: u64 = 1_000;

/// What a request waits for. Nothing more is read from its client meanwhile.
#[derive(Debug)]
pub enum Awaited {
    /// What the connection's thread is doing for it.
    Job(Box<PendingJob>),
    /// That this server is up to date, for a login by a token that is not known here.
    Leader,
    /// The log's decision about a login, or about another password.
    Commit,
}

#[derive(Debug)]
enum Slot {
    /// Waits for the proposal of this number.
    Waiting(u64, Box<Write>),
    Answered(WriteAnswer),
}

/// Rooms to follow unasked, each from its last event at the time of the login.
#[derive(Debug)]
struct Unasked {
    due_ms: u64,
    rooms: Vec<(RoomId, u64)>,
}

#[derive(Debug)]
pub struct Connection {
    /// Who it is, once logged in.
    pub user: Option<UserName>,
    /// By what right they are that user.
    pub authority: Authority,
    /// Whether the connection has proved to be an operator's.
    pub is_operator: bool,
    /// When it was opened, on the monotonic clock.
    pub opened_ms: u64,
    /// Whether it was offered another server, see `balance`.
    pub was_asked_to_move: bool,
    /// The challenge that an operator has to answer.
    pub challenge: Option<[u8; 32]>,
    /// The client's address; `None` if it is not known.
    pub addr: Option<IpAddr>,
    /// What it waits for while nothing is read from it: requests after a login must not be taken before it.
    pub awaited: Option<Awaited>,
    typed_ms: Option<u64>,
    /// Malformed lines since the last good one.
    pub bad_lines: u32,
    /// The connection ends: its requests are ignored.
    pub closing: bool,
    /// An answer that ends the connection waits for its turn.
    ending: bool,
    /// How much it has sent, for its limits.
    pub traffic: ConnTraffic,
    /// The last message that was refused for load.
    shed: Option<ClientMsgId>,
    writes: VecDeque<Slot>,
    unasked: Option<Unasked>,
    joined: BTreeSet<RoomId>,
}

impl Connection {
    pub fn new(addr: Option<IpAddr>) -> Self {
        Connection {
            user: None,
            authority: Authority::Guest,
            is_operator: false,
            opened_ms: 0,
            was_asked_to_move: false,
            challenge: None,
            addr,
            awaited: None,
            typed_ms: None,
            bad_lines: 0,
            closing: false,
            ending: false,
            traffic: ConnTraffic::default(),
            shed: None,
            writes: VecDeque::new(),
            unasked: None,
            joined: BTreeSet::new(),
        }
    }

    /// Notes that a message was refused for load. One without an id cannot be followed by another.
    pub fn shed(&mut self, client_msg_id: Option<&ClientMsgId>) {
        self.shed = client_msg_id.cloned();
    }

    /// Whether the message `follows` was refused for load and has not come again since: a message that
    /// follows it would overtake it.
    pub fn overtakes(&self, follows: Option<&ClientMsgId>) -> bool {
        follows.is_some() && self.shed.as_ref() == follows
    }

    /// Notes that a message is taken: one that follows it may be taken, too.
    pub fn taken(&mut self, client_msg_id: Option<&ClientMsgId>) {
        if self.shed.as_ref() == client_msg_id {
            self.shed = None;
        }
    }

    /// Whether the user's typing is to be shown now.
    pub fn types(&mut self, now_ms: u64) -> bool {
        let is_news = self.typed_ms.is_none_or(|typed_ms| now_ms >= typed_ms + TYPING_PAUSE_MS);
        if is_news {
            self.typed_ms = Some(now_ms);
        }
        is_news
    }

    /// Whether this connection's session is one of those that ended.
    pub fn is_among(&self, which: SessionFilter) -> bool {
        match (which, self.authority) {
            (SessionFilter::All, _) | (SessionFilter::Guests, Authority::Guest) => true,
            (SessionFilter::One(token), authority) => authority == Authority::Session(token),
            (SessionFilter::AllBut(token), authority) => authority != Authority::Session(token),
            (SessionFilter::Guests, _) => false,
        }
    }

    /// Whether its requests are ignored: it ends, or will end after an answer that waits for its turn. A
    /// later request would overtake the refused one when that is sent again.
    pub fn is_over(&self) -> bool {
        self.closing || self.ending
    }

    /// Whether a write waits for its answer.
    pub fn has_writes(&self) -> bool {
        !self.writes.is_empty()
    }

    /// A write waits for proposal `seq`.
    pub fn wait_for(&mut self, write: Write, seq: u64) {
        self.writes.push_back(Slot::Waiting(seq, Box::new(write)));
    }

    /// Queues an answer that is known already after those of the writes that wait.
    pub fn answer_in_turn(&mut self, answer: WriteAnswer) {
        self.ending |= matches!(answer, WriteAnswer::Last(_));
        self.writes.push_back(Slot::Answered(answer));
    }

    /// The write that waits for proposal `seq`.
    pub fn waiting(&self, seq: u64) -> Option<&Write> {
        self.writes.iter().find_map(|slot| match slot {
            Slot::Waiting(other, write) if *other == seq => Some(&**write),
            _ => None,
        })
    }

    /// The answer to the write that waits for proposal `seq`.
    pub fn answer(&mut self, seq: u64, answer: WriteAnswer) {
        let waits = |slot: &&mut Slot| matches!(slot, Slot::Waiting(other, _) if *other == seq);
        if let Some(slot) = self.writes.iter_mut().find(waits) {
            *slot = Slot::Answered(answer);
        }
    }

    /// The next answer whose turn has come.
    pub fn next_answer(&mut self) -> Option<WriteAnswer> {
        match self.writes.pop_front()? {
            Slot::Answered(answer) => Some(answer),
            waiting @ Slot::Waiting(..) => {
                self.writes.push_front(waiting);
                None
            }
        }
    }

    /// Notes the user's rooms at the login, each with its last event.
    pub fn follow_later(&mut self, now_ms: u64, rooms: Vec<(RoomId, u64)>) {
        self.unasked = Some(Unasked { due_ms: now_ms + FOLLOW_DELAY_MS, rooms });
    }

    /// The rooms to follow from now on, once the time has come, or at once if `now_ms` is `None`.
    pub fn take_unasked(&mut self, now_ms: Option<u64>) -> Vec<(RoomId, u64)> {
        if now_ms.is_some_and(|now_ms| self.unasked.as_ref().is_none_or(|unasked| unasked.due_ms > now_ms)) {
            return Vec::new();
        }
        let Some(unasked) = self.unasked.take() else { return Vec::new() };
        unasked.rooms.into_iter().filter(|(room, _)| !self.joined.contains(room)).collect()
    }

    /// Whether a `create_join` of the room `number`, called so, waits for its password or for the log's
    /// decision.
    pub fn awaits_join(&self, number: RoomId, key: &RoomKey) -> bool {
        let hashed = matches!(&self.awaited, Some(Awaited::Job(pending)) if pending.joins(number, key));
        hashed
            || self.writes.iter().any(|slot| match slot {
                Slot::Waiting(_, write) => write.joins(number, key),
                Slot::Answered(_) => false,
            })
    }

    /// Notes that `room` is to be followed from `after` on, if the `create_join` of it that waits is refused.
    /// Otherwise its answer is the start.
    pub fn follow_if_refused(&mut self, room: RoomId, after: u64) {
        let unasked = self.unasked.get_or_insert(Unasked { due_ms: 0, rooms: Vec::new() });
        if unasked.rooms.iter().all(|(other, _)| *other != room) {
            unasked.rooms.push((room, after));
        }
    }

    /// Notes that the connection asked to join `room`: only that answer decides what it follows.
    pub fn joins(&mut self, room: RoomId) {
        self.joined.insert(room);
        self.forget_unasked(room);
    }

    /// Notes that the user is no longer in `room`: plans to follow it are dropped.
    pub fn leaves(&mut self, room: RoomId) {
        self.joined.remove(&room);
        self.forget_unasked(room);
    }

    fn forget_unasked(&mut self, room: RoomId) {
        if let Some(unasked) = &mut self.unasked {
            unasked.rooms.retain(|(other, _)| *other != room);
        }
    }
}

#[derive(Debug, Default)]
pub struct Connections {
    by_conn: BTreeMap<ConnId, Connection>,
    by_user: BTreeMap<UserKey, BTreeSet<ConnId>>,
    logged_in: usize,
}

impl Connections {
    pub fn open(&mut self, conn: ConnId, connection: Connection) {
        self.by_conn.insert(conn, connection);
    }

    /// A connection is gone.
    pub fn close(&mut self, conn: ConnId) -> Option<Connection> {
        let connection = self.by_conn.remove(&conn)?;
        if let Some(user) = &connection.user
            && let Some(conns) = self.by_user.get_mut(&user.key())
        {
            self.logged_in -= usize::from(conns.remove(&conn));
            if conns.is_empty() {
                self.by_user.remove(&user.key());
            }
        }
        Some(connection)
    }

    pub fn get_mut(&mut self, conn: ConnId) -> Option<&mut Connection> {
        self.by_conn.get_mut(&conn)
    }

    /// Logs a connection in; returns whether it was not logged in before. A guest may only become a user of
    /// the same name.
    pub fn log_in(&mut self, conn: ConnId, user: UserName, authority: Authority) -> bool {
        let Some(connection) = self.by_conn.get_mut(&conn) else { return false };
        let is_new = self.by_user.entry(user.key()).or_default().insert(conn);
        (connection.user, connection.authority) = (Some(user), authority);
        self.logged_in += usize::from(is_new);
        is_new
    }

    pub fn of_user(&self, user: &UserKey) -> Vec<ConnId> {
        self.by_user.get(user).map(|conns| conns.iter().copied().collect()).unwrap_or_default()
    }

    /// The connections of a room's members, except those of one user.
    pub fn members_here(&self, state: &State, room: RoomId, but: &UserKey) -> Vec<ConnId> {
        let members = state.room_by_id(room).map_or(0, Room::member_count);
        let is_other = |user: &UserKey| user != but;
        let conns = |user: &UserKey| self.of_user(user);
        // Goes through the shorter list: the room's members, or the users who are here.
        if members > self.by_user.len() as u64 {
            let here = self.by_user.keys().filter(|user| is_other(user) && state.is_member(user, room));
            here.flat_map(conns).collect()
        } else {
            state.member_keys(room).filter(is_other).flat_map(|user| conns(&user)).collect()
        }
    }

    pub fn conns(&self) -> Vec<ConnId> {
        self.by_conn.keys().copied().collect()
    }

    /// The connections from this number on.
    pub fn from(&self, conn: ConnId) -> impl Iterator<Item = (ConnId, &Connection)> {
        self.by_conn.range(conn..).map(|(conn, connection)| (*conn, connection))
    }

    /// How many are logged in. Probes that only ask for the status do not count.
    pub fn logged_in(&self) -> usize {
        self.logged_in
    }

    /// The connections whose time to follow their user's rooms has come.
    pub fn due(&mut self, now_ms: u64) -> Vec<(ConnId, Vec<(RoomId, u64)>)> {
        self.by_conn
            .iter_mut()
            .map(|(conn, connection)| (*conn, connection.take_unasked(Some(now_ms))))
            .filter(|(_, rooms)| !rooms.is_empty())
            .collect()
    }

    /// Whether a write of any connection waits for its answer.
    pub fn have_writes(&self) -> bool {
        self.by_conn.values().any(Connection::has_writes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use super::super::pending_write::FollowUp;
    use crate::protocol::{
        AnswerTo, RequestId, RoomName, ServerId,
        answer::{Done, Signature},
        said::Content,
    };

    fn said(number: i64) -> Arc<Said> {
        let by = Signature { server_id: ServerId::new("server1").unwrap(), lamport_timestamp: 0, now_ms: 0 };
        let to = AnswerTo { request_id: Some(RequestId::Number(number)), ..AnswerTo::default() };
        Said::answer(to, Done {}, by)
    }

    fn write() -> Write {
        Write { to: AnswerTo::default(), follow_up: FollowUp::Answer }
    }

    #[test]
    fn answers_keep_the_order_of_the_writes() {
        let mut connection = Connection::new(None);
        connection.wait_for(write(), 1);
        connection.answer_in_turn(WriteAnswer::Known(said(1)));
        connection.wait_for(write(), 2);
        connection.answer(2, WriteAnswer::Known(said(2)));
        assert!(connection.next_answer().is_none());
        connection.answer(1, WriteAnswer::Known(said(0)));
        let mut order = Vec::new();
        while let Some(WriteAnswer::Known(said)) = connection.next_answer() {
            let Content::Answer { to, .. } = said.content() else { panic!("an answer") };
            order.push(to.request_id.clone());
        }
        let order = order.into_iter().map(|id| id.expect("an id"));
        assert_eq!(order.collect::<Vec<_>>(), [0, 1, 2].map(RequestId::Number));
    }

    #[test]
    fn a_last_answer_that_waits_for_its_turn_ends_the_connection_already() {
        let mut connection = Connection::new(None);
        connection.wait_for(write(), 1);
        connection.answer_in_turn(WriteAnswer::Known(said(1)));
        assert!(!connection.is_over());
        connection.answer_in_turn(WriteAnswer::Last(said(2)));
        assert!(connection.next_answer().is_none() && !connection.closing && connection.is_over());
    }

    #[test]
    fn nothing_overtakes_a_message_that_was_refused_for_load() {
        let id = |text: &str| ClientMsgId::new(text).unwrap();
        let mut connection = Connection::new(None);
        assert!(!connection.overtakes(None) && !connection.overtakes(Some(&id("1"))));
        connection.shed(Some(&id("1")));
        assert!(connection.overtakes(Some(&id("1"))));
        assert!(!connection.overtakes(None), "a client that does not ask for it is served as ever");
        connection.shed(Some(&id("2")));
        connection.taken(Some(&id("1")));
        assert!(connection.overtakes(Some(&id("2"))), "the second is still to come");
        connection.taken(Some(&id("2")));
        assert!(!connection.overtakes(Some(&id("2"))));
    }

    #[test]
    fn a_join_comes_before_following_unasked() {
        let mut connection = Connection::new(None);
        connection.follow_later(0, vec![(RoomId(1), 5), (RoomId(2), 6)]);
        connection.joins(RoomId(1));
        assert!(connection.take_unasked(Some(FOLLOW_DELAY_MS - 1)).is_empty());
        assert_eq!(connection.take_unasked(Some(FOLLOW_DELAY_MS)), [(RoomId(2), 6)]);
        assert!(connection.take_unasked(None).is_empty());
    }

    #[test]
    fn a_room_whose_join_waits_is_followed_only_if_that_is_refused() {
        let lobby = RoomName::new("lobby").unwrap();
        let join = FollowUp::Join { room: lobby.key(), id: None, after: None, history: 50 };
        let mut connection = Connection::new(None);
        connection.wait_for(Write { follow_up: join, ..write() }, 1);
        assert!(connection.awaits_join(RoomId(1), &lobby.key()));
        connection.follow_if_refused(RoomId(1), 5);
        connection.follow_if_refused(RoomId(1), 6);
        connection.answer(1, WriteAnswer::Known(said(0)));
        assert!(!connection.awaits_join(RoomId(1), &lobby.key()));
        assert_eq!(connection.take_unasked(Some(0)), [(RoomId(1), 5)], "the nack was no start");
        for end in [Connection::joins, Connection::leaves] {
            connection.follow_if_refused(RoomId(1), 5);
            end(&mut connection, RoomId(1));
            assert!(connection.take_unasked(Some(0)).is_empty());
        }
        connection.follow_if_refused(RoomId(1), 9);
        assert_eq!(connection.take_unasked(Some(0)), [(RoomId(1), 9)], "it came back elsewhere");
    }
}
