//! Files over HTTP, in front of a small copy of the chat.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::{
    protocol::{
        Answer, Request, ServerId,
        answer::{FileDone, LoggedIn},
    },
    server::http::head::{HeadLimits, parse},
};

/// The file that the chat is given first.
const FILE: FileId = FileId([0xff; 16]);

/// A chat that knows files, one user and one room.
#[derive(Default)]
struct Chat {
    is_logged_in: bool,
    files: BTreeMap<FileId, (FileBegin, Vec<u8>)>,
    asked: Vec<&'static str>,
    /// The requests that were about the room of a number, and that number.
    rooms: Vec<(&'static str, RoomId)>,
    answers: BTreeMap<i64, Result<Answer, Failure>>,
    /// The request with this number is refused with this code.
    refuses: Option<(usize, Code)>,
    /// From the request with this number on there is no answer; that request may be carried out.
    dies: Option<(usize, bool)>,
    is_dead: bool,
    /// How often it may be opened anew.
    reopens: usize,
    most_waiting: usize,
}

fn lobby() -> Destination {
    Destination::Room(RoomName::new("lobby").unwrap())
}

fn refuse<T>(code: Code) -> Result<T, Failure> {
    Err(Refusal::new(code, "no").into())
}

fn digest(content: &[u8]) -> checked::Digest {
    checked::Digest(Sha256::digest(content).into())
}

fn received(file_id: FileId, received: usize) -> Receiving {
    Receiving { chunk_bytes: CHUNK_BYTES, file_id, received: received as u64 }
}

impl Chat {
    fn carry_out(&mut self, request: Request) -> Result<Answer, Failure> {
        if let Some((number, code)) = self.refuses
            && number == self.asked.len()
        {
            return refuse(code);
        }
        if let Request::Login(login) = &request {
            self.is_logged_in = *login == Login::Token(Token::given("good"));
            let (server_id, username) = (ServerId::new("server1").unwrap(), UserName::new("alice").unwrap());
            let answer = LoggedIn {
                account: true,
                administrator: false,
                epoch: 1,
                leader_id: None,
                server_id,
                stale: false,
                token: None,
                username,
            };
            return if self.is_logged_in { Ok(answer.into()) } else { refuse(Code::BadCredentials) };
        }
        if !self.is_logged_in {
            return refuse(Code::NotAuthenticated);
        }
        match request {
            Request::FileBegin(begin) if begin.to != lobby() => refuse(Code::NotFound),
            Request::FileBegin(begin) => {
                self.files.insert(FILE, (begin, Vec::new()));
                Ok(received(FILE, 0).into())
            }
            Request::FileChunk(FileChunk { file_id, offset, bytes }) => {
                let Some((_, content)) = self.files.get_mut(&file_id) else { return refuse(Code::NotFound) };
                let (offset, bytes) = (offset as usize, bytes.into_bytes());
                // After a chunk that was refused the next ones do not fit. One that is there may come again.
                match content.len() {
                    length if length == offset => content.extend(bytes),
                    length if length >= offset + bytes.len() => {}
                    _ => return refuse(Code::BadRequest),
                }
                Ok(received(file_id, content.len()).into())
            }
            Request::FileEnd(FileEnd { file_id, sha256 }) => {
                let (begin, content) = &self.files[&file_id];
                if sha256 != digest(content) || begin.size != content.len() as u64 {
                    return refuse(Code::BadRequest);
                }
                Ok(FileDone::from(self.info(file_id)).into())
            }
            Request::FileRead(FileRead { file_id, offset }) => {
                let Some((_, content)) = self.files.get(&file_id) else { return refuse(Code::NotFound) };
                let start = offset as usize;
                let end = (start + CHUNK_BYTES as usize).min(content.len());
                let bytes = content[start..end].to_vec();
                Ok(FilePiece::new(&self.info(file_id), offset, bytes).into())
            }
            Request::FileDelete(FileDelete { file_id }) => {
                self.files.remove(&file_id);
                Ok(received(file_id, 0).into())
            }
            _ => refuse(Code::UnknownType),
        }
    }

    fn info(&self, file_id: FileId) -> FileInfo {
        let (begin, content) = &self.files[&file_id];
        FileInfo {
            file_id,
            name: begin.name.to_string(),
            size: content.len() as u64,
            sha256: digest(content).to_string(),
            content_type: begin.content_type.as_ref().map_or("a/b".into(), ContentType::to_string),
        }
    }
}

impl ChatSession for Chat {
    fn send_in(&mut self, room: Option<RoomId>, request: Request) -> Result<i64, Failure> {
        self.rooms.extend(room.map(|room| (request.msg_type(), room)));
        let msg_type = request.msg_type();
        let mut answer = refuse(Code::Unavailable);
        if !self.is_dead {
            let dies = self.dies.take_if(|(number, _)| *number == self.asked.len());
            self.is_dead = dies.is_some();
            if dies.is_none_or(|(_, is_carried_out)| is_carried_out) {
                let carried_out = self.carry_out(request);
                answer = if self.is_dead { answer } else { carried_out };
            }
        }
        self.asked.push(msg_type);
        self.answers.insert(self.asked.len() as i64, answer);
        self.most_waiting = self.most_waiting.max(self.answers.len());
        Ok(self.asked.len() as i64)
    }

