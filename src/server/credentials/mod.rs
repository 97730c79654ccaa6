//! Passwords are hashed by the threads of the connections that sent them, a few at the same time.
//!
//! ```text
//! client-N ── Input::Request ──► replica ── Output::Credential ──► client-N, which waits for it
//! client-N: a place in the queue, a hasher, the hash ── Input::Credential ──► replica ── Output::ReadOn ──► client-N
//! ```
//!
//! Between the request and `ReadOn` the thread reads nothing more from its client. So what is sent behind a login
//! waits in the socket, and nothing has to be kept for it.
//!
//! A job knows no address. That no address fills the queue is the replica's doing: it lets a quarter of the queue
//! of an address hash (`replica/clients/logins.rs`), asks rights and limits before, and counts. So a flood from one
//! place costs others the time of a quarter of a short queue and never more.

pub mod hasher;
pub mod semaphore;
#[cfg(test)]
mod timing;

pub use hasher::{Costs, Hasher};
pub use semaphore::{Credentials, Hashing};
