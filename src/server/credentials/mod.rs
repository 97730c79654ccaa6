//! Hashing beside the replica: a short queue, and threads that have all the time a password takes.
//!
//! ```text
//! replica ── Output::Credential ──► queue ──► hash-N ──► inbox of results ──► Input::Credential
//!                                     └ full: refused at once, with the time until there is room
//! ```
//!
//! A job knows no address. That nobody fills the queue alone is the replica's doing: it has at most one job
//! of a connection and a quarter of the queue of an address under way (`replica/jobs.rs`), asks rights and limits
//! before it hands one out, and counts. So a flood from one place costs others the time of a quarter of a short
//! queue and never more. Every job has a result, also where its connection is gone: until then it counts.

pub mod hasher;
pub mod pool;
#[cfg(test)]
mod timing;

pub use hasher::{Costs, Hasher};
pub use pool::{Credentials, Hashing};
