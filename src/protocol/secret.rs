//! The one secret that the servers of a cluster share, and the keys that are made from it.
//!
//! A program that has it counts as a server of the cluster. It is never used as it is: each use derives a key
//! of its own under a label, so a message for one use cannot be replayed for another.

use std::fmt;

use data_encoding::HEXLOWER_PERMISSIVE;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use thiserror::Error;

use super::text::counted;

/// Length of the secret and of every derived key, in bytes.
pub const KEY_BYTES: usize = 32;

/// The label of the key that authenticates datagrams between servers.
pub const DATAGRAM_LABEL: &str = "syncnet datagram v1";
/// The label of the pre-shared key of the peer links (Noise `NNpsk0`).
pub const LINK_LABEL: &str = "syncnet link v1";
/// The label of the key by which operators prove themselves.
pub const OPERATOR_LABEL: &str = "syncnet operator v1";

/// Why a text is no cluster secret. Repeats nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidSecret {
    /// It has this many characters.
    #[error("the cluster secret has {}; it must be 64 hexadecimal digits", counted(*.0 as u64, "character"))]
    Length(usize),
    #[error("the cluster secret has a character that is no hexadecimal digit")]
    Digit,
    /// Nobody draws such a secret at random.
    #[error("the cluster secret repeats one byte; use 32 random bytes")]
    Weak,
}

/// The secret of a cluster. Shows nothing of itself in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterSecret([u8; KEY_BYTES]);

impl ClusterSecret {
    /// Takes 32 random bytes as the secret.
    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        ClusterSecret(bytes)
    }

    /// The public secret, for a cluster without one. It protects nothing: the caller must bind the
    /// server-to-server ports to loopback only, and say so.
    pub fn public() -> Self {
        ClusterSecret([0; KEY_BYTES])
    }

    /// Reads a secret: 64 hexadecimal digits, white space around them allowed. The error
    /// repeats nothing of the text.
    pub fn parse(text: &str) -> Result<Self, InvalidSecret> {
        let digits = text.trim().as_bytes();
        if digits.len() != 2 * KEY_BYTES {
            return Err(InvalidSecret::Length(digits.len()));
        }
        let mut bytes = [0; KEY_BYTES];
        if HEXLOWER_PERMISSIVE.decode_mut(digits, &mut bytes).is_err() {
            return Err(InvalidSecret::Digit);
        }
        if bytes.iter().all(|&byte| byte == bytes[0]) {
            return Err(InvalidSecret::Weak);
        }
        Ok(ClusterSecret(bytes))
    }

    /// The key for one use: HMAC-SHA-256 of the label and the context under the secret, which is the "expand"
    /// step of HKDF (RFC 5869) for one block. `label` names the use and holds no NUL; `context`, such as the
    /// name of the cluster, tells keys of one use apart.
    pub fn derive(&self, label: &str, context: &str) -> [u8; KEY_BYTES] {
        debug_assert!(!label.contains('\0'), "a NUL ends the label");
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of every length");
        mac.update(label.as_bytes());
        mac.update(&[0]);
        mac.update(context.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterSecret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_64_digits_and_nothing_else() {
        let text = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF";
        let secret = ClusterSecret::parse(&format!(" {text}\n")).unwrap();
        assert_eq!(secret.0[..4], [0x00, 0x11, 0x22, 0x33]);
        assert_eq!(secret.0[31], 0xff);
        for bad in ["", "00", &text[1..], &text.replace('0', "g"), &"é".repeat(32), &"07".repeat(32)] {
            let error = ClusterSecret::parse(bad).unwrap_err();
            assert!(bad.is_empty() || !error.to_string().contains(bad), "{error}");
        }
        assert!(!format!("{secret:?}").contains("11"));
    }

    #[test]
    fn every_use_has_its_own_key() {
        let secret = ClusterSecret::from_bytes([7; KEY_BYTES]);
        let keys = [
            secret.derive(DATAGRAM_LABEL, "a"),
            secret.derive(DATAGRAM_LABEL, "b"),
            secret.derive(LINK_LABEL, "a"),
            secret.derive(OPERATOR_LABEL, "a"),
            secret.derive("syncnet datagram v1a", ""),
            ClusterSecret::public().derive(DATAGRAM_LABEL, "a"),
        ];
        for (place, key) in keys.iter().enumerate() {
            assert!(!keys[..place].contains(key));
        }
    }
}
