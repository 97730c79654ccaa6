//! The token of an account between two runs: one file for each user, which only that user can read.
//!
//! It is in the outbox's folder. A program that can read it can act as that user until the token expires or
//! the user logs out, so it has mode 0600 from its first byte, and is replaced as a whole.

use std::{
    fs, io,
    io::Write,
    path::{Path, PathBuf},
};

use crate::protocol::UserName;

use super::{login::Secret, outbox_file};

/// Where the token of a user is kept.
#[derive(Debug, Clone)]
pub struct TokenFile(PathBuf);

impl TokenFile {
    /// The file of `user` in `folder`, which need not exist yet.
    pub fn new(folder: &Path, user: &UserName) -> TokenFile {
        TokenFile(folder.join(format!("{}.token", user.key())))
    }

    /// The token that is kept, if there is one.
    ///
    /// # Errors
    /// A file is there and cannot be read.
    pub fn read(&self) -> io::Result<Option<Secret>> {
        match fs::read_to_string(&self.0) {
            Ok(text) => Ok(Some(text.trim()).filter(|token| !token.is_empty()).map(Secret::new)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.told(&error, "cannot read")),
        }
    }

    /// Keeps `token` instead of the one that was kept.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn keep(&self, token: &Secret) -> io::Result<()> {
        self.replace(token).map_err(|error| self.told(&error, "cannot write"))
    }

    /// Forgets `token`. The token of another login stays.
    ///
    /// # Errors
    /// The file cannot be read, or the folder not be written.
    pub fn forget(&self, token: &Secret) -> io::Result<()> {
        if self.read()?.as_ref() != Some(token) {
            return Ok(());
        }
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.told(&error, "cannot remove")),
            _ => Ok(()),
        }
    }

    fn replace(&self, token: &Secret) -> io::Result<()> {
        if let Some(folder) = self.0.parent() {
            outbox_file::create_folder(folder)?;
        }
        let draft = self.0.with_extension(format!("token.{}", std::process::id()));
        // A file left over by a crash may have other permissions than the new one is to have.
        let _ = fs::remove_file(&draft);
        let mut file =
            outbox_file::open_private(fs::OpenOptions::new().write(true).create_new(true), &draft)?;
        writeln!(file, "{}", token.expose())?;
        file.sync_all()?;
        fs::rename(&draft, &self.0)
    }

    fn told(&self, error: &io::Error, what: &str) -> io::Error {
        io::Error::new(error.kind(), format!("{what} the token in {}: {error}", self.0.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_kept_for_its_owner_only_and_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::new(&folder.path().join("new"), &UserName::new("Alice").unwrap());
        assert_eq!(file.read().unwrap(), None);
        for token in ["snt_1", "snt_2"] {
            file.keep(&Secret::new(token)).unwrap();
            assert_eq!(file.read().unwrap(), Some(Secret::new(token)));
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let path = folder.path().join("new/alice.token");
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        file.forget(&Secret::new("snt_1")).unwrap();
        assert_eq!(file.read().unwrap(), Some(Secret::new("snt_2")), "it is another login's");
        for _ in 0..2 {
            file.forget(&Secret::new("snt_2")).unwrap();
            assert_eq!(file.read().unwrap(), None);
        }
    }
}
