//! What the values of a configuration must be, one by one and together.

use std::{collections::BTreeMap, net::IpAddr};

use crate::{
    config::ServerEntry,
    protocol::{
        directory::SERVERS_MAX,
        limits::{HISTORY_BYTES, LINE_BYTES_LEAST, Limits},
        name::ServerId,
    },
    server::{
        credentials::Costs,
        http::origin::Origin,
        machine::ports::{PORTS, Port},
    },
};

use super::{
    addresses::is_loopback,
    error::SettingError,
    file::{AuthSection, ConfigFile, Heartbeat, Http, Transport},
};

pub(super) fn find_server<'a>(
    servers: &'a [ServerEntry],
    server_id: &ServerId,
) -> Result<&'a ServerEntry, SettingError> {
    servers.iter().find(|server| server.server_id == *server_id).ok_or_else(|| {
        let known: Vec<_> = servers.iter().map(|server| server.server_id.as_str()).collect();
        SettingError::NotAmong { server_id: server_id.clone(), known: known.join(", ") }
    })
}

pub(super) fn check_cluster_name(name: &str) -> Result<(), SettingError> {
    let fits = (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(()) } else { Err(SettingError::ClusterName(name.into())) }
}

pub(super) fn check_servers(servers: &[ServerEntry]) -> Result<(), SettingError> {
    if !(1..=SERVERS_MAX).contains(&servers.len()) {
        return Err(SettingError::Servers(servers.len()));
    }
    let mut used: BTreeMap<(String, u16, bool), &ServerEntry> = BTreeMap::new();
    let mut told: BTreeMap<(String, u16), &ServerEntry> = BTreeMap::new();
    for (place, server) in servers.iter().enumerate() {
        let server_id = server.server_id.clone();
        let (client_host, client_port) = server.client_address();
        for (what, host) in [("host", server.host.as_str()), ("client_host", client_host)] {
            if host.is_empty() || host.len() > 253 || !host.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(SettingError::Host { what, server_id, host: host.into() });
            }
        }
        if client_port == 0 {
            return Err(SettingError::Port { what: "client_port", server_id, port: 0, most: u16::MAX });
        }
        for earlier in &servers[..place] {
            if earlier.server_id.as_str().eq_ignore_ascii_case(server_id.as_str()) {
                return Err(SettingError::SameId(server_id));
            }
            if earlier.ring_position == server.ring_position {
                let (one, position) = (earlier.server_id.clone(), server.ring_position);
                return Err(SettingError::SamePosition { one, other: server_id, position });
            }
        }
        for port in PORTS {
            let most = u16::MAX - Port::OFFSET_MAX;
            let wrong =
                || SettingError::Port { what: "port", server_id: server_id.clone(), port: server.port, most };
            let number = port.of(server.port).ok_or_else(wrong)?;
            if let Some(other) = used.insert((host_key(&server.host), number, port.is_tcp()), server)
                && other.server_id != server_id
            {
                let (one, host) = (other.server_id.clone(), server.host.clone());
                return Err(SettingError::SamePort { one, other: server_id, host, port: number });
            }
        }
        if let Some(other) = told.insert((host_key(client_host), client_port), server) {
            return Err(SettingError::SameClientAddress {
                one: other.server_id.clone(),
                other: server_id,
                host: client_host.into(),
                port: client_port,
            });
        }
    }
    Ok(())
}

/// Hosts that are certainly the same machine have the same key.
fn host_key(host: &str) -> String {
    if is_loopback(host) { "localhost".into() } else { host.to_ascii_lowercase() }
}

fn within(name: &'static str, value: u64, least: u64, most: u64) -> Result<(), SettingError> {
    let fits = (least..=most).contains(&value);
    if fits { Ok(()) } else { Err(SettingError::OutOfRange { name, value, least, most }) }
}

