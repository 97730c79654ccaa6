//! Passwords and tokens: how they are held, what is stored of them, and the work they make.
//!
//! Hashing a password takes tens of milliseconds on purpose, so the replica does not do it. It gives a
//! [`Job`] to the thread of the connection that asked, and gets the result, [`Done`], back. That thread also
//! draws all random values (salts, tokens, challenges). The log holds only verifiers and hashes of tokens,
//! never a password or a token: [`Password`] and [`Token`] can be written in JSON, for the server that checks
//! them, and refuse every format that is not for people to read, such as that of the log.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize, Serializer, ser::Error};
use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;

use super::{
    checked::Invalid,
    refusal::{Code, Refusal},
};

pub use super::scram::ScramVerifier;

/// Longest password, in bytes of UTF-8, as it was sent.
pub const PASSWORD_BYTES: usize = 1_024;
/// Fewest characters of a password that is chosen now. (Those that were chosen earlier are still checked.)
pub const PASSWORD_CHARS_MIN: usize = 8;
/// What a token of a session begins with, so that it is recognised where it should not be.
pub const TOKEN_PREFIX: &str = "snt_";
/// Random bytes of a token; they make its text together with the prefix.
pub const TOKEN_BYTES: usize = 32;
/// Length of a token's text: the prefix, and base64 without padding.
pub const TOKEN_CHARS: usize = TOKEN_PREFIX.len() + (TOKEN_BYTES * 8).div_ceil(6);

/// The stored form of a password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verifier {
    /// Argon2id, as a PHC string: parameters, salt and hash.
    pub argon2: String,
    /// For dialects that log in by SCRAM-SHA-256.
    pub scram: ScramVerifier,
}

impl Verifier {
    /// A placeholder until the verifier is made; it opens nothing. Rules ask who may set a password, not what
    /// it is.
    pub fn unmade() -> Box<Verifier> {
        let scram =
            ScramVerifier { iterations: 0, salt: Vec::new(), stored_key: [0; 32], server_key: [0; 32] };
        Box::new(Verifier { argon2: String::new(), scram })
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(..)")
    }
}

/// SHA-256 of a token, which is all that is stored of it. A token is 256 random bits: it cannot be guessed
/// from its hash, nor found by the time that a lookup of the hash takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TokenHash(pub [u8; 32]);

impl TokenHash {
    /// A placeholder until the token is drawn; it opens nothing, since no text with this hash is known.
    pub fn undrawn() -> Self {
        TokenHash([0; 32])
    }

    /// Of a token's text. Any text has a hash; only that of a [`Token`] can be one that is stored.
    pub fn of(token: &str) -> Self {
        TokenHash(Sha256::digest(token.as_bytes()).into())
    }
}

/// A password in memory, prepared for comparison. `Debug` never shows it.
///
/// **The same password is the same bytes.** Two devices may send the same letters differently. So a password
/// is prepared as the `OpaqueString` profile of RFC 8265 has it: spaces of other scripts become the ASCII
/// space, all is brought into the normal form NFC, and control characters are refused. Case and width stay as
/// they are. For ASCII this is what SASLprep (RFC 4013) makes of it, too, so a SCRAM client of either kind
/// computes the same; a SASLprep client computes something else for letters that only NFKC unites (such as
/// `ﬁ` and `fi`), so it has to send the plain letters.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Password(String);

impl Password {
    /// A password to check.
    ///
    /// # Errors
    /// It is empty, longer than [`PASSWORD_BYTES`], or has control characters. The error does not repeat it.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() {
            return Err("is empty".into());
        }
        if text.len() > PASSWORD_BYTES {
            return Err(format!("has {} bytes; it may have {PASSWORD_BYTES}", text.len()).into());
        }
        if text.chars().any(char::is_control) {
            return Err("has a control character".into());
        }
        Ok(Password(text.chars().map(|letter| if is_space(letter) { ' ' } else { letter }).nfc().collect()))
    }

    /// Checks a password that is chosen now. For requests in which the same field may also hold a password
    /// that was chosen earlier.
    ///
    /// # Errors
    /// It has fewer than [`PASSWORD_CHARS_MIN`] characters.
    pub fn check_chosen(&self) -> Result<(), Invalid> {
        if self.0.chars().count() < PASSWORD_CHARS_MIN {
            return Err(format!("must have at least {PASSWORD_CHARS_MIN} characters").into());
        }
        Ok(())
    }

    /// The password itself, for those who hash it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Password {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        Password::new(&text)
    }
}

impl Serialize for Password {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_secret(&self.0, serializer)
    }
}

/// A password that is chosen now: one of at least [`PASSWORD_CHARS_MIN`] characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct ChosenPassword(Password);

