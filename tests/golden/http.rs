//! Requests over HTTP, and the first lines of other dialects, to a real server of one.
//!
//! Values that differ from run to run are written as `$PORT`, `$TOKEN`, `$TIME` and so on.

use std::{
    fmt::Write as _,
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
};

use serde_json::{Value, json};

use crate::{
    one_server::{Client, OneServer, PATIENCE},
    recording::{lengthen, shorten},
};

/// A handshake of RFC 6455.
const HANDSHAKE: &str = "Upgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Version: 13\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
/// Fields of a status that differ from run to run.
const CHANGING: [&str; 9] = [
    "uptime",
    "term",
    "last_index",
    "commit_index",
    "applied_index",
    "last_heartbeat_age_ms",
    "created_at",
    "lamport_timestamp",
    "clients",
];

struct Recorder {
    one: OneServer,
    /// The names and the values that they replace.
    names: Vec<(String, String)>,
    text: String,
}

impl Recorder {
    fn new(sections: Value) -> Recorder {
        let one = OneServer::start_with(sections);
        // The ports for peers, datagrams and discovery are counted from the first.
        let names = (0..=4_u16).map(|step| {
            let name = if step == 0 { "$PORT".to_owned() } else { format!("$PORT+{}", 10 * step) };
            (name, (one.port + 10 * step).to_string())
        });
        Recorder { names: names.collect(), one, text: String::new() }
    }

    fn name(&mut self, name: &str, value: &str) {
        self.names.insert(0, (name.into(), value.into()));
    }

    fn filled(&self, text: &str) -> String {
        self.names.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name.as_str(), value))
    }

    /// An answer with names in the place of changing values. If the body has some, its length changes, too.
    fn masked(&self, answer: &str) -> String {
        let (head, body) = answer.split_once("\n\n").unwrap_or(("", answer));
        let (mut head, mut shown) = (self.named(head), self.named(body));
        // The page has tests of its own, and changes with every line of it.
        if head.contains("Content-Type: text/html") {
            let is_tag = |line: &&str| line.starts_with("ETag: ");
            head = head
                .lines()
                .map(|line| if is_tag(&line) { "ETag: $HASH" } else { line })
                .collect::<Vec<_>>()
                .join("\n");
            head = masked_number(&head, "Content-Length: ");
            shown = if body.is_empty() { String::new() } else { "(the page)".into() };
        }
        if shown != body {
            head = masked_number(&head, "Content-Length: ");
        }
        let text = if head.is_empty() { shown } else { format!("{head}\n\n{shown}") };
        shorten(&text)
    }

    fn named(&self, text: &str) -> String {
        let names = self.names.iter();
        let text = names.fold(text.to_owned(), |text, (name, value)| replace_words(&text, value, name));
        let text = CHANGING.iter().fold(text, |text, field| masked_number(&text, &format!("\"{field}\":")));
        let words = ["term=", "uptime=", "last=", "commit=", "applied=", "clients="];
        words.iter().fold(text, |text, word| masked_number(&text, word))
    }

    fn title(&mut self, title: &str) {
        let _ = writeln!(self.text, "\n# {title}");
    }

    fn request(&mut self, text: &str) {
        self.write('>', &shorten(text));
    }

    fn answer(&mut self, text: &str) {
        let masked = self.masked(text);
        self.write('<', &masked);
    }

    fn write(&mut self, mark: char, text: &str) {
        for line in text.lines() {
            let _ = writeln!(self.text, "{}", format!("{mark} {line}").trim_end());
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.one.port)).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        stream
    }

    /// Sends a request, whose head is written with plain line ends, and writes down the answer.
    fn ask(&mut self, head: &str, body: &[u8]) -> String {
        let length = if body.is_empty() || head.contains("Content-Length") {
            String::new()
        } else {
            format!("\nContent-Length: {}", body.len())
        };
        self.request(&format!("{head}{length}"));
        if !body.is_empty() {
            self.request(&format!("\n{}", String::from_utf8_lossy(body)));
        }
        let head = lengthen(&self.filled(&format!("{head}{length}\n\n"))).replace('\n', "\r\n");
        let mut stream = self.connect();
        // A refusal may come before all is sent.
        let _ = stream.write_all(&[head.as_bytes(), body].concat());
        let answer = read_answer(&mut stream, head.starts_with("HEAD "));
        self.answer(&answer);
        answer
    }

    /// Sends bytes and writes down all that comes until the server closes.
    fn send(&mut self, shown: &str, bytes: &[u8]) {
        self.request(shown);
        let mut stream = self.connect();
        let _ = stream.write_all(bytes);
        let mut all = Vec::new();
        // Unread input of the server may reset the connection behind the answer.
        let _ = stream.read_to_end(&mut all);
        self.answer(&String::from_utf8_lossy(&all));
        self.text.push_str("closed\n");
    }
}

