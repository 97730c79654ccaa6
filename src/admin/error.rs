//! Why a command of `syncnet-admin` cannot be carried out as it was typed.

use std::{error::Error, io, path::PathBuf};

use thiserror::Error;

use crate::{
    backup::{LockedError, encryption::NoIdentities},
    server::{config::error::SecretFileError, program::server_address::AddressError},
    tls::client::TrustError,
};

use super::{secret::SecretError, user::password::PasswordError};

/// A wrong command line or configuration, or a machine that does not let the program work.
#[derive(Debug, Error)]
pub enum UsageError {
    /// A file of the servers cannot be used.
    #[error(transparent)]
    Settings(Box<dyn Error + Send + Sync>),
    /// A variable of the environment names no servers.
    #[error("{variable}: {source}")]
    Variable {
        variable: &'static str,
        /// What is wrong with its value.
        source: AddressError,
    },
    /// There is no secret to prove with that this is an operator; names the folder that was searched.
    #[error(
        "there is no {0}/cluster.secret here; name the file with --secret-file (a cluster without a secret has no \
         operators)"
    )]
    NoSecret(String),
    /// The cluster's secret cannot be made.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// There is no certificate to trust.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// A password is not given, or no server would take it.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// A file that was named cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file or folder that was named cannot be written.
    #[error("{} cannot be written: {source}", path.display())]
    Unwritable {
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file with the keys to encrypted backups cannot be read.
    #[error(transparent)]
    IdentityFile(#[from] SecretFileError),
    /// It has no keys.
    #[error("the identity file {}: {source}", path.display())]
    Identities { path: PathBuf, source: NoIdentities },
    /// A backup is encrypted, and what was named does not open it.
    #[error("{}: {source}; {}", path.display(), way_in(.source))]
    Locked { path: PathBuf, source: LockedError },
    /// The output cannot be written.
    #[error("standard output: {0}")]
    Output(#[source] io::Error),
    /// The description of a command line makes no manual page.
    #[error("a manual page cannot be made: {0}")]
    Manual(#[source] io::Error),
}

/// What opens an encrypted backup.
fn way_in(error: &LockedError) -> &'static str {
    match error {
        LockedError::NoIdentity => "name the identity file of one of its recipients with --identity",
        LockedError::OtherIdentity => {
            "name the identity file of one of its recipients, or take another copy of the backup if it is damaged"
        }
        LockedError::Passphrase => "decrypt it with age -d first",
    }
}

/// A name on the command line that is not allowed.
#[derive(Debug, Error)]
#[error("a name {0}")]
pub struct BadName(String);

impl BadName {
    /// It is not a name for this reason, the predicate of a sentence.
    pub fn of(reason: impl ToString) -> BadName {
        BadName(reason.to_string())
    }
}

impl UsageError {
    /// An error of the servers about their files.
    pub fn settings(error: impl Into<Box<dyn Error + Send + Sync>>) -> UsageError {
        UsageError::Settings(error.into())
    }
}
