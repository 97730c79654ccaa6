//! `syncnet-admin server`: the servers of a cluster, in the hands of its operator.
//!
//! What a change would do is asked first and always said; with `--dry-run` that is all. The servers are the
//! ones that refuse: what is said here is their word.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;
use thiserror::Error;

use crate::protocol::{
    answer::{ServerPlan, ServerTable},
    directory::{Majority, ServerChange, ServerEntry},
    name::ServerId,
    request::{ChangeServers, PlanServers, Servers},
};

use super::{
    error::UsageError,
    operator::{Operator, OperatorArgs},
    output::{clean, print, table},
    session::{AskError, OpenError, Session},
};

/// What was typed after `server`.
#[derive(Debug, Args)]
pub struct ServerArgs {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    operator: OperatorArgs,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// List the servers, who of them votes, and how many may fail.
    List {
        /// One line of JSON instead of the table.
        #[arg(long)]
        json: bool,
    },
    /// Let one more server in. It is started with --join, before or after this.
    Add {
        #[arg(value_parser = |text: &str| ServerId::try_from(text.to_owned()))]
        id: ServerId,
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        dry: Dry,
    },
    /// Take a server out; or take `add` or `replace` back as long as the new server does not vote.
    Remove {
        #[arg(value_parser = |text: &str| ServerId::try_from(text.to_owned()))]
        id: ServerId,
        #[command(flatten)]
        dry: Dry,
    },
    /// Let a new server vote in the place of another one, which may be gone. The new one is started with
    /// --join, before or after this.
    Replace {
        #[arg(value_parser = |text: &str| ServerId::try_from(text.to_owned()))]
        old: ServerId,
        #[arg(value_parser = |text: &str| ServerId::try_from(text.to_owned()))]
        new: ServerId,
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        dry: Dry,
    },
    /// Move the clients of a server and the lead to others. It goes on voting.
    Drain {
        #[arg(value_parser = |text: &str| ServerId::try_from(text.to_owned()))]
        id: ServerId,
        /// Let it serve clients and lead again.
        #[arg(long)]
        undo: bool,
        #[command(flatten)]
        dry: Dry,
    },
}

/// Where a new server is.
#[derive(Debug, Clone, Args)]
struct Place {
    /// The host at which the other servers reach it.
    #[arg(long, value_name = "HOST")]
    host: String,
    /// Its base port.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// Its place in the ring; of the living, the highest leads.
    #[arg(long, value_name = "N")]
    ring_position: u32,
    /// The host that clients are told, if it is another one.
    #[arg(long, value_name = "HOST")]
    client_host: Option<String>,
    /// The port that clients are told, if it is another one.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    client_port: Option<u16>,
}

impl Place {
    fn of(self, server_id: ServerId) -> ServerEntry {
        let Place { host, port, ring_position, client_host, client_port } = self;
        ServerEntry { server_id, host, port, ring_position, client_host, client_port }
    }
}

#[derive(Debug, Clone, Copy, Args)]
struct Dry {
    /// Say what it would do to the majority, and do nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Why the cluster did not do what was typed.
#[derive(Debug, Error)]
enum ServerError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("{0}")]
    Refused(String),
}

