//! The program `syncnet-server` as a process: its command line, variables, logs and signals.

pub mod args;
pub mod environment;
pub mod health_check;
pub mod logging;
mod repeats;
pub mod self_test;
pub mod server_address;
pub mod service_manager;
pub mod signals;
