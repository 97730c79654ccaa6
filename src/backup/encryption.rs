//! Backups that only the holder of a key can read: files in the format of `age`, version 1.
//!
//! A backup is encrypted as it comes, a piece of 64 KiB after the other. Each piece is authenticated, so that
//! one that was changed, moved or cut off is found. Who has only the recipient, the public half of the key,
//! can make backups and read none.

use std::{
    io::{self, BufRead, Cursor, Read, Write},
    str::FromStr,
};

use age::{DecryptError, Decryptor, Encryptor, stream::StreamWriter, x25519};
use thiserror::Error;

use super::file::{LockedError, ReadError};

/// What each encrypted file begins with, whatever its version.
const MAGIC: &[u8] = b"age-encryption.org/";

/// For whom a backup is encrypted.
#[derive(Debug, Clone)]
pub struct Recipient(x25519::Recipient);

#[derive(Debug, Error)]
#[error(
    "a recipient is the public half of a key, a word that begins with age1; age-keygen -y FILE prints it"
)]
pub struct NoRecipient;

impl FromStr for Recipient {
    type Err = NoRecipient;

    fn from_str(text: &str) -> Result<Recipient, NoRecipient> {
        text.trim().parse().map(Recipient).map_err(|_| NoRecipient)
    }
}

/// The keys in an identity file.
pub struct Identities(Vec<x25519::Identity>);

/// Why a file has no identities. Nothing of its content is repeated.
#[derive(Debug, Error)]
pub enum NoIdentities {
    #[error("it is encrypted with a passphrase itself; decrypt it with age -d, for its owner only")]
    Encrypted,
    #[error("line {0} is no identity, which begins with AGE-SECRET-KEY-1")]
    Line(usize),
    #[error("there is no identity in it, a line that begins with AGE-SECRET-KEY-1")]
    Empty,
}

impl Identities {
    /// Reads what `age-keygen` writes: one identity a line, and comments.
    ///
    /// # Errors
    /// It is something else.
    pub fn read(file: &[u8]) -> Result<Identities, NoIdentities> {
        let text = String::from_utf8_lossy(file);
        if file.starts_with(MAGIC) || text.starts_with("-----BEGIN AGE ENCRYPTED FILE") {
            return Err(NoIdentities::Encrypted);
        }
        let lines = text.lines().map(str::trim).zip(1..);
        let lines = lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
        let keys = lines.map(|(line, number)| line.parse().map_err(|_| NoIdentities::Line(number)));
        let keys: Vec<_> = keys.collect::<Result<_, _>>()?;
        if keys.is_empty() { Err(NoIdentities::Empty) } else { Ok(Identities(keys)) }
    }
}

/// A writer of a backup that is encrypted if there are recipients.
pub enum Encrypting<W: Write> {
    Plain(W),
    Encrypted(Box<StreamWriter<W>>),
}

impl<W: Write> Encrypting<W> {
    /// Begins a file that each of the `recipients` can read alone, or one that is not encrypted.
    ///
    /// # Errors
    /// Nothing can be written.
    pub fn new(recipients: &[Recipient], into: W) -> io::Result<Encrypting<W>> {
        if recipients.is_empty() {
            return Ok(Encrypting::Plain(into));
        }
        let recipients = recipients.iter().map(|recipient| &recipient.0 as &dyn age::Recipient);
        let encryptor = Encryptor::with_recipients(recipients).map_err(io::Error::other)?;
        Ok(Encrypting::Encrypted(Box::new(encryptor.wrap_output(into)?)))
    }

    /// Writes the end, without which the file counts as cut off.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Encrypting::Plain(into) => Ok(into),
            Encrypting::Encrypted(into) => into.finish(),
        }
    }
}

impl<W: Write> Write for Encrypting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Encrypting::Plain(into) => into.write(bytes),
            Encrypting::Encrypted(into) => into.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Encrypting::Plain(into) => into.flush(),
            Encrypting::Encrypted(into) => into.flush(),
        }
    }
}

/// A reader of the backup in a file, which is encrypted or not.
///
/// # Errors
/// It cannot be read, or stays closed.
pub fn decrypted<'a>(
    mut source: impl BufRead + 'a,
    identities: Option<&Identities>,
) -> Result<Box<dyn Read + 'a>, ReadError> {
    let mut begin = Vec::new();
    source.by_ref().take(MAGIC.len() as u64).read_to_end(&mut begin)?;
    let is_encrypted = begin == MAGIC;
    let source = Cursor::new(begin).chain(source);
    if !is_encrypted {
        return Ok(Box::new(source));
    }
    let decryptor = Decryptor::new_buffered(source).map_err(read_error)?;
    if decryptor.is_scrypt() {
        return Err(LockedError::Passphrase.into());
    }
    let Identities(keys) = identities.ok_or(LockedError::NoIdentity)?;
    let keys = keys.iter().map(|key| key as &dyn age::Identity);
    let reader = decryptor.decrypt(keys).map_err(read_error)?;
    Ok(Box::new(reader))
}

