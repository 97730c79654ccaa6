//! The servers of the cluster are changed: one joins, leaves, takes another's place, or is drained.
//!
//! This only says what is wanted. The servers that count in consensus follow it (`replica/node/forming.rs`),
//! and every server follows it with its links, its heartbeats and what it tells its clients.

use serde::{Deserialize, Serialize};

use super::super::{
    access::Context,
    draft::{Asked, Draft, Write},
    effects::Effects,
    entities::audit::Audited,
    operation::{Checked, Operation},
    reply::Reply,
    rights::ClusterPermission,
    rows,
    state::State,
};
use crate::protocol::{
    audit::Action,
    directory::{Directory, ServerChange, ServerEntry},
    name::UserName,
    refusal::{Code, Refusal},
    request,
};

/// Changes which servers the cluster has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeServers {
    /// What changes.
    pub change: ServerChange,
    /// The servers of before, as the configuration has them: they count if the log has none yet.
    pub configured: Vec<ServerEntry>,
}

impl Write for request::ChangeServers {
    type Becomes = ChangeServers;

    fn needs(&self) -> ClusterPermission {
        ClusterPermission::ManageServers
    }

    fn draft(self, asked: &Asked<'_>) -> Result<Draft<Self::Becomes>, Refusal> {
        (asked.would_live)(&self.change)?;
        let configured = if asked.servers.version == 0 { asked.servers.to_vec() } else { Vec::new() };
        Ok(ChangeServers { change: self.change, configured }.into())
    }
}

impl Operation for ChangeServers {
    /// The servers as they are then.
    type Plan = Directory;

    fn audited(&self, _: &State, _: &Context<'_>) -> Option<Audited> {
        let named = |server: &ServerEntry| {
            let ServerEntry { server_id, host, port, ring_position, .. } = server;
            format!("{server_id} at {host}:{port}, ring position {ring_position}")
        };
        Some(match &self.change {
            ServerChange::Add(server) => Audited::of(Action::ServerAdd).with(named(server)),
            ServerChange::Remove(server_id) => Audited::of(Action::ServerRemove).with(server_id.as_str()),
            ServerChange::Replace { old, new } => {
                Audited::of(Action::ServerReplace).with(format!("{old} by {}", named(new)))
            }
            ServerChange::Drain { server_id, drained } => {
                let ends = if *drained { "" } else { ", no more" };
                Audited::of(Action::ServerDrain).with(format!("{server_id}{ends}"))
            }
        })
    }

    fn permission(&self) -> ClusterPermission {
        ClusterPermission::ManageServers
    }

    fn check(&self, state: &State, _: &Context<'_>) -> Result<Checked<Directory>, Refusal> {
        let configured = || self.configured.iter().cloned().collect();
        let before: Directory = state.servers.clone().unwrap_or_else(configured);
        let changed = before.changed(&self.change);
        changed.map(Checked::Change).map_err(|error| Refusal::new(Code::Forbidden, error.to_string()))
    }

    fn apply(&self, servers: Directory, state: &mut State, _: &UserName, effects: &mut Effects) -> Reply {
        let version = effects.index;
        let servers = servers.made_by(version);
        effects.rows.push(rows::servers(Some(&servers)));
        state.servers = Some(servers);
        Reply::ServersChanged { version }
    }
}
