//! Updates as lines for people, and text from outside made harmless.

use std::borrow::Cow;

use crate::{
    client::update::Update,
    protocol::{
        RoomName,
        text::{counted, is_harmful},
    },
};

use super::{
    answer,
    events::{self, size},
};

/// Characters of a message by which it is recognised.
const BEGINNING_CHARS: usize = 60;

/// What the user is told of a restore.
pub const RESTORED: &str = "the servers were restored from a backup: what was said after it is gone";

/// `text` without letters that a terminal acts on or that hide others.
///
/// Control characters (a body may contain escape sequences and line ends) become their pictures, such as
/// `␛` and `␊`. The C1 controls, line separators and marks that change the direction of writing have no
/// pictures and become `\u{fffd}`.
pub fn harmless(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_harmful) {
        return Cow::Borrowed(text);
    }
    let picture = |character: char| match character {
        '\0'..='\x1f' => char::from_u32(0x2400 + u32::from(character)).unwrap_or('\u{fffd}'),
        '\x7f' => '\u{2421}',
        _ if is_harmful(character) => '\u{fffd}',
        _ => character,
    };
    Cow::Owned(text.chars().map(picture).collect())
}

/// The lines that tell of `update`; none if it is no news. Events outside `room` name their room, those in it
/// have their number in front. `command` is the command that it answers, if it answers one.
pub fn lines(update: &Update, room: Option<&RoomName>, command: &str) -> Vec<String> {
    let lines = match update {
        Update::Connection(connection) => vec![format!("* {connection}")],
        Update::Joined { resumed: true, .. } => vec![],
        Update::Joined { room, topic, last_seq, .. } => {
            let topic = if topic.is_empty() { String::new() } else { format!(", about: {topic}") };
            vec![format!("* you are in {room} ({}{topic})", counted(*last_seq, "event"))]
        }
        Update::Event { event, .. } => vec![events::event(event, room)],
        Update::Unreadable { room, seq, .. } => {
            vec![format!("* number {seq} in {room} is of a kind that this client does not know")]
        }
        Update::RoomRestarted { room } => {
            vec![format!("* {room} was set up anew on the servers; it is shown from there")]
        }
        Update::Restored => vec![format!("* {RESTORED}")],
        Update::Left { room } => vec![format!("* you left {room}")],
        Update::RoomRefused { room, refusal } => vec![format!("! {room}: {}", refusal.reason)],
        Update::Refused { message, refusal, uncertain } => {
            let maybe = if *uncertain { "; an earlier attempt may have succeeded" } else { "" };
            let (room, body) = (&message.room, beginning(&message.body));
            vec![format!("! not sent to {room}: {body} ({}{maybe})", refusal.reason)]
        }
        Update::Answered { reply, .. } => answer::lines(command, reply),
        Update::Stopped { reason } => vec![format!("! {reason}")],
        Update::LoggedIn { username, account: true, .. } => vec![format!("* logged in as {username}")],
        Update::LoginNeeded { refusal, wanted: true, .. } => vec![format!("* {}", refusal.reason)],
        Update::LoginNeeded { refusal, .. } => vec![format!("! {}", refusal.reason)],
        Update::Typing { room: at, username } => match room {
            Some(room) if room.key() == at.key() => vec![format!("* {username} is typing")],
            _ => vec![],
        },
        Update::Presence { username, state } => vec![format!("* {username} is {}", state.as_str())],
        Update::Invitation { room, by, invited: true } => {
            vec![format!("* {by} invites you to {room}: /join {room} enters it")]
        }
        Update::Invitation { room, by, invited: false } => {
            vec![format!("* {by} took your invitation to {room} back")]
        }
        Update::Uploaded { file, .. } => {
            vec![format!("* {} ({}) is sent, as file {}", file.name, size(file.size), file.file_id)]
        }
        Update::Downloaded { file, path, .. } => {
            vec![format!("* {} ({}) is saved as {}", file.name, size(file.size), path.display())]
        }
        Update::TransferFailed { reason, .. } => vec![format!("! {command}: {reason}")],
        Update::LoggedIn { account: false, .. }
        | Update::Retry { .. }
        | Update::Queued { .. }
        | Update::ReadElsewhere { .. }
        // Its event is shown.
        | Update::Renamed(_)
        | Update::Acked { .. }
        | Update::Servers(_) => vec![],
    };
    lines.iter().map(|line| harmless(line).into_owned()).collect()
}

/// Enough of a message to recognise it; a refused one may be very long.
fn beginning(body: &str) -> Cow<'_, str> {
    match body.char_indices().nth(BEGINNING_CHARS) {
        None => Cow::Borrowed(body),
        Some((end, _)) => Cow::Owned(format!("{}…", &body[..end])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Event, EventKind, Message, UserName};

    #[test]
    fn nothing_from_outside_reaches_the_terminal_as_a_command() {
        let evil = "\x1b]0;owned\x07\x1b[2J\r\n\u{9b}31m\u{202e}txt\x7f";
        let event = Event {
            room: RoomName::new("lobby").unwrap(),
            seq: 1,
            author: UserName::new("mallory").unwrap(),
            lamport_timestamp: 1,
            created_at: 0,
            kind: EventKind::Message(Message { body: evil.into(), ..Message::default() }),
        };
        let room = event.room.clone();
        let shown = lines(&Update::Event { event: Box::new(event), past: false }, Some(&room), "");
        assert_eq!(shown, ["#1 mallory: ␛]0;owned␇␛[2J␍␊\u{fffd}31m\u{fffd}txt␡"]);
    }

    #[test]
    fn ordinary_text_of_any_script_is_left_alone() {
        for text in ["grüße", "こんにちは", "שלום", "👩‍👩‍👧", "a\u{301}"] {
            assert_eq!(harmless(text), text);
        }
    }
}
