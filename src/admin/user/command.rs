//! The command line of `syncnet-admin user`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    admin::{
        operator::{Operator, OperatorArgs},
        output::{clean, print, table},
        session::Session,
    },
    protocol::UserName,
};

use super::password;

/// Users that are asked for at once.
const PAGE: usize = 500;

/// What was typed after `user`.
#[derive(Debug, Args)]
pub struct UserArgs {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    operator: OperatorArgs,
}

#[derive(Debug, Subcommand)]
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

fn username(text: &str) -> Result<UserName, String> {
    UserName::try_from(text.to_owned())
}

/// A line of `users`.
#[derive(Debug, Deserialize)]
struct User {
    username: String,
    #[serde(default)]
    account: bool,
    #[serde(default)]
    admin: bool,
    #[serde(default)]
    bot: bool,
    #[serde(default)]
    banned: bool,
    #[serde(default)]
    online: bool,
}

/// Does what was typed. The exit status is 1 where the cluster did not; an error is a usage error.
pub fn run(args: UserArgs) -> Result<ExitCode, String> {
    let UserArgs { what, operator } = args;
    let Operator { targets, key, timeout } = operator.load()?;
    // Asked for before anything is done, so that nothing is half done when it is wrong.
    let password = match &what {
        What::Add { name, password_stdin, .. } | What::Password { name, password_stdin } => {
            Some(password::ask(name.as_str(), *password_stdin)?)
        }
        _ => None,
    };
    let session = Session::open(&targets, &key, timeout);
    let password = password.as_ref().map(|password| password.expose());
    match session.and_then(|mut session| carry_out(&mut session, &what, password)) {
        Ok(text) => {
            print(&text).map(|()| ExitCode::SUCCESS).map_err(|error| format!("standard output: {error}"))
        }
        Err(reason) => {
            eprintln!("syncnet-admin: {}", clean(&reason));
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Does it, and says what was done. The error is one sentence.
fn carry_out(session: &mut Session, what: &What, password: Option<&str>) -> Result<String, String> {
    let (msg_type, data, said) = match what {
        What::List { json } => return list(session, *json),
        What::Add { name, admin, .. } => (
            "register",
            json!({"username": name, "password": password, "admin": admin}),
            format!("{name} has an account{}", if *admin { " and is an administrator" } else { "" }),
        ),
        What::Admin { name, revoke } => (
            "set_admin",
            json!({"username": name, "admin": !revoke}),
            format!("{name} is {} administrator", if *revoke { "no" } else { "an" }),
        ),
        What::Ban { name } => ("ban", json!({"username": name}), format!("{name} is banned")),
        What::Unban { name } => ("unban", json!({"username": name}), format!("{name} is not banned")),
        What::Password { name, .. } => (
            "set_password",
            json!({"username": name, "password": password}),
            format!("{name} has a new password"),
        ),
        What::Delete { name } => {
            ("delete_account", json!({"username": name}), format!("the account {name} is deleted"))
        }
    };
    session.ask(msg_type, &data)?;
    Ok(format!("{said}\n"))
}

fn list(session: &mut Session, is_json: bool) -> Result<String, String> {
    let mut rows: Vec<Value> = Vec::new();
    let mut users: Vec<User> = Vec::new();
    loop {
        let after = users.last().map(|user| user.username.clone());
        let mut data = json!({ "limit": PAGE });
        if let Some(after) = after {
            data["after"] = after.into();
        }
        let mut answer = session.ask("users", &data)?;
        let more = answer.get("more").and_then(Value::as_bool).unwrap_or(false);
        let Some(Value::Array(page)) = answer.remove("users") else {
            return Err("the answer to users has no list of users".into());
        };
        let before = users.len();
        for row in page {
            users.push(User::deserialize(&row).map_err(|error| format!("the answer to users: {error}"))?);
            rows.push(row);
        }
        if !more {
            break;
        }
        if users.len() == before {
            return Err("the answer to users has nobody in it and says that there are more".into());
        }
    }
    if is_json {
        return Ok(format!("{}\n", json!({ "users": rows })));
    }
    let word = |is: bool, word: &str| if is { word.to_owned() } else { "-".to_owned() };
    let rows: Vec<Vec<String>> = users
        .iter()
        .map(|user| {
            vec![
                clean(&user.username),
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
    use std::time::Duration;

    use clap::Parser;

    use super::*;
    use crate::admin::session::tests::{Script, key, refused, server};

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        user: UserArgs,
    }

    fn parse(words: &[&str]) -> Result<UserArgs, clap::Error> {
        Cli::try_parse_from([&["user"], words].concat()).map(|cli| cli.user)
    }

    /// What is said when `words` are typed and the server answers by `script`.
    fn typed(words: &[&str], password: Option<&str>, script: Script) -> Result<String, String> {
        let what = parse(words).unwrap().what;
        let mut session = Session::open(&[server(script)], &key(), Duration::from_secs(20)).unwrap();
        carry_out(&mut session, &what, password)
    }

    #[test]
    fn each_command_is_one_request() {
        let script: Script = |msg_type, data| refused("forbidden", &format!("{msg_type} {}", json!(data)));
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
        let script: Script = |msg_type, _| ("ack", json!({"for": msg_type}));
        let said = typed(&["add", "alice", "--admin"], Some("correct horse"), script).unwrap();
        assert_eq!(said, "alice has an account and is an administrator\n");
        assert_eq!(typed(&["ban", "mallory"], None, script).unwrap(), "mallory is banned\n");
    }

    #[test]
    fn a_list_comes_in_pages_and_is_one_table() {
        let script: Script = |msg_type, data| {
            assert_eq!(msg_type, "users");
            let user = |name: &str, is: bool| json!({"username": name, "account": is, "admin": is, "bot": false, "banned": !is, "online": is});
            match data.get("after").and_then(Value::as_str) {
                None => ("users", json!({"for": "users", "users": [user("alice", true)], "more": true})),
                Some("alice") => ("users", json!({"users": [user("m\u{1b}[2Jy", false)], "more": false})),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(
            typed(&["list"], None, script).unwrap(),
            "\
NAME    KIND     ADMIN  BOT  BANNED  ONLINE
alice   account  admin  -    -       online
m?[2Jy  guest    -      -    banned  -
"
        );
        let json: Value = serde_json::from_str(&typed(&["list", "--json"], None, script).unwrap()).unwrap();
        assert_eq!(json["users"][0]["username"], "alice");
        assert_eq!(json["users"][1]["banned"], true);
        let endless: Script = |_, _| ("users", json!({"users": [], "more": true}));
        assert!(typed(&["list"], None, endless).unwrap_err().contains("nobody in it"));
    }

    #[test]
    fn names_are_checked_and_no_password_is_taken_from_the_command_line() {
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
        assert!(run(args).unwrap_err().contains("the secret file"));
    }
}
