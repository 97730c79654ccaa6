//! The client: a connection that keeps its promises over lost servers and restarts, for people and for bots.
//!
//! [`state`] decides, without a socket, a clock or a file.
//! Nothing here knows a server's inside: the client depends on [`crate::protocol`] only.

mod answers;
mod asking;
pub mod directory;
pub mod io;
pub mod limits;
pub mod link;
pub mod outbox;
pub mod rooms;
mod search;
pub mod state;
pub mod update;

#[cfg(test)]
mod state_tests;
