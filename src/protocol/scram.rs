//! SCRAM-SHA-256 (RFC 5802, RFC 7677) as pure functions: what a server keeps of a password, and the proofs
//! that the two sides give each other.
//!
//! Nothing here reads or writes the messages of the exchange. The code of a dialect puts the "auth message"
//! together and asks here whether the proof is right.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Fewest iterations that RFC 7677 allows.
pub const ITERATIONS_MIN: u32 = 4_096;

/// What a server keeps to check SCRAM-SHA-256 proofs and to prove itself. It does not suffice for a login,
/// but passwords can be guessed against it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScramVerifier {
    /// Iterations of PBKDF2; the client is told.
    pub iterations: u32,
    /// The salt; the client is told.
    pub salt: Vec<u8>,
    /// Hash of the key that the client proves to have.
    pub stored_key: [u8; 32],
    /// The key that the server proves to have.
    pub server_key: [u8; 32],
}

impl ScramVerifier {
    /// For a password that was prepared (see [`super::credential::Password`]).
    pub fn new(password: &str, salt: &[u8], iterations: u32) -> Self {
        let salted = salted_password(password, salt, iterations);
        ScramVerifier {
            iterations,
            salt: salt.into(),
            stored_key: Sha256::digest(client_key(&salted)).into(),
            server_key: server_key(&salted),
        }
    }

    /// Whether a client's proof is right for this exchange. In constant time.
    pub fn accepts(&self, auth_message: &str, proof: &[u8; 32]) -> bool {
        let signature = hmac(&self.stored_key, auth_message.as_bytes());
        let client_key = xor(proof, &signature);
        let stored_key: [u8; 32] = Sha256::digest(client_key).into();
        stored_key.ct_eq(&self.stored_key).into()
    }

    /// What the server says at the end, to prove that it knows the password's verifier.
    pub fn server_signature(&self, auth_message: &str) -> [u8; 32] {
        hmac(&self.server_key, auth_message.as_bytes())
    }
}

impl fmt::Debug for ScramVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScramVerifier(..)")
    }
}

/// A client's side: what it keeps during one exchange.
pub struct ScramClient {
    salted: [u8; 32],
}

impl ScramClient {
    /// For a prepared password, and the salt and iterations that the server named. The caller refuses more
    /// iterations than it wants to work for, and fewer than [`ITERATIONS_MIN`].
    pub fn new(password: &str, salt: &[u8], iterations: u32) -> Self {
        ScramClient { salted: salted_password(password, salt, iterations) }
    }

    /// The proof to send.
    pub fn proof(&self, auth_message: &str) -> [u8; 32] {
        let client_key = client_key(&self.salted);
        let stored_key: [u8; 32] = Sha256::digest(client_key).into();
        xor(&client_key, &hmac(&stored_key, auth_message.as_bytes()))
    }

    /// Whether the server has proven that it knows the password's verifier. In constant time.
    pub fn accepts(&self, auth_message: &str, signature: &[u8; 32]) -> bool {
        hmac(&server_key(&self.salted), auth_message.as_bytes()).ct_eq(signature).into()
    }
}

impl fmt::Debug for ScramClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScramClient(..)")
    }
}

/// `Hi` of RFC 5802: PBKDF2 with HMAC-SHA-256.
fn salted_password(password: &str, salt: &[u8], iterations: u32) -> [u8; 32] {
    let mut salted = [0; 32];
    pbkdf2::pbkdf2::<Hmac<Sha256>>(password.as_bytes(), salt, iterations, &mut salted)
        .expect("HMAC takes keys of every length");
    salted
}

fn client_key(salted: &[u8; 32]) -> [u8; 32] {
    hmac(salted, b"Client Key")
}

fn server_key(salted: &[u8; 32]) -> [u8; 32] {
    hmac(salted, b"Server Key")
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

fn xor(a: &[u8; 32], b: &[u8; 32]) -> [u8; 32] {
    std::array::from_fn(|place| a[place] ^ b[place])
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64;

    use super::*;

    /// The example of RFC 7677, section 3: user "user", password "pencil".
    #[test]
    fn the_example_of_the_rfc_comes_out() {
        let salt = BASE64.decode(b"W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let auth_message = format!(
            "n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={nonce}"
        );
        let client = ScramClient::new("pencil", &salt, 4_096);
        let proof = client.proof(&auth_message);
        assert_eq!(BASE64.encode(&proof), "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        let verifier = ScramVerifier::new("pencil", &salt, 4_096);
        let signature = verifier.server_signature(&auth_message);
        assert_eq!(BASE64.encode(&signature), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        assert!(verifier.accepts(&auth_message, &proof));
        assert!(client.accepts(&auth_message, &signature));
    }

    #[test]
    fn nothing_else_is_accepted() {
        let verifier = ScramVerifier::new("pencil", b"salt and pepper", 4_096);
        let client = ScramClient::new("pencil", b"salt and pepper", 4_096);
        let proof = client.proof("one exchange");
        assert!(verifier.accepts("one exchange", &proof));
        assert!(!verifier.accepts("another exchange", &proof));
        let other = ScramClient::new("pencil.", b"salt and pepper", 4_096);
        assert!(!verifier.accepts("one exchange", &other.proof("one exchange")));
        assert!(!other.accepts("one exchange", &verifier.server_signature("one exchange")));
        for bit in 0..256 {
            let mut wrong = proof;
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert!(!verifier.accepts("one exchange", &wrong));
        }
    }
}
