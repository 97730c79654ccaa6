//! The door to files, before a small copy of the chat.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::server::http::head::{HeadLimits, parse};

/// A chat that knows files, one user and one room.
#[derive(Default)]
struct Chat {
    is_logged_in: bool,
    /// Name, type, size and bytes.
    files: BTreeMap<String, (String, String, u64, Vec<u8>)>,
    asked: Vec<String>,
    answers: BTreeMap<i64, Result<Data, Failure>>,
    /// The request with this number is refused with this code.
    refuses: Option<(usize, Code)>,
    /// Nobody answers any more from the request with this number on, though it may be carried out.
    dies: Option<(usize, bool)>,
    is_dead: bool,
    /// So often it may be begun anew.
    reopens: usize,
    most_waiting: usize,
}

fn refuse<T>(code: Code) -> Result<T, Failure> {
    Err(Refusal::new(code, "no").into())
}

impl Chat {
    fn carry_out(&mut self, msg_type: &str, data: &Data) -> Result<Data, Failure> {
        if let Some((number, code)) = self.refuses
            && number == self.asked.len()
        {
            return refuse(code);
        }
        if msg_type == "login" {
            self.is_logged_in = data["token"] == "good";
            return if self.is_logged_in { Ok(Data::new()) } else { refuse(Code::BadCredentials) };
        }
        if !self.is_logged_in {
            return refuse(Code::NotAuthenticated);
        }
        let file_id = data.get("file_id").and_then(Value::as_str).unwrap_or("00ff").to_owned();
        let answer = match msg_type {
            "file_begin" if data["room"] != "lobby" => return refuse(Code::NotFound),
            "file_begin" => {
                let content_type =
                    data.get("content_type").and_then(Value::as_str).unwrap_or("a/b").to_owned();
                let (name, size) = (text(data, "name")?, number(data, "size")?);
                self.files.insert(file_id.clone(), (name, content_type, size, Vec::new()));
                json!({"file_id": file_id, "chunk_bytes": CHUNK_BYTES})
            }
            "file_chunk" => {
                let Some((.., content)) = self.files.get_mut(&file_id) else { return refuse(Code::NotFound) };
                let (offset, bytes) =
                    (number(data, "offset")? as usize, STANDARD.decode(text(data, "bytes")?).unwrap());
                // After a chunk that was refused the next ones do not fit. One that is there may come again.
                match content.len() {
                    length if length == offset => content.extend(bytes),
                    length if length >= offset + bytes.len() => {}
                    _ => return refuse(Code::BadRequest),
                }
                json!({"file_id": file_id, "received": content.len()})
            }
            "file_end" => {
                let (name, content_type, size, content) = &self.files[&file_id];
                let sha256 = hex::encode(&Sha256::digest(content));
                if data["sha256"] != sha256.as_str() || *size != content.len() as u64 {
                    return refuse(Code::BadRequest);
                }
                json!({"file_id": file_id, "size": size, "sha256": sha256, "name": name, "content_type": content_type})
            }
            "file_read" => {
                let Some((name, content_type, _, content)) = self.files.get(&file_id) else {
                    return refuse(Code::NotFound);
                };
                let start = number(data, "offset")? as usize;
                let end = (start + CHUNK_BYTES as usize).min(content.len());
                json!({
                    "file_id": file_id, "name": name, "size": content.len(), "content_type": content_type,
                    "sha256": hex::encode(&Sha256::digest(content)), "offset": start,
                    "bytes": STANDARD.encode(&content[start..end]),
                })
            }
            "file_delete" => {
                self.files.remove(&file_id);
                json!({})
            }
            _ => return refuse(Code::UnknownType),
        };
        Ok(answer.as_object().unwrap().clone())
    }
}

impl Ask for Chat {
    fn send(&mut self, msg_type: &str, data: Data) -> Result<i64, Failure> {
        let mut answer = refuse(Code::Unavailable);
        if !self.is_dead {
            let dies = self.dies.take_if(|(number, _)| *number == self.asked.len());
            self.is_dead = dies.is_some();
            if dies.is_none_or(|(_, is_carried_out)| is_carried_out) {
                let carried_out = self.carry_out(msg_type, &data);
                answer = if self.is_dead { answer } else { carried_out };
            }
        }
        self.asked.push(msg_type.into());
        self.answers.insert(self.asked.len() as i64, answer);
        self.most_waiting = self.most_waiting.max(self.answers.len());
        Ok(self.asked.len() as i64)
    }

    fn answer(&mut self, number: i64) -> Result<Data, Failure> {
        self.answers.remove(&number).expect("each answer is waited for once")
    }

    fn reopen(&mut self, _: Duration) -> bool {
        let Some(left) = self.reopens.checked_sub(1) else { return false };
        self.answers.clear();
        (self.reopens, self.is_dead, self.is_logged_in) = (left, false, false);
        true
    }
}

/// What is written out.
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
fn post(chat: &mut Chat, first: &str, content: &[u8], pieces: usize) -> Result<Response, Stop> {
    let head = head(&format!("POST {first}\nContent-Length: {}", content.len()));
    let upload = Upload::read(&head)?;
    let mut rest = content;
    upload.carry_out(chat, |count| {
        let (piece, after) = rest.split_at(count.min(pieces).min(rest.len()));
        rest = after;
        Ok(piece.to_vec())
    })
}

