//! `syncnet-admin transfer-leader`: one server leads for a while, whatever its place in the ring.

use std::{
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use thiserror::Error;

use super::{
    backup::schedule::Every,
    error::{BadName, UsageError},
    operator::{Operator, OperatorArgs},
    output::{clean, say},
    session::{AskError, OpenError, Session},
};
use crate::protocol::{
    ServerId,
    checked::Seconds,
    request::{ListServers, TransferLeader},
    status::{ServerInfo, ServerList},
};

/// How often it is looked who leads.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What was typed after `transfer-leader`.
#[derive(Debug, Args)]
pub struct TransferLeaderArgs {
    /// The server that is to lead.
    #[arg(value_name = "ID", value_parser = server_id, required_unless_present = "back")]
    server_id: Option<ServerId>,
    /// For how long: 30m, 6h, 1d. Then the highest in the ring leads again.
    #[arg(long = "for", value_name = "TIME", default_value = "1h", conflicts_with = "back")]
    lasting: Every,
    /// End it now: the highest in the ring leads again.
    #[arg(long, conflicts_with = "server_id")]
    back: bool,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    operator: OperatorArgs,
}

fn server_id(text: &str) -> Result<ServerId, BadName> {
    ServerId::new(text).ok_or_else(|| BadName::of("must be 1 to 32 of A-Z a-z 0-9 _ . -"))
}

/// Why the lead was not moved.
#[derive(Debug, Error)]
enum TransferError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("there is no server {server_id}; there are {known}")]
    Unknown { server_id: ServerId, known: String },
    #[error("{0} is not alive, so it cannot lead; start it first")]
    Dead(ServerId),
    #[error("{leader} leads still; {wanted} gets the lead when it has caught up (see syncnet-admin status)")]
    Late { leader: String, wanted: ServerId },
}

/// Moves the lead. The exit status is 1 if that did not work.
///
/// # Errors
/// The command line or the configuration is wrong.
pub fn run(args: TransferLeaderArgs) -> Result<ExitCode, UsageError> {
    let TransferLeaderArgs { server_id, lasting: Every(lasting), dry_run, operator, .. } = args;
    let Operator { targets, key, timeout } = operator.load()?;
    let session = Session::open(&targets, &key, timeout).map_err(TransferError::from);
    let outcome = session.and_then(|mut session| {
        let list = session.ask(ListServers {})?;
        let wanted = server_id.as_ref().map(|server_id| alive(&list, server_id)).transpose()?;
        let leader = name(list.leader_id.as_ref());
        let plan = plan(wanted, &leader, lasting);
        if dry_run {
            return Ok(format!("nothing was done; {plan}"));
        }
        let seconds = u32::try_from(lasting.as_secs()).unwrap_or(u32::MAX);
        let seconds = wanted.and_then(|_| Seconds::try_from(u64::from(seconds)).ok());
        session.ask(TransferLeader { server_id: server_id.clone(), seconds })?;
        match wanted {
            Some(wanted) => wait_for(&mut session, wanted, timeout).map(|()| plan),
            None => Ok(plan),
        }
    });
    Ok(say(outcome.map(|text| clean(&text))))
}

/// The server of that id, which must be alive.
fn alive<'a>(list: &'a ServerList, server_id: &ServerId) -> Result<&'a ServerInfo, TransferError> {
    let server = list.servers.iter().find(|server| server.server_id == *server_id).ok_or_else(|| {
        let known: Vec<_> = list.servers.iter().map(|server| server.server_id.as_str()).collect();
        TransferError::Unknown { server_id: server_id.clone(), known: known.join(", ") }
    })?;
    if server.alive { Ok(server) } else { Err(TransferError::Dead(server_id.clone())) }
}

fn plan(wanted: Option<&ServerInfo>, leader: &str, lasting: Duration) -> String {
    match wanted {
        None => format!("{leader} leads; the highest server in the ring that is alive leads again"),
        Some(wanted) if wanted.is_leader => {
            format!("{leader} leads already, and goes on for {} s", lasting.as_secs())
        }
        Some(wanted) => {
            let wanted = &wanted.server_id;
            format!("{wanted} leads instead of {leader} for {} s, while it is alive", lasting.as_secs())
        }
    }
}

fn wait_for(session: &mut Session, wanted: &ServerInfo, timeout: Duration) -> Result<(), TransferError> {
    let deadline = Instant::now() + timeout;
    loop {
        let leader_id = session.ask(ListServers {})?.leader_id;
        if leader_id.as_ref() == Some(&wanted.server_id) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let wanted = wanted.server_id.clone();
            return Err(TransferError::Late { leader: name(leader_id.as_ref()), wanted });
        }
        thread::sleep(LOOK_EVERY);
    }
}

fn name(leader_id: Option<&ServerId>) -> String {
    leader_id.map_or_else(|| "nobody".into(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        admin::session::tests::{Script, parse, session},
        protocol::Request,
    };

    #[test]
    fn a_server_or_the_ring_is_named() {
        let parse = parse::<TransferLeaderArgs>;
        for words in [&["server1"][..], &["server1", "--for", "30m"], &["--back"], &["--back", "--dry-run"]] {
            parse(words).unwrap();
        }
        for words in [&[][..], &["server1", "--back"], &["--back", "--for", "1h"], &["a b"]] {
            parse(words).unwrap_err();
        }
    }

    fn list() -> ServerList {
        let script: Script = |request| {
            assert!(matches!(request, Request::ListServers(_)), "{request:?}");
            let server = |id: &str, alive: bool, is_leader: bool| {
                json!({"server_id": id, "host": "h", "tcp_port": 1, "ring_position": 0, "alive": alive,
                    "is_leader": is_leader, "clients": 0})
            };
            let servers = [server("a", true, false), server("b", false, false), server("c", true, true)];
            ("server_list", json!({"servers": servers, "leader_id": "c", "term": 2}))
        };
        session(script).ask(ListServers {}).unwrap()
    }

    #[test]
    fn who_cannot_lead_is_named() {
        let (list, id) = (list(), |text| ServerId::new(text).unwrap());
        assert_eq!(
            alive(&list, &id("d")).unwrap_err().to_string(),
            "there is no server d; there are a, b, c"
        );
        assert!(alive(&list, &id("b")).unwrap_err().to_string().contains("b is not alive"));
        let hour = Duration::from_secs(3_600);
        let a = alive(&list, &id("a")).unwrap();
        assert_eq!(plan(Some(a), "c", hour), "a leads instead of c for 3600 s, while it is alive");
        let c = alive(&list, &id("c")).unwrap();
        assert_eq!(plan(Some(c), "c", hour), "c leads already, and goes on for 3600 s");
    }
}
