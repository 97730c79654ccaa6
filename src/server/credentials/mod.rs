//! Passwords are hashed by the threads of the connections that sent them, a few at the same time.
//!
//! ```text
//! client-N ── Input::Request ──► replica ── Output::Credential ──► client-N, which waits for it
//! client-N: a place in the queue, a hasher, the hash ── Input::Credential ──► replica ── Output::ReadOn ──►
//! client-N
//! ```
//!
//! Between the request and `ReadOn` the thread reads nothing more from its client. So requests after a login
//! wait in the socket, and the server need not store them.
//!
//! A job knows no address. The replica keeps one address from filling the queue: it checks rights and limits
//! first, and lets at most a quarter of the queue come from one address (`replica/clients/logins.rs`). So a
//! flood from one address delays others by a quarter of a short queue at most.

pub mod hasher;
pub mod semaphore;
#[cfg(test)]
mod timing;

pub use hasher::{Costs, Hasher};
pub use semaphore::{Credentials, Hashing};