/// One answer with its body, without the carriage returns. The date is masked.
fn read_answer(stream: &mut TcpStream, is_head: bool) -> String {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => bytes.push(byte[0]),
            end => panic!("the answer ends after {:?}: {end:?}", String::from_utf8_lossy(&bytes)),
        }
    }
    let head = String::from_utf8(bytes).expect("a head is text").replace("\r\n", "\n");
    let head: Vec<&str> = head.trim_end().lines().collect();
    let dated = |line: &&str| {
        line.strip_prefix("Date: ").map_or_else(|| (*line).to_owned(), |_| "Date: $DATE".into())
    };
    let shown: Vec<String> = head.iter().map(dated).collect();
    let length = head.iter().find_map(|line| line.strip_prefix("Content-Length: "));
    let has_body = !is_head && !head[0].contains(" 304 ") && !head[0].contains(" 101 ");
    let mut body = vec![0; length.filter(|_| has_body).map_or(0, |length| length.parse().expect("a length"))];
    stream.read_exact(&mut body).expect("the body is as long as it says");
    format!("{}\n\n{}", shown.join("\n"), String::from_utf8_lossy(&body))
}

/// A text in which `word` is another, unless it is part of a longer one.
fn replace_words(text: &str, word: &str, other: &str) -> String {
    let is_part = |letter: Option<char>| letter.is_some_and(char::is_alphanumeric);
    let mut replaced = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once(word) {
        let is_whole = !is_part(before.chars().last()) && !is_part(behind.chars().next());
        replaced.push_str(before);
        replaced.push_str(if is_whole { other } else { word });
        rest = behind;
    }
    replaced + rest
}

/// A text in which the numbers behind `before` are `$N`.
fn masked_number(text: &str, before: &str) -> String {
    let mut parts = text.split(before);
    let mut masked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|letter: char| letter.is_ascii_digit() || ".-e".contains(letter));
        masked.push_str(before);
        masked.push_str(if rest.len() < part.len() { "$N" } else { "" });
        masked.push_str(rest);
    }
    masked
}

fn data(client: &mut Client, msg_type: &str, data: Value) -> Value {
    client.send(&json!({"msg_type": msg_type, "data": data, "request_id": 1}).to_string());
    let answer = client.answer(1);
    assert_eq!(answer["msg_type"], "ack", "{answer}");
    answer["data"].clone()
}

/// A string in the JSON that ends an answer.
fn field(answer: &str, name: &str) -> String {
    let body: Value = serde_json::from_str(answer.split_once("\n\n").expect("a body").1).expect("JSON");
    body[name].as_str().unwrap_or_else(|| panic!("no {name} in {body}")).to_owned()
}

/// All requests over HTTP.
pub fn record() -> String {
    let mut recorder = Recorder::new(json!({}));
    let mut alice = recorder.one.client();
    let account = json!({"username": "alice", "password": "a long password"});
    data(&mut alice, "register", account.clone());
    let token = data(&mut alice, "login", account)["token"].as_str().expect("a token").to_owned();
    recorder.name("$TOKEN", &token);
    data(&mut alice, "create_join", json!({"room": "lobby"}));
    let hook = data(&mut alice, "create_hook", json!({"room": "lobby", "username": "ci"}));
    recorder.name("$HOOK", hook["token"].as_str().expect("a token"));
    pages(&mut recorder);
    files(&mut recorder);
    hooks(&mut recorder);
    handshakes(&mut recorder);
    recorder.text
}

