//! The fuzz targets: every parser of bytes from outside or from the disk. A target takes any bytes and must
//! return; some check more.
//!
//! Two drivers share this file: `main.rs`, which mutates examples for a moment in every run of the tests, and
//! `libfuzzer/`, which follows the program's branches for as long as it is run (`scripts/fuzz.sh`).

use std::{collections::BTreeSet, sync::Arc};

use syncnet::{
    chat::{Entry, State},
    disk::{HardState, Reader, RoomId, Search, Storage},
    json,
    protocol::{
        Limits, Request, ServerId,
        datagram::{Datagram, Run},
        peer::{ConfState, NodeId, PeerMessage, SnapshotHead},
        rules::{KnownRules, RulesVersion},
        seal::Sealer,
        secret::ClusterSecret,
    },
    server::{
        clients::{dialect, framing::Lines},
        http::{
            frames::{ClientFrame, Fault, Frames},
            head::{self, HeadLimits},
            hook::{body, message},
            method::Method,
            range, target,
        },
    },
    storage::{MemoryDisk, sqlite::SqliteStorage},
};

/// A target, its name on the command line, and examples to begin from.
pub struct Target {
    pub name: &'static str,
    /// What it does with bytes. A panic is a finding.
    pub run: fn(&[u8]),
    /// Examples of what it understands.
    pub examples: fn() -> Vec<Vec<u8>>,
}

pub const TARGETS: [Target; 9] = [
    Target { name: "line", run: line, examples: lines },
    Target { name: "server_line", run: server_line, examples: server_lines },
    Target { name: "http_head", run: http_head, examples: http_heads },
    Target { name: "web_socket", run: web_socket, examples: frames },
    Target { name: "webhook", run: webhook, examples: webhooks },
    Target { name: "datagram", run: datagram, examples: datagrams },
    Target { name: "peer_frame", run: peer_frame, examples: peer_frames },
    Target { name: "stored_entry", run: stored_entry, examples: stored_entries },
    Target { name: "search", run: search, examples: searches },
];

/// What a client sends, cut into lines, taken apart and read.
fn line(data: &[u8]) {
    let _ = dialect::recognise(data);
    let limits = Limits { line_bytes: 4096, ..Limits::default() };
    let mut framed = Vec::new();
    let whole = Lines::new(limits.line_bytes).feed(data, |line| framed.push(line.to_vec()));
    // The lines are the same, however the bytes are split.
    let mut again = Vec::new();
    let mut lines = Lines::new(limits.line_bytes);
    let pieces = data.chunks(3).try_for_each(|piece| lines.feed(piece, |line| again.push(line.to_vec())));
    assert_eq!((&framed, whole), (&again, pieces));
    for line in framed {
        let (head, request) = json::read_request(&line, &limits);
        // Writing it gives the same request. A ping is given back in its original spelling.
        if let Ok(request) = request
            && !matches!(request, Request::Ping(_))
        {
            let again = json::write_request(&head, &request);
            let (_, read) = json::read_request(again.trim_ascii_end(), &limits);
            assert_eq!(read, Ok(request));
        }
    }
}

fn lines() -> Vec<Vec<u8>> {
    [
        r#"{"msg_type":"chat","sender_id":"alice","data":{"room":"lobby","body":"hi","client_msg_id":"1"},"lamport_timestamp":12,"created_at":1.5,"request_id":7}"#,
        r#"{"msg_type":"create_join","data":{"room":"@a,b","private":true,"password":"x","after":3,"history":50}}"#,
        r#"{"msg_type":"file_chunk","data":{"file_id":"00000000000000000000000000000000","offset":0,"bytes":"eHh4"}}"#,
        r#"{"msg_type":"import","data":{"room":"a","first_seq":1,"events":[{"author":"b","created_at":1.5,"body":"x"}]}}"#,
        r#"{"msg_type":"room_settings","data":{"room":"a","keep_days":null,"slow_s":5}}"#,
        r#"{"msg_type":"rename_room","data":{"room":"a","name":"b"}}"#,
        r#"{"msg_type":"pin","data":{"room":"a","seq":9007199254740991}}"#,
        r#"{"msg_type":"search","data":{"query":"a b*","since":1e9,"limit":5}}"#,
    ]
    .map(|line| format!("{line}\r\n").into_bytes())
    .into()
}

/// What a server sends, as the client library reads it.
fn server_line(data: &[u8]) {
    let _ = json::read_server_line(data);
}

