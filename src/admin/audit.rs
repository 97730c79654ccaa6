//! `syncnet-admin audit`: what administrators, moderators and operators did.

use std::process::ExitCode;

use clap::Args;
use thiserror::Error;

use crate::protocol::{
    answer::AuditEntry,
    checked::{Limit, Seq},
    limits::HISTORY_MAX,
    request::Audit,
};

use super::{
    error::UsageError,
    operator::{Operator, OperatorArgs},
    output::{clean, print, table, time},
    session::{AskError, OpenError, Session},
};

/// What was typed after `audit`.
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// How many of the newest entries; 0 for all that are kept.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// Lines of JSON instead of the table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    operator: OperatorArgs,
}

/// Why the log was not read.
#[derive(Debug, Error)]
enum AuditError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("the answer to audit has no entry in it and says that there are more")]
    EmptyPage,
}

/// Prints the audit log. The exit status is 1 if it could not be read.
///
/// # Errors
/// The command line or the configuration is wrong.
pub fn run(args: AuditArgs) -> Result<ExitCode, UsageError> {
    let AuditArgs { limit, json, operator } = args;
    let Operator { targets, key, timeout } = operator.load()?;
    let session = Session::open(&targets, &key, timeout).map_err(AuditError::from);
    match session.and_then(|mut session| newest(&mut session, limit)) {
        Ok(entries) => print(&if json { lines(&entries) } else { shown(&entries) })
            .map(|()| ExitCode::SUCCESS)
            .map_err(UsageError::Output),
        Err(error) => {
            eprintln!("syncnet-admin: {}", clean(&error.to_string()));
            Ok(ExitCode::FAILURE)
        }
    }
}

/// The newest entries, oldest first.
fn newest(session: &mut Session, limit: usize) -> Result<Vec<AuditEntry>, AuditError> {
    let wanted = if limit == 0 { usize::MAX } else { limit };
    let mut entries: Vec<AuditEntry> = Vec::new();
    while entries.len() < wanted {
        let before = entries.last().and_then(|entry| Seq::try_from(entry.number).ok());
        let asked = (wanted - entries.len()).min(HISTORY_MAX) as u64;
        let page = session.ask(Audit { before, limit: Some(Limit::clamped(asked)) })?;
        if page.more && page.entries.is_empty() {
            return Err(AuditError::EmptyPage);
        }
        entries.extend(page.entries);
        if !page.more {
            break;
        }
    }
    entries.reverse();
    Ok(entries)
}

fn lines(entries: &[AuditEntry]) -> String {
    let line = |entry| serde_json::to_string(entry).expect("strings and numbers always encode") + "\n";
    entries.iter().map(line).collect()
}

fn shown(entries: &[AuditEntry]) -> String {
    let or_dash = |text: Option<&str>| text.map_or_else(|| "-".to_owned(), clean);
    let rows: Vec<Vec<String>> = entries
        .iter()
        .map(|entry| {
            vec![
                time(entry.created_at),
                or_dash(entry.by.as_ref().map(|by| by.as_str())),
                clean(&entry.role),
                clean(&entry.action),
                or_dash(entry.username.as_ref().map(|user| user.as_str())),
                or_dash(entry.room.as_ref().map(|room| room.as_str())),
                or_dash(entry.detail.as_deref()),
            ]
        })
        .collect();
    table(&["TIME", "BY", "AS", "DID", "USER", "ROOM", "DETAIL"], &rows, 7)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        admin::session::tests::{Script, session},
        protocol::Request,
    };

    #[test]
    fn the_newest_come_in_pages_and_are_shown_oldest_first() {
        let script: Script = |request| {
            let Request::Audit(asked) = request else { panic!("{request:?}") };
            let kick = json!({"number": 7, "created_at": 1_763_677_200.5, "by": "alice", "role": "moderator",
                "action": "kick", "username": "bob", "room": "den"});
            let ban = json!({"number": 5, "created_at": 1_763_677_100.0, "role": "operator", "action": "ban",
                "username": "mallory", "detail": "60 s"});
            match asked.before.map(Seq::get) {
                None => ("audit", json!({"entries": [kick], "more": true})),
                Some(7) => ("audit", json!({"entries": [ban], "more": false})),
                other => panic!("{other:?}"),
            }
        };
        let entries = newest(&mut session(script), 0).unwrap();
        assert_eq!(
            shown(&entries),
            "\
TIME                  BY     AS         DID   USER     ROOM  DETAIL
2025-11-20T22:18:20Z  -      operator   ban   mallory  -     60 s
2025-11-20T22:20:00Z  alice  moderator  kick  bob      den   -
"
        );
        assert_eq!(lines(&entries).lines().count(), 2);
        assert_eq!(newest(&mut session(script), 1).unwrap().len(), 1);
        let endless: Script = |_| ("audit", json!({"entries": [], "more": true}));
        assert!(newest(&mut session(endless), 0).unwrap_err().to_string().contains("no entry in it"));
    }
}
