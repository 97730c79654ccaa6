//! One server's brain, without a world: no socket, clock, thread, file or random number.
//!
//! See `io` for everything that can go in and come out.

pub mod config;
pub mod fanout;
pub mod io;
pub mod membership;
pub mod storage;
