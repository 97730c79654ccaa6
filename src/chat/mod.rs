//! The replicated chat state: rooms, users, dedup, the Lamport clock. `apply` only computes.
//!
//! Every server feeds the same committed commands, in the order of the log, to [`State::apply`] and
//! gets the same answers, events and rows. That holds because nothing here can tell one server from
//! another: no clock, no randomness, no configuration, no unordered collection. Whatever is uncertain
//! was settled before the command entered the log (`command`).
//!
//! **What a command goes through**, in this order:
//! 1. `origin`: a server's proposals are applied once and in order; a repeat or a gap is skipped.
//! 2. `rules`: is it allowed? The rules only look, so the same ones serve early refusals
//!    ([`State::check`]).
//! 3. `apply`: carries out what the rules decided. This part cannot fail.
//!
//! **What is kept** is written as rows (`rows`): a change emits the rows it touched, and the rows of
//! all changes, the latest of each key, are the state again ([`State::load`]). Events are not part of
//! the state: they go to history and to readers. A command that changes a message is given the stored
//! event with it ([`Evidence`]), so that a room of a million messages takes no memory here. Nor are the
//! bytes of files: they pass through to the disk.

pub mod account;
pub mod apply;
pub mod command;
pub mod evidence;
pub mod file;
pub mod hook;
pub mod rights;
pub mod room;
pub mod rows;
pub mod state;
pub mod user;
pub mod views;

mod clock;
mod dedup;
mod mention;
mod origin;
mod rules;

pub use apply::{Applied, Ended, MemberChange, Published, Reply};
pub use command::{Action, Command, Origin, Proposal, Standing};
pub use evidence::Evidence;
pub use origin::Progress;
pub use room::{Role, Room};
pub use rules::EXPIRE_MAX;
pub(crate) use rules::banned_from_cluster;
pub use state::State;

#[cfg(test)]
mod tests;
