//! `syncnet-admin user`: the accounts of a cluster, for its operator.
//!
//! The tool is a client of any server. It proves with the cluster's secret that it is an operator's
//! (`protocol/operator.rs`). Passwords come from the terminal or from standard input and never from the
//! command line, which others on the machine can read.

pub mod command;
pub mod password;