/// Does what was typed. The exit status is 1 if the cluster did not.
///
/// # Errors
/// The command line or the configuration is wrong.
pub fn run(args: ServerArgs) -> Result<ExitCode, UsageError> {
    let ServerArgs { what, operator } = args;
    let Operator { targets, key, timeout } = operator.load()?;
    let session = Session::open(&targets, &key, timeout).map_err(ServerError::from);
    match session.and_then(|mut session| carry_out(&mut session, what)) {
        Ok(text) => print(&text).map(|()| ExitCode::SUCCESS).map_err(UsageError::Output),
        Err(error) => {
            eprintln!("syncnet-admin: {}", clean(&error.to_string()));
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Does it, and says what was done.
fn carry_out(session: &mut Session, what: What) -> Result<String, ServerError> {
    let (change, dry, next) = match what {
        What::List { json } => return list(session, json),
        What::Add { id, place, dry } => {
            let next = start(&id);
            (ServerChange::Add(place.of(id)), dry, Some(next))
        }
        What::Replace { old, new, place, dry } => {
            let next = start(&new);
            (ServerChange::Replace { old, new: place.of(new) }, dry, Some(next))
        }
        What::Remove { id, dry } => (ServerChange::Remove(id), dry, None),
        What::Drain { id, undo, dry } => (ServerChange::Drain { server_id: id, drained: !undo }, dry, None),
    };
    let plan = session.ask(PlanServers { change: change.clone() })?;
    if let Some(refusal) = plan.refusal {
        return Err(ServerError::Refused(refusal));
    }
    let mut text = said(&plan);
    if dry.dry_run {
        text.push_str("Nothing was done.\n");
        return Ok(text);
    }
    session.ask(ChangeServers { change })?;
    text.push_str("Done: the servers make it so now; `syncnet-admin server list` shows how far it is.\n");
    text.extend(next);
    Ok(text)
}

fn start(id: &ServerId) -> String {
    format!(
        "If it does not run yet, start it: syncnet-server --server-id {id} --join, with the cluster's secret and a \
         configuration that names it and one of the others.\n"
    )
}

fn said(plan: &ServerPlan) -> String {
    format!("{}.\nNow:   {}.\nThen:  {}.\n", clean(&plan.says), counted(&plan.before), counted(&plan.after))
}

/// How many vote and live, and how many more may fail.
fn counted(majority: &Majority) -> String {
    let servers = if majority.voting == 1 { "server votes" } else { "servers vote" };
    let missing: Vec<String> = majority.missing.iter().map(|id| clean(id.as_str())).collect();
    let answer = match (missing.len(), majority.voting) {
        (0, 1) => "it answers".to_owned(),
        (0, _) => "all answer".to_owned(),
        (1, _) => format!("{} does not answer", missing[0]),
        _ => format!("{} do not answer", missing.join(", ")),
    };
    let spare = majority.alive().checked_sub(majority.needed);
    let spare = match spare {
        None => "the living are no majority".to_owned(),
        Some(0) => "none may fail".to_owned(),
        Some(1) => "one more may fail".to_owned(),
        Some(spare) => format!("{spare} more may fail"),
    };
    format!("{} {servers}, {} are a majority; {answer}; {spare}", majority.voting, majority.needed)
}

fn list(session: &mut Session, is_json: bool) -> Result<String, ServerError> {
    let list: ServerTable = session.ask(Servers {})?;
    if is_json {
        return Ok(format!("{}\n", json!(list)));
    }
    let word = |is: bool, word: &str| if is { word.to_owned() } else { "-".to_owned() };
    let rows: Vec<Vec<String>> = list
        .servers
        .iter()
        .map(|server| {
            vec![
                clean(server.server_id.as_str()),
                clean(&server.state),
                if server.alive { "alive" } else { "silent" }.into(),
                word(server.is_leader, "leader"),
                word(server.drained, "drained"),
                clean(&format!("{}:{}", server.host, server.port)),
                clean(&format!("{}:{}", server.client_host, server.client_port)),
                server.ring_position.to_string(),
            ]
        })
        .collect();
    let header = ["SERVER", "STATE", "ANSWERS", "LEADS", "DRAINED", "ADDRESS", "FOR CLIENTS", "RING"];
    Ok(format!("{}\n{}.\n", table(&header, &rows, 7), counted(&list.majority)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        admin::session::tests::{Script, parse, refused, session},
        protocol::Request,
    };

    /// What is said when `words` are typed and the server answers by `script`.
    fn typed(words: &[&str], script: Script) -> Result<String, String> {
        let what = parse::<ServerArgs>(words).unwrap().what;
        let mut session = session(script);
        carry_out(&mut session, what).map_err(|error| error.to_string())
    }

    const ADD: [&str; 8] = ["add", "server4", "--host", "10.0.0.4", "--port", "8000", "--ring-position", "3"];

    fn plan() -> serde_json::Value {
        json!({"says": "server4 comes",
            "before": {"voting": 3, "needed": 2, "missing": ["server1"]},
            "after": {"voting": 4, "needed": 3, "missing": ["server1"]}})
    }

    #[test]
    fn a_change_is_planned_and_then_made() {
        let script: Script = |request| match request {
            Request::PlanServers(_) => ("plan_servers", plan()),
            Request::ChangeServers(change) => {
                let expected = ServerEntry::new(ServerId::new("server4").unwrap(), "10.0.0.4", 8000, 3);
                assert_eq!(change.change, ServerChange::Add(expected));
                ("ack", json!({"version": 17}))
            }
            other => panic!("{other:?}"),
        };
        let said = typed(&ADD, script).unwrap();
        let expected = "\
server4 comes.
Now:   3 servers vote, 2 are a majority; server1 does not answer; none may fail.
Then:  4 servers vote, 3 are a majority; server1 does not answer; none may fail.
Done: ";
        assert!(said.starts_with(expected), "{said}");
        assert!(said.contains("--server-id server4 --join"), "{said}");
    }

    #[test]
    fn a_dry_run_changes_nothing_and_a_refusal_is_said() {
        let script: Script = |request| match request {
            Request::PlanServers(_) => ("plan_servers", plan()),
            other => panic!("{other:?}"),
        };
        let said = typed(&[&ADD[..], &["--dry-run"]].concat(), script).unwrap();
        assert!(said.ends_with("Nothing was done.\n"), "{said}");
        let script: Script = |request| match request {
            Request::PlanServers(asked) => {
                assert_eq!(asked.change, ServerChange::Remove(ServerId::new("server2").unwrap()));
                let mut plan = plan();
                plan["refusal"] = "the living majority would be lost".into();
                ("plan_servers", plan)
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(typed(&["remove", "server2"], script).unwrap_err(), "the living majority would be lost");
        let script: Script = |_| refused("forbidden", "only an operator may look after the servers");
        let error = typed(&["drain", "server1", "--undo"], script).unwrap_err();
        assert_eq!(error, "forbidden: only an operator may look after the servers");
    }

    #[test]
    fn the_list_is_a_table() {
        let script: Script = |_| {
            let row = |id: &str, alive: bool, leads: bool| {
                json!({"server_id": id, "host": id, "port": 8000, "client_host": id, "client_port": 8000,
                    "ring_position": 1, "alive": alive, "is_leader": leads, "drained": !alive, "state": "votes"})
            };
            let majority = json!({"voting": 2, "needed": 2, "missing": ["b"]});
            (
                "servers",
                json!({"servers": [row("a", true, true), row("b", false, false)], "version": 9,
                "majority": majority}),
            )
        };
        assert_eq!(
            typed(&["list"], script).unwrap(),
            "\
SERVER  STATE  ANSWERS  LEADS   DRAINED  ADDRESS  FOR CLIENTS  RING
a       votes  alive    leader  -        a:8000   a:8000          1
b       votes  silent   -       drained  b:8000   b:8000          1

2 servers vote, 2 are a majority; b does not answer; the living are no majority.
"
        );
        assert!(typed(&["list", "--json"], script).unwrap().contains(r#""version":9"#));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named_before_anything_is_asked() {
        for words in [
            &["add", "server4"][..],
            &["add", "a b", "--host", "x", "--port", "1", "--ring-position", "1"],
            &["add", "a", "--host", "x", "--port", "0", "--ring-position", "1"],
            &["replace", "server1", "--host", "x", "--port", "1", "--ring-position", "1"],
            &["remove"],
        ] {
            parse::<ServerArgs>(words).unwrap_err();
        }
    }
}
