//! Asking for a password.

use std::io::{self, BufRead};

use crate::protocol::credential::{PASSWORD_BYTES, Password};

/// A new password, from the terminal, where it is asked for twice and not shown, or from the first line of
/// standard input. The error is one sentence.
pub fn ask(username: &str, from_stdin: bool) -> Result<Password, String> {
    if from_stdin { from_line(io::stdin().lock()) } else { from_terminal(username) }
}

fn from_terminal(username: &str) -> Result<Password, String> {
    let prompt = |text: String| {
        rpassword::prompt_password(text).map_err(|error| {
            format!("no password can be read from the terminal ({error}); use --password-stdin")
        })
    };
    let password = prompt(format!("New password of {username}: "))?;
    let password = checked(&password)?;
    let again = prompt("The same again: ".into())?;
    // Compared as they are prepared, in case that the two were typed in different ways.
    if Password::new(&again).is_ok_and(|again| again.expose() == password.expose()) {
        Ok(password)
    } else {
        Err("the two passwords differ; nothing was done".into())
    }
}

fn from_line(input: impl BufRead) -> Result<Password, String> {
    let mut line = Vec::new();
    // A line end may follow the longest password.
    let most = PASSWORD_BYTES as u64 + 2;
    let wrong = |error: &dyn std::fmt::Display| format!("the password on standard input: {error}");
    input.take(most + 1).read_until(b'\n', &mut line).map_err(|error| wrong(&error))?;
    let text = str::from_utf8(&line).map_err(|_| wrong(&"it is not UTF-8"))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    checked(text.strip_suffix('\r').unwrap_or(text))
}

fn checked(text: &str) -> Result<Password, String> {
    Password::chosen(text).map_err(|refusal| refusal.reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_the_password() {
        for text in ["correct horse", "correct horse\n", "correct horse\r\n", "correct horse\nbattery\n"] {
            assert_eq!(from_line(text.as_bytes()).unwrap().expose(), "correct horse");
        }
        let longest = "x".repeat(PASSWORD_BYTES);
        assert_eq!(from_line(format!("{longest}\r\n").as_bytes()).unwrap().expose(), longest);
    }

    #[test]
    fn what_is_no_password_is_said_without_repeating_it() {
        let endless = io::BufReader::new(io::repeat(b'x'));
        assert!(from_line(endless).unwrap_err().contains("bytes"));
        assert!(from_line(&b""[..]).unwrap_err().contains("empty"));
        assert!(from_line(&b"\xff\xff\xff\xff\xff\xff\xff\xff\n"[..]).unwrap_err().contains("UTF-8"));
        let error = from_line(&b"hunter2\n"[..]).unwrap_err();
        assert!(error.contains("at least 8") && !error.contains("hunter2"));
    }
}
