//! Events of rooms as sentences.

use crate::protocol::{Event, EventKind, Message, RoomName, UserName, text::counted};

/// The event in one line. One outside `room` names its room, one in it has its number in front.
pub fn event(event: &Event, room: Option<&RoomName>) -> String {
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
}
