//! Times and counts of the client, in one place.

use crate::protocol::limits::{COMMIT_TIMEOUT_MS, DEDUP_PER_USER};

/// Time in which a connection must be open.
pub const CONNECT_MS: u64 = 600;
/// Time in which discovery must have found something.
pub const DISCOVER_MS: u64 = 2_000;
/// The pause before the second attempt in a row; the first is immediate.
pub const BACK_OFF_FIRST_MS: u64 = 20;
/// The longest pause between two attempts.
pub const BACK_OFF_MAX_MS: u64 = 2_000;
/// A pause of this length is told to the user; a shorter one is over before it is read.
pub const RETRY_TOLD_MS: u64 = 500;
/// How long no server is found before the user is told; a usual failover is over by then.
pub const DOWN_NOTICE_MS: u64 = 1_000;
/// A connection that lasted this long counts as one that works.
pub const STABLE_MS: u64 = 2_000;

/// How long a server may say nothing while it owes an answer before it is asked whether it is there.
///
/// With [`REPLY_MS`] this is the time in which a stopped server is noticed: well under a second, and above
/// the pause that a slow disk or an election makes, since a ping needs neither.
pub const SILENCE_MS: u64 = 250;
/// The same while it owes no answer: only news can be lost meanwhile.
pub const IDLE_SILENCE_MS: u64 = 1_000;
/// How long a server may take to say anything after it was pinged. Doubled up to three times while
/// servers are lost to silence in a row: then the silence is more likely load than death.
pub const REPLY_MS: u64 = 350;
/// The longest wait for an answer from a server that does answer pings. It has answered or refused within
/// [`COMMIT_TIMEOUT_MS`]; after this time it has lost the request.
pub const ANSWER_MS: u64 = COMMIT_TIMEOUT_MS + 3_000;

/// The pause after a refusal for load that names no time, doubled with each one in a row.
pub const LOAD_PAUSE_MS: u64 = 100;
/// The shortest pause after a refusal for load. A server may say when it takes *one* more; it is better
/// asked again when it takes several.
pub const LOAD_PAUSE_MIN_MS: u64 = 20;
/// The longest pause after a refusal for load, whatever the server says.
pub const LOAD_PAUSE_MAX_MS: u64 = 30_000;

/// Messages that may be on their way at once.
pub const WINDOW_MAX: usize = 64;
/// Messages that the outbox holds. Full: further ones are refused with `overloaded`, and not kept.
pub const OUTBOX_MAX: usize = 10_000;
/// Reads that may wait for an answer, and writes beside them. Full: further ones are refused with
/// `overloaded`.
pub const ASKED_MAX: usize = 64;
/// Files that may be on their way or wait for it. Full: further ones fail at once.
pub const TRANSFERS_MAX: usize = 256;
/// Uploads that are under way at once; the others wait for their turn. Servers limit the uploads of a user,
/// who may have other devices.
pub const UPLOADS_AT_ONCE: usize = 2;
/// The least time between two reports of what has been read.
pub const READ_PAUSE_MS: u64 = 2_000;
/// Servers that are remembered, whatever a server lists. Full: further ones are ignored.
pub const SERVERS_MAX: usize = 64;
/// Redirects in a row that are followed at once; after that the ordinary search takes over.
pub const REDIRECTS_MAX: u32 = 4;
/// Joins in a row, because of a gap and without one event, after which the server is left.
pub const GAPS_MAX: u32 = 3;

/// Local ports that are tried if no server was configured and discovery found none; discovery asks the ports
/// ten above them.
pub const LOCAL_PORTS: [u16; 3] = [8000, 8001, 8002];

// Failover takes less than a second, even from a server that is only stopped.
const _: () = assert!(SILENCE_MS + REPLY_MS < 1_000);
const _: () = assert!(BACK_OFF_FIRST_MS <= BACK_OFF_MAX_MS);
// Messages without an answer are fewer than servers remember, so a repeat is always recognised.
const _: () = assert!((WINDOW_MAX as u64) < DEDUP_PER_USER);
