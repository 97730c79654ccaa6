//! The replicated chat state: rooms, members, dedup, the Lamport clock. `apply` only computes.

pub mod command;
