//! Updates as lines for people, and text from outside made harmless.

use std::borrow::Cow;

use crate::{
    client::{
        change,
        io::Question,
        update::{Reply, Update},
    },
    protocol::{
        Event, EventKind, Message, RoomName, RoomSummary, ServerInfo, ServerList, UserName,
        answer::{Account, Hit, Hook, Member},
        request::HistoryRange,
        text::is_harmful,
    },
};

use super::date;

/// Characters of a message by which it is recognised.
const BEGINNING_CHARS: usize = 60;

/// `text` without anything that a terminal acts on or that hides what is written.
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

/// The lines that tell of `update`; none where it is no news. Events outside `room` name their room, those in
/// it have their number in front. `command` is what it answers, where it answers one.
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
        Update::Left { room } => vec![format!("* you left {room}")],
        Update::RoomRefused { room, refusal } => vec![format!("! {room}: {}", refusal.reason)],
        Update::Refused { message, refusal, uncertain } => {
            let maybe = if *uncertain { "; an earlier attempt may have succeeded" } else { "" };
            let (room, body) = (&message.room, beginning(&message.body));
            vec![format!("! not sent to {room}: {body} ({}{maybe})", refusal.reason)]
        }
        Update::Answered { reply, .. } => self::reply(reply),
        Update::Stopped { reason } => vec![format!("! {reason}")],
        Update::Changed { outcome, .. } => self::outcome(command, outcome),
        Update::LoggedIn { username, account: true } => vec![format!("* logged in as {username}")],
        Update::LoginNeeded { refusal, wanted: true, .. } => vec![format!("* {}", refusal.reason)],
        Update::LoginNeeded { refusal, .. } => vec![format!("! {}", refusal.reason)],
        Update::Typing { room: at, username } => match room {
            Some(room) if room.key() == at.key() => vec![format!("* {username} is typing")],
            _ => vec![],
        },
        Update::Presence { username, state } => vec![format!("* {username} is {state}")],
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
        | Update::Queued { .. }
        | Update::Acked { .. }
        | Update::Servers(_) => vec![],
    };
    lines.iter().map(|line| harmless(line).into_owned()).collect()
}

/// What became of a change. What is an event of a room is shown as that.
fn outcome(command: &str, outcome: &change::Outcome) -> Vec<String> {
    match outcome {
        change::Outcome::Done(data) => {
            let text = |field: &str| data.get(field).and_then(serde_json::Value::as_str);
            match (text("token"), text("hook_id")) {
                (Some(token), Some(hook_id)) => vec![
                    format!("* webhook {hook_id}: post to /hooks/{token}"),
                    "* the address is shown only now; whoever knows it can post".into(),
                ],
                (Some(token), None) => vec![
                    format!("* the token of {}: {token}", text("username").unwrap_or_default()),
                    "* it is shown only now; whoever knows it can log in by it".into(),
                ],
                (None, _) if data.contains_key("seq") => vec![],
                // What follows says it: "you have logged out".
                (None, _) if command.starts_with("/logout") => vec![],
                (None, _) => vec![format!("* {command}: done")],
            }
        }
        change::Outcome::Refused(refusal) => vec![format!("! {command}: {}", refusal.reason)],
        change::Outcome::Unknown => {
            vec![format!(
                "! {command}: the connection was lost before the answer; look, and repeat it if need be"
            )]
        }
    }
}

/// Enough of a message to know which one is meant; what is refused may be very long.
fn beginning(body: &str) -> Cow<'_, str> {
    match body.char_indices().nth(BEGINNING_CHARS) {
        None => Cow::Borrowed(body),
        Some((end, _)) => Cow::Owned(format!("{}…", &body[..end])),
    }
}

