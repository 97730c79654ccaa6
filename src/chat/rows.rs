//! How the chat state is stored: which rows there are, and how keys and values are written.
//!
//! A key is the table's number and then fixed-width big-endian numbers, so rows sort by table and number. A
//! value is a version byte and then postcard. What changes with every message (a room's newest event, the
//! clock) has rows of its own, so that a message rewrites a few bytes and no topic or name.

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use super::{
    entities::{
        account::{Account, Session},
        audit,
        clock::Clock,
        dedup::Slot,
        file::File,
        hook::Hook,
        lead::Lead,
        origin::Newest,
        recent::Recent,
        room::{Import, Role, Room, Settings},
        until::Until,
        user::{Reading, User},
        user_id::UserId,
    },
    state_error::{RowError, StateError},
};
use crate::{
    disk::{RoomId, Row},
    protocol::{
        binary,
        credential::TokenHash,
        directory::Directory,
        file::FileId,
        name::{RoomName, UserName},
        peer::NodeId,
        rules::RulesVersion,
    },
};

/// Table of one row: the Lamport clock.
pub const CLOCK: u8 = 16;
/// Table of rooms, by room.
pub const ROOM: u8 = 17;
/// Table of users, by user.
pub const USER: u8 = 18;
/// Table of rooms' newest events, by room.
pub const LAST_SEQ: u8 = 19;
/// Table of members, by room and user.
pub const MEMBER: u8 = 20;
/// Table of remembered messages, by user and block.
pub const SENT: u8 = 21;
/// Table of servers' newest commands, by incarnation.
pub const ORIGIN: u8 = 22;

/// Table of accounts, by user; guests have none.
pub const ACCOUNT: u8 = 23;
/// Table of sessions, by user and token.
pub const SESSION: u8 = 24;
/// Table of members' reading places, by user and room.
pub const READING: u8 = 25;
/// Table of rooms' settings, by room; those that were never changed have none.
pub const SETTINGS: u8 = 26;
/// Table of muted members, by room and user.
pub const MUTED: u8 = 27;
/// Table of invitations, by room and user.
pub const INVITED: u8 = 28;
/// Table of banned users, by room and user.
pub const BANNED: u8 = 29;
/// Table of the times at which members of slow rooms last spoke, by room and user.
pub const SPOKE: u8 = 30;
/// Table of files, by file.
pub const FILE: u8 = 31;
/// Table of webhooks, by token.
pub const HOOK: u8 = 32;
/// Table of the times at which uploads last went on, by file.
pub const UPLOAD: u8 = 33;
/// Table of rooms' last imports, by room.
pub const IMPORT: u8 = 34;
/// Table of users from whom others take no direct messages, by the user who takes none and the other one.
pub const BLOCKED: u8 = 35;
/// Table of rooms' newest messages, by room and block.
pub const RECENT: u8 = 36;
/// Table of one row: how often the cluster was restored from a backup.
pub const RESTORES: u8 = 37;
/// Table of the audit log, by number.
pub const AUDIT: u8 = 38;
/// Table of one row: which server leads by an operator's word.
pub const LEAD: u8 = 39;
/// Table of one row: when the last backup was made.
pub const LAST_BACKUP: u8 = 40;
/// Table of one row: which servers the cluster has, once that was changed.
pub const SERVERS: u8 = 41;
/// Table of one row: the rules by which entries are applied, once they are not the first.
pub const RULES: u8 = 42;
/// The first byte of every value.
const VALUE_VERSION: u8 = 1;

pub(super) enum Record {
    Clock(Clock),
    Room(RoomId, RoomRecord),
    User(UserId, UserRecord),
    /// Its newest event, how many messages it has had, and the newest of these.
    LastSeq(RoomId, (u64, u64, Vec<Recent>)),
    Member(RoomId, UserId, Role),
    Sent(UserId, usize, Vec<Slot>),
    Origin(NodeId, Newest),
    Account(UserId, Account),
    Session(UserId, TokenHash, Session),
    Reading(UserId, RoomId, Reading),
    Settings(RoomId, Settings),
    Muted(RoomId, UserId, Until),
    /// Who has invited the user.
    Invited(RoomId, UserId, UserId),
    Banned(RoomId, UserId, Until),
    Spoke(RoomId, UserId, u64),
    File(FileId, File),
    Hook(TokenHash, Hook),
    Upload(FileId, u64),
    Import(RoomId, Import),
    Blocked(UserId, UserId),
    Recent(RoomId, Vec<Recent>),
    Restores(u64),
    Audit(u64, audit::Entry),
    Lead(Lead),
    LastBackup(u64),
    Servers(Directory),
    Rules(RulesVersion),
}

/// The part of a room that changes seldom.
#[derive(Serialize, Deserialize)]
pub(super) struct RoomRecord {
    pub name: RoomName,
    pub private: bool,
    pub topic: String,
    pub old_names: Vec<RoomName>,
    pub creator: UserId,
}

/// The part of a user that changes seldom.
#[derive(Serialize, Deserialize)]
pub(super) struct UserRecord {
    pub name: UserName,
    pub is_used: bool,
    pub rooms_created: u64,
}

