//! The server's shell: the threads and sockets around the pure replica.
//!
//! [`args`] and [`config`] hold the settings, [`run`] starts and stops everything in a fixed order, and
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

pub mod acceptor;
pub mod answers;
pub mod args;
pub mod backlog;
pub mod backups;
pub mod board;
pub mod certificates;
pub mod challenges;
pub mod client_thread;
pub mod clients;
pub mod clock;
pub mod config;
pub mod connection_info;
pub mod context;
pub mod conversation;
pub mod core;
pub mod credentials;
pub mod data;
pub mod datagrams;
pub mod descriptors;
pub mod dialect;
pub mod discovery;
pub mod environment;
pub mod fan_out;
pub mod framing;
pub mod health_check;
pub mod http;
pub mod inboxes;
pub mod json_lines;
pub mod local_session;
pub mod logging;
pub mod mailbox;
pub mod metrics;
pub mod outgoing;
pub mod peer;
pub mod ports;
pub mod proxies;
pub mod query;
pub mod queues;
pub mod readers;
pub mod refusals;
pub mod reload;
mod repeats;
pub mod run;
pub mod scrub;
pub mod seats;
pub mod self_test;
pub mod server_address;
pub mod server_handle;
pub mod service_manager;
pub mod shared;
pub mod signals;
pub mod sockets;
pub mod stream;
pub mod threads;
