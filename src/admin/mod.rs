//! The operator's tools behind `syncnet-admin`: looking at a cluster, and its accounts.
//!
//! Everything here is a client like any other. It speaks the public protocol over TCP and knows nothing of a
//! server's internals, so it reports what users get.

pub mod audit;
pub mod backup;
pub mod cluster;
pub mod command;
pub mod error;
pub mod free_ports;
pub mod line_client;
pub mod manual;
pub mod operator;
pub mod operator_request;
pub mod output;
pub mod probe;
pub mod reload;
pub mod secret;
pub mod server;
pub mod session;
pub mod status;
pub mod target;
pub mod transfer;
pub mod transfer_leader;
pub mod user;
pub mod verdict;
