//! What the servers answered to a request, as lines for people: the line mode prints them, the screen shows
//! them.

use crate::{
    client::{
        ask::{Outcome, Reply},
        rooms::Arrival,
        update::Update,
    },
    protocol::{
        Answer, Event, Request, RoomName, RoomSummary, ServerInfo, ServerList,
        answer::{Account, AuditEntry, BotCreated, HistoryPage, Hit, Hook, HookCreated, Member, SearchPage},
        checked::Time,
        request::{self, HistoryRange},
        status::Progress,
        text::counted,
    },
};

use super::{date, events};

/// The lines that tell the outcome of `command`.
pub fn lines(command: &str, reply: &Reply) -> Vec<String> {
    let about = if command.is_empty() { reply.request.msg_type() } else { command };
    match &reply.outcome {
        Outcome::Done(answer) => done(about, reply, answer),
        Outcome::Refused(refusal) => vec![format!("! {about}: {}", refusal.reason)],
        Outcome::Unknown => vec![format!(
            "! {about}: the connection was lost before the answer; look, and repeat it if need be"
        )],
    }
}

/// Each type of answer once. A change that becomes an event of a room is shown as that event.
fn done(command: &str, reply: &Reply, answer: &Answer) -> Vec<String> {
    match answer {
        Answer::History(page) => history_lines(page),
        Answer::Search(page) => {
            let mut lines = search_lines(page);
            if let Request::Search(search) = &reply.request {
                lines.splice(0..0, span(search).map(|span| format!("* {span}")));
            }
            lines
        }
        Answer::Rooms(list) if matches!(&reply.request, Request::Rooms(rooms) if rooms.joined) => {
            unread_lines(&list.rooms, !list.more)
        }
        Answer::Rooms(list) => {
            or_else(list.rooms.iter().map(room_line).collect(), || "* there are no rooms".into())
        }
        Answer::Pins(list) if list.pins.is_empty() => vec![format!("* {} has no pinned messages", list.room)],
        Answer::Pins(list) => {
            let places: Vec<String> = list.pins.iter().map(|seq| format!("#{seq}")).collect();
            vec![format!("* pinned in {}: {}", list.room, places.join(" "))]
        }
        Answer::Hooks(list) => {
            or_else(list.hooks.iter().map(hook_line).collect(), || format!("* {} has no webhooks", list.room))
        }
        Answer::Users(list) => list.users.iter().map(user_line).collect(),
        Answer::Audit(page) => or_else(page.entries.iter().map(audit_line).collect(), || {
            "* nobody has used power over others".into()
        }),
        Answer::Members(list) => vec![format!("* in {}: {}", list.room, member_names(&list.members))],
        Answer::ExportRooms(list) => list.rooms.iter().map(RoomName::to_string).collect(),
        Answer::ServerList(list) => server_lines(list),
        Answer::Status(status) => vec![status.line().trim_end().to_owned()],
        Answer::HookCreated(HookCreated { hook_id, token, .. }) => vec![
            format!("* webhook {hook_id}: post to /hooks/{}", token.expose()),
            "* the address is shown only now; anyone who knows it can post".into(),
        ],
        Answer::BotCreated(BotCreated { token, username }) => vec![
            format!("* the token of {username}: {}", token.expose()),
            "* it is shown only now; anyone who knows it can log in by it".into(),
        ],
        Answer::Placed(placed) => placed.warning.iter().map(|warning| format!("* {warning}")).collect(),
        Answer::Pong(_) => vec![],
        // The next line says it: "you have logged out".
        Answer::Account(_) if matches!(reply.request, Request::Logout(_)) => vec![],
        Answer::LoggedIn(_)
        | Answer::Account(_)
        | Answer::PasswordChanged(_)
        | Answer::Challenge(_)
        | Answer::Done(_)
        | Answer::Joined(_)
        | Answer::Left(_)
        | Answer::PresenceSet(_)
        | Answer::Sent(_)
        | Answer::Receiving(_)
        | Answer::File(_)
        | Answer::FilePiece(_)
        | Answer::Export(_)
        // These are asked for by `syncnet-admin` only.
        | Answer::ServerTable(_)
        | Answer::ServerPlan(_)
        | Answer::ServersChanged(_)
        | Answer::Redirect(_)
        | Answer::Nack(_) => vec![format!("* {command}: done")],
    }
}

