//! The configuration of a replica, checked before it starts.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::protocol::{directory::Directory, limits::Limits, name::ServerId, rules::KnownRules};

pub use crate::protocol::directory::ServerEntry;

/// What followers do with requests that only a leader can commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Followers {
    /// Pass them on to the leader.
    #[default]
    Forward,
    /// Tell the client the leader's address.
    Redirect,
}

/// Times. `docs/design/consensus.md` explains the defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timing {
    /// One tick of the consensus library.
    pub tick_ms: u64,
    /// Ticks between the leader's consensus heartbeats.
    pub heartbeat_ticks: usize,
    /// Ticks of a leader's lease: without a majority for so long it steps down.
    pub election_ticks: usize,
    /// Ticks after which a server campaigns by itself, if the ring election fails; it waits
    /// `fallback_step_ticks` longer for each server above it in the ring.
    pub fallback_ticks: usize,
    /// See `fallback_ticks`.
    pub fallback_step_ticks: usize,
    /// Time between two heartbeats.
    pub heartbeat_ms: u64,
    /// Time without a heartbeat after which a server is believed dead.
    pub failure_detection_ms: u64,
    /// How long a higher server must be stable before leadership is handed to it.
    pub handover_hold_ms: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            tick_ms: 20,
            heartbeat_ticks: 2,
            election_ticks: 12,
            fallback_ticks: 60,
            fallback_step_ticks: 20,
            heartbeat_ms: 60,
            failure_detection_ms: 320,
            handover_hold_ms: 2_000,
        }
    }
}

impl Timing {
    /// Checks each value and their relations; the error names the setting and what it may be.
    pub fn check(&self) -> Result<(), TimingError> {
        let within = |name: &'static str, value: u64, least: u64, most: u64| {
            let is_within = (least..=most).contains(&value);
            is_within.then_some(()).ok_or(TimingError::OutOfRange { name, value, least, most })
        };
        within("tick_ms", self.tick_ms, 1, 1_000)?;
        within("heartbeat_ticks", self.heartbeat_ticks as u64, 1, 100)?;
        within("election_ticks", self.election_ticks as u64, 3, 1_000)?;
        within("fallback_ticks", self.fallback_ticks as u64, 4, 10_000)?;
        within("fallback_step_ticks", self.fallback_step_ticks as u64, 1, 1_000)?;
        within("heartbeat_ms", self.heartbeat_ms, 10, 60_000)?;
        within("failure_detection_ms", self.failure_detection_ms, 30, 600_000)?;
        within("handover_hold_ms", self.handover_hold_ms, 0, 3_600_000)?;
        let Timing { heartbeat_ticks, election_ticks, fallback_ticks, .. } = *self;
        let Timing { heartbeat_ms, failure_detection_ms, .. } = *self;
        if election_ticks < 3 * heartbeat_ticks {
            return Err(TimingError::ElectionTicks { election_ticks, heartbeat_ticks });
        }
        if fallback_ticks < 2 * election_ticks {
            return Err(TimingError::FallbackTicks { fallback_ticks, election_ticks });
        }
        if failure_detection_ms < 3 * heartbeat_ms {
            return Err(TimingError::FailureDetection { failure_detection_ms, heartbeat_ms });
        }
        let lease_ms = self.tick_ms.saturating_mul(election_ticks as u64);
        if failure_detection_ms <= lease_ms {
            return Err(TimingError::Lease { failure_detection_ms, lease_ms });
        }
        Ok(())
    }
}

