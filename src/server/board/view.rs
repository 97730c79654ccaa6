//! The board as the page gets it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    Board, Content, Election, HEARD_MS, Heard,
    history::{SAMPLE_MS, Sample},
    warnings::{Warning, warnings},
};
use crate::{
    config::ServerEntry,
    protocol::{
        name::ServerId,
        status::{Role, Status},
    },
    replica::io::Now,
    server::context::Context,
};

/// Everything that the page shows, except samples that it has already.
#[derive(Debug, Serialize)]
pub struct View {
    /// The server that was asked.
    server_id: ServerId,
    cluster_name: String,
    now_ms: u64,
    pub(super) term: u64,
    /// Who leads, if the server that was asked knows it.
    pub(super) leader_id: Option<ServerId>,
    pub(super) servers: Vec<Row>,
    pub(super) elections: Vec<Election>,
    sample_ms: u64,
    samples: Vec<Sample>,
    warnings: Vec<Warning>,
}

/// A configured server. What is not known of it is left out.
#[derive(Debug, Serialize)]
pub struct Row {
    pub(super) server_id: ServerId,
    host: String,
    port: u16,
    ring_position: u32,
    /// `OFFLINE` if it is not heard.
    pub(super) role: &'static str,
    /// How long ago its last heartbeat came; none of the server that was asked.
    heartbeat_age_ms: Option<u64>,
    /// How many entries it is behind the leader, as the leader says.
    pub(super) lag: Option<u64>,
    /// Its last report.
    #[serde(flatten)]
    pub(super) told: Option<SelfReport>,
}

/// The parts of a server's report that the page shows.
#[derive(Debug, Serialize)]
pub struct SelfReport {
    pub(super) term: u64,
    last_index: u64,
    commit_index: u64,
    applied_index: u64,
    clients: u64,
    uptime_ms: u64,
    messages_per_s: f64,
    commits_per_s: f64,
    pub(super) commit_ms: Option<f64>,
    memory_bytes: u64,
    data_bytes: u64,
    pub(super) disk_bytes: u64,
    pub(super) disk_free_bytes: u64,
    pub(super) note: String,
    pub(super) version: String,
}

/// The role of a server that is not heard.
pub const OFFLINE: &str = "OFFLINE";

impl Board {
    /// The board, with the samples that are newer than `since_ms`; `None` before the first look.
    pub fn view(&self, context: &Context, since_ms: u64) -> Option<View> {
        let status = context.shared.status()?;
        // One that is to join does not count yet.
        let servers: Vec<ServerEntry> = context.shared.servers().voting().cloned().collect();
        let view = self.content.lock().view(context.clock.now(), &status, &servers, since_ms);
        Some(View { cluster_name: context.config().cluster_name.clone(), ..view })
    }
}

impl Content {
    fn view(&self, now: Now, status: &Status, servers: &[ServerEntry], since_ms: u64) -> View {
        let behind: BTreeMap<&ServerId, u64> = self
            .heard(now)
            .filter(|(_, heard)| heard.report.role == Role::Leader && heard.report.term == status.term)
            .flat_map(|(leader, heard)| {
                let others = heard.report.behind.iter().map(|(server_id, lag)| (server_id, *lag));
                others.chain([(leader, 0)])
            })
            .collect();
        let rows = servers.iter().map(|server| {
            let id = &server.server_id;
            let is_me = *id == status.server_id;
            let peer = status.peers.iter().find(|peer| peer.server_id == *id);
            let is_heard = is_me || peer.is_some_and(|peer| peer.alive);
            let heard = self.heard(now).find(|(known, _)| *known == id).map(|(_, heard)| heard);
            let told = heard.filter(|_| is_heard);
            let (host, port) = server.client_address();
            Row {
                server_id: id.clone(),
                host: host.into(),
                port,
                ring_position: server.ring_position,
                role: told.map_or(OFFLINE, |heard| heard.report.role.word()),
                heartbeat_age_ms: peer.and_then(|peer| peer.last_heartbeat_age_ms),
                lag: behind.get(id).copied().filter(|_| is_heard),
                told: told.map(SelfReport::from),
            }
        });
        let mut view = View {
            server_id: status.server_id.clone(),
            cluster_name: String::new(),
            now_ms: now.wall_ms,
            term: status.term,
            leader_id: status.leader_id.clone().filter(|_| status.hears_leader()),
            servers: rows.collect(),
            elections: self.elections.iter().rev().cloned().collect(),
            sample_ms: SAMPLE_MS,
            samples: self.history.since(since_ms).into_iter().cloned().collect(),
            warnings: Vec::new(),
        };
        view.warnings = warnings(&view, now.wall_ms);
        view
    }