impl ChosenPassword {
    /// Checks `text`.
    ///
    /// # Errors
    /// As for [`Password::new`], and if it is too short. The error does not repeat it.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        let password = Password::new(text)?;
        password.check_chosen()?;
        Ok(ChosenPassword(password))
    }

    /// The password, as any other.
    pub fn get(&self) -> &Password {
        &self.0
    }
}

impl From<ChosenPassword> for Password {
    fn from(chosen: ChosenPassword) -> Password {
        chosen.0
    }
}

impl TryFrom<String> for ChosenPassword {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        ChosenPassword::new(&text)
    }
}

/// Writes a secret in JSON, for the one who is to read it; never in the log or a row.
fn serialize_secret<S: Serializer>(secret: &str, serializer: S) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() {
        serializer.serialize_str(secret)
    } else {
        Err(S::Error::custom("a secret is never written to the log"))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// Whether `letter` is of the Unicode category Zs, the spaces.
fn is_space(letter: char) -> bool {
    matches!(
        letter,
        ' ' | '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}'
    )
}

/// A token in memory: `snt_` and 256 random bits in URL-safe base64. `Debug` never shows it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// The token of 32 random bytes.
    pub fn from_bytes(bytes: &[u8; TOKEN_BYTES]) -> Self {
        let mut text = String::with_capacity(TOKEN_CHARS);
        text.push_str(TOKEN_PREFIX);
        BASE64URL_NOPAD.encode_append(bytes, &mut text);
        Token(text)
    }

    /// A token as a client sent it. Any text is accepted here; only [`Token::check`] says whether it can be a
    /// token.
    pub fn given(text: impl Into<String>) -> Self {
        Token(text.into())
    }

    /// Whether it has the form of a token.
    ///
    /// # Errors
    /// `bad_credentials`, if it has not: such a token was never given out. An unknown token gets the same
    /// refusal. The refusal does not repeat the token.
    pub fn check(&self) -> Result<(), Refusal> {
        let code = self.0.strip_prefix(TOKEN_PREFIX).filter(|_| self.0.len() == TOKEN_CHARS);
        match code.map(|code| BASE64URL_NOPAD.decode(code.as_bytes())) {
            Some(Ok(bytes)) if bytes.len() == TOKEN_BYTES => Ok(()),
            _ => Err(Token::refused()),
        }
    }

    /// The refusal of every wrong token: the same for all reasons.
    pub fn refused() -> Refusal {
        Refusal::new(Code::BadCredentials, "this token is not valid, or not any more; log in again")
    }

    /// What is stored of it.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(&self.0)
    }

    /// The token itself, for the one client that it is for.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Serialize for Token {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_secret(&self.0, serializer)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Work for the thread of a connection.
///
/// The thread bounds how many hash at the same time and how many wait, without regard to addresses. The
/// replica keeps it fair: it gives each address a share of these places (`replica/clients/logins.rs`), and
/// counts what each asks for (`replica/clients/throttle.rs`, `replica/clients/rates.rs`).
#[derive(Debug, Clone)]
pub enum Job {
    /// Make a verifier (registration, password change, password of a room).
    Make { password: Password },
    Check {
        password: Password,
        /// `None`: the name is unknown. The same work is done against a dummy, and the answer is no.
        verifier: Option<Box<Verifier>>,
    },
    /// Draw a token, for a bot or a webhook.
    Draw,
    /// Draw a challenge for an operator of this machine.
    Challenge,
    /// Say whether a proof answers a challenge (`protocol/operator.rs`).
    Prove {
        /// What was asked on this connection.
        challenge: [u8; 32],
        proof: [u8; 32],
    },
}

impl Job {
    /// Whether it takes the time of a hash. The others take no time and do not wait.
    pub fn hashes(&self) -> bool {
        matches!(self, Job::Make { .. } | Job::Check { .. })
    }
}

/// The result of a [`Job`]. Never holds the password.
#[derive(Debug, Clone)]
pub enum Done {
    /// Of [`Job::Make`].
    Made { verifier: Box<Verifier> },
    /// Of [`Job::Check`].
    Checked {
        /// Whether the password is the right one.
        ok: bool,
        /// Only if it is: the parameters have risen since; store this one instead.
        rehashed: Option<Box<Verifier>>,
        /// Fresh, for the session that is to begin. There is one even if the password is wrong, so that both
        /// cases take the same time.
        token: Token,
        /// What to store of it.
        token_hash: TokenHash,
    },
    /// Of [`Job::Draw`].
    Drawn { token: Token },
    /// Of [`Job::Challenge`].
    Challenge {
        /// Good for one answer, on this connection.
        challenge: [u8; 32],
    },
    /// Of [`Job::Prove`].
    Proved { ok: bool },
}

