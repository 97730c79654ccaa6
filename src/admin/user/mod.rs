//! `syncnet-admin user`: the accounts of a cluster, in the hands of its operator.
//!
//! The tool is a client of any server, which proves by the cluster's secret that it is an operator's
//! (`protocol/operator.rs`); nothing of a server's inside is needed for that. Passwords come from the terminal
//! or from standard input and never from the command line, which others on the machine can read.

pub mod command;
pub mod password;
