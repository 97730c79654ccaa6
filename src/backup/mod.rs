//! Backups: one file that holds all that a cluster holds, as of one entry of its log.
//!
//! A server makes it as a snapshot for another server is made (`storage::snapshot`), with a head that says what it is and
//! a checksum behind it. What it holds is what the servers hold: private rooms, files, what passwords are checked with.
//!
//! | module | concept |
//! |---|---|
//! | `file` | what a backup looks like, written and read |
//! | `restore` | a data folder made of one |

pub mod file;
pub mod restore;

pub use self::{
    file::{Backup, BackupHead, Checked, ReadError, Sealing},
    restore::{RestoreError, Restored, restore, verify},
};