/// The hint that there may be a further page.
pub fn hint(update: &Update) -> Option<&'static str> {
    let Update::Answered { reply, .. } = update else { return None };
    Some(match reply.next()? {
        Request::History(request::History { range: HistoryRange::Before(_), .. }) => {
            "* /more shows older ones"
        }
        Request::Audit(_) => "* /more shows older ones",
        Request::Search(_) => "* /more looks for older ones",
        _ => "* /more goes on from here",
    })
}

/// The time span of a search, in the user's time zone; `None` if it is not limited.
pub fn span(search: &request::Search) -> Option<String> {
    let at_ms = |time: Option<Time>| time.map(|time| time.at_ms);
    date::show_span(at_ms(search.since), at_ms(search.until))
}

fn or_else(lines: Vec<String>, none: impl FnOnce() -> String) -> Vec<String> {
    if lines.is_empty() { vec![none()] } else { lines }
}

fn history_lines(page: &HistoryPage) -> Vec<String> {
    let line = |event: &Event| {
        let shown = events::event(event, Some(&event.room));
        let shown = shown.split_once(' ').map_or(shown.as_str(), |(_, shown)| shown);
        format!("{:>6}  {}  {shown}", event.seq, date::show(event.created_at))
    };
    let lines = page.events.iter().map(|event| match Arrival::read(event) {
        Ok(Arrival::Event(event)) => line(&event),
        Ok(Arrival::Unreadable { seq, .. }) => format!("{seq:>6}  of a kind that this client does not know"),
        Err(error) => format!("     ?  {error}"),
    });
    or_else(lines.collect(), || format!("* nothing has happened in {} yet", page.room))
}

fn search_lines(page: &SearchPage) -> Vec<String> {
    let mut lines = or_else(page.hits.iter().map(hit_line).collect(), || "* nothing was found".into());
    if let Some(Progress { done, total }) = page.indexing {
        let percent = done * 100 / total.max(1);
        lines.push(format!("* the index of searches is being made anew ({percent} %): there may be more"));
    }
    lines
}

fn unread_lines(rooms: &[RoomSummary], are_all: bool) -> Vec<String> {
    let unread = rooms.iter().filter(|room| room.unread_messages > 0);
    let line = |room: &RoomSummary| {
        let mentions = match room.mentions {
            0 => String::new(),
            count @ 100.. => format!(", {count} or more name you"),
            count => format!(", {count} of them name{} you", if count == 1 { "s" } else { "" }),
        };
        format!("* {}: {} unread{mentions}", room.room, room.unread_messages)
    };
    let lines: Vec<String> = unread.map(line).collect();
    if !lines.is_empty() {
        return lines;
    }
    let what = if are_all { "" } else { "of the rooms up to here " };
    vec![format!("* {what}you have read everything")]
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

fn audit_line(entry: &AuditEntry) -> String {
    let AuditEntry { action, by, created_at, detail, role, room, username, .. } = entry;
    let to = username.iter().map(|user| format!(" {user}"));
    let inside = room.iter().map(|room| format!(" in {room}"));
    let detail = detail.iter().map(|detail| format!(": {detail}"));
    let what: String = to.chain(inside).chain(detail).collect();
    let who = by.as_ref().map_or_else(|| format!("an {role}"), |by| format!("{by}, {role}"));
    format!("* {} {who}: {action}{what}", date::show(*created_at))
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
    let name = |member: &Member| {
        let (name, away) = (marked(member), if member.away { " (away)" } else { "" });
        if member.online { format!("{name}{away}") } else { format!("({name})") }
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
