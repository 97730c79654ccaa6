//! JSON lines and WebSocket messages: the one place that knows the JSON form of requests.
//!
//! A line is read once: first it is checked as a whole, without building anything, then its envelope and its
//! `data` are read straight into their types ([`object`](crate::protocol::object)).

#[cfg(test)]
mod bad_forms;
mod server;

pub use server::{Heard, ServerLine, Unreadable, read_server_line};

use serde::Serialize;
use serde_json::{Value, value::RawValue};

use crate::protocol::{
    RoomId,
    envelope::{BadRequest, RequestHead, RequestId},
    limits::{LAMPORT_END, Limits, NESTING_MAX, REQUEST_ID_BYTES, ROOM_ID_END},
    object::{Sound, Text},
    refusal::{Code, Refusal},
    request::Request,
};

/// Reads one line (without its line end) or one WebSocket text message.
///
/// The head holds as much as could be read, so that a refusal can name the request that it answers.
pub fn read_request(line: &[u8], limits: &Limits) -> (RequestHead, Result<Request, BadRequest>) {
    let mut head = RequestHead::default();
    let request = match read_envelope(line, &mut head) {
        Ok(data) => read_fields(&head.msg_type, data, limits)
            .and_then(|request| {
                head.room_id = read_room_id(&request, data)?;
                Ok(request)
            })
            .map_err(BadRequest::Fields),
        Err(refusal) => Err(BadRequest::Envelope(refusal)),
    };
    if let Ok(request) = &request
        && request.msg_type() == head.msg_type
    {
        head.msg_type = request.msg_type().into();
    }
    (head, request)
}

/// Reads the envelope, and gives the text of the request's fields.
fn read_envelope<'a>(line: &'a [u8], head: &mut RequestHead) -> Result<&'a RawValue, Refusal> {
    let bad_json = |reason: String| Refusal::new(Code::BadJson, reason);
    let text = std::str::from_utf8(line).map_err(|_| bad_json("the line is not UTF-8".into()))?;
    if nesting(line) > NESTING_MAX {
        return Err(bad_json("the JSON is nested deeper than 32 levels".into()));
    }
    let not_json = |error: serde_json::Error| bad_json(format!("not JSON: {error}"));
    serde_json::from_str::<Sound>(text).map_err(not_json)?;
    let line: &RawValue = serde_json::from_str(text).map_err(not_json)?;
    let mut envelope = Envelope::default();
    let fields = Text(line).each_field(|name, value| {
        if let Some(place) = envelope.place(&name) {
            *place = Some(value);
        }
    });
    fields.map_err(|_| bad_json("the line is not a JSON object".into()))?;
    envelope.read(head)
}

/// The fields of an envelope, each the last of its name.
#[derive(Default)]
struct Envelope<'a> {
    msg_type: Option<&'a RawValue>,
    sender_id: Option<&'a RawValue>,
    data: Option<&'a RawValue>,
    lamport_timestamp: Option<&'a RawValue>,
    created_at: Option<&'a RawValue>,
    request_id: Option<&'a RawValue>,
}