    fn heard(&self, now: Now) -> impl Iterator<Item = (&ServerId, &Heard)> {
        self.reports.iter().filter(move |(_, heard)| now.mono_ms < heard.at_ms + HEARD_MS)
    }
}

impl From<&Heard> for SelfReport {
    fn from(heard: &Heard) -> SelfReport {
        let (report, pace) = (&heard.report, heard.pace);
        SelfReport {
            term: report.term,
            last_index: report.last_index,
            commit_index: report.commit_index,
            applied_index: report.applied_index,
            clients: report.clients,
            uptime_ms: report.uptime_ms,
            messages_per_s: pace.messages_per_s,
            commits_per_s: pace.commits_per_s,
            commit_ms: pace.commit_ms,
            memory_bytes: report.memory_bytes,
            data_bytes: report.data_bytes,
            disk_bytes: report.disk_bytes,
            disk_free_bytes: report.disk_free_bytes,
            note: report.note.clone(),
            version: report.version.clone(),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{
        protocol::{report::Report, status::PeerStatus},
        server::board::tests::{id, report, status},
    };

    /// The view of server `a`, one of three, given these reports and this status.
    pub(in crate::server::board) fn view_of(reports: &[(&str, Report)], status: &Status) -> View {
        let mut content = Content::default();
        for (from, report) in reports {
            content.hear(1_000, id(from), report.clone());
        }
        let entry = |(place, name): (u16, &str)| ServerEntry::new(id(name), name, 8000 + place, place.into());
        let servers: Vec<_> = (0..).zip(["a", "b", "c"]).map(entry).collect();
        content.view(Now { mono_ms: 2_000, wall_ms: 1_000_000 }, status, &servers, 0)
    }

    pub(in crate::server::board) fn with_peers(status: Status, alive: &[&str]) -> Status {
        let peer = |name: &str| PeerStatus {
            server_id: id(name),
            host: name.into(),
            port: 8000,
            client_host: name.into(),
            client_port: 8000,
            alive: alive.contains(&name),
            last_heartbeat_age_ms: Some(20),
            match_index: None,
            clock_offset_ms: None,
        };
        Status { peers: ["b", "c"].map(peer).into(), ..status }
    }

    #[test]
    fn a_server_is_offline_when_it_is_not_heard() {
        let leader = Report { behind: vec![(id("a"), 7), (id("c"), 9)], ..report(Role::Leader, 1, 1) };
        let reports =
            [("a", report(Role::Follower, 1, 1)), ("b", leader), ("c", report(Role::Learner, 1, 1))];
        let view = view_of(&reports, &with_peers(status(3, Some("b")), &["b"]));
        let rows: Vec<_> = view.servers.iter().map(|row| (row.role, row.lag, row.told.is_some())).collect();
        assert_eq!(rows, [("FOLLOWER", Some(7), true), ("LEADER", Some(0), true), ("OFFLINE", None, false)]);
        assert_eq!(view.leader_id, Some(id("b")));
        // A leader of an older term tells nothing of this one.
        let view = view_of(&reports, &with_peers(status(4, None), &["b", "c"]));
        assert!(view.servers.iter().all(|row| row.lag.is_none()), "{:?}", view.servers);
        assert_eq!((view.servers[2].role, view.leader_id), ("LEARNER", None));
    }
}