fn server_lines() -> Vec<Vec<u8>> {
    [
        r#"{"msg_type":"chat","sender_id":"a","data":{"room":"r","seq":1,"author":"a","lamport_timestamp":1,"created_at":1.5,"kind":"message","body":"x","client_msg_id":"1","reactions":{"+":["b"]}},"lamport_timestamp":1}"#,
        r#"{"msg_type":"room_event","sender_id":"a","data":{"room":"r","seq":2,"author":"a","lamport_timestamp":2,"created_at":1.5,"kind":"pinned","target":1},"lamport_timestamp":2}"#,
        r#"{"msg_type":"room_event","sender_id":"a","data":{"room":"r","seq":3,"author":"a","lamport_timestamp":3,"created_at":1.5,"kind":"renamed","name":"s","old_name":"r"},"lamport_timestamp":3}"#,
        r#"{"msg_type":"room_deleted","sender_id":"server1","data":{"room":"s","by":"a"}}"#,
        r#"{"msg_type":"pins","data":{"for":"pins","room":"r","pins":[3,1]},"request_id":1}"#,
        r#"{"msg_type":"history","data":{"for":"history","room":"r","events":[],"first_seq":1,"last_seq":0,"more":false}}"#,
        r#"{"msg_type":"nack","data":{"for":"chat","code":"rate_limited","reason":"slow","retryable":true,"retry_after_ms":5},"request_id":1}"#,
    ]
    .map(|line| line.as_bytes().to_vec())
    .into()
}

/// The head of an HTTP request, its target, and its ranges.
fn http_head(data: &[u8]) {
    let limits = HeadLimits { bytes: 4096, headers: 16 };
    let parsed = head::parse(data, limits);
    if let Ok(Some((head, used))) = &parsed {
        assert!(*used <= data.len());
        // The head is the same, whatever follows it.
        let alone = head::parse(&data[..*used], limits);
        assert!(
            matches!(alone, Ok(Some((_, length))) if length == *used),
            "a head depends on what follows it"
        );
        let _ = (head.bearer(), range::byte_range(head.once("range").ok().flatten(), 1_000));
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = target::parse(text, Method::Get);
        let _ = target::fields(text);
        let _ = range::byte_range(Some(text), 1_000);
    }
}

