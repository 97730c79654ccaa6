//! Backups: one file with all data of a cluster, as of one entry of its log.
//!
//! A server makes it like a snapshot for another server (`storage::snapshot`), with a head that says what it
//! is and a checksum at the end. It holds what the servers hold: private rooms, files and password verifiers.
//!
//! | module | concept |
//! |---|---|
//! | `file` | the format of a backup, written and read |
//! | `encryption` | a backup that only the holder of a key can read |
//! | `restore` | a data folder made of one |
//! | `rescue` | one made of the folder of a server that does not run |

pub mod encryption;
pub mod file;
pub mod rescue;
pub mod restore;

pub use self::{
    encryption::{Encrypting, Identities, Recipient, decrypted},
    file::{Backup, BackupHead, Checked, LockedError, ReadError, Sealing},
    rescue::{RescueError, rescue},
    restore::{RestoreError, Restored, restore, verify},
};
