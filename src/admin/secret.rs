//! Makes the secret of a cluster.

use std::{
    error::Error,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use thiserror::Error;

use data_encoding::HEXLOWER;

use crate::server::config::load_secret;

const SECRET_BYTES: usize = 32;

/// Why there is no secret now.
#[derive(Debug, Error)]
pub enum SecretError {
    /// The file is there, and no server would take it.
    #[error(transparent)]
    Unfit(Box<dyn Error + Send + Sync>),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes: {0}")]
    NoChance(getrandom::Error),
    /// The file cannot be written.
    #[error("{} cannot be written: {source}", path.display())]
    Unwritable {
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Makes a secret if there is no `file`; returns whether it did. Of two that run at once, one makes it.
///
/// # Errors
/// There is no secret that a server would take.
pub fn ensure(file: &Path) -> Result<bool, SecretError> {
    if !fs::exists(file).unwrap_or(true) && make(file)? {
        return Ok(true);
    }
    load_secret(Some(file), Path::new("")).map_err(|error| SecretError::Unfit(error.into()))?;
    Ok(false)
}

/// Writes a new secret beside `file` and links it into place, so that the file is never incomplete. Returns
/// whether this one came first.
fn make(file: &Path) -> Result<bool, SecretError> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes).map_err(SecretError::NoChance)?;
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let draft = file.with_file_name(name);
    let unwritable = |source| SecretError::Unwritable { path: file.into(), source };
    let written = create_private(&draft).and_then(|mut new| {
        writeln!(new, "{}", HEXLOWER.encode(&bytes))?;
        new.sync_all()
    });
    let linked = written.and_then(|()| fs::hard_link(&draft, file));
    // If it stays behind, it is a secret that no cluster has.
    let _ = fs::remove_file(&draft);
    match linked {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(unwritable(error)),
    }
}

fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_made_once_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cluster.secret");
        assert!(ensure(&file).unwrap());
        let first = fs::read_to_string(&file).unwrap();
        assert_eq!(first.len(), 2 * SECRET_BYTES + 1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert!(!ensure(&file).unwrap());
        assert_eq!(fs::read_to_string(&file).unwrap(), first);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn what_is_no_secret_is_named_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cluster.secret");
        fs::write(&file, "1234").unwrap();
        let error = ensure(&file).unwrap_err().to_string();
        assert!(error.contains("cluster.secret") && !error.contains("1234\n"), "{error}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "1234");
        let error = ensure(&folder.path().join("missing/cluster.secret")).unwrap_err().to_string();
        assert!(error.contains("missing/cluster.secret cannot be written"), "{error}");
    }
}
