//! The server's shell: the threads and sockets around the pure replica.
pub mod args;
pub mod config;
pub mod config_file;
pub mod dialect;
pub mod framing;
pub mod logging;
pub mod peer;
pub mod ports;
pub mod threads;
