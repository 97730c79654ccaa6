//! Completions for shells and manual pages, made from the descriptions of the command lines.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Command;
use clap_complete::Shell;

use crate::{client::terminal, server::environment};

use super::{error::UsageError, output::print};

/// The programs, by name.
pub const PROGRAMS: [&str; 3] = ["syncnet-server", "syncnet-client", "syncnet-admin"];

/// The command lines of the programs, in the order of [`PROGRAMS`].
fn command_lines() -> [Command; 3] {
    [environment::command(), terminal::command_line(), super::command::command_line()]
}

/// Prints what `shell` needs to complete command lines: of `program`, else of all.
///
/// # Errors
/// Standard output takes nothing.
pub fn print_completions(shell: Shell, program: Option<&str>) -> Result<ExitCode, UsageError> {
    let mut script = Vec::new();
    for (name, mut command) in PROGRAMS.into_iter().zip(command_lines()) {
        if program.is_none_or(|program| program == name) {
            clap_complete::generate(shell, &mut command, name, &mut script);
        }
    }
    let script = String::from_utf8_lossy(&script);
    print(&script).map(|()| ExitCode::SUCCESS).map_err(UsageError::Output)
}

/// Writes a manual page for each program and each of its subcommands into `folder`.
///
/// # Errors
/// The folder cannot be written.
pub fn write_pages(folder: &Path) -> Result<ExitCode, UsageError> {
    let unwritable = |path: &Path, source| UsageError::Unwritable { path: path.to_owned(), source };
    fs::create_dir_all(folder).map_err(|error| unwritable(folder, error))?;
    for (file, page) in pages().map_err(UsageError::Manual)? {
        let path = folder.join(file);
        fs::write(&path, page).map_err(|error| unwritable(&path, error))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The pages, each with its file name.
fn pages() -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut pages = Vec::new();
    for mut command in command_lines() {
        command.build();
        add_pages(&command, &mut pages)?;
    }
    Ok(pages)
}

fn add_pages(command: &Command, pages: &mut Vec<(PathBuf, Vec<u8>)>) -> io::Result<()> {
    // For a subcommand the full name, such as syncnet-admin-user-add.
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).title(name.to_uppercase()).render(&mut page)?;
    pages.push((PathBuf::from(format!("{name}.1")), page));
    let inner = command.get_subcommands().filter(|inner| inner.get_name() != "help");
    inner.into_iter().try_for_each(|inner| add_pages(inner, pages))
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
        let pages = pages().unwrap();
        let page = |name: &str| {
            let (_, page) = pages.iter().find(|(file, _)| *file == Path::new(name)).expect(name);
            String::from_utf8(page.clone()).unwrap().replace("\\-", "-")
        };
        assert!(page("syncnet-server.1").contains("--client-addresses"));
        assert!(page("syncnet-server.1").contains("SYNCNET_SERVERS"));
        assert!(page("syncnet-client.1").contains("--server-host"));
        assert!(page("syncnet-admin.1").contains("completions"));
        assert!(page("syncnet-admin-user-add.1").contains("--password-stdin"));
    }

    #[test]
    fn every_shell_gets_something_for_each_program() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell, Shell::Elvish] {
            for (name, mut command) in PROGRAMS.into_iter().zip(command_lines()) {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut command, name, &mut script);
                assert!(String::from_utf8(script).unwrap().contains(name), "{shell} {name}");
            }
        }
    }
}
