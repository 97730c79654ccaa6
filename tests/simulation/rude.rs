//! Clients that do not keep the protocol, or keep it in strange ways. Each request must get its answer, and
//! other clients must not be disturbed.

use serde_json::{Value, json};

use crate::{
    queue::{MS, Micros},
    random::Random,
};

/// One step of a visit.
#[derive(Debug, Clone)]
pub enum Step {
    /// Send this line (with its line end).
    Line(Vec<u8>),
    /// Wait.
    Pause(Micros),
    /// Read no more from the connection.
    StopReading,
    /// Close it.
    Close,
}

/// One visit: a connection and what is done on it.
#[derive(Debug, Clone)]
pub struct Visit {
    /// The number of the server.
    pub server: usize,
    /// What is done, in order.
    pub steps: Vec<Step>,
}

/// What rude visitors do next: one visit, or two at the same time.
pub fn visits(random: &mut Random, number: u64, servers: usize, rooms: usize) -> Vec<Visit> {
    let server = random.index(servers);
    let room = format!("room{}", random.index(rooms));
    let user = format!("rude{number}");
    let mut visits = match random.below(6) {
        0 => vec![Visit { server, steps: garbage(random, &user) }],
        1 => vec![Visit { server, steps: nonsense(random, &user, &room) }],
        2 => vec![Visit { server, steps: deaf(random, &user, &room) }],
        3 => twins(random, &user, &room, servers),
        4 => vec![Visit { server, steps: burst(random, &user, &room) }],
        _ => vec![Visit { server, steps: wanderer(random, &user, &room) }],
    };
    for visit in &mut visits {
        visit.steps.iter_mut().enumerate().for_each(|(number, step)| name_request(step, number));
    }
    visits
}

/// Gives a request a `request_id`, so that its answer can be told from others.
fn name_request(step: &mut Step, number: usize) {
    if let Step::Line(line) = step
        && let Ok(Value::Object(mut request)) = serde_json::from_slice(line)
        && request.get("msg_type").is_some_and(Value::is_string)
    {
        request.insert("request_id".into(), number.into());
        *line = Value::Object(request).to_string().into_bytes();
        line.push(b'\n');
    }
}

fn line(msg_type: &str, user: &str, data: Value) -> Step {
    let mut bytes = json!({"msg_type": msg_type, "sender_id": user, "data": data}).to_string().into_bytes();
    bytes.push(b'\n');
    Step::Line(bytes)
}

fn chat(user: &str, room: &str, id: &str, body: &str) -> Step {
    line("chat", user, json!({"room": room, "body": body, "client_msg_id": id}))
}

fn raw(bytes: &[u8]) -> Step {
    Step::Line([bytes, b"\n"].concat())
}

/// Lines that are no requests.
fn garbage(random: &mut Random, user: &str) -> Vec<Step> {
    let deep = format!("{{\"msg_type\":\"ping\",\"data\":{}1{}}}", "{\"a\":".repeat(33), "}".repeat(33));
    let long = format!("{{\"msg_type\":\"chat\",\"data\":{{\"body\":\"{}\"}}}}", "y".repeat(70_000));
    let lines: [&[u8]; 9] = [
        b"{\"msg_type\":",
        b"{]",
        b"{\"msg_type\":\"\xff\xfe\"}",
        b"{\"msg_type\":\"chat\",\"data\":{\"body\":\"\\ud800\"}}",
        b"{\"msg_type\":7}",
        b"{\"msg_type\":\"ping\",\"lamport_timestamp\":18446744073709551616}",
        b"{\"msg_type\":\"ping\",\"created_at\":1e400}",
        deep.as_bytes(),
        long.as_bytes(),
    ];
    let mut steps = vec![line("ping", user, json!({}))];
    for _ in 0..random.between(1, 14) {
        steps.push(raw(random.pick(&lines)));
        steps.push(Step::Pause(random.below(20 * MS)));
    }
    steps
}

/// Requests that must be refused.
fn nonsense(random: &mut Random, user: &str, room: &str) -> Vec<Step> {
    let far = json!({"msg_type": "chat", "sender_id": user, "lamport_timestamp": (1u64 << 52),
                     "data": {"room": room, "body": "from the future", "client_msg_id": "far"}});
    let all = [
        line("chat", user, json!({"room": "nowhere", "body": "hello", "client_msg_id": "n1"})),
        line("chat", user, json!({"room": room, "body": "", "client_msg_id": "n2"})),
        line("chat", user, json!({"room": room, "body": "\u{0}", "client_msg_id": "n3"})),
        line("chat", user, json!({"room": room, "body": "z".repeat(17_000), "client_msg_id": "n4"})),
        line("chat", "someoneelse", json!({"room": room, "body": "not me", "client_msg_id": "n5"})),
        line("history", user, json!({"room": room, "limit": 100_000})),
        line("history", user, json!({"room": room, "after": 9_000_000})),
        line("create_join", user, json!({"room": "not a name"})),
        line("create_join", user, json!({"room": room, "after": 9_000_000})),
        line("leave", user, json!({"room": "nowhere"})),
        line("dance", user, json!({})),
        line("ping", user, json!({"barrier": 7})),
        raw(far.to_string().as_bytes()),
    ];
    let mut steps = vec![line("login", user, json!({"username": user}))];
    for _ in 0..random.between(1, 10) {
        steps.push(all[random.index(all.len())].clone());
        steps.push(Step::Pause(random.below(40 * MS)));
    }
    steps
}

