//! The cluster at a glance, for the dashboard: what each server says of itself, the last hour, and the last
//! elections.
//!
//! A thread of its own ([`Board::watch`]) looks at this server once a second and tells the others what it
//! sees, over the links ([`Report`]). So every server knows the whole cluster, as far as it hears the others,
//! and a page asks one server only. Nothing here is replicated or kept on the disk.

mod history;
mod view;
mod warnings;

use std::{
    collections::{BTreeMap, VecDeque},
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use lru::LruCache;
use parking_lot::Mutex;
use serde::Serialize;

use self::history::History;
use super::{context::Context, core::Control, mailbox::Sender, threads::Stop};
use crate::protocol::{
    credential::TokenHash,
    name::ServerId,
    report::Report,
    status::{Cause, Status},
};

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A server whose last report is older counts as not heard. A few reports may get lost.
const HEARD_MS: u64 = 5_000;
/// Elections that are remembered.
const ELECTIONS: usize = 20;

/// How many administrators' tokens are remembered.
const BELIEVED: NonZeroUsize = NonZeroUsize::new(64).expect("it is not 0");

/// Everything that the dashboard shows, and the tokens of those who may see it.
#[derive(Debug)]
pub struct Board {
    content: Mutex<Content>,
    /// The tokens of administrators, and until when each need not be checked again.
    believed: Mutex<LruCache<TokenHash, Instant>>,
}

impl Default for Board {
    fn default() -> Self {
        Board { content: Mutex::default(), believed: Mutex::new(LruCache::new(BELIEVED)) }
    }
}

#[derive(Debug, Default)]
struct Content {
    reports: BTreeMap<ServerId, Heard>,
    /// The last leaders, the newest last.
    elections: VecDeque<Election>,
    history: History,
}

/// The last report of a server.
#[derive(Debug)]
struct Heard {
    at_ms: u64,
    report: Report,
    pace: Pace,
}

/// How fast a server works, between its last two reports.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Pace {
    messages_per_s: f64,
    commits_per_s: f64,
    /// The mean time of a commit; `None` if there was none.
    commit_ms: Option<f64>,
}

/// A change of the leader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Election {
    /// When this server saw it, on the wall clock.
    at_ms: u64,
    term: u64,
    leader_id: ServerId,
    /// From the leader's report; `None` until that has come.
    cause: Option<Cause>,
}

impl Board {
    /// Looks at this server once a second until it is stopped.
    pub fn watch(context: &Context, control: &Sender<Control>, stop: &Stop) {
        while !stop.wait(LOOK_EVERY) {
            let Some(status) = context.shared.status() else { continue };
            let report = context.metrics.report(&status, &context.config().data_dir);
            context.board.look(context, &status, report.clone());
            // If the replica thread is behind, it sends the next one.
            let _ = control.try_send(Control::Report(Box::new(report)));
        }
    }

    /// Remembers for `time` that a token is an administrator's.
    pub fn believe(&self, token: TokenHash, time: Duration) {
        self.believed.lock().put(token, Instant::now() + time);
    }

    pub fn doubt(&self, token: &TokenHash) {
        self.believed.lock().pop(token);
    }

    /// Whether a token is remembered to be an administrator's.
    pub fn is_believed(&self, token: &TokenHash) -> bool {
        self.believed.lock().get(token).is_some_and(|until| Instant::now() < *until)
    }

    /// Takes in the report of another server.
    pub fn hear(&self, now_ms: u64, from: ServerId, report: Report) {
        self.content.lock().hear(now_ms, from, report);
    }

    fn look(&self, context: &Context, status: &Status, report: Report) {
        let now = context.clock.now();
        let mut content = self.content.lock();
        content.hear(now.mono_ms, context.config().server_id().clone(), report);
        content.note_leader(now.wall_ms, status);
        content.sample(now);
    }
}

impl Content {
    fn hear(&mut self, now_ms: u64, from: ServerId, report: Report) {
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

    fn note_leader(&mut self, wall_ms: u64, status: &Status) {
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
    use crate::{protocol::status::Role, replica::io::Now};

    pub(super) fn id(name: &str) -> ServerId {
        ServerId::new(name).unwrap()
    }

    pub(super) fn report(role: Role, uptime_ms: u64, messages: u64) -> Report {
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

    pub(super) fn status(term: u64, leader: Option<&str>) -> Status {
        Status {
            server_id: id("a"),
            role: Role::Follower,
            leader_id: leader.map(id),
            term,
            epoch: 1,
            ring_position: 0,
            last_index: 0,
            commit_index: 0,
            applied_index: 0,
            uptime: 0.0,
            clients: 0,
            messages: 0,
            tcp_port: 1,
            udp_port: 2,
            peers: Vec::new(),
            note: String::new(),
            wanted_leader: None,
            last_backup: None,
            indexing: None,
            scrub: Default::default(),
            version: String::new(),
        }
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
    fn a_sample_is_taken_when_it_is_due() {
        let mut content = Content::default();
        content.hear(1, id("a"), report(Role::Leader, 1_000, 100));
        for ms in (0..60_000).step_by(1_000) {
            content.sample(Now { mono_ms: 1 + ms, wall_ms: 1 + ms });
        }
        assert_eq!(content.history.since(0).len(), 6);
    }
}