/// The refusal of a login by password: the same words for an unknown name and a wrong password.
pub fn wrong_password() -> Refusal {
    Refusal::new(Code::BadCredentials, "the name or the password is wrong")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_recognised_and_other_shapes_are_refused() {
        let token = Token::from_bytes(&[0xfb; 32]);
        let text = token.expose();
        assert_eq!(text, "snt_-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s");
        assert_eq!(text.len(), TOKEN_CHARS);
        let given = Token::given(text);
        given.check().unwrap();
        assert_eq!(given.hash(), token.hash());
        assert_eq!(TokenHash::of(text), token.hash());
        let last = |letter: &str| format!("{}{letter}", &text[..TOKEN_CHARS - 1]);
        for bad in [
            "",
            "snt_",
            &text[4..],
            &text[..TOKEN_CHARS - 1],
            &format!("{text}A"),
            &format!("{text}="),
            &text.replace("snt_", "SNT_"),
            &text.replace('-', "+"),
            // Bits that mean nothing are not another spelling of the same token.
            &last("t"),
            &last("="),
            &last("\n"),
            &format!("snt_{}a", "é".repeat(21)),
        ] {
            let refusal = Token::given(bad).check().unwrap_err();
            assert_eq!(refusal, Token::refused(), "{bad:?}");
        }
    }

    #[test]
    fn a_password_is_prepared_so_that_devices_agree() {
        let same =
            |a: &str, b: &str| Password::new(a).unwrap().expose() == Password::new(b).unwrap().expose();
        assert!(same("caf\u{e9}", "cafe\u{301}"));
        assert!(same("two\u{a0}words", "two words"));
        assert!(same("two\u{3000}words", "two words"));
        assert!(!same("Pencil", "pencil"));
        assert!(!same("pencil ", "pencil"));
        assert!(!same("\u{fb01}", "fi"));
    }

    #[test]
    fn impossible_passwords_are_refused_without_being_repeated() {
        Password::new("x").unwrap();
        Password::new(&"x".repeat(PASSWORD_BYTES)).unwrap();
        ChosenPassword::new("12345678").unwrap();
        // Eight characters, whatever they take in bytes or were sent as.
        ChosenPassword::new(&"é".repeat(8)).unwrap();
        let long = "x".repeat(PASSWORD_BYTES + 1);
        for bad in ["", "tab\tinside", "nul\0inside", "\u{85}next line", &long] {
            let invalid = Password::new(bad).unwrap_err().to_string();
            assert!(bad.is_empty() || !invalid.contains(bad));
            ChosenPassword::new(bad).unwrap_err();
        }
        let invalid = ChosenPassword::new("1234567").unwrap_err().to_string();
        assert!(invalid.contains("at least 8") && !invalid.contains("1234567"));
        ChosenPassword::new(&"e\u{301}".repeat(7)).unwrap_err();
    }

    #[test]
    fn secrets_show_nothing_of_themselves() {
        let job = Job::Check {
            password: Password::new("hunter2 hunter2").unwrap(),
            verifier: Some(Box::new(Verifier {
                argon2: "$argon2id$secret".into(),
                scram: ScramVerifier::new("hunter2", b"salt", 1),
            })),
        };
        let token = Token::from_bytes(&[9; 32]);
        let done = Done::Checked { ok: true, rehashed: None, token_hash: token.hash(), token };
        let shown = format!("{job:?} {done:?}");
        assert!(
            !shown.contains("hunter2") && !shown.contains("argon2") && !shown.contains("snt_"),
            "{shown}"
        );
    }

    #[test]
    fn secrets_are_written_for_the_one_who_is_to_read_them_and_never_in_the_log() {
        let password = ChosenPassword::new("correct horse").unwrap();
        assert_eq!(serde_json::to_string(&password).unwrap(), "\"correct horse\"");
        assert!(postcard::to_allocvec(&password).is_err());
        assert!(postcard::to_allocvec(&Token::from_bytes(&[9; 32])).is_err());
    }

    #[test]
    fn a_verifier_survives_the_log_and_the_disk() {
        let verifier = Verifier { argon2: "$argon2id$x".into(), scram: ScramVerifier::new("p", b"salt", 1) };
        let bytes = postcard::to_allocvec(&verifier).unwrap();
        assert_eq!(postcard::from_bytes::<Verifier>(&bytes).unwrap(), verifier);
        let text = serde_json::to_string(&verifier).unwrap();
        assert_eq!(serde_json::from_str::<Verifier>(&text).unwrap(), verifier);
    }
}
