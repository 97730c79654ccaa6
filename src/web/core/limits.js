// Times and counts of the connection, in one place. Times are more patient than the terminal client's: a page
// may be far away, and its timers late.

/** Time in which a connection must be open. */
export const CONNECT_MS = 2_000;
/** The pause before the second attempt in a row; the first is immediate. */
export const BACK_OFF_FIRST_MS = 50;
/** The longest pause between two attempts. */
export const BACK_OFF_MAX_MS = 3_000;
/** How long there is no server before the user is told; a usual failover is over by then. */
export const DOWN_NOTICE_MS = 1_000;
/** A connection that lasted this long counts as one that works. */
export const STABLE_MS = 2_000;
/** How long a server may say nothing while it owes an answer before it is pinged. */
export const SILENCE_MS = 700;
/** The same while it owes no answer. */
export const IDLE_SILENCE_MS = 5_000;
/** How long a pinged server may be silent. Doubled up to three times while servers fall silent in a row. */
export const REPLY_MS = 1_300;
/** The longest wait for an answer from a server that answers pings. */
export const ANSWER_MS = 8_000;
/** The pause after a refusal for load that names no time, doubled with each one in a row. */
export const LOAD_PAUSE_MS = 100;
/** The shortest pause after a refusal for load. */
export const LOAD_PAUSE_MIN_MS = 20;
/** The longest pause after a refusal for load, whatever the server says. */
export const LOAD_PAUSE_MAX_MS = 30_000;
/** Messages that may be on their way at once. */
export const WINDOW_MAX = 64;
/** Servers that are remembered. */
export const SERVERS_MAX = 64;
/** Redirects in a row that are followed at once. */
export const REDIRECTS_MAX = 4;
/** Joins in a row because of a gap, without one event, after which the server is left. */
export const GAPS_MAX = 3;
/** Longest body of a message, in bytes of UTF-8. */
export const BODY_BYTES = 16 * 1024;
/** How many of its last events a room shows when it is opened. */
export const HISTORY = 80;