fn pages(recorder: &mut Recorder) {
    recorder.title("Pages");
    for path in ["/", "/healthz", "/readyz", "/api/status", "/nowhere", "/healthz/", "/ws"] {
        recorder.ask(&format!("GET {path} HTTP/1.1\nHost: a"), b"");
    }
    // What users without rights see.
    for path in ["/metrics", "/dashboard/data"] {
        recorder.ask(&format!("GET {path} HTTP/1.1\nHost: a\nVia: 1.1 b"), b"");
    }
    recorder.title("Methods");
    for line in [
        "HEAD /healthz HTTP/1.1",
        "HEAD /nowhere HTTP/1.1",
        "OPTIONS /healthz HTTP/1.1",
        "OPTIONS /files HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "POST /healthz HTTP/1.1",
        "DELETE /files/00000000000000000000000000000000 HTTP/1.1",
        "GET /healthz HTTP/1.0",
    ] {
        recorder.ask(&format!("{line}\nHost: a"), b"");
    }
    recorder.title("Heads that are refused");
    for head in [
        "GET /healthz HTTP/1.1",
        "GET /healthz HTTP/1.1\nHost: a\nHost: b",
        "GET /healthz HTTP/3.0\nHost: a",
        "GET / x HTTP/1.1\nHost: a",
        "GET /<<x*20000>> HTTP/1.1\nHost: a",
        "GET / HTTP/1.1\nHost: a\nX: <<x*20000>>",
        "GET /%zz HTTP/1.1\nHost: a",
        "GET healthz HTTP/1.1\nHost: a",
        "GET /healthz HTTP/1.1\nHost: a\nContent-Length: 0\nContent-Length: 3",
        "GET /healthz HTTP/1.1\nHost: a\nContent-Length: +0",
        "GET /healthz HTTP/1.1\nHost: a\nContent-Length: 0\nTransfer-Encoding: chunked",
        "POST /files HTTP/1.1\nHost: a\nTransfer-Encoding: chunked",
        "GET /healthz HTTP/1.1\nHost: a\nX : y",
        "GET /healthz HTTP/1.1\nHost: a\n folded: y",
        "CONNECT a:80 HTTP/1.1\nHost: a",
    ] {
        recorder.ask(head, b"");
    }
}

fn files(recorder: &mut Recorder) {
    recorder.title("Files");
    let bearer = "Authorization: Bearer $TOKEN";
    let post = |query: &str, more: &str| format!("POST /files{query} HTTP/1.1\nHost: a\n{more}");
    recorder.ask(&post("?room=lobby&name=x", "X: y"), b"abc");
    recorder.ask(&post("?room=lobby&name=x", "Authorization: Bearer nonsense"), b"abc");
    recorder.ask(&post("?room=lobby&name=x", "Authorization: Basic YTpi"), b"abc");
    recorder.ask(&post("", bearer), b"abc");
    recorder.ask(&post("?room=lobby", bearer), b"abc");
    recorder.ask(&post("?room=nowhere&name=x", bearer), b"abc");
    recorder.ask(&post("?room=lobby&name=..%2Fx", bearer), b"abc");
    recorder.ask(&post("?room=a%20b&name=x", bearer), b"abc");
    recorder.ask(&post("?room=lobby&name=x", &format!("{bearer}\nContent-Length: 99999999999")), b"");
    recorder.ask(&post("?room=lobby&name=x", &format!("{bearer}\nContent-Type: text")), b"abc");
    for (name, content_type) in
        [("h%C3%A4.txt", "text/plain"), ("page.html", "text/html"), ("cat.png", "image/png")]
    {
        let query = format!("?room=lobby&name={name}");
        let posted = {
            // The answer holds an id that is not known beforehand.
            let before = recorder.text.len();
            let posted = recorder
                .ask(&post(&query, &format!("{bearer}\nContent-Type: {content_type}")), b"0123456789");
            recorder.text.truncate(before);
            posted
        };
        recorder.name("$FILE", &field(&posted, "file_id"));
        recorder.request(&post(&query, &format!("{bearer}\nContent-Type: {content_type}\n\n0123456789")));
        recorder.answer(&posted);
        let get = format!("GET /files/$FILE HTTP/1.1\nHost: a\n{bearer}");
        recorder.ask(&get, b"");
        recorder.ask(&get.replace("GET", "HEAD"), b"");
        for more in [
            "Range: bytes=2-4",
            "Range: bytes=-3",
            "Range: bytes=7-",
            "Range: bytes=10-",
            "Range: bytes=4-2",
            "Range: bytes=0-1,3-4",
            "Range: lines=1-2",
            "If-None-Match: \"84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882\"",
            "If-None-Match: *",
            "If-None-Match: \"other\"",
            "If-Range: \"other\"\nRange: bytes=2-4",
        ] {
            if name == "cat.png" {
                recorder.ask(&format!("{get}\n{more}"), b"");
            }
        }
        recorder.names.remove(0);
    }
    for (id, more) in [("00000000000000000000000000000000", bearer), ("nothing", bearer), ("nothing", "X: y")]
    {
        recorder.ask(&format!("GET /files/{id} HTTP/1.1\nHost: a\n{more}"), b"");
    }
}

