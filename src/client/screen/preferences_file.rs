//! What a user prefers, in a file beside the outbox.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::{
    client::outbox_file::{create_folder, open_private},
    protocol::UserName,
};

use super::model::preferences::Preferences;

#[derive(Debug)]
pub struct PreferencesFile(PathBuf);

impl PreferencesFile {
    /// The file of `user` in `folder`, which need not exist yet.
    pub fn new(folder: &Path, user: &UserName) -> PreferencesFile {
        PreferencesFile(folder.join(format!("{}.screen.json", user.key())))
    }

    /// The preferences that are kept; the defaults if there are none.
    ///
    /// # Errors
    /// The file is there and cannot be read. The error says what to do.
    pub fn read(&self) -> io::Result<Preferences> {
        let bytes = match fs::read(&self.0) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Preferences::default()),
            Err(error) => return Err(self.told(&error, "cannot read")),
        };
        serde_json::from_slice(&bytes).map_err(|error| {
            let reason = format!("{}: {error}; move the file away to begin anew", self.0.display());
            io::Error::new(io::ErrorKind::InvalidData, reason)
        })
    }

    /// Keeps `preferences` instead of those that were kept.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn keep(&self, preferences: &Preferences) -> io::Result<()> {
        self.replace(preferences).map_err(|error| self.told(&error, "cannot write"))
    }

    fn replace(&self, preferences: &Preferences) -> io::Result<()> {
        if let Some(folder) = self.0.parent() {
            create_folder(folder)?;
        }
        let draft = self.0.with_extension(format!("json.{}", std::process::id()));
        let mut file = open_private(fs::OpenOptions::new().write(true).create(true).truncate(true), &draft)?;
        serde_json::to_writer_pretty(&mut file, preferences)?;
        file.write_all(b"\n")?;
        fs::rename(&draft, &self.0)
    }

    fn told(&self, error: &io::Error, what: &str) -> io::Error {
        io::Error::new(error.kind(), format!("{what} {}: {error}", self.0.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_again_and_nonsense_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = PreferencesFile::new(folder.path(), &UserName::new("Alice").unwrap());
        assert_eq!(file.read().unwrap(), Preferences::default());
        let preferences = Preferences { mouse: true, ..Preferences::default() };
        file.keep(&preferences).unwrap();
        assert_eq!(file.read().unwrap(), preferences);
        fs::write(folder.path().join("alice.screen.json"), "{").unwrap();
        assert!(file.read().unwrap_err().to_string().contains("move the file away"));
    }
}