    fn answer(&mut self, number: i64) -> Result<Answer, Failure> {
        self.answers.remove(&number).expect("each answer is waited for once")
    }

    fn reopen(&mut self, _: Duration) -> bool {
        let Some(left) = self.reopens.checked_sub(1) else { return false };
        self.answers.clear();
        (self.reopens, self.is_dead, self.is_logged_in) = (left, false, false);
        true
    }
}

#[derive(Default)]
struct Written {
    head: String,
    status: u16,
    length: u64,
    body: Vec<u8>,
}

impl Out for Written {
    fn begin(&mut self, response: &Response, length: u64) -> io::Result<()> {
        self.head = String::from_utf8(response.head(length, 0, false)).unwrap();
        (self.status, self.length) = (response.status, length);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.body.extend_from_slice(bytes);
        Ok(())
    }
}

fn head(text: &str) -> Head {
    let text = format!("{text}\r\nHost: a\r\n\r\n").replace('\n', "\r\n").replace("\r\r", "\r");
    parse(text.as_bytes(), HeadLimits { bytes: 9_999, headers: 20 }).unwrap().unwrap().0
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|place| (place * 31 % 251) as u8).collect()
}

/// Posts a file; gives the answer as it would be written.
fn post(chat: &mut Chat, first: &str, content: &[u8], pieces: usize) -> Result<Response, Abort> {
    let head = head(&format!("POST {first}\nContent-Length: {}", content.len()));
    let upload = Upload::read(&head)?;
    let mut rest = content;
    upload.carry_out(chat, |count| {
        let (piece, after) = rest.split_at(count.min(pieces).min(rest.len()));
        rest = after;
        Ok(piece.to_vec())
    })
}

fn get(chat: &mut Chat, text: &str) -> Result<Written, Abort> {
    let head = head(text);
    let name = head.target.path.strip_prefix("/files/").unwrap().to_owned();
    chat.is_logged_in = false;
    let mut written = Written::default();
    Download::read(&head, &name)?.carry_out(chat, &mut written)?;
    Ok(written)
}

#[test]
fn a_file_goes_in_and_comes_out() {
    for length in [0, 1, 32 * 1024, 32 * 1024 + 1, 300_000] {
        let mut chat = Chat::default();
        let content = content(length);
        let first = "/files?room=lobby&name=h%C3%A4.png HTTP/1.1\nAuthorization: Bearer good\nContent-Type: image/png";
        let response = post(&mut chat, first, &content, usize::MAX).unwrap();
        let answer: Value = serde_json::from_slice(&response.body).unwrap();
        let sha256 = digest(&content).to_string();
        assert_eq!(response.status, 201);
        let expected = json!({"file_id": FILE, "size": length, "sha256": sha256, "name": "hä.png", "content_type": "image/png"});
        assert_eq!(answer, expected);
        assert!(chat.most_waiting <= CHUNKS_AHEAD, "{} chunks waited", chat.most_waiting);
        let written =
            get(&mut chat, &format!("GET /files/{FILE} HTTP/1.1\nAuthorization: Bearer good")).unwrap();
        assert_eq!((written.status, written.length, written.body), (200, length as u64, content));
        for header in [
            "Content-Type: image/png",
            "Content-Disposition: inline; filename=\"h_.png\"; filename*=UTF-8''h%C3%A4.png",
            "X-Content-Type-Options: nosniff",
            "Cache-Control: private, no-cache",
            &format!("ETag: \"{sha256}\""),
        ] {
            assert!(written.head.contains(&format!("{header}\r\n")), "{header}: {}", written.head);
        }
        assert!(written.head.contains("; sandbox\r\n"), "{}", written.head);
    }
}

