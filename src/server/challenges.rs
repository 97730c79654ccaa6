//! Challenges for operators: the answer to one allows one kind of request over HTTP.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::protocol::operator::{OperatorKey, PROOF_BYTES};

/// How long a challenge can be answered.
const CHALLENGE_MS: u64 = 30_000;
/// The part of a challenge that says when it was made.
const TIME_BYTES: usize = 8;

/// Makes challenges and recognises them, so that none has to be stored.
pub struct Challenges {
    /// Marks challenges as ours. Drawn when the server starts.
    key: [u8; 32],
}

impl Challenges {
    /// With a key that was drawn at random.
    pub fn new(key: [u8; 32]) -> Challenges {
        Challenges { key }
    }

    /// A challenge for the request `what`, valid for `CHALLENGE_MS`. An eavesdropper could repeat the answer
    /// in that time, but only for the same request.
    pub fn make(&self, now_ms: u64, what: &str) -> [u8; PROOF_BYTES] {
        let time = now_ms.to_be_bytes();
        let mark: [u8; 32] = self.mac(&time, what).finalize().into_bytes().into();
        let mut challenge = [0; PROOF_BYTES];
        challenge[..TIME_BYTES].copy_from_slice(&time);
        challenge[TIME_BYTES..].copy_from_slice(&mark[..PROOF_BYTES - TIME_BYTES]);
        challenge
    }

    /// Whether this server's challenge for `what` was answered in time by a client that knows the cluster's
    /// secret.
    pub fn accepts(
        &self,
        now_ms: u64,
        what: &str,
        operator: &OperatorKey,
        (challenge, proof): (&[u8; PROOF_BYTES], &[u8; PROOF_BYTES]),
    ) -> bool {
        let (time, mark) = challenge.split_at(TIME_BYTES);
        let made_ms = time.try_into().map_or(0, u64::from_be_bytes);
        let is_ours = self.mac(time, what).verify_truncated_left(mark).is_ok();
        let is_in_time = (made_ms..made_ms.saturating_add(CHALLENGE_MS)).contains(&now_ms);
        is_ours && is_in_time && operator.accepts(challenge, proof)
    }

    fn mac(&self, time: &[u8], what: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of every length");
        mac.update(time);
        mac.update(what.as_bytes());
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::secret::ClusterSecret;

    #[test]
    fn only_an_operators_answer_in_time_and_for_the_same_counts() {
        let challenges = Challenges::new([1; 32]);
        let key = OperatorKey::new(&ClusterSecret::from_bytes([3; 32]), "syncnet");
        let challenge = challenges.make(5_000, "/a");
        let proof = key.proof(&challenge);
        let accepts = |now_ms, what: &str, challenge: &[u8; 32], proof: &[u8; 32]| {
            challenges.accepts(now_ms, what, &key, (challenge, proof))
        };
        assert!(accepts(5_000, "/a", &challenge, &proof));
        assert!(accepts(34_999, "/a", &challenge, &proof));
        assert!(!accepts(5_000, "/b", &challenge, &proof), "for something else");
        assert!(!accepts(35_000, "/a", &challenge, &proof), "too late");
        assert!(!accepts(4_999, "/a", &challenge, &proof), "of the future");
        assert!(!accepts(5_000, "/a", &challenge, &[0; 32]));
        let mut other = challenge;
        other[7] ^= 1;
        assert!(!accepts(5_000, "/a", &other, &key.proof(&other)), "its time was changed");
        let forged = [0; 32];
        assert!(!accepts(0, "/a", &forged, &key.proof(&forged)));
        let elsewhere = Challenges::new([2; 32]).make(5_000, "/a");
        assert!(!accepts(5_000, "/a", &elsewhere, &key.proof(&elsewhere)), "another server's");
    }
}
