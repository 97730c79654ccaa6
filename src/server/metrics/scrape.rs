//! States, which are read at each request. Events are counted as they happen.

use std::{collections::BTreeMap, path::Path, sync::atomic::Ordering};

use prometheus_client::encoding::prometheus_text;

use super::{Metrics, Queue};
use crate::{
    protocol::{
        report::Report,
        status::{Role, Status},
    },
    server::{
        clients::{Clients, Speaks},
        context::Context,
    },
    storage::folder,
};

pub use prometheus_text::CONTENT_TYPE;

/// All series as they are now, in the text format of Prometheus, version 0.0.4.
pub fn text(context: &Context) -> String {
    let metrics = &context.metrics;
    // Before the first turn of the replica there is nothing to tell.
    if let Some(status) = context.shared.status() {
        metrics.show_status(&status);
    }
    metrics.show_queues();
    metrics.show_connections(&context.clients);
    let sizes = folder::sizes(&context.config().data_dir);
    metrics.log_bytes.set(whole(sizes.log));
    metrics.database_bytes.set(whole(sizes.database));
    metrics.disk_free_bytes.set(whole(sizes.disk_free));
    metrics.disk_size_bytes.set(whole(sizes.disk));
    let config = context.config();
    let expires_s =
        config.certificates.as_ref().and_then(|files| files.expires_s(&metrics.certificates_refused));
    metrics.certificate_expires.set(expires_s.unwrap_or(0));
    metrics.process.read();
    metrics.text()
}

impl Metrics {
    /// All series as they were last read, in the text format of Prometheus.
    pub fn text(&self) -> String {
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.registry).expect("a string takes everything");
        text
    }

    /// This server's report for the other servers.
    pub fn report(&self, status: &Status, data_dir: &Path) -> Report {
        let sizes = folder::sizes(data_dir);
        let behind = status.peers.iter().filter_map(|peer| {
            let lag = status.last_index.saturating_sub(peer.match_index?);
            Some((peer.server_id.clone(), lag))
        });
        Report {
            role: status.role,
            term: status.term,
            last_index: status.last_index,
            commit_index: status.commit_index,
            applied_index: status.applied_index,
            behind: behind.collect(),
            elected: *self.elected.lock(),
            note: status.note.clone(),
            clients: status.clients,
            uptime_ms: (status.uptime * 1_000.0) as u64,
            messages: self.messages.get(),
            commits: self.commits.load(Ordering::Relaxed),
            commits_us: self.commits_us.load(Ordering::Relaxed),
            memory_bytes: self.process.read_memory(),
            data_bytes: sizes.database + sizes.log,
            disk_bytes: sizes.disk,
            disk_free_bytes: sizes.disk_free,
            version: status.version.clone(),
        }
    }

    fn show_status(&self, status: &Status) {
        let leads = status.role == Role::Leader;
        self.leader.set(leads.into());
        self.has_leader.set(status.hears_leader().into());
        self.term.set(whole(status.term));
        self.last_log_index.set(whole(status.last_index));
        self.commit_index.set(whole(status.commit_index));
        self.applied_index.set(whole(status.applied_index));
        self.clients.set(whole(status.clients));
        self.stored_messages.set(whole(status.messages));
        self.last_backup.set(status.last_backup.map_or(0, |at_s| at_s as i64));
        for peer in &status.peers {
            let behind = peer.match_index.map(|index| status.last_index.saturating_sub(index));
            self.replication_lag_entries.of(&peer.server_id).set(whole(behind.unwrap_or(0)));
            self.peer_up.of(&peer.server_id).set(peer.alive.into());
        }
    }

    pub(super) fn show_queues(&self) {
        let mut depths: BTreeMap<Queue, usize> = BTreeMap::new();
        for (queue, depth) in self.queues.lock().iter() {
            *depths.entry(*queue).or_default() += depth();
        }
        for (queue, depth) in depths {
            self.queue_depth.of(&queue).set(whole(depth as u64));
        }
    }

    fn show_connections(&self, clients: &Clients) {
        let spoken: Vec<Speaks> = clients.all().iter().filter_map(|client| client.speaks()).collect();
        for (speaks, gauge) in self.connections.all() {
            gauge.set(whole(spoken.iter().filter(|spoken| *spoken == speaks).count() as u64));
        }
    }
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