#[test]
fn parts_heads_and_what_is_known_already() {
    let mut chat = Chat::default();
    let content = content(100_000);
    let first = "/files?room=lobby&name=a.html HTTP/1.1\nAuthorization: Bearer good\nContent-Type: text/html";
    post(&mut chat, first, &content, usize::MAX).unwrap();
    let ask = format!("/files/{FILE} HTTP/1.1\nAuthorization: Bearer good");
    for (range, start, end) in [
        ("0-0", 0, 1),
        ("10-32767", 10, 32_768),
        ("10-32768", 10, 32_769),
        ("40000-70000", 40_000, 70_001),
        ("99999-", 99_999, 100_000),
        ("-70000", 30_000, 100_000),
    ] {
        let written = get(&mut chat, &format!("GET {ask}\nRange: bytes={range}")).unwrap();
        assert_eq!((written.status, written.length), (206, end - start), "{range}");
        assert_eq!(written.body, content[start as usize..end as usize], "{range}");
        assert!(written.head.contains(&format!("Content-Range: bytes {start}-{}/100000\r\n", end - 1)));
        assert!(written.head.contains("Content-Type: application/octet-stream\r\n"));
        assert!(written.head.contains("Content-Disposition: attachment;"));
    }
    match get(&mut chat, &format!("GET {ask}\nRange: bytes=100000-")) {
        Err(Abort::Answer(response)) => assert_eq!(response.status, 416),
        other => panic!("{:?}", other.map(|written| written.status)),
    }
    let written = get(&mut chat, &format!("HEAD {ask}")).unwrap();
    assert_eq!((written.status, written.length, written.body.len()), (200, 100_000, 0));
    let tag = format!("\"{}\"", digest(&content));
    for known in [tag.clone(), format!("\"x\", W/{tag}"), "*".into()] {
        let written = get(&mut chat, &format!("GET {ask}\nIf-None-Match: {known}")).unwrap();
        assert_eq!((written.status, written.body.len()), (304, 0), "{known}");
    }
    let written = get(&mut chat, &format!("GET {ask}\nRange: bytes=1-2\nIf-Range: \"old\"")).unwrap();
    assert_eq!(written.status, 200);
    let written = get(&mut chat, &format!("GET {ask}\nRange: bytes=1-2\nIf-Range: {tag}")).unwrap();
    assert_eq!(written.status, 206);
}

#[test]
fn refusals_reach_the_client_and_leave_nothing_behind() {
    let content = content(200_000);
    let good = "/files?room=lobby&name=x HTTP/1.1\nAuthorization: Bearer good";
    let failed = |result: Result<Response, Abort>| match result {
        Err(Abort::Failed(Failure::Refused(refusal))) => refusal.code,
        other => panic!("{other:?}"),
    };
    for number in 0..9 {
        for code in [Code::Forbidden, Code::TooLarge, Code::Unavailable] {
            let mut chat = Chat { refuses: Some((number, code)), ..Chat::default() };
            assert_eq!(failed(post(&mut chat, good, &content, usize::MAX)), code);
            assert!(chat.files.is_empty(), "request {number} was refused: {:?}", chat.asked);
        }
    }
    let mut chat = Chat::default();
    let wrong = good.replace("good", "bad");
    assert_eq!(failed(post(&mut chat, &wrong, &content, usize::MAX)), Code::BadCredentials);
    let elsewhere = good.replace("lobby", "nowhere");
    assert_eq!(failed(post(&mut chat, &elsewhere, &content, usize::MAX)), Code::NotFound);
    for header in ["X: y", "Authorization: Basic good"] {
        match post(&mut chat, &format!("/files?room=lobby&name=x HTTP/1.1\n{header}"), b"x", usize::MAX) {
            Err(Abort::Answer(response)) => assert_eq!(response.status, 401, "{header}"),
            other => panic!("{other:?}"),
        }
    }
    // A client that goes away in the middle.
    let head =
        head("POST /files?room=lobby&name=x HTTP/1.1\nAuthorization: Bearer good\nContent-Length: 99999");
    let mut left = 2;
    let upload = Upload::read(&head).unwrap();
    let result = upload.carry_out(&mut chat, |count| {
        left -= 1;
        if left > 0 { Ok(vec![0; count]) } else { Err(Abort::Gone(io::ErrorKind::UnexpectedEof.into())) }
    });
    assert!(matches!(result, Err(Abort::Gone(_))) && chat.files.is_empty());
}

