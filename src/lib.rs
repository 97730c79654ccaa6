//! SyncNet: a chat cluster whose acknowledgement means "synced to disk on a majority".
//!
//! Pure modules decide ([`protocol`], [`chat`], [`consensus`], [`election`], [`fanout`], [`replica`]), three shells
//! carry ([`storage`], [`server`], [`client`]), and the programs in `src/bin` only wire them together.
//! `docs/ARCHITECTURE.md` is the map.
#![forbid(unsafe_code)]

#[expect(missing_docs, reason = "a name that says all has no words beside it")]
pub mod admin;
#[expect(missing_docs, reason = "a name that says all has no words beside it")]
pub mod backup;
#[cfg(test)]
mod chance;
#[expect(missing_docs, reason = "a name that says all has no words beside it")]
pub mod chat;
#[expect(missing_docs, reason = "a name that says all has no words beside it")]
pub mod client;
pub mod config;
pub mod consensus;
pub mod disk;
pub mod election;
#[expect(missing_docs, reason = "a name that says all has no words beside it")]
pub mod fanout;
mod network_error;
mod output_file;
#[expect(missing_docs, reason = "a name that says all has no words beside it")]
pub mod protocol;
#[expect(missing_docs, reason = "a name that says all has no words beside it")]
pub mod replica;
pub mod server;
pub mod storage;
pub mod tls;
