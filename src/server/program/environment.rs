//! Settings from the environment, for containers and service managers, which start servers without a command
//! line of their own.
//!
//! Each variable stands for an option of the command line and is read as that is. An option on the command
//! line counts more than its variable, a variable more than the configuration file, and that more than the
//! default. An empty variable counts as none.

use std::ffi::OsStr;

use clap::{CommandFactory, FromArgMatches, error::ContextKind};

use super::args::Args;
use crate::server::config::file::distance;

/// The variables, each with the id of its option.
pub const VARIABLES: [(&str, &str); 17] = [
    ("SYNCNET_SERVER_ID", "server_id"),
    ("SYNCNET_SERVERS", "servers"),
    ("SYNCNET_CLIENT_ADDRESSES", "client_addresses"),
    ("SYNCNET_JOIN", "join"),
    ("SYNCNET_CLUSTER_NAME", "cluster_name"),
    ("SYNCNET_BIND", "bind"),
    ("SYNCNET_CONFIG", "config"),
    ("SYNCNET_DATA_DIR", "data_dir"),
    ("SYNCNET_LOG_DIR", "log_dir"),
    ("SYNCNET_SECRET_FILE", "secret_file"),
    ("SYNCNET_METRICS_LISTEN", "metrics_listen"),
    ("SYNCNET_METRICS_TOKEN_FILE", "metrics_token_file"),
    ("SYNCNET_TLS_CERTIFICATE", "tls_certificate"),
    ("SYNCNET_TLS_KEY", "tls_key"),
    ("SYNCNET_TLS_REQUIRED", "tls_required"),
    ("SYNCNET_LOG_LEVEL", "log_level"),
    ("SYNCNET_LOG_FORMAT", "log_format"),
];

/// Most letters that may be wrong in a variable's name for it to count as a misspelt one of ours. Scripts and
/// other programs have variables that begin with SYNCNET_, too, and those must not stop a server.
const MISSPELT: usize = 2;

/// Reads the command line and the environment of this process. Ends it, with a sentence on standard error
/// and exit status 2, if they are wrong.
pub fn read_args() -> Args {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    if let Some((name, meant)) = misspelt(names) {
        eprintln!("syncnet-server: the variable {name} is not known; {meant} is");
        std::process::exit(2);
    }
    let typed: Vec<_> = std::env::args_os().collect();
    let read = command().try_get_matches_from_mut(&typed);
    match read.and_then(|matches| Args::from_arg_matches(&matches)) {
        Ok(args) => args,
        Err(error) => match complaint(&error, &typed) {
            Some(sentence) => {
                eprintln!("syncnet-server: {sentence}");
                std::process::exit(2)
            }
            None => error.exit(),
        },
    }
}

/// The value of a variable of this process; `None` if it is empty.
pub fn value(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The command line of the server, with the variables as clap reads and shows them.
pub fn command() -> clap::Command {
    let is_empty = |name| std::env::var_os(name).is_some() && value(name).is_none();
    let names: Vec<_> = VARIABLES.into_iter().map(|(name, _)| name).collect();
    let told = format!(
        "These variables stand for the options of the same names; what is typed counts more: {}.",
        names.join(", ")
    );
    let command = Args::command().after_help(told);
    VARIABLES.into_iter().filter(|(name, _)| !is_empty(name)).fold(command, |command, (name, id)| {
        command.mut_arg(id, |option| option.env(name).hide_env_values(true))
    })
}

/// The first of `names` that looks like a misspelt variable, and the one that was meant.
fn misspelt(names: impl Iterator<Item = String>) -> Option<(String, &'static str)> {
    let known = |name: &str| VARIABLES.iter().any(|(variable, _)| *variable == name);
    let near = |name: &str| {
        VARIABLES.iter().map(|(variable, _)| *variable).find(|variable| distance(name, variable) <= MISSPELT)
    };
    let mut strange = names.filter(|name| name.starts_with("SYNCNET_") && !known(name));
    strange.find_map(|name| near(&name).map(|meant| (name, meant)))
}

/// The text of one of clap's errors with the variable in place of an option that was not typed; `None` if it
/// is about something that was typed.
fn complaint(error: &clap::Error, typed: &[impl AsRef<OsStr>]) -> Option<String> {
    let option = error.get(ContextKind::InvalidArg)?.to_string();
    let option = option.split_whitespace().next()?.to_owned();
    let id = option.trim_start_matches('-').replace('-', "_");
    let (variable, _) = VARIABLES.iter().find(|(_, of)| *of == id)?;
    let was_typed = typed.iter().any(|argument| argument.as_ref().to_string_lossy().starts_with(&option));
    if was_typed || value(variable).is_none() {
        return None;
    }
    let invalid = error.get(ContextKind::InvalidValue).map_or(String::new(), ToString::to_string);
    let reason = std::error::Error::source(error).map_or("it is not understood".into(), ToString::to_string);
    Some(format!("the variable {variable} has {invalid:?} in it: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_variable_stands_for_an_option() {
        let command = Args::command();
        for (variable, id) in VARIABLES {
            assert!(command.get_arguments().any(|option| option.get_id() == id), "{variable}");
            assert_eq!(variable, format!("SYNCNET_{}", id.to_ascii_uppercase()));
        }
    }

    #[test]
    fn a_misspelt_variable_is_found_and_those_of_others_are_not() {
        let found = |name: &str| misspelt(std::iter::once(name.to_owned())).map(|(_, meant)| meant);
        for (name, meant) in [
            ("SYNCNET_SERVRES", "SYNCNET_SERVERS"),
            ("SYNCNET_SERVER", "SYNCNET_SERVERS"),
            ("SYNCNET_SECRETFILE", "SYNCNET_SECRET_FILE"),
            ("SYNCNET_CLIENT_ADDRESS", "SYNCNET_CLIENT_ADDRESSES"),
        ] {
            assert_eq!(found(name), Some(meant), "{name}");
        }
        let scripts = include_str!("../../../scripts/common.sh");
        let of_scripts = scripts.split(|c: char| !c.is_ascii_uppercase() && c != '_');
        let others: Vec<_> = of_scripts.filter(|word| word.starts_with("SYNCNET_")).collect();
        assert!(others.len() > 5);
        for name in others.into_iter().chain(["SYNCNET_CLUSTER_ROUNDS", "SYNCNET_PASSWORD", "SERVRES"]) {
            assert_eq!(found(name), None, "{name}");
        }
    }
}