pub(super) fn check_limits(limits: &Limits) -> Result<(), SettingError> {
    let most_outbox = 1024 * 1024 * 1024;
    // Less could not hold a piece of a file.
    within("limits.line_bytes", limits.line_bytes as u64, LINE_BYTES_LEAST as u64, 1024 * 1024)?;
    within("limits.body_bytes", limits.body_bytes as u64, 1, limits.line_bytes as u64)?;
    within("limits.bad_lines_in_a_row", limits.bad_lines_in_a_row.into(), 1, 1_000_000)?;
    // Less could not hold the longest answer.
    within("limits.outbox_bytes", limits.outbox_bytes as u64, 2 * HISTORY_BYTES as u64, most_outbox)?;
    within("limits.outboxes_bytes", limits.outboxes_bytes as u64, limits.outbox_bytes as u64, 1 << 40)?;
    within("limits.requests_per_s", limits.requests_per_s.into(), 1, 10_000_000)?;
    within("limits.requests_burst", limits.requests_burst.into(), 1, 10_000_000)?;
    // With less, no user could send the longest line.
    within("limits.bytes_per_s", limits.bytes_per_s, limits.line_bytes as u64, 1 << 40)?;
    within("limits.bytes_burst", limits.bytes_burst, limits.line_bytes as u64, 1 << 40)?;
    within("limits.user_times", limits.user_times.into(), 1, 1_000_000)?;
    within("limits.address_times", limits.address_times.into(), 1, 1_000_000)?;
    within("limits.registrations_per_hour", limits.registrations_per_hour.into(), 1, 1_000_000_000)?;
    within("limits.passwords_per_hour", limits.passwords_per_hour.into(), 1, 1_000_000_000)?;
    within("limits.new_names_per_hour", limits.new_names_per_hour.into(), 2, 1_000_000_000)?;
    within("limits.connections", limits.connections as u64, 1, 1_000_000)?;
    within("limits.connections_per_address", limits.connections_per_address as u64, 1, 1_000_000)?;
    within("limits.connections_reserved", limits.connections_reserved as u64, 0, 10_000)?;
    within("limits.rooms_per_user", limits.rooms_per_user as u64, 1, 1_000_000)?;
    within("limits.rooms_per_hour", limits.rooms_per_hour.into(), 1, 1_000_000_000)?;
    within("limits.file_bytes", limits.file_bytes, 1, 1 << 40)?;
    // With less, no user could have the largest file.
    within("limits.file_bytes_per_user", limits.file_bytes_per_user, limits.file_bytes, 1 << 50)?;
    within("limits.upload_bytes_per_hour", limits.upload_bytes_per_hour, 1, 1 << 50)?;
    // An address may do at least what one of its users may.
    let (rooms, bytes) = (limits.rooms_per_hour, limits.upload_bytes_per_hour);
    within(
        "limits.address_rooms_per_hour",
        limits.address_rooms_per_hour.into(),
        rooms.into(),
        1_000_000_000,
    )?;
    within("limits.address_upload_bytes_per_hour", limits.address_upload_bytes_per_hour, bytes, 1 << 50)?;
    within("limits.pending_proposals", limits.pending_proposals as u64, 16, 1_000_000)
}

pub(super) fn check_auth(auth: &AuthSection) -> Result<(), SettingError> {
    within("auth.token_idle_days", auth.token_idle_days.into(), 1, 3_650)?;
    within("auth.token_absolute_days", auth.token_absolute_days.into(), auth.token_idle_days.into(), 36_500)?;
    let (least, most) = (Costs::LEAST, Costs::MOST);
    let costs = |least: u32, most: u32| (u64::from(least), u64::from(most));
    for (name, value, (least, most)) in [
        ("auth.memory_kib", auth.memory_kib, costs(least.memory_kib, most.memory_kib)),
        ("auth.iterations", auth.iterations, costs(least.iterations, most.iterations)),
        (
            "auth.scram_iterations",
            auth.scram_iterations,
            costs(least.scram_iterations, most.scram_iterations),
        ),
    ] {
        within(name, value.into(), least, most)?;
    }
    within("auth.threads", auth.threads as u64, 1, 8)?;
    within("auth.queue", auth.queue as u64, 1, 1_024)
}

pub(super) fn check_ranges(file: &ConfigFile) -> Result<(), SettingError> {
    let ConfigFile { log, threads, .. } = file;
    within("log.file_bytes", log.file_bytes, 4096, 1 << 40)?;
    within("log.files", log.files.into(), 1, 1_000)?;
    within("threads.fan_out", threads.fan_out as u64, 1, 64)?;
    within("threads.query", threads.query as u64, 1, 64)?;
    within("keep_entries", file.keep_entries, 100, 100_000_000)?;
    within("scrub_pause_s", file.scrub_pause_s, 1, 366 * 86_400)
}

/// Checks the section `http`, and reads the origins in it.
pub(super) fn check_http(http: &Http) -> Result<Vec<Origin>, SettingError> {
    let hour_ms = 3_600_000;
    within("http.head_bytes", http.head_bytes as u64, 1024, 1024 * 1024)?;
    within("http.headers", http.headers as u64, 8, 1_000)?;
    within("http.head_ms", http.head_ms, 100, hour_ms)?;
    within("http.idle_ms", http.idle_ms, 100, hour_ms)?;
    within("http.keep_alive_ms", http.keep_alive_ms, 100, hour_ms)?;
    within("http.ping_ms", http.ping_ms, 100, 30_000)?;
    within("http.leaving_ms", http.leaving_ms, 0, 2_000)?;
    within("http.body_ms", http.body_ms, 100, hour_ms)?;
    within("http.body_bytes_per_s", http.body_bytes_per_s, 1, 1 << 30)?;
    within("http.hook_bytes", http.hook_bytes as u64, 1024, 8 * 1024 * 1024)?;
    within("http.requests_per_connection", http.requests_per_connection, 1, 1_000_000_000)?;
    let origins = http.allowed_origins.iter();
    origins.map(|text| Origin::parse(text).ok_or_else(|| SettingError::Origin(text.clone()))).collect()
}

/// Checks the group for heartbeats of a server that listens at `ip`.
pub(super) fn check_group(heartbeat: &Heartbeat, ip: IpAddr) -> Result<(), SettingError> {
    let wanted = match ip {
        IpAddr::V4(_) => "224.0.0.0/4",
        IpAddr::V6(_) => "ff00::/8",
    };
    let is_used = heartbeat.transport == Transport::Multicast;
    let fits = |group: &IpAddr| group.is_multicast() && (!is_used || group.is_ipv4() == ip.is_ipv4());
    match heartbeat.multicast_group.filter(|group| !fits(group)) {
        Some(group) => Err(SettingError::MulticastGroup { group, wanted }),
        None => Ok(()),
    }
}