fn read_error(error: DecryptError) -> ReadError {
    match error {
        DecryptError::NoMatchingKeys => LockedError::OtherIdentity.into(),
        DecryptError::Io(error) => error.into(),
        _ => ReadError::Head,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> x25519::Identity {
        x25519::Identity::generate()
    }

    fn file_of(key: &x25519::Identity) -> String {
        use age::secrecy::ExposeSecret;
        format!("# created: today\n\n{}\n", key.to_string().expose_secret())
    }

    fn encrypted(recipients: &[&x25519::Identity], content: &[u8]) -> Vec<u8> {
        let recipient = |key: &&x25519::Identity| key.to_public().to_string().parse().unwrap();
        let recipients: Vec<Recipient> = recipients.iter().map(recipient).collect();
        let mut writer = Encrypting::new(&recipients, Vec::new()).unwrap();
        writer.write_all(content).unwrap();
        writer.finish().unwrap()
    }

    fn opened(bytes: &[u8], key: Option<&x25519::Identity>) -> Result<Vec<u8>, ReadError> {
        let identities = key.map(|key| Identities::read(file_of(key).as_bytes()).unwrap());
        let mut content = Vec::new();
        decrypted(bytes, identities.as_ref())?.read_to_end(&mut content)?;
        Ok(content)
    }

    #[test]
    fn each_recipient_reads_it_and_nobody_else() {
        let (alice, bob, eve) = (key(), key(), key());
        let content: Vec<u8> = (0..200_000_u32).map(|number| number as u8).collect();
        let bytes = encrypted(&[&alice, &bob], &content);
        for key in [&alice, &bob] {
            assert_eq!(opened(&bytes, Some(key)).unwrap(), content);
        }
        let closed = opened(&bytes, Some(&eve)).unwrap_err();
        assert!(matches!(closed, ReadError::Locked(LockedError::OtherIdentity)), "{closed}");
        let closed = opened(&bytes, None).unwrap_err();
        assert!(matches!(closed, ReadError::Locked(LockedError::NoIdentity)), "{closed}");
        // Without recipients nothing is encrypted, and a key does no harm.
        let plain = encrypted(&[], &content);
        assert!(plain == content && opened(&plain, Some(&alice)).unwrap() == content);
        assert_eq!(opened(b"age", None).unwrap(), b"age");
    }

    #[test]
    fn what_was_changed_or_cut_is_refused() {
        let alice = key();
        let good = encrypted(&[&alice], b"some content");
        for cut in MAGIC.len()..good.len() {
            opened(&good[..cut], Some(&alice)).unwrap_err();
        }
        opened(&[&good[..], b"x"].concat(), Some(&alice)).unwrap_err();
        // A change of the first bytes makes it another kind of file, which is no backup.
        for place in MAGIC.len()..good.len() {
            let mut bad = good.clone();
            bad[place] ^= 1;
            opened(&bad, Some(&alice)).expect_err(&format!("byte {place}"));
        }
    }

    /// `printf "some content" | age -r …`, version 1.1.1, and the key to it, which opens nothing else.
    #[test]
    fn what_age_has_written_is_read() {
        const KEY: &str = "AGE-SECRET-KEY-14UJJXRDF8HAQJFE20ZQGJKQM03LN4WYL5A7PY9ZUFCUKLFMXEDEQWEYZX5";
        const FILE: &str = "YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSBKeU8wMzAvdG9xblV4RGNseVltUFNCM09B\
            aFVTc20rYlRzRTArR0hDSGpvCnphRzhVK1ZhTlZvT28zd1loTDhnTlI0RnB3UWRoSDZ6WEc0Z01SWk0rNjAKLS0tIHNS\
            OVZYdlZXeUFoZjdDOTlIZDFkcUR0bUJJZ3pnbGpHVVVTUXI3eWoxcWMKBYgixiZ2XiS6LlhEVzQOJzQ2eUsX+YydxLYq\
            SeJsHRM/mIHUTcIUXDDrHxo=";
        let file = data_encoding::BASE64.decode(FILE.as_bytes()).unwrap();
        assert_eq!(opened(&file, Some(&KEY.parse().unwrap())).unwrap(), b"some content");
    }

    #[test]
    fn a_passphrase_is_named_as_the_reason() {
        let encryptor = Encryptor::with_user_passphrase("correct horse".to_owned().into());
        let mut writer = encryptor.wrap_output(Vec::new()).unwrap();
        writer.write_all(b"some content").unwrap();
        let closed = opened(&writer.finish().unwrap(), Some(&key())).unwrap_err();
        assert!(matches!(closed, ReadError::Locked(LockedError::Passphrase)), "{closed}");
    }

    #[test]
    fn identity_files_and_recipients_are_read() {
        let (alice, bob) = (key(), key());
        let both = Identities::read([file_of(&alice), file_of(&bob)].concat().as_bytes()).unwrap();
        assert_eq!(both.0.len(), 2);
        let refused = |text: &str| Identities::read(text.as_bytes()).err().unwrap();
        assert!(matches!(refused("# nothing\n"), NoIdentities::Empty));
        assert!(matches!(refused(&format!("{}secret\n", file_of(&alice))), NoIdentities::Line(4)));
        assert!(matches!(refused("age-encryption.org/v1\n-> scrypt"), NoIdentities::Encrypted));
        for text in ["", "age1", "ssh-ed25519 AAAA", &file_of(&alice)] {
            text.parse::<Recipient>().unwrap_err();
        }
    }
}