pub(super) fn clock(clock: &Clock) -> Row {
    row(key(CLOCK, &[]), clock)
}

pub(super) fn room(id: RoomId, room: &Room) -> Row {
    let record = RoomRecord {
        name: room.name.clone(),
        private: room.private,
        topic: room.topic.clone(),
        old_names: room.old_names.clone(),
        creator: room.creator,
    };
    row(key(ROOM, &[id.0]), &record)
}

/// Removes the rows of the room itself, but not those of its lists, such as its members.
pub(super) fn no_room(id: RoomId) -> impl Iterator<Item = Row> {
    [ROOM, LAST_SEQ, SETTINGS, IMPORT]
        .into_iter()
        .map(move |table| Row { key: key(table, &[id.0]), value: None })
}

pub(super) fn user(id: UserId, user: &User) -> Row {
    let record =
        UserRecord { name: user.name.clone(), is_used: user.is_used, rooms_created: user.rooms_created };
    row(key(USER, &[id.0]), &record)
}

pub(super) fn last_seq(id: RoomId, room: &Room) -> Row {
    row(key(LAST_SEQ, &[id.0]), &(room.last_seq, room.recent.count, room.recent.open_messages()))
}

pub(super) fn member(room: RoomId, user: UserId, role: Option<Role>) -> Row {
    maybe(key(MEMBER, &[room.0, user.0]), role.as_ref())
}

pub(super) fn account(user: UserId, account: &Account) -> Row {
    row(key(ACCOUNT, &[user.0]), account)
}

pub(super) fn session(user: UserId, token: TokenHash, session: Option<&Session>) -> Row {
    maybe(keyed(key(SESSION, &[user.0]), &token.0), session)
}

pub(super) fn reading(user: UserId, room: RoomId, reading: Option<&Reading>) -> Row {
    maybe(key(READING, &[user.0, room.0]), reading)
}

pub(super) fn settings(room: RoomId, settings: &Settings) -> Row {
    row(key(SETTINGS, &[room.0]), settings)
}

pub(super) fn muted(room: RoomId, user: UserId, until: Option<Until>) -> Row {
    maybe(key(MUTED, &[room.0, user.0]), until.as_ref())
}

/// `by` is who has invited the user; `None` if they are not invited any more.
pub(super) fn invited(room: RoomId, user: UserId, by: Option<UserId>) -> Row {
    maybe(key(INVITED, &[room.0, user.0]), by.as_ref())
}

pub(super) fn banned(room: RoomId, user: UserId, until: Option<Until>) -> Row {
    maybe(key(BANNED, &[room.0, user.0]), until.as_ref())
}

pub(super) fn spoke(room: RoomId, user: UserId, at_ms: Option<u64>) -> Row {
    maybe(key(SPOKE, &[room.0, user.0]), at_ms.as_ref())
}

pub(super) fn file(id: FileId, file: Option<&File>) -> Row {
    maybe(keyed(key(FILE, &[]), &id.0), file)
}

pub(super) fn hook(token: TokenHash, hook: Option<&Hook>) -> Row {
    maybe(keyed(key(HOOK, &[]), &token.0), hook)
}

pub(super) fn upload(id: FileId, last_ms: Option<u64>) -> Row {
    maybe(keyed(key(UPLOAD, &[]), &id.0), last_ms.as_ref())
}

pub(super) fn import(room: RoomId, import: &Import) -> Row {
    row(key(IMPORT, &[room.0]), import)
}

pub(super) fn blocked(user: UserId, other: UserId, is_blocked: bool) -> Row {
    maybe(key(BLOCKED, &[user.0, other.0]), is_blocked.then_some(&()))
}

pub(super) fn recent(room: RoomId, slot: u64, messages: &[&Recent]) -> Row {
    maybe(key(RECENT, &[room.0, slot]), (!messages.is_empty()).then_some(&messages))
}

pub(super) fn restores(restores: u64) -> Row {
    row(key(RESTORES, &[]), &restores)
}

pub(super) fn audit(number: u64, entry: Option<&audit::Entry>) -> Row {
    maybe(key(AUDIT, &[number]), entry)
}

pub(super) fn lead(lead: Option<&Lead>) -> Row {
    maybe(key(LEAD, &[]), lead)
}

pub(super) fn last_backup(at_ms: u64) -> Row {
    row(key(LAST_BACKUP, &[]), &at_ms)
}

pub(super) fn servers(servers: Option<&Directory>) -> Row {
    maybe(key(SERVERS, &[]), servers)
}

pub(super) fn rules(rules: RulesVersion) -> Row {
    row(key(RULES, &[]), &rules)
}

pub(super) fn sent(user: UserId, block: usize, slots: &[Slot]) -> Row {
    row(key(SENT, &[user.0, block as u64]), &slots)
}

pub(super) fn origin(node_id: NodeId, newest: &Newest) -> Row {
    row(key(ORIGIN, &[node_id.0]), newest)
}

pub(super) fn no_origin(node_id: NodeId) -> Row {
    Row { key: key(ORIGIN, &[node_id.0]), value: None }
}

