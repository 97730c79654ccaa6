//! The operator's tools behind `syncnet-admin`: looking at a cluster, measuring it, and its accounts.
//!
//! Everything here is a client like any other. It speaks the public protocol over TCP and knows nothing
//! of a server's inside, so what it reports is what users get.

#[cfg(unix)]
pub mod bench;
pub mod command;
pub mod free_ports;
pub mod operator;
pub mod output;
pub mod probe;
pub mod report;
pub mod session;
pub mod status;
pub mod target;
pub mod transfer;
pub mod user;
pub mod verdict;