#[test]
fn the_answer_to_a_wrong_query_says_what_is_wrong() {
    for (query, reason) in [
        ("", "room is missing, or to for a direct message"),
        ("name=x", "room is missing, or to for a direct message"),
        ("rom=lobby&name=x&rom=a&user=b", "direct message; rom, user is not known here"),
        ("room=lobby&to=bob&name=x", "give room or to, not both"),
        ("room=lobby", "name is missing"),
        ("to=bob&name=", "name is missing"),
        ("to=bob&filename=x", "name is missing; filename is not known here"),
        ("room=lobby&room=lobby&name=x", "room is there more than once"),
        ("room=lobby&name=x&name=y", "name is there more than once"),
        ("room=lobby&room_id=x&name=x", "room_id must be an unsigned integer"),
        ("room=lobby&room_id=9007199254740992&name=x", "room_id must be an unsigned integer"),
        ("room=lobby&name=x&post=yes", "post must be 1"),
        ("room=a%20b&name=x", "room must be 1 to 32 of"),
        ("room=&name=x", "room must be 1 to 32 of"),
        ("to=%40alice%2Cbob&name=x", "to must be 1 to 32 of"),
    ] {
        let head = head(&format!("POST /files?{query} HTTP/1.1\nAuthorization: Bearer good"));
        let refused = match Upload::read(&head) {
            Err(Abort::Answer(response)) => {
                assert_eq!(response.status, 400, "{query}");
                String::from_utf8(response.body.to_vec()).unwrap()
            }
            Err(Abort::Failed(Failure::Refused(refusal))) => refusal.reason,
            other => panic!("{query}: {:?}", other.err()),
        };
        assert!(refused.contains(reason), "{query}: {refused}");
    }
    // What is not known is ignored, as in requests.
    let head = head("POST /files?name=x&v=2&to=bob HTTP/1.1\nAuthorization: Bearer good");
    let Ok(upload) = Upload::read(&head) else { panic!("all that is needed is there") };
    assert_eq!(upload.to, Destination::User(UserName::new("bob").unwrap()));
}

#[test]
fn a_file_may_be_for_the_room_of_a_number() {
    let mut chat = Chat::default();
    let to = "/files?room=lobby&room_id=7&name=x HTTP/1.1\nAuthorization: Bearer good";
    assert_eq!(post(&mut chat, to, b"x", usize::MAX).unwrap().status, 201);
    assert_eq!(chat.rooms, [("file_begin", RoomId(7))]);
}

#[test]
fn an_upload_goes_on_where_its_session_was_lost() {
    let content = content(200_000);
    let good = "/files?room=lobby&name=x HTTP/1.1\nAuthorization: Bearer good";
    let posted = |chat: &mut Chat| match post(chat, good, &content, usize::MAX) {
        Ok(response) => {
            assert!(response.status == 201 && chat.files[&FILE].1 == content, "{:?}", chat.asked);
            assert!(chat.most_waiting <= CHUNKS_AHEAD, "{} chunks waited", chat.most_waiting);
            Ok(chat.reopens)
        }
        Err(Abort::Failed(Failure::Refused(refusal))) => Err(refusal.code),
        Err(stop) => panic!("{stop:?}"),
    };
    // For each request as the last one that the server answers, whether it is carried out or not.
    for number in 0..10 {
        for is_carried_out in [false, true] {
            let mut chat = Chat { dies: Some((number, is_carried_out)), reopens: 1, ..Chat::default() };
            assert_eq!(posted(&mut chat), Ok(0), "{number} {is_carried_out}: {:?}", chat.asked);
        }
        // A passing refusal is tried again, but not before the file is begun.
        for code in [Code::Overloaded, Code::RateLimited] {
            let mut chat = Chat { refuses: Some((number, code)), reopens: 1, ..Chat::default() };
            let expected = if number < 2 { Err(code) } else { Ok(0) };
            assert_eq!(posted(&mut chat), expected, "{number} {code}: {:?}", chat.asked);
        }
        let mut chat = Chat { refuses: Some((number, Code::Forbidden)), reopens: 1, ..Chat::default() };
        assert_eq!(posted(&mut chat), Err(Code::Forbidden));
    }
    // When the time is over it fails with the refusal.
    let mut chat = Chat { dies: Some((5, true)), ..Chat::default() };
    assert_eq!(posted(&mut chat), Err(Code::Unavailable));
}

#[test]
fn a_read_that_fails_in_the_middle_ends_the_connection() {
    let mut chat = Chat::default();
    let good = "/files?room=lobby&name=x HTTP/1.1\nAuthorization: Bearer good";
    post(&mut chat, good, &content(100_000), usize::MAX).unwrap();
    chat.refuses = Some((chat.asked.len() + 3, Code::Unavailable));
    let ask = &format!("GET /files/{FILE} HTTP/1.1\nAuthorization: Bearer good");
    assert!(matches!(get(&mut chat, ask), Err(Abort::Gone(_))));
    chat.refuses = None;
    let other = FileId([0; 16]).to_string();
    for (file_id, code) in [(other.as_str(), Code::NotFound), ("beef", Code::BadRequest)] {
        let ask = format!("GET /files/{file_id} HTTP/1.1\nAuthorization: Bearer good");
        match get(&mut chat, &ask) {
            Err(Abort::Failed(Failure::Refused(refusal))) => assert_eq!(refusal.code, code),
            other => panic!("{:?}", other.map(|written| written.status)),
        }
    }
}
