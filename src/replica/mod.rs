//! One server's brain, without a world: no socket, clock, thread, file or random number.
//!
//! See `io` for everything that can go in and come out.

pub mod config;
pub mod election;
pub mod fanout;
mod hops;
pub mod io;
pub mod membership;
mod ring;
pub mod storage;
