//! SyncNet: a chat cluster whose acknowledgement means "synced to disk on a majority".
//!
//! Three pure folders decide ([`protocol`], [`chat`], [`replica`]), three shells carry ([`storage`],
//! [`server`], [`client`]), and the programs in `src/bin` only wire them together.
//! `docs/ARCHITECTURE.md` is the map.
#![forbid(unsafe_code)]

pub mod admin;
#[cfg(test)]
mod chance;
pub mod chat;
pub mod client;
pub mod planted;
pub mod protocol;
pub mod replica;
pub mod server;
pub mod storage;
