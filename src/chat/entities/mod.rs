//! What the state consists of: the values that its rows hold, and what can be said of one of them alone.
//!
//! Nothing here knows the state as a whole, rows or commands.

pub mod account;
pub mod audit;
pub mod file;
pub mod hook;
pub mod lead;
pub mod origin;
pub mod recent;
pub mod room;
pub mod until;
pub mod user;
pub mod user_id;

pub(super) mod clock;
pub(super) mod dedup;