fn key(table: u8, numbers: &[u64]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + 8 * numbers.len());
    key.push(table);
    for number in numbers {
        key.extend(number.to_be_bytes());
    }
    key
}

/// The key with an id of random bytes behind it.
fn keyed(mut key: Vec<u8>, id: &[u8]) -> Vec<u8> {
    key.extend(id);
    key
}

/// The row of that value, or its removal.
fn maybe<T: Serialize>(key: Vec<u8>, value: Option<&T>) -> Row {
    match value {
        Some(value) => row(key, value),
        None => Row { key, value: None },
    }
}

fn row<T: Serialize>(key: Vec<u8>, value: &T) -> Row {
    let value = postcard::to_extend(value, vec![VALUE_VERSION]).expect("plain data always encodes");
    Row { key, value: Some(value) }
}

/// Reads a stored row.
pub(super) fn read(key: &[u8], value: &[u8]) -> Result<Record, StateError> {
    let (&table, rest) = key.split_first().ok_or(StateError::NoKey)?;
    record(table, rest, value).map_err(|source| StateError::Row { key: HEXLOWER.encode(key), source })
}

/// Reads a row of a table; `rest` is its key behind the table's number.
fn record(table: u8, rest: &[u8], value: &[u8]) -> Result<Record, RowError> {
    Ok(match (table, numbers(rest).as_deref()) {
        (CLOCK, Some([])) => Record::Clock(decode(value)?),
        (ROOM, Some(&[id])) => Record::Room(RoomId(id), decode(value)?),
        (USER, Some(&[id])) => Record::User(UserId(id), decode(value)?),
        (LAST_SEQ, Some(&[id])) => Record::LastSeq(RoomId(id), decode(value)?),
        (MEMBER, Some(&[room, user])) => Record::Member(RoomId(room), UserId(user), decode(value)?),
        (SENT, Some(&[user, block])) => {
            let block = usize::try_from(block).map_err(|_| RowError::NoBlock)?;
            Record::Sent(UserId(user), block, decode(value)?)
        }
        (ORIGIN, Some(&[node_id])) => Record::Origin(NodeId(node_id), decode(value)?),
        (ACCOUNT, Some(&[user])) => Record::Account(UserId(user), decode(value)?),
        (SESSION, Some(&[user, ..])) if rest.len() == 8 + 32 => {
            Record::Session(UserId(user), TokenHash(id(&rest[8..])), decode(value)?)
        }
        (READING, Some(&[user, room])) => Record::Reading(UserId(user), RoomId(room), decode(value)?),
        (SETTINGS, Some(&[room])) => Record::Settings(RoomId(room), decode(value)?),
        (MUTED, Some(&[room, user])) => Record::Muted(RoomId(room), UserId(user), decode(value)?),
        (INVITED, Some(&[room, user])) => Record::Invited(RoomId(room), UserId(user), decode(value)?),
        (BANNED, Some(&[room, user])) => Record::Banned(RoomId(room), UserId(user), decode(value)?),
        (SPOKE, Some(&[room, user])) => Record::Spoke(RoomId(room), UserId(user), decode(value)?),
        (FILE, Some(_)) if rest.len() == 16 => Record::File(FileId(id(rest)), decode(value)?),
        (UPLOAD, Some(_)) if rest.len() == 16 => Record::Upload(FileId(id(rest)), decode(value)?),
        (IMPORT, Some(&[id])) => Record::Import(RoomId(id), decode(value)?),
        (BLOCKED, Some(&[user, other])) => {
            let () = decode(value)?;
            Record::Blocked(UserId(user), UserId(other))
        }
        (RESTORES, Some([])) => Record::Restores(decode(value)?),
        (AUDIT, Some(&[number])) => Record::Audit(number, decode(value)?),
        (LAST_BACKUP, Some([])) => Record::LastBackup(decode(value)?),
        (LEAD, Some([])) => Record::Lead(decode(value)?),
        (SERVERS, Some([])) => Record::Servers(decode(value)?),
        (RULES, Some([])) => Record::Rules(decode(value)?),
        (RECENT, Some(&[room, _])) => Record::Recent(RoomId(room), decode(value)?),
        (HOOK, Some(_)) if rest.len() == 32 => Record::Hook(TokenHash(id(rest)), decode(value)?),
        _ => return Err(RowError::Unknown),
    })
}

/// The id of random bytes in a key, whose length was looked at.
fn id<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut id = [0; N];
    id.copy_from_slice(bytes);
    id
}

/// The numbers of a key; `None` if bytes are left over.
fn numbers(bytes: &[u8]) -> Option<Vec<u64>> {
    let (numbers, rest) = bytes.as_chunks::<8>();
    rest.is_empty().then(|| numbers.iter().map(|&number| u64::from_be_bytes(number)).collect())
}

fn decode<'a, T: Deserialize<'a>>(value: &'a [u8]) -> Result<T, RowError> {
    match value.split_first() {
        Some((&VALUE_VERSION, body)) => Ok(binary::decode(body)?),
        Some((&found, _)) => Err(RowError::Version { found, known: VALUE_VERSION }),
        None => Err(RowError::Empty),
    }
}