fn hooks(recorder: &mut Recorder) {
    recorder.title("Webhooks");
    let post = |token: &str, more: &str| format!("POST /hooks/{token} HTTP/1.1\nHost: a\n{more}");
    let json = "Content-Type: application/json";
    let unknown = "snt_-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s";
    recorder.ask(&post("$HOOK", json), br#"{"text":"<https://ci/7|build 7> works","username":"CI"}"#);
    recorder.ask(
        &post("$HOOK", "Content-Type: application/x-www-form-urlencoded"),
        b"payload=%7B%22text%22%3A%22a%22%7D",
    );
    recorder.ask(&post("$HOOK", json), b"not JSON");
    recorder.ask(&post("$HOOK", json), br#"{"username":"CI"}"#);
    recorder.ask(&post("$HOOK", json), br#"{"text":7}"#);
    recorder.ask(&post("$HOOK", json), format!(r#"{{"text":"{}"}}"#, "x".repeat(20_000)).as_bytes());
    let keyed = format!("{json}\nIdempotency-Key: 1");
    recorder.ask(&post("$HOOK", &keyed), br#"{"text":"once"}"#);
    recorder.ask(&post("$HOOK", &keyed), br#"{"text":"once"}"#);
    recorder.ask(&post("$HOOK", &keyed), br#"{"text":"another"}"#);
    recorder.ask(&post("nonsense", json), br#"{"text":"a"}"#);
    recorder.ask(&post(unknown, json), br#"{"text":"a"}"#);
    recorder.ask(&post("$HOOK", &format!("{json}\nContent-Length: 1100000")), b"");
    recorder.ask("GET /hooks/$HOOK HTTP/1.1\nHost: a", b"");
}

fn handshakes(recorder: &mut Recorder) {
    recorder.title("WebSocket handshakes");
    let get = |host: &str, more: &str| format!("GET /ws HTTP/1.1\nHost: {host}\n{more}");
    recorder.ask(&get("a", HANDSHAKE), b"");
    recorder.ask(&get("a", &HANDSHAKE.replace("13", "8")), b"");
    recorder.ask(&get("a", &HANDSHAKE.replace("dGhl", "")), b"");
    recorder.ask(&get("a", &HANDSHAKE.replace("websocket", "h2c")), b"");
    recorder.ask(&get("a", &format!("{HANDSHAKE}\nOrigin: https://evil.example")), b"");
    recorder.ask(&get("localhost:$PORT", &format!("{HANDSHAKE}\nOrigin: http://localhost:$PORT")), b"");
    recorder.ask(&get("a", &format!("{HANDSHAKE}\nSec-WebSocket-Protocol: x")), b"");
    recorder.ask(&get("a", HANDSHAKE).replace("GET", "HEAD"), b"");
    recorder.ask(&get("a", &HANDSHAKE.replace("Key: dGhlIHNhbXBsZSBub25jZQ==", "Keys: x")), b"");
}

/// First lines of other dialects, to which the server answers and then closes.
pub fn record_sockets() -> String {
    let mut recorder = Recorder::new(json!({}));
    recorder.title("The status probe");
    recorder.send("STATUS_REQUEST", b"STATUS_REQUEST\n");
    recorder.title("What is no dialect");
    recorder.send("hello", b"hello\n");
    recorder.send("[1]", b"[1]\n");
    recorder.send("a TLS ClientHello", &[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0]);
    recorder.title("A line that is too long");
    recorder.send("{<<x*70000>>", format!("{{{}", "x".repeat(70_000)).as_bytes());
    recorder.title("Ten lines that are no JSON, the first behind blank lines and with a carriage return");
    recorder.send("{ (ten times)", format!("\n\r\n{{\r\n{}", "{\n".repeat(9)).as_bytes());
    recorder.text
}
