//! The command line of `syncnet-admin user`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;
use thiserror::Error;

use crate::{
    admin::{
        error::{BadName, UsageError},
        operator::{Operator, OperatorArgs},
        output::{clean, print, table},
        session::{AskError, OpenError, Session},
    },
    protocol::{
        UserName,
        answer::Account,
        checked::Limit,
        credential::ChosenPassword,
        limits::LIST_MAX,
        request::{Ban, DeleteAccount, Register, SetAdmin, SetPassword, Unban, Users},
    },
};

use super::password;

/// Users that are asked for at once.
const PAGE: u64 = 500;

/// What was typed after `user`.
#[derive(Debug, Args)]
pub struct UserArgs {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    operator: OperatorArgs,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// Make an account. The password is asked for.
    Add {
        #[arg(value_parser = username)]
        name: UserName,
        /// Make it an administrator of the cluster.
        #[arg(long)]
        admin: bool,
        /// Take the password from the first line of standard input.
        #[arg(long)]
        password_stdin: bool,
    },
    /// List the accounts, and the guests that are there.
    List {
        /// One line of JSON instead of the table.
        #[arg(long)]
        json: bool,
    },
    /// Make an account an administrator of the cluster.
    Admin {
        #[arg(value_parser = username)]
        name: UserName,
        /// Take that back.
        #[arg(long)]
        revoke: bool,
    },
    /// Ban a name from the whole cluster: its sessions end, and it is not let in again.
    Ban {
        #[arg(value_parser = username)]
        name: UserName,
    },
    /// Let a banned name in again.
    Unban {
        #[arg(value_parser = username)]
        name: UserName,
    },
    /// Set a new password, which is asked for. All sessions of the account end.
    Password {
        #[arg(value_parser = username)]
        name: UserName,
        /// Take the password from the first line of standard input.
        #[arg(long)]
        password_stdin: bool,
    },
    /// Delete an account.
    Delete {
        #[arg(value_parser = username)]
        name: UserName,
    },
}

fn username(text: &str) -> Result<UserName, BadName> {
    UserName::try_from(text.to_owned()).map_err(BadName::of)
}