fn http_heads() -> Vec<Vec<u8>> {
    [
        "GET /files/00000000000000000000000000000000?a=b%20c HTTP/1.1\r\nHost: a:8000\r\nRange: bytes=1-5\r\n\r\n",
        "POST /files?room=R&name=N HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer snt_x\r\nContent-Length: 5\r\n\r\nhello",
        "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}

/// WebSocket frames of a client: the same however they arrive.
fn web_socket(data: &[u8]) {
    let read = |piece: usize| {
        let mut frames = Frames::new(1_000);
        let mut said: Vec<Result<ClientFrame, Fault>> = Vec::new();
        for bytes in data.chunks(piece.max(1)) {
            frames.push(bytes);
            loop {
                match frames.next_said() {
                    Ok(Some(one)) => said.push(Ok(one)),
                    Ok(None) => break,
                    Err(fault) => {
                        said.push(Err(fault));
                        return format!("{said:?}");
                    }
                }
            }
        }
        format!("{said:?}")
    };
    assert_eq!(read(data.len()), read(1));
}

fn frames() -> Vec<Vec<u8>> {
    let masked = |first: u8, text: &[u8]| {
        let mask = [1, 2, 3, 4];
        let mut frame = vec![first, 0x80 | text.len() as u8];
        frame.extend(mask);
        frame.extend(text.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    };
    vec![
        masked(0x81, b"{\"msg_type\":\"ping\"}"),
        [masked(0x01, b"{\"msg"), masked(0x89, b"p"), masked(0x80, b"_type\":1}")].concat(),
        masked(0x88, &[3, 232]),
    ]
}

/// What a tool posts.
fn webhook(data: &[u8]) {
    for (content_type, encoding) in [
        ("application/json", ""),
        ("application/json; charset=utf-16le", ""),
        ("application/x-www-form-urlencoded", ""),
        ("multipart/form-data; boundary=b", ""),
        ("application/json", "gzip"),
    ] {
        let wrapping = body::Wrapping { content_type, encoding };
        let Ok(payload) = body::payload(wrapping, data, 1 << 20) else { continue };
        if let Some(message) = message::read(&payload) {
            let pieces = message::split(&message.body, 100);
            assert!(!pieces.is_empty() && pieces.iter().all(|piece| (1..=100).contains(&piece.len())));
        }
    }
}

fn webhooks() -> Vec<Vec<u8>> {
    [
        r#"{"text":"built","username":"ci","attachments":[{"fallback":"f","title":"t","title_link":"l","fields":[{"title":"a","value":"b"}]}]}"#,
        "payload=%7B%22text%22%3A%22hi%22%7D",
        "--b\r\nContent-Disposition: form-data; name=payload\r\n\r\n{\"text\":7}\r\n--b--",
        r#"{"text":"\ud800","blocks":[{"type":"section","text":{"type":"mrkdwn","text":"<!date^1^{date}|x>"},"fields":[null]},{"type":"rich_text","elements":[{"type":"rich_text_list","elements":[{"type":"rich_text_section","elements":[{"type":"link","url":"u"}]}]}]}]}"#,
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}

/// A datagram between servers: none without the secret is accepted, and no content of a forged one is
/// misread.
fn datagram(data: &[u8]) {
    let (one, two) = (server("server1"), server("server2"));
    let secret = ClusterSecret::from_bytes([7; 32]);
    let run = |number: u64| Run { node_id: NodeId(number), boot: number };
    let mut sealer = Sealer::new(&secret, "fuzz", one.clone(), run(1), [one, two]);
    assert!(sealer.open(data).is_err(), "a forged datagram was believed");
    let _ = postcard::from_bytes::<Datagram>(data);
}

fn datagrams() -> Vec<Vec<u8>> {
    let secret = ClusterSecret::from_bytes([8; 32]);
    let (one, two) = (server("server1"), server("server2"));
    let run = Run { node_id: NodeId(2), boot: 2 };
    let announce = Datagram::Announce(syncnet::protocol::datagram::Announce { term: 3 });
    let mut other = Sealer::new(&secret, "fuzz", two.clone(), run, [one, two]);
    vec![other.seal(None, &announce), postcard::to_stdvec(&announce).expect("plain data encodes")]
}

/// A message on a peer link, once it is decrypted.
fn peer_frame(data: &[u8]) {
    let _ = postcard::from_bytes::<PeerMessage>(data);
}

fn peer_frames() -> Vec<Vec<u8>> {
    let messages = [
        PeerMessage::Forward { node_id: NodeId(1), boot: 2, first_seq: 3, commands: vec![vec![2, 0, 0]] },
        PeerMessage::Presence { whole: true, online: vec![], away: vec![], offline: vec![] },
        PeerMessage::SnapshotChunk { offset: 5, bytes: vec![1, 2, 3] },
    ];
    messages.iter().map(|message| postcard::to_stdvec(message).expect("plain data encodes")).collect()
}

/// Data of a disk: a log entry, a row of state, a snapshot.
fn stored_entry(data: &[u8]) {
    let _ = Entry::decode(data, KnownRules::OURS);
    if let Some((&length, rest)) = data.split_first() {
        let (key, value) = rest.split_at((length as usize).min(rest.len()));
        let _ = State::load([(key.to_vec(), value.to_vec())]);
    }
    let disk = MemoryDisk::new();
    if let Ok(mut storage) = disk.open(&server("server1"), NodeId(1)) {
        let head = SnapshotHead {
            cluster_id: 1,
            term: 1,
            index: 1,
            index_term: 1,
            conf: ConfState::default(),
            rules: RulesVersion::FIRST,
        };
        let mut bytes = data;
        let _ = storage.install(&head, HardState::default(), &mut bytes);
    }
}

fn stored_entries() -> Vec<Vec<u8>> {
    let (command, rows) = one_join();
    let mut examples = vec![command];
    for (key, value) in rows {
        examples.push([vec![key.len() as u8], key, value].concat());
    }
    examples.push(b"SNSNAP\x02\x00".to_vec());
    examples
}

/// A row of state: key and value.
type Stored = (Vec<u8>, Vec<u8>);

/// A command, and the rows that it leads to.
fn one_join() -> (Vec<u8>, Vec<Stored>) {
    use syncnet::{
        chat::{Authority, Evidence, Origin, Proposal, command::Join},
        protocol::{RoomName, UserName},
    };

    let joining = Entry {
        origin: Origin { node_id: NodeId(1), boot: 1, seq: 1 },
        created_at_ms: 5,
        proposal: Proposal {
            user: UserName::new("alice").expect("a name"),
            authority: Authority::Guest,
            lamport_timestamp: 0,
            room: None,
            command: Join::new(RoomName::new("lobby").expect("a name")).into(),
        },
    };
    let applied = State::default().apply(1, &joining, &Evidence::default());
    let rows = applied.effects.rows.into_iter().filter_map(|row| Some((row.key, row.value?)));
    (joining.encode(), rows.collect())
}

/// What a user types into a search: any text is a search, and none is an error.
fn search(data: &[u8]) {
    thread_local! {
        static STORAGE: (tempfile::TempDir, SqliteStorage) = {
            let folder = tempfile::tempdir().expect("a folder");
            let storage = SqliteStorage::open(folder.path(), &server("server1"), NodeId(1));
            let storage = storage.unwrap_or_else(|_| panic!("a new database opens"));
            (folder, storage)
        };
    }
    let query = String::from_utf8_lossy(data).into_owned();
    STORAGE.with(|(_, storage)| {
        let reader = storage.reader().expect("a reader");
        let search = Search {
            query,
            room: None,
            readable: Arc::new(BTreeSet::from([RoomId(1)])),
            author: None,
            since_ms: None,
            until_ms: None,
            before_lamport: None,
            limit: 5,
        };
        reader.search(&search).expect("whatever is typed is a search");
    });
}

fn searches() -> Vec<Vec<u8>> {
    ["two words", "\"a phrase\" and*", "a NEAR(b) OR c:d^2 -e", "\"", "**", "'; DROP TABLE event; --"]
        .map(|text| text.as_bytes().to_vec())
        .into()
}

fn server(id: &str) -> ServerId {
    ServerId::new(id).expect("an id")
}
