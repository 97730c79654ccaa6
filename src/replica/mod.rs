//! One server's logic, without I/O: no socket, clock, thread, file or random number.
//!
//! [`io`] lists its inputs and outputs. [`Replica`] is a loop over parts that it owns: its [`node`] in the
//! cluster, its `clients`, the chat state, and the queues between them. Below it are [`crate::consensus`] and
//! [`crate::disk`], the interface of a disk. Beside it, and without I/O as well, are [`crate::election`] and
//! [`crate::fanout`]: the server gives each a thread, the simulation runs all in one.

pub mod counts;
pub mod io;
pub mod neighbourhood;
pub mod node;
pub mod passages;
pub mod query;
pub mod replay;

mod announced;
mod applying;
mod clients;
mod clocks;
mod describing;
mod evidence;
mod leading;
mod outputs;
mod peers;
mod proposals;
mod raising;
#[expect(clippy::module_inception, reason = "the file holds the type the folder is named for")]
mod replica;
mod retention;
mod server_parts;
mod stop_state;
mod stopping;
mod unsaved;

#[cfg(test)]
mod tests;

pub use replica::{Replica, TurnState};
