//! The request for the audit log.

use serde::{Deserialize, Serialize};

use crate::protocol::{
    answer::AuditPage,
    checked::{Limit, Seq},
    limits::{AUDIT_DEFAULT, HISTORY_MAX},
};

/// Lists what users with rights over others did with them, the newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Audit {
    /// Only entries with a lower number: to page.
    pub before: Option<Seq>,
    /// [`AUDIT_DEFAULT`] if it is left out.
    pub limit: Option<Limit<{ HISTORY_MAX as u64 }>>,
}

impl Audit {
    /// How many are asked for.
    pub fn limit(&self) -> usize {
        self.limit.map_or(AUDIT_DEFAULT, |limit| limit.get() as usize)
    }

    pub(super) fn next(&self, page: &AuditPage) -> Option<Audit> {
        let last = page.entries.last().filter(|_| page.more)?;
        Some(Audit { before: Some(Seq::try_from(last.number).ok()?), ..self.clone() })
    }
}