/// One event.
fn event(event: &Event, room: Option<&RoomName>) -> String {
    let elsewhere = room.is_none_or(|room| room.key() != event.room.key());
    let place = if elsewhere { format!("[{}] ", event.room) } else { format!("#{} ", event.seq) };
    let author = &event.author;
    match &event.kind {
        EventKind::Message(message) => format!("{place}{}", said(author, message)),
        EventKind::Joined => format!("{place}* {author} joined"),
        EventKind::Left => format!("{place}* {author} left"),
        EventKind::Edited { target, body } => {
            let body = body.as_deref().map_or(String::new(), |body| format!(": {body}"));
            format!("{place}* {author} edited {target}{body}")
        }
        EventKind::Deleted { target } => format!("{place}* {author} deleted {target}"),
        EventKind::Reaction { target, emoji, remove: false } => {
            format!("{place}* {author} reacted to {target} with {emoji}")
        }
        EventKind::Reaction { target, emoji, remove: true } => {
            format!("{place}* {author} took {emoji} back from {target}")
        }
        EventKind::Topic { topic } if topic.is_empty() => format!("{place}* {author} cleared the topic"),
        EventKind::Topic { topic } => format!("{place}* {author} set the topic: {topic}"),
        EventKind::Invited { username } => format!("{place}* {author} invited {username}"),
        EventKind::Uninvited { username } => {
            format!("{place}* {author} took the invitation of {username} back")
        }
        EventKind::Kicked { username } => format!("{place}* {author} kicked {username}"),
        EventKind::Banned { username, seconds } => {
            format!("{place}* {author} banned {username}{}", lasting(*seconds))
        }
        EventKind::Unbanned { username } => format!("{place}* {author} unbanned {username}"),
        EventKind::Muted { username, seconds } => {
            format!("{place}* {author} muted {username}{}", lasting(*seconds))
        }
        EventKind::Unmuted { username } => format!("{place}* {author} unmuted {username}"),
        EventKind::Role { username, role } => format!("{place}* {author} made {username} {role}"),
        EventKind::Settings { private, archived, slow_s, password, keep_days, keep_events } => {
            let mut settings = vec![if *private { "private" } else { "public" }.to_owned()];
            settings.extend(archived.then(|| "archived".to_owned()));
            settings.extend(password.then(|| "with a password".to_owned()));
            settings.extend((*slow_s > 0).then(|| format!("one message every {slow_s} s")));
            settings.extend(keep_days.map(|days| format!("kept for {}", counted(days.into(), "day"))));
            settings.extend(keep_events.map(|events| format!("keeping {}", counted(events, "event"))));
            format!("{place}* {author} set the room: {}", settings.join(", "))
        }
    }
}

/// What somebody said, with what has become of it.
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
fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes / 1024),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

fn reply(reply: &Reply) -> Vec<String> {
    match reply {
        Reply::History { room: asked, events, .. } if events.is_empty() => {
            vec![format!("* nothing has happened in {asked} yet")]
        }
        Reply::History { events, .. } => {
            let line = |event: &Event| {
                let shown = self::event(event, Some(&event.room));
                let shown = shown.split_once(' ').map_or(shown.as_str(), |(_, shown)| shown);
                format!("{:>6}  {}  {shown}", event.seq, date::show(event.created_at))
            };
            events.iter().map(line).collect()
        }
        Reply::Rooms { rooms, joined: true, next } => unread_lines(rooms, next.is_none()),
        Reply::Rooms { rooms, .. } if rooms.is_empty() => vec!["* there are no rooms".into()],
        Reply::Rooms { rooms, .. } => rooms.iter().map(room_line).collect(),
        Reply::Search { hits, .. } if hits.is_empty() => vec!["* nothing was found".into()],
        Reply::Search { hits, .. } => hits.iter().map(hit_line).collect(),
        Reply::Hooks { room, hooks } if hooks.is_empty() => vec![format!("* {room} has no webhooks")],
        Reply::Hooks { hooks, .. } => hooks.iter().map(hook_line).collect(),
        Reply::Users { users, .. } => users.iter().map(user_line).collect(),
        Reply::Members { room, members, .. } => vec![format!("* in {room}: {}", member_names(members))],
        Reply::Servers(list) => server_lines(list),
        Reply::Status(status) => vec![status.line().trim_end().to_owned()],
        Reply::Barrier => vec![],
        Reply::Refused(refusal) => vec![format!("! {}", refusal.reason)],
    }
}

