//! Reads a line of input.

use crate::protocol::RoomName;

use super::{
    commands::{self, COMMANDS},
    line::Line,
    mistake::Mistake,
    secrets::Secrets,
    typed::{Say, Typed},
};

/// Reads a line without its line end, typed by a user who writes to `room`.
///
/// # Errors
/// It is a command that is not used correctly, or a password that it needs is missing.
pub fn read(line: &str, room: Option<&RoomName>, secrets: &mut dyn Secrets) -> Result<Typed, Mistake> {
    let Some((name, words)) = commands::split(line) else {
        // Two slashes mean one that does not begin a command.
        let text = if line.starts_with("//") { &line[1..] } else { line };
        return Ok(if text.trim().is_empty() { Typed::Nothing } else { Typed::Say(Say::here(text)) });
    };
    let command = COMMANDS.iter().find(|command| command.name == name);
    let command = command.ok_or_else(|| Mistake::Unknown(name.to_owned()))?;
    let mut line = Line::new(command.usage(), words, room, secrets);
    let typed = (command.read)(&mut line)?;
    line.end()?;
    Ok(typed)
}
