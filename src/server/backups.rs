//! Copies of the whole state for operators: who may have one. Only one is made at a time.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::query::Readers;
use crate::protocol::operator::{OperatorKey, PROOF_BYTES};

/// How long a challenge can be answered.
const CHALLENGE_MS: u64 = 30_000;
/// The part of a challenge that says when it was made.
const TIME_BYTES: usize = 8;

/// What the server needs to make backups.
pub struct Backups {
    pub readers: Arc<Readers>,
    /// Marks challenges as ours, so that none has to be remembered. Drawn when the server starts.
    key: [u8; 32],
    is_busy: AtomicBool,
}

/// The right to make a backup. There is one, because a backup keeps the database's log from being cleared.
pub struct BackupSlot<'a>(&'a AtomicBool);

impl Drop for BackupSlot<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Backups {
    /// With a key that was drawn at random.
    pub fn new(readers: Arc<Readers>, key: [u8; 32]) -> Backups {
        Backups { readers, key, is_busy: AtomicBool::new(false) }
    }

    /// Takes the place; `None` if there is a backup under way.
    pub fn begin(&self) -> Option<BackupSlot<'_>> {
        (!self.is_busy.swap(true, Ordering::AcqRel)).then_some(BackupSlot(&self.is_busy))
    }

    /// A challenge for an operator, valid for `CHALLENGE_MS`. An eavesdropper could repeat the answer in
    /// that time, but would only get what they can hear anyway.
    pub fn challenge(&self, now_ms: u64) -> [u8; PROOF_BYTES] {
        let time = now_ms.to_be_bytes();
        let mark: [u8; 32] = self.mac(&time).finalize().into_bytes().into();
        let mut challenge = [0; PROOF_BYTES];
        challenge[..TIME_BYTES].copy_from_slice(&time);
        challenge[TIME_BYTES..].copy_from_slice(&mark[..PROOF_BYTES - TIME_BYTES]);
        challenge
    }

    /// Whether a challenge of this server was answered in time by a client that knows the cluster's secret.
    pub fn accepts(
        &self,
        now_ms: u64,
        operator: &OperatorKey,
        challenge: &[u8; PROOF_BYTES],
        proof: &[u8; PROOF_BYTES],
    ) -> bool {
        let (time, mark) = challenge.split_at(TIME_BYTES);
        let made_ms = time.try_into().map_or(0, u64::from_be_bytes);
        let is_ours = self.mac(time).verify_truncated_left(mark).is_ok();
        let is_in_time = (made_ms..made_ms.saturating_add(CHALLENGE_MS)).contains(&now_ms);
        is_ours && is_in_time && operator.accepts(challenge, proof)
    }

    fn mac(&self, time: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of every length");
        mac.update(time);
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::secret::ClusterSecret;

    #[test]
    fn only_an_operators_answer_in_time_counts() {
        let backups = Backups::new(Arc::default(), [1; 32]);
        let key = OperatorKey::new(&ClusterSecret::from_bytes([3; 32]), "syncnet");
        let challenge = backups.challenge(5_000);
        let proof = key.proof(&challenge);
        assert!(backups.accepts(5_000, &key, &challenge, &proof));
        assert!(backups.accepts(34_999, &key, &challenge, &proof));
        assert!(!backups.accepts(35_000, &key, &challenge, &proof), "too late");
        assert!(!backups.accepts(4_999, &key, &challenge, &proof), "of the future");
        assert!(!backups.accepts(5_000, &key, &challenge, &[0; 32]));
        let mut other = challenge;
        other[7] ^= 1;
        assert!(!backups.accepts(5_000, &key, &other, &key.proof(&other)), "its time was changed");
        let forged = [0; 32];
        assert!(!backups.accepts(0, &key, &forged, &key.proof(&forged)));
        let elsewhere = Backups::new(Arc::default(), [2; 32]).challenge(5_000);
        assert!(!backups.accepts(5_000, &key, &elsewhere, &key.proof(&elsewhere)), "another server's");
    }

    #[test]
    fn one_backup_is_made_at_a_time() {
        let backups = Backups::new(Arc::default(), [1; 32]);
        let place = backups.begin();
        assert!(place.is_some() && backups.begin().is_none());
        drop(place);
        assert!(backups.begin().is_some());
    }
}
