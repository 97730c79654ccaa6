//! The board as the page gets it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    content::{Content, Election},
    history::{SAMPLE_MS, Sample},
    row::{OFFLINE, Row, SelfReport},
    warnings::{Warning, warnings},
};
use crate::{
    config::ServerEntry,
    protocol::{
        name::ServerId,
        status::{Role, Status},
    },
    replica::io::Now,
};

/// Everything that the page shows, except samples that it has already.
#[derive(Debug, Serialize)]
pub struct View {
    /// The server that was asked.
    server_id: ServerId,
    cluster_name: String,
    now_ms: u64,
    term: u64,
    /// Who leads, if the server that was asked knows it.
    leader_id: Option<ServerId>,
    servers: Vec<Row>,
    elections: Vec<Election>,
    sample_ms: u64,
    samples: Vec<Sample>,
    pub(super) warnings: Vec<Warning>,
}

/// How the cluster is seen by one server.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    pub now: Now,
    pub cluster_name: &'a str,
    /// Of the server that was asked for the page.
    pub status: &'a Status,
    /// The servers that count.
    pub servers: &'a [ServerEntry],
}

impl View {
    /// The page, with the samples that are newer than `since_ms`.
    pub fn of(content: &Content, seen: Seen<'_>, since_ms: u64) -> View {
        let Seen { now, cluster_name, status, servers } = seen;
        let behind: BTreeMap<&ServerId, u64> = content
            .heard(now)
            .filter(|(_, heard)| heard.report.role == Role::Leader && heard.report.term == status.term)
            .flat_map(|(leader, heard)| {
                let others = heard.report.behind.iter().map(|(server_id, lag)| (server_id, *lag));
                others.chain([(leader, 0)])
            })
            .collect();
        let long_committed = content.long_committed(now.mono_ms);
        let rows = servers.iter().map(|server| {
            let id = &server.server_id;
            let is_me = *id == status.server_id;
            let peer = status.peers.iter().find(|peer| peer.server_id == *id);
            let is_heard = is_me || peer.is_some_and(|peer| peer.alive);
            let heard = content.heard(now).find(|(known, _)| *known == id).map(|(_, heard)| heard);
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
                late: told.map_or(0, |heard| long_committed.saturating_sub(heard.report.applied_index)),
                told: told.map(SelfReport::from),
            }
        });
        let rows: Vec<Row> = rows.collect();
        let leader_id = status.leader_id.clone().filter(|_| status.hears_leader());
        let elections: Vec<Election> = content.elections.iter().rev().cloned().collect();
        View {
            server_id: status.server_id.clone(),
            cluster_name: cluster_name.to_owned(),
            now_ms: now.wall_ms,
            term: status.term,
            warnings: warnings(leader_id.as_ref(), &rows, &elections, now.wall_ms),
            leader_id,
            servers: rows,
            elections,
            sample_ms: SAMPLE_MS,
            samples: content.history.since(since_ms).into_iter().cloned().collect(),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{
        protocol::{report::Report, status::PeerStatus},
        server::board::content::tests::{id, report, status},
    };

    /// The view of server `a`, one of three, given these reports and this status.
    pub(in crate::server::board) fn view_of(reports: &[(&str, Report)], status: &Status) -> View {
        let mut content = Content::default();
        for (from, report) in reports {
            content.hear(1_000, id(from), report.clone());
        }
        let entry = |(place, name): (u16, &str)| ServerEntry::new(id(name), name, 8000 + place, place.into());
        let servers: Vec<_> = (0..).zip(["a", "b", "c"]).map(entry).collect();
        content.note_committed(1_000);
        for (from, report) in reports {
            content.hear(11_000, id(from), report.clone());
        }
        let now = Now { mono_ms: 11_000, wall_ms: 1_000_000 };
        View::of(&content, Seen { now, cluster_name: "c", status, servers: &servers }, 0)
    }

    pub(in crate::server::board) fn with_peers(status: Status, alive: &[&str]) -> Status {
        let peer = |name: &str| PeerStatus {
            alive: alive.contains(&name),
            last_heartbeat_age_ms: Some(20),
            ..PeerStatus::unheard(id(name), name, 8000)
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