impl<'a> Envelope<'a> {
    fn place(&mut self, name: &str) -> Option<&mut Option<&'a RawValue>> {
        match name {
            "msg_type" => Some(&mut self.msg_type),
            "sender_id" => Some(&mut self.sender_id),
            "data" => Some(&mut self.data),
            "lamport_timestamp" => Some(&mut self.lamport_timestamp),
            "created_at" => Some(&mut self.created_at),
            "request_id" => Some(&mut self.request_id),
            _ => None,
        }
    }

    fn read(self, head: &mut RequestHead) -> Result<&'a RawValue, Refusal> {
        let given = |value: Option<&'a RawValue>| value.filter(|value| value.get() != "null");
        let request_id = given(self.request_id).map(|value| read_request_id(value).ok_or(value)).transpose();
        head.request_id = request_id.clone().unwrap_or(None);
        let Some(msg_type) = self.msg_type else {
            return Err(Refusal::new(Code::BadJson, "there is no msg_type"));
        };
        let Some(msg_type) = Text(msg_type).string() else {
            return Err(Refusal::new(Code::BadJson, "msg_type is not a string"));
        };
        head.msg_type = msg_type.into_owned().into();
        let wrong = |reason: &str| Refusal::bad_request(reason);
        if request_id.is_err() {
            return Err(wrong("request_id must be a string of up to 64 bytes or an integer of 64 bits"));
        }
        if let Some(sender_id) = given(self.sender_id) {
            let sender_id = Text(sender_id).string().ok_or_else(|| wrong("sender_id must be a string"))?;
            head.sender_id = Some(sender_id.into_owned());
        }
        let data = given(self.data).unwrap_or(no_fields());
        if !data.get().starts_with('{') {
            return Err(wrong("data must be an object"));
        }
        if let Some(timestamp) = given(self.lamport_timestamp) {
            head.lamport_timestamp = serde_json::from_str(timestamp.get())
                .ok()
                .filter(|timestamp| *timestamp < LAMPORT_END)
                .ok_or_else(|| wrong("lamport_timestamp must be an unsigned integer below 2^53"))?;
        }
        if given(self.created_at).is_some_and(|time| serde_json::from_str::<f64>(time.get()).is_err()) {
            return Err(wrong("created_at must be a number of seconds"));
        }
        Ok(data)
    }
}

fn read_request_id(value: &RawValue) -> Option<RequestId> {
    match Text(value).string() {
        Some(text) => (text.len() <= REQUEST_ID_BYTES).then(|| RequestId::Text(text.into_owned())),
        None => serde_json::from_str(value.get()).ok().map(RequestId::Number),
    }
}

fn no_fields() -> &'static RawValue {
    serde_json::from_str("{}").expect("an object")
}

/// Reads the fields of the request that `msg_type` names.
fn read_fields(msg_type: &str, data: &RawValue, limits: &Limits) -> Result<Request, Refusal> {
    let Some(request) = Request::read(msg_type, Text(data)) else {
        let shown: String = msg_type.chars().take(40).collect();
        return Err(Refusal::new(Code::UnknownType, format!("no request is called {shown:?}")));
    };
    let request = request.map_err(|fault| Refusal::bad_request(fault.to_string()))?;
    request.check(limits)?;
    Ok(request)
}

/// The number of the room that is meant, if the request names a room by which it may stand.
fn read_room_id(request: &Request, data: &RawValue) -> Result<Option<RoomId>, Refusal> {
    let mut room_id = None;
    if request.named_room().is_some() {
        // An object, as the envelope says.
        let _ = Text(data).each_field(|name, value| {
            if name == "room_id" {
                room_id = Some(value).filter(|value| value.get() != "null");
            }
        });
    }
    let Some(room_id) = room_id else { return Ok(None) };
    let number = serde_json::from_str(room_id.get()).ok().filter(|number| *number < ROOM_ID_END);
    let wrong = || Refusal::bad_request("room_id must be an unsigned integer below 2^53");
    Ok(Some(RoomId(number.ok_or_else(wrong)?)))
}

/// The line of a request, with its line end. Absent fields are left out. The `msg_type` is the request's own;
/// that of `head` does not count.
pub fn write_request(head: &RequestHead, request: &Request) -> Vec<u8> {
    #[derive(Serialize)]
    struct Line<'a> {
        msg_type: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        sender_id: Option<&'a str>,
        data: Value,
        lamport_timestamp: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        request_id: Option<&'a RequestId>,
    }
    let mut data = serde_json::to_value(request).expect("a request has names for its fields");
    // Only a ping keeps null fields: it is to get the same back.
    if let (Value::Object(fields), false) = (&mut data, matches!(request, Request::Ping(_))) {
        fields.retain(|_, value| !value.is_null());
    }
    if let (Value::Object(fields), Some(room_id), Some(_)) = (&mut data, head.room_id, request.named_room()) {
        fields.insert("room_id".into(), room_id.0.into());
    }
    let line = Line {
        msg_type: request.msg_type(),
        sender_id: head.sender_id.as_deref(),
        data,
        lamport_timestamp: head.lamport_timestamp,
        request_id: head.request_id.as_ref(),
    };
    let mut bytes =
        serde_json::to_vec(&line).expect("strings, numbers and maps with string keys always encode");
    bytes.push(b'\n');
    bytes
}

