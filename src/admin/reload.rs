//! `syncnet-admin reload`: the servers read their configuration again.

use std::{io::Read, process::ExitCode};

use clap::Args;
use serde::Deserialize;
use thiserror::Error;

use super::{
    error::UsageError,
    operator::{Operator, OperatorArgs},
    operator_request::{RequestError, ask},
    output::{clean, print},
    probe,
    target::Target,
};
use crate::{network_error::in_words, server::config::changes::Changes};

/// Longest answer: a configuration has some hundred settings, and all may have changed.
const ANSWER_BYTES: u64 = 1024 * 1024;
/// The status of an answer if the new configuration cannot be used.
const BAD_CONFIGURATION: u16 = 422;
/// The exit status then: that of a server that does not start with it.
const EXIT_BAD_CONFIGURATION: u8 = 2;

/// What was typed after `reload`.
#[derive(Debug, Args)]
pub struct ReloadArgs {
    #[command(flatten)]
    operator: OperatorArgs,
}

/// Why a server did not reload.
#[derive(Debug, Error)]
enum ReloadError {
    #[error("{server} keeps the configuration that it has: {reason}")]
    BadConfiguration { server: String, reason: String },
    #[error(transparent)]
    Request(RequestError),
    #[error("{server} gives no answer that can be understood: {reason}")]
    Unreadable { server: String, reason: String },
}

/// What a server answers.
#[derive(Debug, Deserialize)]
struct Reloaded {
    server_id: String,
    changes: Changes,
}

/// Lets each of the servers reload. The exit status is 2 if the new configuration of one cannot be used, else
/// 1 if one did not reload.
///
/// # Errors
/// The command line or the configuration is wrong.
pub fn run(args: ReloadArgs) -> Result<ExitCode, UsageError> {
    let operator = args.operator.load()?;
    let mut status = ExitCode::SUCCESS;
    let mut is_bad = false;
    for server in probe::ask_cluster(&operator.targets, operator.timeout) {
        match reload(&operator, &server.target) {
            Ok(reloaded) => print(&clean_lines(&shown(&reloaded))).map_err(UsageError::Output)?,
            Err(error) => {
                is_bad |= matches!(error, ReloadError::BadConfiguration { .. });
                let code = if is_bad { EXIT_BAD_CONFIGURATION } else { 1 };
                status = ExitCode::from(code);
                eprintln!("syncnet-admin: {}", clean(&error.to_string()));
            }
        }
    }
    Ok(status)
}

fn reload(operator: &Operator, target: &Target) -> Result<Reloaded, ReloadError> {
    let Operator { key, timeout, .. } = operator;
    let body = ask(target, key, *timeout, "POST /reload").map_err(|error| match error {
        RequestError::Refused { server, status: BAD_CONFIGURATION, reason } => {
            ReloadError::BadConfiguration { server, reason }
        }
        error => ReloadError::Request(error),
    })?;
    let unreadable = |reason| ReloadError::Unreadable { server: target.label(), reason };
    let mut text = String::new();
    body.take(ANSWER_BYTES).read_to_string(&mut text).map_err(|error| unreadable(in_words(&error)))?;
    serde_json::from_str(&text).map_err(|error| unreadable(error.to_string()))
}

fn shown(reloaded: &Reloaded) -> String {
    let Reloaded { server_id, changes } = reloaded;
    if *changes == Changes::default() {
        return format!("{server_id}: nothing has changed\n");
    }
    let changed = changes.changed.iter().map(|change| format!("{server_id}: {change}\n"));
    let waiting = changes.needs_restart.iter();
    let waiting = waiting.map(|change| format!("{server_id}: {change}: restart the server to use that\n"));
    changed.chain(waiting).collect()
}

fn clean_lines(text: &str) -> String {
    text.lines().map(|line| clean(line) + "\n").collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::server::config::changes::Change;

    #[test]
    fn changes_are_shown_with_what_they_need() {
        let values = Some((json!(1), json!(2)));
        let changes = Changes {
            changed: vec![Change { setting: "limits.connections".into(), values: values.clone() }],
            needs_restart: vec![Change { setting: "timing.tick_ms".into(), values }],
        };
        let text = shown(&Reloaded { server_id: "a".into(), changes });
        assert_eq!(
            text,
            "a: limits.connections was 1 and is 2\n\
             a: timing.tick_ms was 1 and is 2: restart the server to use that\n"
        );
        let none = Reloaded { server_id: "a".into(), changes: Changes::default() };
        assert_eq!(shown(&none), "a: nothing has changed\n");
    }
}
