//! What a server knows of the cluster: the last report of each server, the last elections, the last hour.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use super::history::{History, Point};
use crate::{
    protocol::{
        name::ServerId,
        report::Report,
        status::{Cause, Status},
    },
    replica::io::Now,
};

/// A server whose last report is older counts as not heard. A few reports may get lost.
const HEARD_MS: u64 = 5_000;
/// A server that lacks what was committed so long ago does not keep up.
pub const LATE_MS: u64 = 10_000;
/// Elections that are remembered.
const ELECTIONS: usize = 20;

/// The last reports, elections and samples.
#[derive(Debug, Default)]
pub struct Content {
    reports: BTreeMap<ServerId, Heard>,
    /// The last leaders, the newest last.
    pub elections: VecDeque<Election>,
    pub history: History,
    /// The last committed entry that any server told of, at each look of the last [`LATE_MS`]; the oldest
    /// first.
    committed: VecDeque<(u64, u64)>,
}

/// The last report of a server.
#[derive(Debug)]
pub struct Heard {
    at_ms: u64,
    pub report: Report,
    pub pace: Pace,
}

/// How fast a server works, between its last two reports.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pace {
    pub messages_per_s: f64,
    pub commits_per_s: f64,
    /// The mean time of a commit; `None` if there was none.
    pub commit_ms: Option<f64>,
}

/// A change of the leader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Election {
    /// When this server saw it, on the wall clock.
    pub at_ms: u64,
    pub term: u64,
    pub leader_id: ServerId,
    /// From the leader's report; `None` until that has come.
    pub cause: Option<Cause>,
}

impl Content {
    /// Takes in a report that came at `now_ms` on the monotonic clock.
    pub fn hear(&mut self, now_ms: u64, from: ServerId, report: Report) {
        let pace = match self.reports.get(&from) {
            Some(before) => Pace::between(&before.report, &report),
            None => Pace::default(),
        };
        if let Some((term, cause)) = report.elected {
            let elected = self.elections.iter_mut().filter(|one| one.term == term && one.leader_id == from);
            elected.for_each(|election| election.cause = Some(cause));
        }
        self.reports.insert(from, Heard { at_ms: now_ms, report, pace });
    }

    /// Notes the leader of a new term.
    pub fn note_leader(&mut self, wall_ms: u64, status: &Status) {
        let Some(leader_id) = &status.leader_id else { return };
        if self.elections.back().is_some_and(|last| last.term >= status.term) {
            return;
        }
        if self.elections.len() == ELECTIONS {
            self.elections.pop_front();
        }
        let says = self.reports.get(leader_id).and_then(|heard| heard.report.elected);
        let cause = says.filter(|(term, _)| *term == status.term).map(|(_, cause)| cause);
        let (term, leader_id) = (status.term, leader_id.clone());
        self.elections.push_back(Election { at_ms: wall_ms, term, leader_id, cause });
    }

    /// Notes what is committed now.
    pub fn note_committed(&mut self, now_ms: u64) {
        let told = self.reports.values().map(|heard| heard.report.commit_index).max();
        self.committed.push_back((now_ms, told.unwrap_or(0)));
        while self.committed.get(1).is_some_and(|(at_ms, _)| at_ms + LATE_MS <= now_ms) {
            self.committed.pop_front();
        }
    }

    /// The last entry that was committed [`LATE_MS`] ago; 0 if that is not known.
    pub fn long_committed(&self, now_ms: u64) -> u64 {
        let oldest = self.committed.front().filter(|(at_ms, _)| at_ms + LATE_MS <= now_ms);
        oldest.map_or(0, |(_, index)| *index)
    }

    /// Takes a sample of the servers that are heard, if it is due.
    pub fn sample(&mut self, now: Now) {
        if !self.history.is_due(now) {
            return;
        }
        let point = |heard: &Heard| Point {
            messages_per_s: heard.pace.messages_per_s,
            commit_ms: heard.pace.commit_ms,
            clients: heard.report.clients,
            memory_bytes: heard.report.memory_bytes,
        };
        let points = self.heard(now).map(|(server_id, heard)| (server_id.clone(), point(heard))).collect();
        self.history.take(now, points);
    }

    /// The last reports of the servers that are heard.
    pub fn heard(&self, now: Now) -> impl Iterator<Item = (&ServerId, &Heard)> {
        self.reports.iter().filter(move |(_, heard)| now.mono_ms < heard.at_ms + HEARD_MS)
    }
}

