//! One server's brain, without a world: no socket, clock, thread, file or random number.
//!
//! [`io`] lists everything that can happen and everything that can be wanted; [`Replica`] is the whole,
//! [`consensus`] the one door to the consensus library, [`storage`] what is asked of a disk. Beside the
//! replica, and as pure as it, stand the ring [`election`], the failure detector [`membership`] and the
//! [`fanout`]; the shell gives each a thread, the simulation runs them all in one.

pub mod bounded;
pub mod config;
pub mod consensus;
pub mod election;
pub mod fanout;
pub mod io;
pub mod lookup;
pub mod membership;
pub mod storage;
pub mod throttle;

mod applying;
mod cluster;
mod describing;
mod handover;
mod jobs;
mod leading;
mod links;
mod logins;
mod members;
mod presence;
mod proposals;
mod rates;
mod reading;
mod reads;
#[expect(clippy::module_inception, reason = "the file holds the type the folder is named for")]
mod replica;
mod requests;
mod retention;
mod session;
mod stopping;
mod tokens;
mod trust;
mod writing;

#[cfg(test)]
mod tests;

pub use replica::Replica;
