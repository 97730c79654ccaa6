//! The server's shell: the threads and sockets around the pure replica.
//!
//! [`program`] and [`config`] hold the settings, [`run`] starts and stops everything in a fixed order, and
//! [`core`] is the replica thread, between all others:
//!
//! ```text
//! acceptor ─► client-N ─────────┐                   ┌─► fan_out ─► sockets of clients
//! peer (links) ◄──► other servers ─► core (replica) ┼─► query ───► fan_out
//! datagrams (heartbeats, election) ─┘               └─► peer (links)
//! ```
//!
//! Everything goes one way, and every queue is bounded. The core waits for no other thread. A client's thread
//! waits for the core's answer to a login or a password, and reads nothing meanwhile.

pub mod board;
pub mod challenges;
pub mod clients;
pub mod config;
pub mod context;
pub mod core;
pub mod credentials;
pub mod data;
pub mod datagrams;
pub mod discovery;
pub mod http;
pub mod inboxes;
pub mod machine;
pub mod metrics;
pub mod peer;
pub mod program;
pub mod reload;
pub mod run;
pub mod server_handle;
pub mod shared;
