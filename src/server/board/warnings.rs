//! What is wrong, in words, and what to do about it.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{
    content::{Election, LATE_MS},
    row::{OFFLINE, Row},
};
use crate::protocol::{
    name::ServerId,
    status::{Cause, Role},
};

/// Entries behind the leader from which a server counts as not keeping up. Fewer are caught up in a moment.
const BEHIND: u64 = 5_000;
/// A commit that takes so long is noticed by users.
const SLOW_MS: f64 = 500.0;
/// Elections without a handover within [`RESTLESS_MS`] that are too many.
const RESTLESS: usize = 3;
const RESTLESS_MS: u64 = 15 * 60 * 1_000;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    pub level: Level,
    pub text: String,
    /// The advice to the operator.
    pub advice: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// No user can write.
    Critical,
    /// After one more fault, no user may be able to write.
    Warning,
}

/// All that is wrong, the worst first.
pub fn warnings(
    leader_id: Option<&ServerId>,
    servers: &[Row],
    elections: &[Election],
    now_ms: u64,
) -> Vec<Warning> {
    let mut found = Vec::new();
    let offline = servers.iter().filter(|row| row.role == OFFLINE).count();
    let majority = servers.len() / 2 + 1;
    let heard = servers.len() - offline;
    if leader_id.is_none() {
        let advice = if heard >= majority {
            "A leader is being chosen. If this stays, look at the logs of the servers."
        } else {
            "A majority of the servers must be up and hear each other. Bring servers back, or mend the network."
        };
        found.push(critical("No server leads: people can read, and nobody can write.", advice));
    }
    servers.iter().for_each(|row| of_server(row, heard.saturating_sub(majority), &mut found));
    let restless = |cause: &Option<Cause>| !matches!(cause, Some(Cause::Handover | Cause::Start));
    let elections = elections.iter().filter(|one| one.at_ms + RESTLESS_MS > now_ms && restless(&one.cause));
    let elections = elections.count();
    if elections >= RESTLESS {
        found.push(warning(
            format!("{elections} elections in 15 minutes."),
            "Leaders are lost again and again: a slow disk, a bad network, or a machine with too little time to run. \
             The causes stand below.",
        ));
    }
    let versions: BTreeSet<&str> =
        servers.iter().filter_map(|row| Some(row.told.as_ref()?.version.as_str())).collect();
    if versions.len() > 1 {
        let list: Vec<&str> = versions.into_iter().collect();
        found.push(warning(
            format!("The servers run different versions: {}.", list.join(", ")),
            "Bring all to the newest one, one after the other.",
        ));
    }
    found.sort_by_key(|warning| warning.level);
    found
}

/// What is wrong with one server; `spare` more may be lost before there is no majority.
fn of_server(row: &Row, spare: usize, found: &mut Vec<Warning>) {
    let id = &row.server_id;
    let Some(told) = &row.told else {
        let left = match spare {
            0 => "Until then no other server may be lost.",
            _ => "There are enough others meanwhile.",
        };
        found.push(warning(
            format!("{id} is not heard."),
            format!("Start it again, or look at its machine and at the network. {left}"),
        ));
        return;
    };
    if row.role == Role::Learner.word() || row.role == Role::Forming.word() {
        let advice = "Wait until it has caught up, and stop no other server meanwhile.";
        found.push(warning(format!("{id} does not count yet: {}.", told.note), advice));
    } else if !told.note.is_empty() {
        found.push(warning(format!("{id}: {}.", told.note), "Mostly this passes by itself within seconds."));
    }
    let advice = "It does not keep up: look at its disk, its load and the network to it.";
    let counts = row.role == Role::Leader.word() || row.role == Role::Follower.word();
    if let Some(lag) = row.lag.filter(|lag| *lag > BEHIND) {
        found.push(warning(format!("{id} is {lag} entries behind the leader."), advice));
    } else if counts && row.late > 0 {
        let (late, ago) = (row.late, LATE_MS / 1_000);
        found.push(warning(format!("{id} lacks {late} entries that were committed {ago} s ago."), advice));
    }
    if told.disk_bytes > 0 && told.disk_free_bytes < told.disk_bytes / 10 {
        let per_cent = told.disk_free_bytes * 100 / told.disk_bytes;
        found.push(warning(
            format!("The disk of {id} has {per_cent} % left."),
            "Make room, or let rooms forget what is old. A server whose disk is full takes no messages.",
        ));
    }
    if let Some(ms) = told.commit_ms.filter(|ms| *ms > SLOW_MS) {
        found.push(warning(
            format!("Messages sent through {id} take {:.1} s.", ms / 1_000.0),
            "A disk syncs slowly, or there is more load than the machines carry.",
        ));
    }
}

fn critical(text: impl Into<String>, advice: impl Into<String>) -> Warning {
    Warning { level: Level::Critical, text: text.into(), advice: advice.into() }
}

fn warning(text: impl Into<String>, advice: impl Into<String>) -> Warning {
    Warning { level: Level::Warning, text: text.into(), advice: advice.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        protocol::{report::Report, status::Status},
        server::board::{
            content::tests::{report, status},
            view::tests::{view_of, with_peers},
        },
    };

    fn texts(reports: &[(&str, Report)], status: &Status) -> Vec<String> {
        let warnings = view_of(reports, status).warnings;
        assert!(warnings.iter().all(|warning| warning.advice.ends_with('.')));
        warnings.into_iter().map(|warning| warning.text).collect()
    }

    #[test]
    fn nothing_is_wrong_with_a_healthy_cluster() {
        let reports = ["a", "b", "c"]
            .map(|id| (id, report(if id == "b" { Role::Leader } else { Role::Follower }, 1, 1)));
        assert_eq!(texts(&reports, &with_peers(status(3, Some("b")), &["b", "c"])), Vec::<String>::new());
    }

    #[test]
    fn each_fault_has_its_words() {
        let follower = || report(Role::Follower, 1, 1);
        let reports = [("a", follower()), ("b", follower()), ("c", follower())];
        let lonely = texts(&reports, &with_peers(status(3, Some("b")), &[]));
        assert_eq!(
            lonely,
            ["No server leads: people can read, and nobody can write.", "b is not heard.", "c is not heard."]
        );
        let slow = Report { applied_index: 93, ..follower() };
        let reports = [("a", follower()), ("b", report(Role::Leader, 1, 1)), ("c", slow)];
        assert_eq!(
            texts(&reports, &with_peers(status(3, Some("b")), &["b", "c"])),
            ["c lacks 7 entries that were committed 10 s ago."]
        );
        let learner = Report { note: "being rebuilt".into(), ..report(Role::Learner, 1, 1) };
        let full = Report { disk_free_bytes: 1 << 36, version: "5.1.0".into(), ..report(Role::Leader, 1, 1) };
        let reports = [("a", follower()), ("b", full), ("c", learner)];
        assert_eq!(
            texts(&reports, &with_peers(status(3, Some("b")), &["b", "c"])),
            [
                "The disk of b has 6 % left.",
                "c does not count yet: being rebuilt.",
                "The servers run different versions: 5.0.0, 5.1.0.",
            ]
        );
    }
}
