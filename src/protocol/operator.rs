//! How an operator of a cluster proves to be one: by the cluster's secret, without sending it.
//!
//! The server draws a challenge, the operator's tool answers with an HMAC-SHA-256 of it under a key of this
//! one use. Both compute it here. A challenge is good for one answer on one connection, so an answer that was
//! overheard is useless afterwards. If a client's connection is not encrypted, an attacker who can change its
//! bytes can act as an operator: `syncnet-admin user` belongs on a server's machine.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::secret::{ClusterSecret, KEY_BYTES, OPERATOR_LABEL};

/// How the answer to a challenge is named in HTTP: `Authorization: SyncNet-Operator CHALLENGE:PROOF`, in
/// hexadecimal digits.
pub const OPERATOR_SCHEME: &str = "SyncNet-Operator";

/// Length of a challenge and of a proof, in bytes.
pub const PROOF_BYTES: usize = 32;

/// The key of an operator. Shows nothing of itself in logs.
#[derive(Clone)]
pub struct OperatorKey([u8; KEY_BYTES]);

impl OperatorKey {
    /// For the cluster `cluster` with this secret. The caller makes sure that the secret is a real one: the
    /// public secret makes a public key.
    pub fn new(secret: &ClusterSecret, cluster: &str) -> Self {
        OperatorKey(secret.derive(OPERATOR_LABEL, cluster))
    }

    /// The answer to a challenge.
    pub fn proof(&self, challenge: &[u8; PROOF_BYTES]) -> [u8; PROOF_BYTES] {
        self.mac(challenge).finalize().into_bytes().into()
    }

    /// Whether an answer is right. In constant time.
    pub fn accepts(&self, challenge: &[u8; PROOF_BYTES], proof: &[u8; PROOF_BYTES]) -> bool {
        self.mac(challenge).verify_slice(proof).is_ok()
    }

    fn mac(&self, challenge: &[u8; PROOF_BYTES]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of every length");
        mac.update(challenge);
        mac
    }
}

impl fmt::Debug for OperatorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OperatorKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_secret_cluster_and_challenge_are_right() {
        let secret = ClusterSecret::from_bytes([7; KEY_BYTES]);
        let key = OperatorKey::new(&secret, "syncnet");
        let proof = key.proof(&[1; 32]);
        assert!(OperatorKey::new(&secret, "syncnet").accepts(&[1; 32], &proof));
        assert!(!key.accepts(&[2; 32], &proof));
        assert!(!key.accepts(&[1; 32], &[0; 32]));
        assert!(!OperatorKey::new(&secret, "other").accepts(&[1; 32], &proof));
        let other = ClusterSecret::from_bytes([8; KEY_BYTES]);
        assert!(!OperatorKey::new(&other, "syncnet").accepts(&[1; 32], &proof));
        assert_eq!(format!("{key:?}"), "OperatorKey(..)");
    }
}
