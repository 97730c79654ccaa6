//! The client: a connection that keeps its promises over lost servers and restarts, for people and for bots.
//!
//! [`state`] decides, without a socket, a clock or a file; [`connection`] carries that out with threads (`driver`), a
//! socket ([`transport`]) and files ([`outbox_file`], [`token_file`], [`files`]). [`terminal`] puts a person or a
//! script in front, [`screen`] a person with a whole screen.
//! Nothing here knows a server's inside: the client depends on [`crate::protocol`] only.

mod answers;
pub mod ask;
mod asking;
pub mod connection;
pub mod directory;
pub mod discovery;
mod driver;
pub mod files;
pub mod io;
pub mod limits;
pub mod link;
pub mod login;
pub mod outbox;
pub mod outbox_file;
pub mod own;
pub mod rooms;
pub mod screen;
mod search;
pub mod state;
pub mod terminal;
pub mod token_file;
pub mod transfer;
mod transfers;
pub mod transport;
pub mod update;

pub use connection::{Client, ClientConfig};

#[cfg(test)]
mod tests;