fn get(chat: &mut Chat, text: &str) -> Result<Written, Stop> {
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
        let sha256 = hex::encode(&Sha256::digest(&content));
        assert_eq!(response.status, 201);
        let expected = json!({"file_id": "00ff", "size": length, "sha256": sha256, "name": "hä.png", "content_type": "image/png"});
        assert_eq!(answer, expected);
        assert!(chat.most_waiting <= CHUNKS_AHEAD, "{} chunks waited", chat.most_waiting);
        let written = get(&mut chat, "GET /files/00ff HTTP/1.1\nAuthorization: Bearer good").unwrap();
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
    let ask = "/files/00ff HTTP/1.1\nAuthorization: Bearer good";
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
        Err(Stop::Answer(response)) => assert_eq!(response.status, 416),
        other => panic!("{:?}", other.map(|written| written.status)),
    }
    let written = get(&mut chat, &format!("HEAD {ask}")).unwrap();
    assert_eq!((written.status, written.length, written.body.len()), (200, 100_000, 0));
    let tag = format!("\"{}\"", hex::encode(&Sha256::digest(&content)));
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
    let failed = |result: Result<Response, Stop>| match result {
        Err(Stop::Failed(Failure::Refused(refusal))) => refusal.code,
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
    for (first, status) in [
        ("/files?room=lobby&name=x HTTP/1.1", 401),
        ("/files?room=lobby&name=x HTTP/1.1\nAuthorization: Basic good", 401),
        ("/files?room=lobby HTTP/1.1\nAuthorization: Bearer good", 400),
        ("/files?room=a&room=b&name=x HTTP/1.1\nAuthorization: Bearer good", 400),
    ] {
        match post(&mut chat, first, b"x", usize::MAX) {
            Err(Stop::Answer(response)) => assert_eq!(response.status, status, "{first}"),
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
        if left > 0 { Ok(vec![0; count]) } else { Err(Stop::Gone(io::ErrorKind::UnexpectedEof.into())) }
    });
    assert!(matches!(result, Err(Stop::Gone(_))) && chat.files.is_empty());
}

#[test]
fn an_upload_goes_on_where_its_session_was_lost() {
    let content = content(200_000);
    let good = "/files?room=lobby&name=x HTTP/1.1\nAuthorization: Bearer good";
    let posted = |chat: &mut Chat| match post(chat, good, &content, usize::MAX) {
        Ok(response) => {
            assert!(response.status == 201 && chat.files["00ff"].3 == content, "{:?}", chat.asked);
            assert!(chat.most_waiting <= CHUNKS_AHEAD, "{} chunks waited", chat.most_waiting);
            Ok(chat.reopens)
        }
        Err(Stop::Failed(Failure::Refused(refusal))) => Err(refusal.code),
        Err(stop) => panic!("{stop:?}"),
    };
    // Whichever of its requests is the last that this server hears, and whether it is carried out or not.
    for number in 0..10 {
        for is_carried_out in [false, true] {
            let mut chat = Chat { dies: Some((number, is_carried_out)), reopens: 1, ..Chat::default() };
            assert_eq!(posted(&mut chat), Ok(0), "{number} {is_carried_out}: {:?}", chat.asked);
        }
        // What is refused for a while is asked again, but not before the file is begun.
        for code in [Code::Overloaded, Code::RateLimited] {
            let mut chat = Chat { refuses: Some((number, code)), reopens: 1, ..Chat::default() };
            let expected = if number < 2 { Err(code) } else { Ok(0) };
            assert_eq!(posted(&mut chat), expected, "{number} {code}: {:?}", chat.asked);
        }
        let mut chat = Chat { refuses: Some((number, Code::Forbidden)), reopens: 1, ..Chat::default() };
        assert_eq!(posted(&mut chat), Err(Code::Forbidden));
    }
    // When the time is over it fails as it did.
    let mut chat = Chat { dies: Some((5, true)), ..Chat::default() };
    assert_eq!(posted(&mut chat), Err(Code::Unavailable));
}

#[test]
fn a_read_that_fails_in_the_middle_ends_the_connection() {
    let mut chat = Chat::default();
    let good = "/files?room=lobby&name=x HTTP/1.1\nAuthorization: Bearer good";
    post(&mut chat, good, &content(100_000), usize::MAX).unwrap();
    chat.refuses = Some((chat.asked.len() + 3, Code::Unavailable));
    let ask = "GET /files/00ff HTTP/1.1\nAuthorization: Bearer good";
    assert!(matches!(get(&mut chat, ask), Err(Stop::Gone(_))));
    chat.refuses = None;
    match get(&mut chat, "GET /files/beef HTTP/1.1\nAuthorization: Bearer good") {
        Err(Stop::Failed(Failure::Refused(refusal))) => assert_eq!(refusal.code, Code::NotFound),
        other => panic!("{:?}", other.map(|written| written.status)),
    }
}
