//! The rules by which entries become state, numbered, so that a cluster can be upgraded one server at a time.
//!
//! Two programs that apply the same log must come to the same state. So a new program goes on by the old
//! rules until every server knows the new ones; then the leader says in the log from which entry on they
//! hold. `docs/design/upgrades.md` has the whole way.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The number of a set of rules. It only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RulesVersion(pub u8);

impl RulesVersion {
    /// Those that a new cluster begins with.
    pub const FIRST: RulesVersion = RulesVersion(1);
}

impl Default for RulesVersion {
    fn default() -> Self {
        RulesVersion::FIRST
    }
}

impl fmt::Display for RulesVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The rules that a program can apply entries by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownRules {
    /// State that was made by older ones is not understood.
    pub oldest: RulesVersion,
    pub newest: RulesVersion,
}

impl KnownRules {
    /// What this program knows. A change of what entries do makes `newest` grow.
    pub const OURS: KnownRules = KnownRules { oldest: RulesVersion::FIRST, newest: RulesVersion::FIRST };

    /// Whether an entry that needs these rules can be read.
    ///
    /// # Errors
    /// They are too new.
    pub fn read(self, needed: RulesVersion) -> Result<(), RulesError> {
        if needed <= self.newest { Ok(()) } else { Err(RulesError::TooNew { needed, newest: self.newest }) }
    }

    /// Whether this program can go on with a state to which these rules apply.
    ///
    /// # Errors
    /// They are too new or too old.
    pub fn go_on(self, rules: RulesVersion) -> Result<(), RulesError> {
        if rules < self.oldest {
            return Err(RulesError::TooOld { needed: rules, oldest: self.oldest });
        }
        self.read(rules)
    }
}

impl Default for KnownRules {
    fn default() -> Self {
        KnownRules::OURS
    }
}

/// Why this program cannot work with some data. The words fit behind its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RulesError {
    #[error(
        "needs version {needed} of the rules, and this program knows them up to version {newest}: start the newer \
         program that the other servers run"
    )]
    TooNew { needed: RulesVersion, newest: RulesVersion },
    #[error(
        "was made by version {needed} of the rules, and this program knows them from version {oldest} on: upgrade to \
         a version between the two first"
    )]
    TooOld { needed: RulesVersion, oldest: RulesVersion },
}
