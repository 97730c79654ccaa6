//! The command line of `syncnet-admin`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::{client::terminal, server::program::environment};

use super::{
    cluster::ClusterArgs,
    error::UsageError,
    manual,
    output::print,
    secret,
    status::{self, Form},
};

/// The programs, by name.
const PROGRAMS: [&str; 3] = ["syncnet-server", "syncnet-client", "syncnet-admin"];

/// The exit status of a wrong command line or configuration, as clap uses it too.
const USAGE_ERROR: u8 = 2;

/// Looks at a SyncNet cluster, and looks after its accounts.
#[derive(Debug, Parser)]
#[command(name = "syncnet-admin", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show every server, who leads, and a verdict.
    ///
    /// Exit status: 0 healthy, 1 degraded (messages are taken, something is missing), 2 wrong usage,
    /// 3 no message can be taken (no leader, still forming, split, or down).
    Status(StatusArgs),
    /// Accounts: add, list, ban, delete, set a password. For those who have the cluster's secret.
    ///
    /// Exit status: 0 done, 1 not done (the reason is said), 2 wrong usage.
    User(super::user::command::UserArgs),
    /// The servers of the cluster: list, add, remove, replace, drain. For those who have the cluster's
    /// secret.
    ///
    /// Exit status: 0 done, 1 not done (the reason is said), 2 wrong usage.
    Server(super::server::ServerArgs),
    /// List what administrators, moderators and operators did. For those who have the cluster's secret.
    ///
    /// Exit status: 0 done, 1 not done (the reason is said), 2 wrong usage.
    Audit(super::audit::AuditArgs),
    /// Write all that the cluster holds to a file, accounts and files included; or check such a file. For
    /// those who have the cluster's secret.
    ///
    /// Exit status: 0 done, 1 not done (the reason is said), 2 wrong usage.
    Backup(super::backup::command::BackupArgs),
    /// Make the data folder of a server of a new cluster from such a file.
    ///
    /// Exit status: 0 done, 1 not done (the reason is said), 2 wrong usage.
    Restore(super::backup::command::RestoreArgs),
    /// Let the servers read their configuration again, each its own file, and say what has changed. For those
    /// who have the cluster's secret.
    ///
    /// Exit status: 0 done, 1 a server did not do it (the reason is said), 2 wrong usage, or a new
    /// configuration cannot be used and the server keeps the old one.
    Reload(super::reload::ReloadArgs),
    /// Let one server lead, whatever its place in the ring, for a while or until the next time: for
    /// maintenance. For those who have the cluster's secret.
    ///
    /// Exit status: 0 done, 1 not done (the reason is said), 2 wrong usage.
    TransferLeader(super::transfer_leader::TransferLeaderArgs),
    /// Write rooms with their members and events to a file of JSON lines. For those who have the cluster's
    /// secret.
    ///
    /// Exit status: 0 done, 1 not done (the reason is said), 2 wrong usage.
    Export(super::transfer::command::ExportArgs),
    /// Take rooms over from such a file. Broken off, it is simply called again.
    ///
    /// Exit status: 0 done, 1 not done (the reason is said), 2 wrong usage.
    Import(super::transfer::command::ImportArgs),
    /// Make the secret that all servers of a cluster share, in a file for its owner only. A file that has one
    /// stays as it is.
    ///
    /// Exit status: 0 the file has a secret, 2 it cannot have one.
    Secret {
        /// The file, usually cluster.secret in the data folder.
        file: PathBuf,
    },
    /// Print what a shell needs to complete the command lines of all three programs.
    ///
    /// For bash: syncnet-admin completions bash > ~/.local/share/bash-completion/completions/syncnet-admin
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
        /// Only for this program.
        #[arg(long, value_name = "NAME", value_parser = PROGRAMS)]
        program: Option<String>,
    },
    /// Write the manual pages of all three programs into a folder.
    Man {
        /// The folder. It is made if it is missing.
        folder: PathBuf,
    },
}

#[derive(Debug, Args)]
struct StatusArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Show it again every second until Ctrl-C.
    #[arg(long)]
    watch: bool,
    /// One line instead of the table.
    #[arg(long)]
    simple: bool,
    /// One line of JSON instead of the table.
    #[arg(long, conflicts_with = "simple")]
    json: bool,
    /// How long to wait for a server's answer.
    #[arg(long, value_name = "MS", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    timeout_ms: u64,
}

/// The command lines of the programs, in the order of [`PROGRAMS`].
fn command_lines() -> [clap::Command; 3] {
    [environment::command(), terminal::command_line(), Cli::command()]
}

/// Reads the command line, does what it says, and returns the exit status.
pub fn run() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Status(args) => run_status(args),
        Command::User(args) => super::user::command::run(args),
        Command::Server(args) => super::server::run(args),
        Command::Audit(args) => super::audit::run(args),
        Command::Backup(args) => super::backup::command::backup(args),
        Command::Restore(args) => super::backup::command::restore(args),
        Command::Reload(args) => super::reload::run(args),
        Command::TransferLeader(args) => super::transfer_leader::run(args),
        Command::Export(args) => super::transfer::command::export(args),
        Command::Import(args) => super::transfer::command::import(args),
        Command::Secret { file } => run_secret(&file),
        Command::Completions { shell, program } => {
            let is_wanted =
                |line: &clap::Command| program.as_deref().is_none_or(|name| name == line.get_name());
            manual::print_completions(shell, command_lines().into_iter().filter(is_wanted))
        }
        Command::Man { folder } => manual::write_pages(&folder, command_lines()),
    };
    outcome.unwrap_or_else(|error: UsageError| {
        eprintln!("syncnet-admin: {error}");
        ExitCode::from(USAGE_ERROR)
    })
}

fn run_status(args: StatusArgs) -> Result<ExitCode, UsageError> {
    let form = if args.simple {
        Form::Simple
    } else if args.json {
        Form::Json
    } else {
        Form::Table
    };
    let timeout = Duration::from_millis(args.timeout_ms);
    let targets = args.cluster.targets()?;
    let written = if args.watch {
        status::watch(&targets, timeout, form).map(|()| 0)
    } else {
        status::once(&targets, timeout, form).map(|verdict| verdict.exit_status())
    };
    written.map(ExitCode::from).map_err(UsageError::Output)
}

fn run_secret(file: &Path) -> Result<ExitCode, UsageError> {
    let is_new = secret::ensure(file)?;
    let what = if is_new { "was made" } else { "has a secret already and stays as it is" };
    print(&format!("{} {what}\n", file.display())).map_err(UsageError::Output)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_the_command_lines() {
        let names = command_lines().map(|command| command.get_name().to_owned());
        assert_eq!(names, PROGRAMS);
    }

    #[test]
    fn each_command_has_a_page_with_all_its_options() {
        let folder = tempfile::tempdir().unwrap();
        manual::write_pages(folder.path(), command_lines()).unwrap();
        let page = |name: &str| {
            let page = std::fs::read_to_string(folder.path().join(name)).expect(name);
            page.replace("\\-", "-")
        };
        assert!(page("syncnet-server.1").contains("--client-addresses"));
        assert!(page("syncnet-server.1").contains("SYNCNET_SERVERS"));
        assert!(page("syncnet-client.1").contains("--server-host"));
        assert!(page("syncnet-admin.1").contains("completions"));
        assert!(page("syncnet-admin-user-add.1").contains("--password-stdin"));
    }
}
