//! The envelope around everything a client sends, and the checks that come before its meaning.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    limits::{NESTING_MAX, REQUEST_ID_BYTES},
    refusal::{Code, Refusal},
};

/// The client's own name for a request, echoed in its answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RequestId {
    /// An integer.
    Number(i64),
    /// A string of up to 64 bytes.
    Text(String),
}

/// A request as it came, with its envelope checked but not yet its `data`.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    /// What is asked.
    pub msg_type: String,
    /// The user it claims to come from.
    pub sender_id: Option<String>,
    /// The request's own fields.
    pub data: Map<String, Value>,
    /// The sender's Lamport clock, 0 where it keeps none.
    pub lamport_timestamp: u64,
    /// Echoed in the answer.
    pub request_id: Option<RequestId>,
}

/// What could not be read as an envelope, with as much of it as the answer needs.
#[derive(Debug, Clone, PartialEq)]
pub struct BadEnvelope {
    /// The `msg_type` where one could be read, else empty.
    pub msg_type: String,
    /// The `request_id` where one could be read.
    pub request_id: Option<RequestId>,
    /// What is wrong.
    pub refusal: Refusal,
}

impl Envelope {
    /// About how much memory it takes, in bytes.
    pub fn weight(&self) -> usize {
        let texts = self.msg_type.len() + self.sender_id.as_ref().map_or(0, String::len);
        size_of::<Envelope>() + texts + weight_of_fields(&self.data)
    }

    /// Reads one line (without its line end) or one WebSocket text message.
    pub fn parse(line: &[u8]) -> Result<Envelope, BadEnvelope> {
        let bad = |msg_type: &str, request_id: Option<RequestId>, refusal| BadEnvelope {
            msg_type: msg_type.into(),
            request_id,
            refusal,
        };
        let bad_json = |reason: &str| bad("", None, Refusal::new(Code::BadJson, reason));
        let text = std::str::from_utf8(line).map_err(|_| bad_json("the line is not UTF-8"))?;
        if nesting(line) > NESTING_MAX {
            return Err(bad_json("the JSON is nested deeper than 32 levels"));
        }
        let value: Value =
            serde_json::from_str(text).map_err(|error| bad_json(&format!("not JSON: {error}")))?;
        let Value::Object(mut fields) = value else {
            return Err(bad_json("the line is not a JSON object"));
        };
        let request_id = match fields.remove("request_id") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.len() <= REQUEST_ID_BYTES => Ok(Some(RequestId::Text(text))),
            Some(Value::Number(number)) if number.is_i64() => Ok(number.as_i64().map(RequestId::Number)),
            Some(_) => Err("request_id must be a string of up to 64 bytes or an integer of 64 bits"),
        };
        let msg_type = match fields.remove("msg_type") {
            Some(Value::String(text)) => text,
            Some(_) => {
                let refusal = Refusal::new(Code::BadJson, "msg_type is not a string");
                return Err(bad("", request_id.unwrap_or(None), refusal));
            }
            None => {
                let refusal = Refusal::new(Code::BadJson, "there is no msg_type");
                return Err(bad("", request_id.unwrap_or(None), refusal));
            }
        };
        let request_id = request_id.map_err(|reason| bad(&msg_type, None, Refusal::bad_request(reason)))?;
        let wrong = |reason: &str| bad(&msg_type, request_id.clone(), Refusal::bad_request(reason));
        let sender_id = match fields.remove("sender_id") {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text),
            Some(_) => return Err(wrong("sender_id must be a string")),
        };
        let data = match fields.remove("data") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(data)) => data,
            Some(_) => return Err(wrong("data must be an object")),
        };
        let lamport_timestamp = match fields.remove("lamport_timestamp") {
            None | Some(Value::Null) => 0,
            Some(value) => value
                .as_u64()
                .filter(|&timestamp| timestamp < super::limits::LAMPORT_END)
                .ok_or_else(|| wrong("lamport_timestamp must be an unsigned integer below 2^53"))?,
        };
        match fields.remove("created_at") {
            None | Some(Value::Null) | Some(Value::Number(_)) => {}
            Some(_) => return Err(wrong("created_at must be a number of seconds")),
        }
        Ok(Envelope { msg_type, sender_id, data, lamport_timestamp, request_id })
    }
}

/// About how much memory a JSON value takes, in bytes: many times its text where it is made of small parts.
pub fn weight(value: &Value) -> usize {
    let parts = match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(weight).sum(),
        Value::Object(fields) => weight_of_fields(fields),
    };
    size_of::<Value>() + parts
}

/// The same of the fields of an object.
pub fn weight_of_fields(fields: &Map<String, Value>) -> usize {
    fields.iter().map(|(name, value)| size_of::<String>() + name.len() + weight(value)).sum()
}

/// The deepest nesting of arrays and objects in `json`, without building any of it.
///
/// Brackets inside strings do not count. Of text that is not JSON the figure means nothing, but the
/// parser that follows refuses that text anyway.
fn nesting(json: &[u8]) -> usize {
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

    fn refused(line: &[u8]) -> (Code, Option<RequestId>) {
        let bad = Envelope::parse(line).expect_err("a refusal");
        (bad.refusal.code, bad.request_id)
    }

    #[test]
    fn reads_the_whole_envelope() {
        let line = br#"{"msg_type":"chat","sender_id":"alice","data":{"room":"lobby"},"lamport_timestamp":12,"created_at":1.5,"request_id":"7","extra":1}"#;
        let envelope = Envelope::parse(line).unwrap();
        assert_eq!(envelope.msg_type, "chat");
        assert_eq!(envelope.lamport_timestamp, 12);
        assert_eq!(envelope.request_id, Some(RequestId::Text("7".into())));
        assert_eq!(envelope.data["room"], "lobby");
    }

    #[test]
    fn small_parts_weigh_more_than_their_text() {
        let line = format!(r#"{{"msg_type":"ping","data":{{"a":[{}0]}}}}"#, "0,".repeat(30_000));
        assert!(Envelope::parse(line.as_bytes()).unwrap().weight() > 10 * line.len());
        let line = format!(r#"{{"msg_type":"ping","data":{{"a":"{}"}}}}"#, "0".repeat(60_000));
        let weight = Envelope::parse(line.as_bytes()).unwrap().weight();
        assert!((60_000..61_000).contains(&weight), "{weight}");
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
            assert_eq!(refused(line).0, Code::BadJson, "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn nesting_up_to_the_limit_is_read() {
        let line = format!(r#"{{"msg_type":"ping","data":{}1{}}}"#, r#"{"a":"#.repeat(31), "}".repeat(31));
        Envelope::parse(line.as_bytes()).unwrap();
        Envelope::parse(br#"{"msg_type":"ping","data":{"a":"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\""}}"#)
            .unwrap();
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
            assert_eq!(refused(line.as_bytes()), (Code::BadRequest, Some(RequestId::Number(3))), "{line}");
        }
        let long = format!(r#"{{"msg_type":"ping","request_id":"{}"}}"#, "x".repeat(65));
        assert_eq!(refused(long.as_bytes()), (Code::BadRequest, None));
    }
}
