//! SyncNet: a chat cluster whose acknowledgement means "synced to disk on a majority".
//!
//! Pure modules decide ([`protocol`], [`json`], [`chat`], [`consensus`], [`election`], [`fanout`],
//! [`replica`]), three shells carry ([`storage`], [`server`], [`client`]), and the programs in `src/bin` only
//! wire them together. `docs/ARCHITECTURE.md` is the map.
#![forbid(unsafe_code)]

pub mod admin;
pub mod backup;
#[cfg(test)]
mod chance;
pub mod chat;
pub mod client;
pub mod config;
pub mod consensus;
pub mod disk;
pub mod election;
pub mod fanout;
pub mod json;
pub mod lan;
mod network_error;
mod output_file;
pub mod protocol;
pub mod replica;
pub mod server;
pub mod storage;
pub mod tls;
