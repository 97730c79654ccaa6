//! Sizes and counts of the client protocol, in one place.

use serde::{Deserialize, Serialize};

use super::file::FILE_CHUNK_BYTES;

/// What one client may ask for. The defaults are those of the contract; configuration may change them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Longest line from a client, without its line end, in bytes.
    pub line_bytes: usize,
    /// Longest message body, in bytes of UTF-8.
    pub body_bytes: usize,
    /// Malformed lines in a row after which a connection is closed.
    pub bad_lines_in_a_row: u32,
    /// Bytes that may wait to be written to one connection before it is closed as too slow.
    pub outbox_bytes: usize,
    /// Bytes of memory that may wait to be written to all connections of one server together. Above it, the
    /// connections that hold most are closed.
    pub outboxes_bytes: usize,
    /// Requests a connection may send a second, on average.
    pub requests_per_s: u32,
    /// Requests a connection may send at once after a pause.
    pub requests_burst: u32,
    /// Bytes of requests that a connection may send a second, on average. Files that come over HTTP are not
    /// counted here, but in `upload_bytes_per_hour`.
    pub bytes_per_s: u64,
    /// Bytes of requests a connection may send at once after a pause.
    pub bytes_burst: u64,
    /// All connections of one user together may send this many times what one connection may.
    pub user_times: u32,
    /// All connections from one address together may send this many times what one connection may. Many
    /// people may share an address behind a proxy.
    pub address_times: u32,
    /// Accounts that may be registered from one address in an hour, those of bots included.
    pub registrations_per_hour: u32,
    /// Passwords that may be set from one address in an hour, of accounts that are there and of rooms.
    pub passwords_per_hour: u32,
    /// Unknown names that may be used as a guest's, written to or invited from one address in an hour.
    pub new_names_per_hour: u32,
    /// Connections that one server accepts.
    pub connections: usize,
    /// How many of them may come from one address.
    pub connections_per_address: usize,
    /// Connections beyond these that are kept for operators and administrators.
    pub connections_reserved: usize,
    /// Rooms that one user may create.
    pub rooms_per_user: usize,
    /// Rooms that one user may create in an hour.
    pub rooms_per_hour: u32,
    /// Rooms that may be created from one address in an hour.
    pub address_rooms_per_hour: u32,
    /// Largest file, in bytes.
    pub file_bytes: u64,
    /// Bytes that all files of one user may have together.
    pub file_bytes_per_user: u64,
    /// Bytes that one user may upload in an hour.
    pub upload_bytes_per_hour: u64,
    /// Bytes that may be uploaded from one address in an hour.
    pub address_upload_bytes_per_hour: u64,
    /// Proposals of one server that may wait for their commit before it sheds load.
    pub pending_proposals: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            line_bytes: 64 * 1024,
            body_bytes: 16 * 1024,
            bad_lines_in_a_row: 10,
            outbox_bytes: 4 * 1024 * 1024,
            outboxes_bytes: 1024 * 1024 * 1024,
            requests_per_s: 2_000,
            requests_burst: 4_000,
            // A thousand lines of the greatest length at once, and then 256 a second.
            bytes_per_s: 16 * 1024 * 1024,
            bytes_burst: 64 * 1024 * 1024,
            user_times: 4,
            // More than a server was measured to take from all clients together.
            address_times: 50,
            registrations_per_hour: 200,
            passwords_per_hour: 500,
            // More than the connections that one address may have.
            new_names_per_hour: 20_000,
            connections: 12_000,
            connections_per_address: 11_000,
            connections_reserved: 16,
            rooms_per_user: 1_000,
            rooms_per_hour: 500,
            address_rooms_per_hour: 5_000,
            file_bytes: 25 * 1024 * 1024,
            file_bytes_per_user: 1024 * 1024 * 1024,
            upload_bytes_per_hour: 1024 * 1024 * 1024,
            address_upload_bytes_per_hour: 8 * 1024 * 1024 * 1024,
            pending_proposals: 16_384,
        }
    }
}

/// The least that `line_bytes` may be: a piece of a file in base64, and room for the rest of its line.
pub const LINE_BYTES_LEAST: usize = 44 * 1024;
/// Deepest nesting of a request's JSON.
pub const NESTING_MAX: usize = 32;
/// Longest `request_id` given as a string, in bytes.
pub const REQUEST_ID_BYTES: usize = 64;
/// Longest `client_msg_id`, in bytes.
pub const CLIENT_MSG_ID_BYTES: usize = 64;
/// Longest name of a room, a user or a server, in bytes (all are ASCII).
pub const NAME_BYTES: usize = 32;
/// How far a client's Lamport timestamp may be ahead of the server's clock.
pub const LAMPORT_AHEAD_MAX: u64 = 1 << 32;
/// The first Lamport timestamp that is refused whatever the clock says: JSON numbers are exact below it.
pub const LAMPORT_END: u64 = 1 << 53;
/// A room's number is below this, so that JavaScript can hold it.
pub const ROOM_ID_END: u64 = 1 << 53;
/// Events in an answer if the request names no number.
pub const HISTORY_DEFAULT: usize = 50;
/// Most events in one answer.
pub const HISTORY_MAX: usize = 500;
/// Most bytes of events in one answer; at least one event is always given.
pub const HISTORY_BYTES: usize = 1024 * 1024;
/// Longest search, in bytes.
pub const QUERY_BYTES: usize = 256;
/// Hits of a search if the request names no number.
pub const SEARCH_DEFAULT: usize = 20;
/// Most hits in one answer.
pub const SEARCH_MAX: usize = 100;
/// Entries of the audit log in an answer if the request names no number.
pub const AUDIT_DEFAULT: usize = 100;
/// Most rooms or users in one answer.
pub const LIST_MAX: usize = 10_000;
/// Most bytes of rooms or users in one answer; at least one is always given. The client asks for the rest.
pub const LIST_BYTES: usize = 512 * 1024;
/// Most events of one `import`; the line's own limit is usually reached before.
pub const IMPORT_MAX: usize = 500;
/// Longest topic, in bytes.
pub const TOPIC_BYTES: usize = 500;
/// Longest reaction, in bytes.
pub const EMOJI_BYTES: usize = 64;
/// Different reactions that one message may have.
pub const EMOJI_PER_MESSAGE: usize = 20;
/// Reactions that one message may have in all.
pub const REACTIONS_PER_MESSAGE: usize = 500;
/// Longest name that a webhook gives its sender, in bytes.
pub const DISPLAY_NAME_BYTES: usize = 80;
/// Times in requests are below this, seconds since the Unix epoch: the year 9999 has room.
pub const TIME_END_S: f64 = 1e12;
/// Time in which a connection must have sent its first complete line.
pub const FIRST_LINE_MS: u64 = 10_000;
/// Time after which a request that waits for its commit is answered `unavailable`.
pub const COMMIT_TIMEOUT_MS: u64 = 5_000;
/// Time in which a connection that was let into a reserved place must have become an operator's or an
/// administrator's.
pub const RESERVED_MS: u64 = 5_000;
/// Messages of a user that dedup remembers at least.
pub const DEDUP_PER_USER: u64 = 10_000;

const _: () = assert!(FILE_CHUNK_BYTES.div_ceil(3) * 4 + 1024 <= LINE_BYTES_LEAST);
const _: () = assert!(HISTORY_DEFAULT <= HISTORY_MAX);
const _: () = assert!(LAMPORT_AHEAD_MAX < LAMPORT_END);