/// The deepest nesting of arrays and objects in `json`, without building any of it.
///
/// Brackets inside strings do not count. Of text that is not JSON the figure means nothing, but the
/// parser that follows refuses that text anyway.
pub fn nesting(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0usize, 0usize);
    let (mut in_string, mut escaped) = (false, false);
    for &byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::request::{CreateJoin, HistoryRange};

    fn parse(msg_type: &str, data: &str) -> Result<Request, Refusal> {
        let line = format!(r#"{{"msg_type":"{msg_type}","data":{data}}}"#);
        read_request(line.as_bytes(), &Limits::default()).1.map_err(BadRequest::refusal)
    }

    /// Why the envelope is refused, and what is known of it all the same.
    fn refused(line: &[u8]) -> Option<(Code, Option<RequestId>)> {
        let (head, request) = read_request(line, &Limits::default());
        match request {
            Err(BadRequest::Envelope(refusal)) => Some((refusal.code, head.request_id)),
            Err(BadRequest::Fields(_)) | Ok(_) => None,
        }
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let Ok(Request::CreateJoin(join @ CreateJoin { after: None, .. })) =
            parse("create_join", r#"{"room":"a"}"#)
        else {
            panic!("create_join with defaults")
        };
        let Ok(Request::History(history)) = parse("history", r#"{"room":"a"}"#) else {
            panic!("history with defaults")
        };
        assert_eq!((join.history(), history.limit(), history.range), (50, 50, HistoryRange::Last));
    }

    #[test]
    fn the_last_of_equal_keys_counts_and_null_is_absent() {
        let room = |line: &str| match read_request(line.as_bytes(), &Limits::default()).1 {
            Ok(Request::Leave(leave)) => Ok(leave.room.to_string()),
            Ok(other) => panic!("{other:?}"),
            Err(bad) => Err(bad.refusal().reason),
        };
        let doubled = r#"{"msg_type":"ping","msg_type":"leave","data":{"room":"a","ro\u006fm":"b"}}"#;
        assert_eq!(room(doubled).as_deref(), Ok("b"));
        let null = r#"{"msg_type":"leave","data":{"room":"a","room":null}}"#;
        assert_eq!(room(null).unwrap_err(), "room is missing");
        let null =
            r#"{"msg_type":"leave","sender_id":null,"request_id":null,"data":{"room":"a"},"data":null}"#;
        assert_eq!(room(null).unwrap_err(), "room is missing");
    }

    #[test]
    fn every_bad_field_is_named() {
        for (msg_type, data, field) in [
            ("login", r#"{}"#, "username"),
            ("create_join", r#"{"room":"a b"}"#, "room"),
            ("create_join", r#"{"room":"a","after":-1}"#, "after"),
            ("create_join", r#"{"room":"a","after":9223372036854775808}"#, "after"),
            ("create_join", r#"{"room":"a","history":501}"#, "history"),
            ("chat", r#"{"room":"a"}"#, "body"),
            ("chat", r#"{"room":"a","body":""}"#, "body"),
            ("chat", r#"{"room":"a","body":"\u0000"}"#, "body"),
            ("chat", r#"{"room":"a","body":"x","client_msg_id":""}"#, "client_msg_id"),
            ("chat", r#"{"room":"a","body":"x","client_msg_id":7}"#, "client_msg_id"),
            ("chat", r#"{"room":"a","body":"x","follows":""}"#, "follows"),
            ("chat", r#"{"room":"a","body":"x","room_id":9007199254740992}"#, "room_id"),
            ("history", r#"{"room":"a","room_id":"7"}"#, "room_id"),
            ("history", r#"{"room":"a","limit":0}"#, "limit"),
            ("history", r#"{"room":"a","before":1,"after":2}"#, "before"),
            ("history", r#"{"room":"a","since":-1}"#, "since"),
            ("history", r#"{"room":"a","since":"monday"}"#, "since"),
            ("register", r#"{"username":"a","password":"short"}"#, "password"),
            ("register", r#"{"username":"a"}"#, "password"),
            ("login", r#"{"username":"a","password":"x","token":"y"}"#, "token"),
            ("operator_login", r#"{"proof":"00"}"#, "proof"),
            ("chat", r#"{"body":"x"}"#, "room"),
            ("chat", r#"{"body":"x","room":"a","to":"b"}"#, "to"),
            ("chat", r#"{"body":"x","to":"@b"}"#, "to"),
            ("chat", r#"{"body":"x","room":"a","file_id":"7"}"#, "file_id"),
            ("edit", r#"{"room":"a","seq":1}"#, "body"),
            ("edit", r#"{"room":"a","body":"x"}"#, "seq"),
            ("delete", r#"{"room":"a","seq":"1"}"#, "seq"),
            ("react", r#"{"room":"a","seq":1,"emoji":""}"#, "emoji"),
            ("react", r#"{"room":"a","seq":1,"emoji":"a b"}"#, "emoji"),
            ("search", r#"{}"#, "query"),
            ("search", r#"{"query":"x","limit":0}"#, "limit"),
            ("mark_read", r#"{"room":"a"}"#, "seq"),
            ("topic", r#"{"room":"a"}"#, "topic"),
            ("topic", r#"{"room":"a","topic":"\u001b[2J"}"#, "topic"),
            ("invite", r#"{"room":"a"}"#, "username"),
            ("kick", r#"{"username":"a"}"#, "room"),
            ("mute", r#"{"room":"a","username":"b","seconds":0}"#, "seconds"),
            ("ban", r#"{"room":"a","username":"b","seconds":4294967296}"#, "seconds"),
            ("set_role", r#"{"room":"a","username":"b","role":"king"}"#, "role"),
            ("room_settings", r#"{"room":"a"}"#, "private"),
            ("room_settings", r#"{"room":"a","private":1}"#, "private"),
            ("set_presence", r#"{"state":"gone"}"#, "state"),
            ("file_begin", r#"{"room":"a","name":"../x","size":1}"#, "name"),
            ("file_begin", r#"{"room":"a","name":"x","size":-1}"#, "size"),
            ("file_begin", r#"{"room":"a","name":"x","size":1,"content_type":"x"}"#, "content_type"),
            ("file_chunk", r#"{"file_id":"x","offset":0,"bytes":""}"#, "file_id"),
            (
                "file_chunk",
                r#"{"file_id":"00000000000000000000000000000000","offset":0,"bytes":"*"}"#,
                "bytes",
            ),
            ("file_end", r#"{"file_id":"00000000000000000000000000000000","sha256":"x"}"#, "sha256"),
            ("import", r#"{"room":"a","first_seq":1,"events":[]}"#, "events"),
            ("import", r#"{"room":"a","first_seq":1,"events":7}"#, "events"),
            ("import", r#"{"room":"a","first_seq":1,"events":[{}]}"#, "events"),
            ("import", r#"{"room":"a","events":[{"author":"a","created_at":1,"body":"x"}]}"#, "first_seq"),
            (
                "import",
                r#"{"room":"a","first_seq":2,"events":[{"author":"a","created_at":1,"body":"x","seq":1}]}"#,
                "seq",
            ),
            (
                "import",
                r#"{"room":"a","first_seq":1,"events":[{"author":"a","created_at":1,"body":"\u0000"}]}"#,
                "body",
            ),
            (
                "import",
                r#"{"room":"a","first_seq":1,"events":[{"author":"a","created_at":1,"kind":"dance"}]}"#,
                "dance",
            ),
            (
                "import",
                r#"{"room":"a","first_seq":2,"events":[{"author":"a","created_at":1,"kind":"reaction","target":1,"emoji":"\u200d"}]}"#,
                "could be seen",
            ),
            (
                "import",
                r#"{"room":"a","first_seq":1,"events":[{"author":"a","created_at":1,"kind":"reaction","target":1,"emoji":"👍"}]}"#,
                "earlier event",
            ),
            (
                "import",
                r#"{"room":"a","first_seq":1,"events":[{"author":"a","created_at":1,"kind":"topic","topic":"\u2060"}]}"#,
                "could be seen",
            ),
            (
                "import",
                r#"{"room":"a","first_seq":1,"events":[{"author":"a","created_at":1,"body":"x","reactions":{"\ufe0f":["b"]}}]}"#,
                "could be seen",
            ),
            ("import_room", r#"{"room":"a"}"#, "info"),
            ("import_room", r#"{"room":"a","info":{"private":1}}"#, "info"),
            ("import_room", r#"{"room":"a","info":{"private":true,"topic":"\u001b"}}"#, "topic"),
            ("export", r#"{}"#, "room"),
            ("export", r#"{"room":"a","after":-1}"#, "after"),
            ("export", r#"{"room":"a","limit":501}"#, "limit"),
            ("export_rooms", r#"{"after":"a b"}"#, "after"),
            ("export_rooms", r#"{"limit":0}"#, "limit"),
            ("ping", r#"{"barrier":"yes"}"#, "barrier"),
        ] {
            let refusal = parse(msg_type, data).expect_err(data);
            assert_eq!(refusal.code, Code::BadRequest, "{data}");
            assert!(refusal.reason.contains(field), "{data}: {}", refusal.reason);
        }
    }

    #[test]
    fn a_body_over_its_limit_is_too_large() {
        let data = format!(r#"{{"room":"a","body":"{}"}}"#, "x".repeat(16 * 1024 + 1));
        assert_eq!(parse("chat", &data).unwrap_err().code, Code::TooLarge);
        assert_eq!(parse("dance", "{}").unwrap_err().code, Code::UnknownType);
    }

    #[test]
    fn what_is_not_a_json_object_is_bad_json() {
        let deep = format!(r#"{{"msg_type":"ping","data":{}1{}}}"#, r#"{"a":"#.repeat(32), "}".repeat(32));
        for line in [
            b"{".as_slice(),
            b"[]",
            b"1",
            b"{}",
            b"{\"msg_type\":1}",
            b"{\"msg_type\":\"\xff\"}",
            br#"{"msg_type":"\ud800"}"#,
            br#"{"msg_type":"ping","created_at":1e400}"#,
            deep.as_bytes(),
        ] {
            assert_eq!(
                refused(line).map(|(code, _)| code),
                Some(Code::BadJson),
                "{}",
                String::from_utf8_lossy(line)
            );
        }
    }

    #[test]
    fn nesting_up_to_the_limit_is_read() {
        let line = format!(r#"{{"msg_type":"ping","data":{}1{}}}"#, r#"{"a":"#.repeat(31), "}".repeat(31));
        assert!(refused(line.as_bytes()).is_none());
        let brackets = br#"{"msg_type":"ping","data":{"a":"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\""}}"#;
        assert!(refused(brackets).is_none());
    }

    #[test]
    fn a_field_of_the_wrong_type_is_bad_request_and_keeps_the_request_id() {
        for field in [
            r#""data":1"#,
            r#""sender_id":1"#,
            r#""lamport_timestamp":-1"#,
            r#""lamport_timestamp":1.5"#,
            r#""lamport_timestamp":18446744073709551616"#,
            r#""lamport_timestamp":9007199254740992"#,
            r#""created_at":"now""#,
        ] {
            let line = format!(r#"{{"msg_type":"ping","request_id":3,{field}}}"#);
            assert_eq!(
                refused(line.as_bytes()),
                Some((Code::BadRequest, Some(RequestId::Number(3)))),
                "{line}"
            );
        }
        let long = format!(r#"{{"msg_type":"ping","request_id":"{}"}}"#, "x".repeat(65));
        assert_eq!(refused(long.as_bytes()), Some((Code::BadRequest, None)));
    }
}
