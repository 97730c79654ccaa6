//! Asking for a password.

use std::io::{self, BufRead};

use thiserror::Error;

use crate::protocol::{
    checked::Invalid,
    credential::{ChosenPassword, PASSWORD_BYTES},
};

/// Why there is no new password.
#[derive(Debug, Error)]
pub enum PasswordError {
    /// The terminal gives nothing.
    #[error("no password can be read from the terminal ({0}); use --password-stdin")]
    Terminal(#[source] io::Error),
    /// Standard input gives nothing.
    #[error("the password on standard input: {0}")]
    Input(#[source] io::Error),
    /// Standard input is no text.
    #[error("the password on standard input: it is not UTF-8")]
    NotText,
    /// It was typed twice, and differently.
    #[error("the two passwords differ; nothing was done")]
    Different,
    /// No server would take it.
    #[error("the password {0}")]
    Unfit(Invalid),
}

/// A new password, from the first line of standard input or from the terminal, which asks for it twice and
/// does not show it.
///
/// # Errors
/// There is no password, or a server would not take it.
pub fn ask(username: &str, from_stdin: bool) -> Result<ChosenPassword, PasswordError> {
    if from_stdin { from_line(io::stdin().lock()) } else { from_terminal(username) }
}

fn from_terminal(username: &str) -> Result<ChosenPassword, PasswordError> {
    let prompt = |text: String| rpassword::prompt_password(text).map_err(PasswordError::Terminal);
    let password = prompt(format!("New password of {username}: "))?;
    let password = ChosenPassword::new(&password).map_err(PasswordError::Unfit)?;
    let again = prompt("The same again: ".into())?;
    // Compared in their prepared form, because the same characters can be typed in different ways.
    let is_same = ChosenPassword::new(&again).is_ok_and(|again| again == password);
    if is_same { Ok(password) } else { Err(PasswordError::Different) }
}

fn from_line(input: impl BufRead) -> Result<ChosenPassword, PasswordError> {
    let mut line = Vec::new();
    // A line end may follow the longest password.
    let most = PASSWORD_BYTES as u64 + 2;
    input.take(most + 1).read_until(b'\n', &mut line).map_err(PasswordError::Input)?;
    let text = str::from_utf8(&line).map_err(|_| PasswordError::NotText)?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    ChosenPassword::new(text.strip_suffix('\r').unwrap_or(text)).map_err(PasswordError::Unfit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_the_password() {
        for text in ["correct horse", "correct horse\n", "correct horse\r\n", "correct horse\nbattery\n"] {
            assert_eq!(from_line(text.as_bytes()).unwrap().get().expose(), "correct horse");
        }
        let longest = "x".repeat(PASSWORD_BYTES);
        assert_eq!(from_line(format!("{longest}\r\n").as_bytes()).unwrap().get().expose(), longest);
    }

    #[test]
    fn what_is_no_password_is_said_without_repeating_it() {
        let endless = io::BufReader::new(io::repeat(b'x'));
        assert!(from_line(endless).unwrap_err().to_string().contains("bytes"));
        assert!(from_line(&b""[..]).unwrap_err().to_string().contains("empty"));
        assert!(
            from_line(&b"\xff\xff\xff\xff\xff\xff\xff\xff\n"[..]).unwrap_err().to_string().contains("UTF-8")
        );
        let error = from_line(&b"hunter2\n"[..]).unwrap_err().to_string();
        assert!(error.contains("at least 8") && !error.contains("hunter2"));
    }
}
