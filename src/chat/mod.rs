//! The replicated chat state: rooms, users, dedup, the Lamport clock. `apply` only computes.
//!
//! Every server feeds the same committed commands, in the order of the log, to [`State::apply`] and gets the
//! same answers, events and rows. That holds because nothing here differs between servers: no clock, no
//! randomness, no configuration, no unordered collection. All that could differ was decided before the
//! command entered the log (`command`).
//!
//! **What an entry goes through** (`apply`), in this order:
//! 1. `origin`: a server's proposals are applied once and in order; a repeat or a gap is skipped.
//! 2. `clock` and `access`: the client's clock, and whether the user is still who they were and may do this
//!    at all.
//! 3. `command`: the operation itself, one file each. Its checks only look, so the same ones serve early
//!    refusals ([`State::check`]); its change cannot fail.
//!
//! **What is kept** is written as rows (`rows`): a change emits the rows it touched, and the rows of all
//! changes, the latest of each key, are the state again ([`State::load`]). Events are not part of the state:
//! they go to history and to readers. A command that changes a message gets the stored event with it
//! ([`Evidence`]), so a room of a million messages takes no memory here. The bytes of files are not part of
//! the state either: they pass through to the disk.

pub mod access;
pub mod account;
pub mod apply;
pub mod audit;
pub mod command;
pub mod draft;
pub mod effects;
pub mod entry;
pub mod evidence;
pub mod file;
pub mod hook;
pub mod recent;
pub mod rights;
pub mod room;
pub mod rows;
pub mod state;
pub mod user;
pub mod views;

mod clock;
mod dedup;
mod membership;
mod message;
mod origin;
mod state_error;

pub(crate) use access::{banned_from_cluster, must_log_in};
pub(crate) use account::must_not_be_reserved;
pub use apply::Applied;
pub use command::{Command, Operation, Reply};
pub use effects::{Effects, Ended, MemberChange, Published};
pub use entry::{Authority, Entry, Origin, Proposal};
pub use evidence::Evidence;
pub use origin::Progress;
pub use room::{Role, Room};
pub use state::State;
pub use state_error::{RowError, StateError};

#[cfg(test)]
mod tests;