impl Pace {
    /// A server that started anew in between has not had time to do anything.
    fn between(before: &Report, after: &Report) -> Pace {
        let seconds = after.uptime_ms.saturating_sub(before.uptime_ms) as f64 / 1_000.0;
        if seconds <= 0.0 {
            return Pace::default();
        }
        let per_s = |before: u64, after: u64| after.saturating_sub(before) as f64 / seconds;
        let commits = after.commits.saturating_sub(before.commits);
        let us = after.commits_us.saturating_sub(before.commits_us);
        Pace {
            messages_per_s: per_s(before.messages, after.messages),
            commits_per_s: per_s(before.commits, after.commits),
            commit_ms: (commits > 0).then(|| us as f64 / commits as f64 / 1_000.0),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::protocol::status::Role;

    pub(in crate::server::board) fn id(name: &str) -> ServerId {
        ServerId::new(name).unwrap()
    }

    pub(in crate::server::board) fn report(role: Role, uptime_ms: u64, messages: u64) -> Report {
        Report {
            role,
            term: 3,
            last_index: 100,
            commit_index: 100,
            applied_index: 100,
            behind: Vec::new(),
            elected: None,
            note: String::new(),
            clients: 2,
            uptime_ms,
            messages,
            commits: messages,
            commits_us: 4_000 * messages,
            memory_bytes: 1 << 24,
            data_bytes: 1 << 20,
            disk_bytes: 1 << 40,
            disk_free_bytes: 1 << 39,
            version: "5.0.0".into(),
        }
    }

    pub(in crate::server::board) fn status(term: u64, leader: Option<&str>) -> Status {
        Status { leader_id: leader.map(id), term, ..Status::empty(id("a"), Role::Follower) }
    }

    #[test]
    fn a_pace_is_what_happened_between_two_reports() {
        let mut content = Content::default();
        content.hear(1, id("a"), report(Role::Leader, 1_000, 100));
        assert_eq!(content.reports[&id("a")].pace, Pace::default());
        content.hear(2, id("a"), report(Role::Leader, 3_000, 150));
        let pace = Pace { messages_per_s: 25.0, commits_per_s: 25.0, commit_ms: Some(4.0) };
        assert_eq!(content.reports[&id("a")].pace, pace);
        content.hear(3, id("a"), report(Role::Leader, 4_000, 150));
        assert_eq!(content.reports[&id("a")].pace.commit_ms, None);
        // It was restarted.
        content.hear(4, id("a"), report(Role::Leader, 500, 7));
        assert_eq!(content.reports[&id("a")].pace, Pace::default());
    }

    #[test]
    fn each_leader_is_noted_once_with_the_cause_that_it_tells() {
        let mut content = Content::default();
        content.note_leader(10, &status(1, None));
        content.note_leader(20, &status(1, Some("b")));
        content.note_leader(30, &status(1, Some("b")));
        assert_eq!(content.elections.len(), 1);
        assert_eq!(content.elections[0].cause, None);
        let elected = Report { elected: Some((1, Cause::Start)), ..report(Role::Leader, 1, 1) };
        content.hear(40, id("b"), elected);
        assert_eq!(content.elections[0].cause, Some(Cause::Start));
        // The leader had already said the cause.
        let elected = Report { elected: Some((2, Cause::Handover)), ..report(Role::Leader, 1, 1) };
        content.hear(50, id("c"), elected);
        content.note_leader(60, &status(2, Some("c")));
        assert_eq!((content.elections[1].at_ms, content.elections[1].cause), (60, Some(Cause::Handover)));
        for term in 3..100 {
            content.note_leader(70, &status(term, Some("b")));
        }
        assert_eq!((content.elections.len(), content.elections[0].term), (ELECTIONS, 80));
    }

    #[test]
    fn what_was_committed_a_while_ago_is_known() {
        let mut content = Content::default();
        content.note_committed(1_000);
        assert_eq!(content.long_committed(20_000), 0, "of no server");
        for second in 1..30 {
            let at_ms = second * 1_000;
            content.hear(at_ms, id("a"), Report { commit_index: second, ..report(Role::Leader, 1, 1) });
            content.note_committed(at_ms);
            assert_eq!(content.long_committed(at_ms), second.saturating_sub(10), "at {at_ms}");
        }
        assert!(content.committed.len() <= 11, "{:?}", content.committed);
    }

    #[test]
    fn a_sample_is_taken_when_it_is_due() {
        let mut content = Content::default();
        content.hear(1, id("a"), report(Role::Leader, 1_000, 100));
        for ms in (0..60_000).step_by(1_000) {
            content.sample(Now { mono_ms: 1 + ms, wall_ms: 1 + ms });
        }
        assert_eq!(content.history.since(0).len(), 6);
    }

    #[test]
    fn a_server_that_is_not_heard_has_no_point() {
        let mut content = Content::default();
        content.hear(0, id("a"), report(Role::Leader, 0, 0));
        content.hear(HEARD_MS, id("b"), report(Role::Follower, 0, 0));
        content.sample(Now { mono_ms: HEARD_MS, wall_ms: 5 });
        let samples = content.history.since(0);
        assert_eq!(samples[0].servers.keys().collect::<Vec<_>>(), [&id("b")]);
    }
}