/// Does what was typed. The exit status is 1 if the cluster did not.
///
/// # Errors
/// The command line, a password or the configuration is wrong.
pub fn run(args: UserArgs) -> Result<ExitCode, UsageError> {
    let UserArgs { what, operator } = args;
    let Operator { targets, key, timeout } = operator.load()?;
    // The password is asked for first, so that nothing is half done if it is wrong.
    let password = match &what {
        What::Add { name, password_stdin, .. } | What::Password { name, password_stdin } => {
            Some(password::ask(name.as_str(), *password_stdin)?)
        }
        _ => None,
    };
    let session = Session::open(&targets, &key, timeout).map_err(UserError::from);
    match session.and_then(|mut session| carry_out(&mut session, &what, password)) {
        Ok(text) => print(&text).map(|()| ExitCode::SUCCESS).map_err(UsageError::Output),
        Err(error) => {
            eprintln!("syncnet-admin: {}", clean(&error.to_string()));
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Why the cluster did not do what was typed.
#[derive(Debug, Error)]
enum UserError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("a password is needed")]
    NoPassword,
    #[error("the answer to users has no user in it and says that there are more")]
    EmptyPage,
}

/// Does it, and says what was done.
fn carry_out(
    session: &mut Session,
    what: &What,
    password: Option<ChosenPassword>,
) -> Result<String, UserError> {
    let chosen = || password.ok_or(UserError::NoPassword);
    let said = match what.clone() {
        What::List { json } => return list(session, json),
        What::Add { name: username, admin, .. } => {
            let said =
                format!("{username} has an account{}", if admin { " and is an administrator" } else { "" });
            session.ask(Register { username, password: chosen()?, admin })?;
            said
        }
        What::Admin { name: username, revoke } => {
            let said = format!("{username} is {} administrator", if revoke { "no" } else { "an" });
            session.ask(SetAdmin { username, admin: !revoke })?;
            said
        }
        What::Ban { name: username } => {
            let said = format!("{username} is banned");
            session.ask(Ban { room: None, username, seconds: None })?;
            said
        }
        What::Unban { name: username } => {
            let said = format!("{username} is not banned");
            session.ask(Unban { room: None, username })?;
            said
        }
        What::Password { name: username, .. } => {
            let said = format!("{username} has a new password");
            session.ask(SetPassword { username, password: chosen()? })?;
            said
        }
        What::Delete { name: username } => {
            let said = format!("the account {username} is deleted");
            session.ask(DeleteAccount { username })?;
            said
        }
    };
    Ok(format!("{said}\n"))
}

fn list(session: &mut Session, is_json: bool) -> Result<String, UserError> {
    let mut users: Vec<Account> = Vec::new();
    loop {
        let after = users.last().map(|user| user.username.clone());
        let page = session.ask(Users { after, limit: Some(Limit::<{ LIST_MAX as u64 }>::clamped(PAGE)) })?;
        let is_empty = page.users.is_empty();
        users.extend(page.users);
        if !page.more {
            break;
        }
        if is_empty {
            return Err(UserError::EmptyPage);
        }
    }
    if is_json {
        return Ok(format!("{}\n", json!({ "users": users })));
    }
    let word = |is: bool, word: &str| if is { word.to_owned() } else { "-".to_owned() };
    let rows: Vec<Vec<String>> = users
        .iter()
        .map(|user| {
            vec![
                clean(user.username.as_str()),
                if user.account { "account" } else { "guest" }.into(),
                word(user.admin, "admin"),
                word(user.bot, "bot"),
                word(user.banned, "banned"),
                word(user.online, "online"),
            ]
        })
        .collect();
    Ok(table(&["NAME", "KIND", "ADMIN", "BOT", "BANNED", "ONLINE"], &rows, 6))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::{
        admin::session::tests::{Script, parse, refused, session},
        protocol::Request,
    };

    /// What is printed when `words` are typed and the server answers by `script`.
    fn typed(words: &[&str], password: Option<&str>, script: Script) -> Result<String, String> {
        let what = parse::<UserArgs>(words).unwrap().what;
        let mut session = session(script);
        let password = password.map(|text| ChosenPassword::new(text).unwrap());
        carry_out(&mut session, &what, password).map_err(|error| error.to_string())
    }

    #[test]
    fn each_command_is_one_request() {
        // Null counts as left out.
        let script: Script = |request| {
            let mut data = serde_json::to_value(request).unwrap();
            data.as_object_mut().unwrap().retain(|_, value| !value.is_null());
            refused("forbidden", &format!("{} {data}", request.msg_type()))
        };
        for (words, expected) in [
            (
                &["add", "alice", "--admin"][..],
                r#"register {"admin":true,"password":"correct horse","username":"alice"}"#,
            ),
            (
                &["add", "bob", "--password-stdin"],
                r#"register {"admin":false,"password":"correct horse","username":"bob"}"#,
            ),
            (&["admin", "bob"], r#"set_admin {"admin":true,"username":"bob"}"#),
            (&["admin", "bob", "--revoke"], r#"set_admin {"admin":false,"username":"bob"}"#),
            (&["ban", "Mallory"], r#"ban {"username":"Mallory"}"#),
            (&["unban", "Mallory"], r#"unban {"username":"Mallory"}"#),
            (&["password", "bob"], r#"set_password {"password":"correct horse","username":"bob"}"#),
            (&["delete", "bob"], r#"delete_account {"username":"bob"}"#),
            (&["list"], r#"users {"limit":500}"#),
        ] {
            let error = typed(words, Some("correct horse"), script).unwrap_err();
            assert_eq!(error, format!("forbidden: {expected}"));
        }
    }

    #[test]
    fn what_was_done_is_said_without_the_password() {
        let script: Script = |_| ("ack", json!({"username": "whoever"}));
        let said = typed(&["add", "alice", "--admin"], Some("correct horse"), script).unwrap();
        assert_eq!(said, "alice has an account and is an administrator\n");
        assert_eq!(typed(&["ban", "mallory"], None, script).unwrap(), "mallory is banned\n");
    }

    #[test]
    fn a_list_comes_in_pages_and_is_one_table() {
        let script: Script = |request| {
            let Request::Users(asked) = request else { panic!("{request:?}") };
            let user = |name: &str, is: bool| json!({"username": name, "account": is, "admin": is, "bot": false, "banned": !is, "online": is});
            match asked.after.as_ref().map(UserName::as_str) {
                None => ("users", json!({"users": [user("alice", true)], "more": true})),
                Some("alice") => ("users", json!({"users": [user("mallory", false)], "more": false})),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(
            typed(&["list"], None, script).unwrap(),
            "\
NAME     KIND     ADMIN  BOT  BANNED  ONLINE
alice    account  admin  -    -       online
mallory  guest    -      -    banned  -
"
        );
        let json: Value = serde_json::from_str(&typed(&["list", "--json"], None, script).unwrap()).unwrap();
        assert_eq!(json["users"][0]["username"], "alice");
        assert_eq!(json["users"][1]["banned"], true);
        let endless: Script = |_| ("users", json!({"users": [], "more": true}));
        assert!(typed(&["list"], None, endless).unwrap_err().contains("no user in it"));
    }

    #[test]
    fn names_are_checked_and_no_password_is_taken_from_the_command_line() {
        let parse = parse::<UserArgs>;
        parse(&["ban", "no name"]).unwrap_err();
        parse(&["add", ""]).unwrap_err();
        parse(&["add", "alice", "--password", "correct horse"]).unwrap_err();
        parse(&["add", "alice", "correct horse"]).unwrap_err();
        parse(&["add", "alice", "--servers", "localhost:8000", "--timeout-ms", "5"]).unwrap();
        parse(&["list", "--json", "--secret-file", "x"]).unwrap();
    }

    #[test]
    fn without_a_secret_nobody_is_an_operator() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("missing");
        let args = parse(&["list", "--secret-file", file.to_str().unwrap()]).unwrap();
        assert!(run(args).unwrap_err().to_string().contains("the secret file"));
    }
}