/// Why timings cannot be used. Names the setting, and what would do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TimingError {
    #[error("timing.{name} is {value}; it must be {least} to {most}")]
    OutOfRange { name: &'static str, value: u64, least: u64, most: u64 },
    #[error(
        "timing.election_ticks is {election_ticks}; it must be at least three times heartbeat_ticks ({heartbeat_ticks})"
    )]
    ElectionTicks { election_ticks: usize, heartbeat_ticks: usize },
    #[error(
        "timing.fallback_ticks is {fallback_ticks}; it must be at least twice election_ticks ({election_ticks})"
    )]
    FallbackTicks { fallback_ticks: usize, election_ticks: usize },
    #[error(
        "timing.failure_detection_ms is {failure_detection_ms}; \
         it must be at least three times heartbeat_ms ({heartbeat_ms})"
    )]
    FailureDetection { failure_detection_ms: u64, heartbeat_ms: u64 },
    /// A leader whose lease runs must not be believed dead.
    #[error(
        "timing.failure_detection_ms is {failure_detection_ms}; \
         it must outlast the lease of tick_ms x election_ticks = {lease_ms}"
    )]
    Lease { failure_detection_ms: u64, lease_ms: u64 },
}

/// Whether guests may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMode {
    /// A client with a name that is not registered is let in as a guest.
    #[default]
    Open,
    /// Only accounts are let in.
    Required,
}

/// Who is let in, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Auth {
    pub mode: AuthMode,
    /// Days without use after which a session's token ends.
    pub token_idle_days: u32,
    /// Days after which a session's token ends, however often it is used.
    pub token_absolute_days: u32,
    /// How many passwords from one address may be hashed, or wait for it, at the same time.
    pub hashes_per_address: usize,
}

impl Default for Auth {
    fn default() -> Self {
        Auth {
            mode: AuthMode::default(),
            token_idle_days: 30,
            token_absolute_days: 365,
            hashes_per_address: 16,
        }
    }
}

impl Auth {
    /// [`Auth::token_idle_days`] in milliseconds.
    pub fn token_idle_ms(&self) -> u64 {
        u64::from(self.token_idle_days) * DAY_MS
    }

    /// [`Auth::token_absolute_days`] in milliseconds.
    pub fn token_absolute_ms(&self) -> u64 {
        u64::from(self.token_absolute_days) * DAY_MS
    }
}

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

#[derive(Debug, Clone)]
pub struct ReplicaConfig {
    pub server_id: ServerId,
    /// All servers, this one included: those of the configuration file, until the log says otherwise.
    pub servers: Directory,
    /// Whether this server begins no cluster: without data it waits to be let into one that is there.
    pub joins: bool,
    pub timing: Timing,
    pub limits: Limits,
    /// Who is let in.
    pub auth: Auth,
    /// What followers do with writes.
    pub followers: Followers,
    /// Applied entries of the log that are kept for peers that were away.
    pub keep_entries: u64,
    /// The rules that this program can apply entries by.
    pub rules: KnownRules,
}

impl ReplicaConfig {
    /// The entry of `server_id`, if the cluster has it.
    pub fn server(&self, server_id: &ServerId) -> Option<&ServerEntry> {
        self.servers.entry(server_id)
    }

    /// The same, with what may change while a server runs taken from `other`.
    pub fn adjusted(&self, other: &ReplicaConfig) -> ReplicaConfig {
        let ReplicaConfig { limits, auth, followers, keep_entries, .. } = other.clone();
        ReplicaConfig { limits, auth, followers, keep_entries, ..self.clone() }
    }

    /// This server's ring position.
    pub fn ring_position(&self) -> u32 {
        self.server(&self.server_id).map_or(0, |server| server.ring_position)
    }

    /// How many servers stand above this one in the ring.
    pub fn servers_above(&self) -> usize {
        let mine = self.ring_position();
        self.servers.iter().filter(|server| server.ring_position > mine).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_sound_and_bad_pairs_are_named() {
        Timing::default().check().unwrap();
        let slow = Timing { failure_detection_ms: 200, ..Timing::default() };
        assert!(slow.check().unwrap_err().to_string().contains("outlast the lease"));
        let rare = Timing { heartbeat_ms: 200, ..Timing::default() };
        assert!(rare.check().unwrap_err().to_string().contains("three times heartbeat_ms"));
    }
}
