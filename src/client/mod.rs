//! The client library and the terminal client. Messages survive lost servers and restarts.
//!
//! [`state`] decides, without a socket, a clock or a file; [`connection`] carries that out with threads
//! (`driver`), a socket ([`transport`]) and files ([`outbox_file`], [`token_file`], [`files`]). [`terminal`]
//! puts a person or a script in front, [`screen`] a person with a whole screen. The client depends on
//! [`crate::protocol`] only, not on any module of the server.

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
pub mod renamed;
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