/// What is to be said of the page behind what is shown, which may be there.
pub fn hint(update: &Update) -> Option<&'static str> {
    let Update::Answered { reply, .. } = update else { return None };
    Some(match reply.next()? {
        Question::History { range: HistoryRange::Before(_), .. } => "* /more shows older ones",
        Question::Search(_) => "* /more looks for older ones",
        _ => "* /more goes on from here",
    })
}

fn unread_lines(rooms: &[RoomSummary], are_all: bool) -> Vec<String> {
    let unread = rooms.iter().filter(|room| room.unread > 0);
    let line = |room: &RoomSummary| {
        let mentions = match room.mentions {
            0 => String::new(),
            count @ 100.. => format!(", {count} or more name you"),
            count => format!(", {count} of them name{} you", if count == 1 { "s" } else { "" }),
        };
        format!("* {}: {} unread{mentions}", room.room, room.unread)
    };
    let lines: Vec<String> = unread.map(line).collect();
    match lines.is_empty() {
        true if are_all => vec!["* you have read everything".into()],
        true => vec!["* of the rooms up to here you have read everything".into()],
        false => lines,
    }
}

fn hit_line(hit: &Hit) -> String {
    let Hit { event, snippet } = hit;
    format!("[{}] #{} {} {}: {snippet}", event.room, event.seq, date::show(event.created_at), event.author)
}

fn hook_line(hook: &Hook) -> String {
    format!("* webhook {} posts as {}, made by {}", hook.hook_id, hook.username, hook.created_by)
}

fn user_line(user: &Account) -> String {
    let marks = [
        (user.online, "online"),
        (user.admin, "administrator"),
        (user.bot, "bot"),
        (user.banned, "banned"),
        (!user.account, "guest"),
    ];
    let marks: Vec<&str> = marks.into_iter().filter(|(is, _)| *is).map(|(_, mark)| mark).collect();
    format!("* {} {}", user.username, marks.join(", ")).trim_end().to_owned()
}

fn room_line(room: &RoomSummary) -> String {
    let RoomSummary { room: name, private, topic, members, last_seq, joined, invited, .. } = room;
    let mark = if *joined { "*" } else { " " };
    let private = match (private, invited) {
        (true, true) => ", private, you are invited",
        (true, false) => ", private",
        (false, true) => ", you are invited",
        (false, false) => "",
    };
    let topic = if topic.is_empty() { String::new() } else { format!(": {topic}") };
    let (members, events) = (counted(*members, "member"), counted(*last_seq, "event"));
    format!("{mark} {name} ({members}, {events}{private}){topic}")
}

fn member_names(members: &[Member]) -> String {
    let name = |member: &Member| match member.online {
        true if member.away => format!("{} (away)", marked(member)),
        true => marked(member),
        false => format!("({})", marked(member)),
    };
    members.iter().map(name).collect::<Vec<_>>().join(" ")
}

/// A name with the sign of its role.
fn marked(member: &Member) -> String {
    let sign = match member.role.as_str() {
        "owner" => "@",
        "moderator" => "%",
        "muted" => "-",
        _ => "",
    };
    format!("{sign}{}", member.username)
}

fn server_lines(list: &ServerList) -> Vec<String> {
    let line = |server: &ServerInfo| {
        let clients = counted(server.clients, "client");
        let state = match (server.is_leader, server.alive) {
            (true, _) => format!("leader, {clients}"),
            (false, true) => format!("alive, {clients}"),
            (false, false) => "gone".into(),
        };
        format!("* {} at {}:{}, {state}", server.server_id, server.host, server.tcp_port)
    };
    list.servers.iter().map(line).collect()
}

/// `1 event`, `2 events`.
pub fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
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
