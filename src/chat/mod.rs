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
//! **What is kept** are `entities`, written as rows (`rows`): a change emits the rows it touched, and the
//! rows of all changes, the latest of each key, are the state again ([`State::load`]). Those that nearly
//! every message changes are made only when they are written (`dirty`). Events are not part of the state:
//! they go to history and to readers. A command that changes a message gets the stored event with it
//! ([`Evidence`]), so a room of a million messages takes no memory here. The bytes of files are not part of
//! the state either: they pass through to the disk.
//!
//! **What knows what**: each line only those above it.
//!
//! | files | what they are |
//! |---|---|
//! | `entities`, `rights` | values: accounts, rooms, files, …; the table of who may do what |
//! | `rows`, `state`, `dirty` | how values are stored; all of them together; rows that are made later |
//! | `effects`, `evidence`, `reply`, `access` | what a command changes, is checked by and answers; who asks |
//! | `publish`, `account`, `membership`, `message`, … | changes that several operations share |
//! | `operation`, `draft` | what every operation has; how a request becomes one |
//! | `command` | the operations, one file each, and above them the list that the log knows |
//! | `entry`, `apply`, `requests`, `views` | what the log carries; applying it; what clients ask and see |

pub mod access;
pub mod apply;
pub mod command;
pub mod dirty;
pub mod draft;
pub mod effects;
pub mod entities;
pub mod entry;
pub mod evidence;
pub mod requests;
pub mod rights;
pub mod rows;
pub mod secret;
pub mod state;
pub mod views;

mod account;
mod audit;
mod authority;
mod bots;
mod file;
mod hook;
mod membership;
mod message;
mod operation;
mod publish;
mod recent;
mod reply;
mod state_error;

pub(crate) use access::{banned_from_cluster, must_log_in, must_not_be_reserved};
pub use apply::Applied;
pub use authority::Authority;
pub use command::Command;
pub use dirty::DirtyRow;
pub use effects::{Effects, Ended, MemberChange, Published};
pub use entities::{
    origin::{Origin, Progress},
    room::{Role, Room},
};
pub use entry::{Entry, Proposal};
pub use evidence::Evidence;
pub use operation::Operation;
pub use reply::Reply;
pub use state::State;
pub use state_error::{RowError, StateError};

#[cfg(test)]
mod tests;
