//! Completions for shells and manual pages, made from the descriptions of the command lines.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Command;
use clap_complete::Shell;

use super::{error::UsageError, output::print};

/// Prints what `shell` needs to complete command lines like these.
///
/// # Errors
/// Standard output takes nothing.
pub fn print_completions(
    shell: Shell,
    command_lines: impl IntoIterator<Item = Command>,
) -> Result<ExitCode, UsageError> {
    let mut script = Vec::new();
    for command in command_lines {
        script.extend(completions(shell, command));
    }
    print(&String::from_utf8_lossy(&script)).map(|()| ExitCode::SUCCESS).map_err(UsageError::Output)
}

fn completions(shell: Shell, mut command: Command) -> Vec<u8> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    script
}

/// Writes a manual page for each of these command lines, and for each subcommand, into `folder`.
///
/// # Errors
/// The folder cannot be written.
pub fn write_pages(
    folder: &Path,
    command_lines: impl IntoIterator<Item = Command>,
) -> Result<ExitCode, UsageError> {
    let unwritable = |path: &Path, source| UsageError::Unwritable { path: path.to_owned(), source };
    fs::create_dir_all(folder).map_err(|error| unwritable(folder, error))?;
    for (file, page) in pages(command_lines).map_err(UsageError::Manual)? {
        let path = folder.join(file);
        fs::write(&path, page).map_err(|error| unwritable(&path, error))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The pages, each with its file name.
fn pages(command_lines: impl IntoIterator<Item = Command>) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut pages = Vec::new();
    for mut command in command_lines {
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
    fn every_shell_gets_something_for_each_program() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell, Shell::Elvish] {
            let script = completions(shell, Command::new("syncnet-program"));
            assert!(String::from_utf8(script).unwrap().contains("syncnet-program"), "{shell}");
        }
    }

    #[test]
    fn a_subcommand_has_a_page_of_its_own() {
        let inner = Command::new("add").about("Adds one");
        let pages = pages([Command::new("program").subcommand(inner)]).unwrap();
        let names: Vec<_> = pages.iter().map(|(file, _)| file.display().to_string()).collect();
        assert_eq!(names, ["program.1", "program-add.1"]);
        assert!(String::from_utf8(pages[1].1.clone()).unwrap().contains("Adds one"));
    }
}
