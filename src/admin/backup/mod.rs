//! `syncnet-admin backup` and `restore`: all that a cluster holds in a file, and a new cluster made of one.
//!
//! | module | concept |
//! |---|---|
//! | [`command`] | the command lines |
//! | [`fetch`] | a backup over the network, checked as it is written |
//! | [`schedule`] | a folder of backups: their names, how many stay, how often one is made |
//! | [`progress`] | how far long work is |

pub mod command;
pub mod fetch;
pub mod progress;
pub mod schedule;