/// Joins, and then reads nothing.
fn deaf(random: &mut Random, user: &str, room: &str) -> Vec<Step> {
    let mut steps = vec![
        line("create_join", user, json!({"room": room})),
        Step::Pause(random.below(300 * MS)),
        Step::StopReading,
    ];
    for number in 0..random.between(1, 6) {
        steps.push(chat(user, room, &format!("d{number}"), &format!("{} {number}", "deaf ".repeat(500))));
        steps.push(line("history", user, json!({"room": room, "limit": 500})));
        steps.push(Step::Pause(random.below(400 * MS)));
    }
    steps.push(Step::Pause(random.between(1_000, 9_000) * MS));
    steps
}

/// One user at two servers, with the same `client_msg_id`s: alike, with another body, in another room.
fn twins(random: &mut Random, user: &str, room: &str, servers: usize) -> Vec<Visit> {
    let other_body = random.chance(0.3);
    let other_room = random.chance(0.2);
    let count = random.between(1, 8);
    let visit = |random: &mut Random, is_second: bool| {
        let mut steps = vec![line("create_join", user, json!({"room": room}))];
        let room = if is_second && other_room {
            steps.push(line("create_join", user, json!({"room": "elsewhere"})));
            "elsewhere"
        } else {
            room
        };
        for number in 0..count {
            let differs = is_second && other_body && number % 2 == 0;
            let body = if differs { "another body" } else { "the same body" };
            steps.push(chat(user, room, &format!("t{number}"), body));
            steps.push(Step::Pause(random.below(30 * MS)));
        }
        Visit { server: random.index(servers), steps }
    };
    vec![visit(random, false), visit(random, true)]
}

/// Many messages at once, some without a `client_msg_id`, and gone before the answers come.
fn burst(random: &mut Random, user: &str, room: &str) -> Vec<Step> {
    let mut steps = vec![line("create_join", user, json!({"room": room, "history": 0}))];
    for number in 0..random.between(5, 60) {
        if random.chance(0.1) {
            steps.push(line("chat", user, json!({"room": room, "body": format!("nameless {number}")})));
        } else {
            steps.push(chat(user, room, &format!("b{number}"), "burst"));
        }
    }
    if random.chance(0.5) {
        steps.push(Step::Pause(random.below(30 * MS)));
        steps.push(Step::Close);
    }
    steps
}

/// Joins and leaves.
fn wanderer(random: &mut Random, user: &str, room: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for number in 0..random.between(1, 6) {
        steps.push(line("create_join", user, json!({"room": room, "after": 0})));
        steps.push(chat(user, room, &format!("w{number}"), "passing by"));
        steps.push(line("leave", user, json!({"room": room})));
        steps.push(Step::Pause(random.below(60 * MS)));
    }
    steps
}

/// The prefix of rooms that keep few events.
const FORGETFUL: &str = "attic";
/// The most events that they keep.
pub const KEPT_MAX: u64 = 12;

/// A room that keeps its events for a day.
const CALENDAR: &str = "calendar";

/// Whether a room has retention: the judge does not know what is sent there.
pub fn is_forgetful(room: &str) -> bool {
    room.starts_with(FORGETFUL) || keeps_days(room)
}

/// Whether it forgets by age only, so it forgets nothing during a run.
pub fn keeps_days(room: &str) -> bool {
    room == CALENDAR
}

/// Writes in a room that keeps few events, and changes how many.
pub fn forgetful(number: u64) -> Vec<Step> {
    let (user, room) = ("keeper", format!("{FORGETFUL}{}", number % 2));
    let keep = 2 + number % (KEPT_MAX - 1);
    let mut steps = vec![
        // One with `after` would make no room.
        line("create_join", user, json!({"room": room})),
        line("room_settings", user, json!({"room": room, "keep_events": keep})),
    ];
    for at in 0..20 {
        steps.push(chat(user, &room, &format!("k{number}.{at}"), "of no lasting interest"));
        steps.push(Step::Pause(number % 7 * 10 * MS));
    }
    // No run lasts a day, so nothing here is ever old, whatever a clock shows.
    steps.push(line("create_join", user, json!({"room": CALENDAR})));
    steps.push(line("room_settings", user, json!({"room": CALENDAR, "keep_days": 1})));
    for at in 0..4 {
        steps.push(chat(user, CALENDAR, &format!("d{number}.{at}"), "of this day"));
    }
    steps
}
