//! Updates as lines for people, and text from outside made harmless.

use std::borrow::Cow;

use crate::{
    client::update::Update,
    protocol::{
        Event, EventKind, Message, RoomName, UserName,
        text::{counted, is_harmful},
    },
};

use super::answer;

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
        Update::Event { event, .. } => vec![self::event(event, room)],
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
        Update::LoggedIn { username, account: true } => vec![format!("* logged in as {username}")],
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

pub(super) fn event(event: &Event, room: Option<&RoomName>) -> String {
    let elsewhere = room.is_none_or(|room| room.key() != event.room.key());
    let place = if elsewhere { format!("[{}] ", event.room) } else { format!("#{} ", event.seq) };
    match &event.kind {
        EventKind::Message(message) => format!("{place}{}", said(&event.author, message)),
        _ => format!("{place}* {}", deed(event)),
    }
}

/// The event as a sentence, without the text of a message.
pub fn deed(event: &Event) -> String {
    let author = &event.author;
    match &event.kind {
        EventKind::Message(_) => format!("{author} wrote"),
        EventKind::Joined => format!("{author} joined"),
        EventKind::Left => format!("{author} left"),
        EventKind::Edited { target, body } => {
            let body = body.as_deref().map_or(String::new(), |body| format!(": {body}"));
            format!("{author} edited {target}{body}")
        }
        EventKind::Deleted { target } => format!("{author} deleted {target}"),
        EventKind::Reaction { target, emoji, remove: false } => {
            format!("{author} reacted to {target} with {emoji}")
        }
        EventKind::Reaction { target, emoji, remove: true } => {
            format!("{author} took {emoji} back from {target}")
        }
        EventKind::Pinned { target } => format!("{author} pinned {target}"),
        EventKind::Unpinned { target } => format!("{author} unpinned {target}"),
        EventKind::Renamed { name, old_name } => {
            format!("{author} renamed the room from {old_name} to {name}")
        }
        EventKind::Topic { topic } if topic.is_empty() => format!("{author} cleared the topic"),
        EventKind::Topic { topic } => format!("{author} set the topic: {topic}"),
        EventKind::Invited { username } => format!("{author} invited {username}"),
        EventKind::Uninvited { username } => {
            format!("{author} took the invitation of {username} back")
        }
        EventKind::Kicked { username } => format!("{author} kicked {username}"),
        EventKind::Banned { username, seconds } => {
            format!("{author} banned {username}{}", lasting(*seconds))
        }
        EventKind::Unbanned { username } => format!("{author} unbanned {username}"),
        EventKind::Muted { username, seconds } => {
            format!("{author} muted {username}{}", lasting(*seconds))
        }
        EventKind::Unmuted { username } => format!("{author} unmuted {username}"),
        EventKind::Role { username, role } => format!("{author} made {username} {role}"),
        EventKind::Settings { private, archived, slow_s, password, keep_days, keep_events } => {
            let mut settings = vec![if *private { "private" } else { "public" }.to_owned()];
            settings.extend(archived.then(|| "archived".to_owned()));
            settings.extend(password.then(|| "with a password".to_owned()));
            settings.extend((*slow_s > 0).then(|| format!("one message every {slow_s} s")));
            settings.extend(keep_days.map(|days| format!("kept for {}", counted(days.into(), "day"))));
            settings.extend(keep_events.map(|events| format!("keeping {}", counted(events, "event"))));
            format!("{author} set the room: {}", settings.join(", "))
        }
    }
}

/// A message, with its edits and deletion.
fn said(author: &UserName, message: &Message) -> String {
    let to = message.reply_to.map_or(String::new(), |seq| format!(" (to {seq})"));
    let by = message.display_name.as_ref().map_or(String::new(), |name| format!(" [{name}]"));
    if message.deleted.is_some() {
        return format!("{author}{by}{to}: (deleted)");
    }
    let edited = if message.edited.is_some() { " (edited)" } else { "" };
    let file = message
        .file
        .as_ref()
        .map_or(String::new(), |file| format!(" [file {} {} {}]", file.file_id, file.name, size(file.size)));
    let reactions = message.reactions.iter().map(|(emoji, users)| format!(" {emoji}{}", users.len()));
    format!("{author}{by}{to}: {}{edited}{file}{}", message.body, reactions.collect::<String>())
}

fn lasting(seconds: Option<u32>) -> String {
    seconds.map_or(String::new(), |seconds| format!(" for {seconds} s"))
}

/// A size as people read it.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes / 1024),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::UserName;

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
    fn all_settings_of_a_room_are_told() {
        let event = Event {
            room: RoomName::new("lobby").unwrap(),
            seq: 1,
            author: UserName::new("alice").unwrap(),
            lamport_timestamp: 1,
            created_at: 0,
            kind: EventKind::Settings {
                private: true,
                archived: false,
                slow_s: 5,
                password: true,
                keep_days: Some(1),
                keep_events: Some(1_000),
            },
        };
        assert_eq!(
            self::event(&event, None),
            "[lobby] * alice set the room: private, with a password, one message every 5 s, kept for 1 day, keeping 1000 events"
        );
    }

    #[test]
    fn ordinary_text_of_any_script_is_left_alone() {
        for text in ["grüße", "こんにちは", "שלום", "👩‍👩‍👧", "a\u{301}"] {
            assert_eq!(harmless(text), text);
        }
    }
}
