//! The body of a request to a webhook as JSON, in whatever wrapping it came.

use std::{borrow::Cow, io::Read};

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};
use flate2::read::{DeflateDecoder, GzDecoder, MultiGzDecoder, ZlibDecoder};
use percent_encoding::percent_decode;
use serde_json::{Map, Number, Value, json};

use crate::{
    json::nesting,
    protocol::text::is_visible,
    server::http::{file_name::essence, multipart},
};

/// JSON that is nested deeper is read as a text.
pub const NESTING_MAX: usize = 40;
/// The fields of a payload that are lists.
const LISTS: [&str; 2] = ["attachments", "blocks"];
/// The parts of a form that are read if they are files as well.
const OF_FILES: [&str; 5] = ["payload", "payload_json", "text", "attachments", "blocks"];
/// The fields of a form that are the payload.
const PAYLOADS: [&str; 2] = ["payload", "payload_json"];
/// The first bytes of what gzip has packed.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// A body that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// It is compressed in a way that is not known here.
    Encoding,
    /// Unpacked, it is longer than a body may be.
    TooLong,
    /// It has nothing that could be read: it is empty, or the bytes of something that is no text.
    Form,
}

/// The headers that say how a body is to be read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wrapping<'a> {
    /// `Content-Type`; may be empty.
    pub content_type: &'a str,
    /// `Content-Encoding`; may be empty.
    pub encoding: &'a str,
}

/// The JSON in a body of at most `most` bytes, unpacked: mostly an object. A form is one, too.
pub fn payload(wrapping: Wrapping<'_>, body: &[u8], most: usize) -> Result<Value, Unreadable> {
    let mut payload = read(wrapping, body, most)?;
    for name in LISTS {
        // Some senders encode a list twice, as it has to be in a form.
        if let Some(list) = payload.get(name).and_then(Value::as_str).and_then(list_in) {
            payload[name] = list;
        }
    }
    Ok(payload)
}

fn read(wrapping: Wrapping<'_>, body: &[u8], most: usize) -> Result<Value, Unreadable> {
    let unpacked = unpack(wrapping.encoding, body, most)?;
    let bytes = unpacked.as_deref().unwrap_or(body);
    let kind = essence(wrapping.content_type);
    let charset = multipart::parameter(wrapping.content_type, "charset");
    if kind.starts_with("multipart/") {
        let boundary = multipart::parameter(wrapping.content_type, "boundary");
        // Some senders name another boundary than they use, or none.
        let parts = [boundary, first_boundary(bytes)].into_iter().flatten();
        let parts = parts.filter_map(|boundary| multipart::parts(bytes, &boundary)).next();
        let parts = parts.ok_or(Unreadable::Form)?;
        return from_fields(parts.into_iter().map(|part| {
            let own = multipart::parameter(&part.content_type, "charset");
            match part.file_name {
                // The bytes of a picture are no text. Scripts give fields of a payload as files, too.
                Some(file_name) if !OF_FILES.contains(&part.name.as_str()) => (part.name, file_name),
                _ => (part.name, text(part.body, own.as_deref().or(charset.as_deref()))),
            }
        }));
    }
    let text = text(bytes, charset.as_deref());
    // What calls itself a form may be JSON, and the other way round: curl calls everything a form unless it
    // is told otherwise, and other tools give no type.
    if let Some(payload) = parse(&text) {
        return Ok(payload);
    }
    let is_form = kind == "application/x-www-form-urlencoded" && !text.trim_start().starts_with('{');
    if is_form || text.starts_with("payload=") {
        return form(&text, charset.as_deref());
    }
    bare(text)
}

/// A form in the body of a request, or a sentence that calls itself one.
fn form(text: &str, charset: Option<&str>) -> Result<Value, Unreadable> {
    let decoded = |part: &str| {
        let bytes: Vec<u8> = percent_decode(part.replace('+', " ").as_bytes()).collect();
        self::text(&bytes, charset)
    };
    // JSON that was not encoded may contain an `&`, which separates fields.
    let unparted = text.strip_prefix("payload=").and_then(|payload| parse(&decoded(payload)));
    if let Some(payload) = unparted {
        return Ok(payload);
    }
    // `curl -d` calls a sentence a form, and encodes nothing.
    let first = text.trim().split('=').next().unwrap_or_default();
    if first.contains(char::is_whitespace) {
        return bare(text.to_owned());
    }
    if first == text.trim() && !first.is_empty() {
        return bare(decoded(first));
    }
    let fields = text.split('&').filter(|field| !field.is_empty()).map(|field| {
        let (name, value) = field.split_once('=').unwrap_or((field, ""));
        (decoded(name), decoded(value))
    });
    from_fields(fields)
}

/// A text without a form that is known here is the message itself, whatever it calls itself: broken JSON or a
/// page of HTML is ugly to read, but an alert that is refused is lost.
fn bare(text: String) -> Result<Value, Unreadable> {
    if is_text(&text) { Ok(json!({ "text": text })) } else { Err(Unreadable::Form) }
}

/// Whether people can read it: bytes of other things have NULs, or are hardly ever characters.
fn is_text(text: &str) -> bool {
    let (mut odd, mut all) = (0, 0);
    for char in text.chars() {
        all += 1;
        odd += usize::from(char == '\u{fffd}' || (char.is_control() && !char.is_whitespace()));
    }
    is_visible(text) && !text.contains('\0') && odd * 8 <= all
}

/// The boundary of a form whose head does not name it: its first line.
fn first_boundary(bytes: &[u8]) -> Option<String> {
    let line = bytes.strip_prefix(b"--")?.split(|byte| *byte == b'\n').next()?;
    Some(str::from_utf8(line).ok()?.trim_end().to_owned()).filter(|boundary| !boundary.is_empty())
}

/// The payload in a form, or the form itself: its fields by their names. One that is there several times is a
/// list.
fn from_fields(fields: impl Iterator<Item = (String, String)>) -> Result<Value, Unreadable> {
    let mut object = Map::new();
    for (name, value) in fields {
        if PAYLOADS.contains(&name.as_str()) {
            return parse(&value).map_or_else(|| bare(value), Ok);
        }
        match object.get_mut(&name) {
            None => drop(object.insert(name, value.into())),
            Some(Value::Array(values)) => values.push(value.into()),
            Some(one) => *one = json!([one.take(), value]),
        }
    }
    // A form with one field of JSON has the payload under a name of its own.
    let only = object.values().next().filter(|_| object.len() == 1);
    let only = only.and_then(Value::as_str).and_then(parse).filter(Value::is_object);
    match only {
        Some(payload) => Ok(payload),
        None if object.is_empty() => Err(Unreadable::Form),
        None => Ok(object.into()),
    }
}

/// The list, or its only item, in a text that is JSON.
fn list_in(text: &str) -> Option<Value> {
    if nesting(text.as_bytes()) > NESTING_MAX {
        return None;
    }
    serde_json::from_str(&repaired(text)).ok().filter(|value: &Value| value.is_array() || value.is_object())
}

/// Unpacks a body; `None` when it is not packed.
fn unpack(encoding: &str, body: &[u8], most: usize) -> Result<Option<Vec<u8>>, Unreadable> {
    let mut unpacked = Vec::new();
    let limit = most as u64 + 1;
    // Empty elements of a list mean nothing (RFC 9110, 5.6.1).
    let named: Vec<_> = encoding.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let read = match named.join(",").to_ascii_lowercase().as_str() {
        // No text begins with those bytes: what does is packed even if its head does not say so, and what
        // does not is not packed even if its head says so.
        "gzip" | "x-gzip" | "" | "identity" if !body.starts_with(&GZIP) => return Ok(None),
        "gzip" | "x-gzip" | "" | "identity" => {
            MultiGzDecoder::new(body).take(limit).read_to_end(&mut unpacked).or_else(|_| {
                // Something may stand behind its end.
                unpacked.clear();
                GzDecoder::new(body).take(limit).read_to_end(&mut unpacked)
            })
        }
        "deflate" => ZlibDecoder::new(body).take(limit).read_to_end(&mut unpacked).or_else(|_| {
            // Some senders leave out zlib's wrapper (RFC 9110, 8.4.1.2).
            unpacked.clear();
            DeflateDecoder::new(body).take(limit).read_to_end(&mut unpacked)
        }),
        _ => return Err(Unreadable::Encoding),
    };
    match read {
        Ok(length) if length > most => Err(Unreadable::TooLong),
        Ok(_) => Ok(Some(unpacked)),
        Err(_) => Err(Unreadable::Form),
    }
}

/// Bytes as text: by their byte order mark, else by the charset that the sender names, else as UTF-8 or, if
/// every second byte of its first letters is zero, as UTF-16. What is no character becomes U+FFFD.
fn text(bytes: &[u8], charset: Option<&str>) -> String {
    let guessed = match bytes {
        [first, 0, second, 0, ..] if *first != 0 && *second != 0 => UTF_16LE,
        [0, first, 0, second, ..] if *first != 0 && *second != 0 => UTF_16BE,
        _ => UTF_8,
    };
    let encoding = charset.and_then(|label| Encoding::for_label(label.as_bytes())).unwrap_or(guessed);
    encoding.decode(bytes).0.into_owned()
}

/// Reads JSON: an object, or a list. Several objects one after the other are a list, and JSON in a text is
/// read once more. A lonely `null` says nothing; other single words are texts, which this does not read.
fn parse(text: &str) -> Option<Value> {
    let text = text.trim();
    if nesting(text.as_bytes()) > NESTING_MAX {
        return None;
    }
    match text.chars().next()? {
        '{' => {
            let repaired = repaired(text);
            let values = serde_json::Deserializer::from_str(&repaired).into_iter::<Map<String, Value>>();
            let mut values =
                values.map(|object| object.map(Value::from)).collect::<Result<Vec<_>, _>>().ok()?;
            if values.len() == 1 { values.pop() } else { Some(values.into()) }
        }
        '[' => {
            // `[FIRING]` is a sentence: repaired, it would be a list.
            let list = if text.contains('{') { Cow::from(repaired(text)) } else { text.into() };
            serde_json::from_str(&list).ok()
        }
        '"' => {
            let inner: String = serde_json::from_str(text).ok()?;
            parse(&inner).or_else(|| Some(json!({ "text": inner })))
        }
        'n' if text == "null" => Some(Value::Null),
        _ => None,
    }
}

/// Makes correct JSON of what people and scripts write. In strings, halves of surrogate pairs become U+FFFD,
/// and control characters are escaped. Outside of strings, words such as `NaN` and numbers that would not
/// look the same again become texts, Python's `None` and `True` become `null` and `true`, and a comma before
/// an end is dropped. A backslash that escapes nothing is one: `C:\path`.
fn repaired(text: &str) -> String {
    let mut repaired = String::with_capacity(text.len());
    let mut in_string = false;
    let mut rest = text;
    while let Some(char) = rest.chars().next() {
        let taken = match char {
            '\\' if in_string => {
                let (shown, taken) = escape(rest);
                repaired.push_str(shown);
                taken
            }
            control if in_string && (control as u32) < 0x20 => {
                repaired.push_str(&format!("\\u{:04x}", u32::from(control)));
                1
            }
            char if !in_string && is_word(char) => {
                let length = rest.find(|char| !is_word(char)).unwrap_or(rest.len());
                repaired.push_str(&word(&rest[..length]));
                length
            }
            char => {
                if !in_string && matches!(char, '}' | ']') {
                    let kept = repaired.trim_ascii_end().strip_suffix(',').map(str::len);
                    repaired.truncate(kept.unwrap_or(repaired.len()));
                }
                in_string ^= char == '"';
                repaired.push(char);
                char.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    repaired
}

fn is_word(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '+' | '-' | '.' | '_')
}

/// A word or a number outside of strings as it is to be written.
fn word(word: &str) -> Cow<'_, str> {
    let is_number = || serde_json::from_str::<Number>(word).is_ok_and(|number| number.to_string() == word);
    match word {
        "true" | "false" | "null" => word.into(),
        "True" => "true".into(),
        "False" => "false".into(),
        "None" | "undefined" => "null".into(),
        _ if is_number() => word.into(),
        _ => format!("\"{word}\"").into(),
    }
}

/// The escape at the start of `text` as it is to be written, and its length.
fn escape(text: &str) -> (&str, usize) {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    match (unit(0), unit(6)) {
        (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => (&text[..12], 12),
        (Some(0xd800..=0xdfff), _) => ("\u{fffd}", 6),
        (Some(_), _) => (&text[..6], 6),
        (None, _) if text[1..].starts_with(['"', '\\', '/', 'b', 'f', 'n', 'r', 't']) => (&text[..2], 2),
        (None, _) if text[1..].starts_with('\'') => ("'", 2),
        (None, _) => (r"\\", 1),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, read::DeflateEncoder, write::GzEncoder};

    use super::*;

    const MOST: usize = 10_000;
    const FORM: &str = "application/x-www-form-urlencoded";

    fn said(content_type: &str, body: &[u8]) -> Result<String, Unreadable> {
        let wrapping = Wrapping { content_type, encoding: "" };
        let text = payload(wrapping, body, MOST)?["text"].take();
        let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Ok(match &text {
            Value::Array(items) => {
                items.iter().filter(|item| !item.is_null()).map(shown).collect::<Vec<_>>().join(",")
            }
            text => shown(text),
        })
    }

    #[test]
    fn json_is_read_in_every_wrapping() {
        let multipart = "multipart/form-data; boundary=\"x y\"";
        for (content_type, body, expected) in [
            ("application/json; charset=utf-8", &b"{\"text\":\"h\xc3\xa9\"}"[..], "hé"),
            ("", b" \n{\"text\":\"a\"}\r\n", "a"),
            ("application/json", b"\xef\xbb\xbf{\"text\":\"bom\"}", "bom"),
            ("application/json", b"\xff\xfe{\0\"\0t\0e\0x\0t\0\"\0:\0\"\0u\0\"\0}\0", "u"),
            ("application/json; charset=ISO-8859-1", b"{\"text\":\"h\xe9\"}", "hé"),
            ("application/json; charset=\"windows-1252\"", b"{\"text\":\"\x80\"}", "€"),
            ("application/json; charset=nonsense", b"{\"text\":\"h\xc3\xa9\"}", "hé"),
            ("application/json", b"{\"text\":\"a\xffb\"}", "a\u{fffd}b"),
            ("application/json", br#"{"text":"\ud83d\ude00 \ud83d \ude00x"}"#, "😀 \u{fffd} \u{fffd}x"),
            ("application/json", br#"{"text":"\\ud83d \" \ud83d"}"#, "\\ud83d \" \u{fffd}"),
            ("application/json", b"{\"text\":\"a\r\n\tb\"}", "a\r\n\tb"),
            ("", br#"{"text":[NaN,-Infinity,1e999,12345678901234567890123,1.50,-7,True,None,],}"#,
                "NaN,-Infinity,1e999,12345678901234567890123,1.50,-7,true"),
            (FORM, br#"payload={"text":"this & that, 100%"}"#, "this & that, 100%"),
            ("", b"payload=%7B%22text%22%3A%22untyped%22%7D", "untyped"),
            (FORM, b"payload=%7B%22text%22%3A%22a+b%22%7D", "a b"),
            (FORM, b"x=y&payload={\"text\":\"a%20b\"}", "a b"),
            (FORM, b"payload=%7B%22text%22%3A%22%ff%22%7D", "\u{fffd}"),
            (FORM, b" {\"text\":\"json\"}", "json"),
            ("text/plain", b"{\"text\":\"json\"}", "json"),
            ("Text/Plain; charset=ISO-8859-1", b"disk full on h\xe9", "disk full on h\u{e9}"),
            ("text/markdown", b"* a\n* b", "* a\n* b"),
            ("text/plain", b"{half", "{half"),
            // What no form is known for is a text, whatever it calls itself.
            ("application/json", b"hello", "hello"),
            ("", b"Backup of db1 finished\n", "Backup of db1 finished\n"),
            ("application/octet-stream", b"42", "42"),
            ("text/html", b"<p>hello</p>", "<p>hello</p>"),
            ("application/json", b"{\"text\":\"disk \"C\" is full\"}", "{\"text\":\"disk \"C\" is full\"}"),
            ("application/json", b"{\"text\":\"disk is fu", "{\"text\":\"disk is fu"),
            ("application/json", b"{} rubbish", "{} rubbish"),
            ("application/json", b"{'text': 'one'}", "{'text': 'one'}"),
            ("application/json", b"true", "true"),
            (FORM, b"{half", "{half"),
            (FORM, b"payload=x", "x"),
            // Backslashes that escape nothing.
            ("", br#"{"text":"C:\path\new is 97\% full, it\'s \u12 \\ \/"}"#, "C:\\path\new is 97\\% full, it's \\u12 \\ /"),
            // Without what the head should have said.
            ("", b"{\0\"\0t\0e\0x\0t\0\"\0:\0\"\0u\0\"\0}\0", "u"),
            ("", b"\0{\0\"\0t\0e\0x\0t\0\"\0:\0\"\0u\0\"\0}", "u"),
            (
                "multipart/form-data",
                b"--x\r\nContent-Disposition: form-data; name=payload_json\r\n\r\n{\"text\":\"p\"}\r\n--x--\r\n",
                "p",
            ),
            (FORM, b"data=%7B%22text%22%3A%22the+only+field%22%7D", "the only field"),
            (FORM, b"text=hello+there&username=ci", "hello there"),
            (FORM, b"disk full: 100% of db1 & more", "disk full: 100% of db1 & more"),
            (FORM, b"disk full=97", "disk full=97"),
            (FORM, b"disk%20full", "disk full"),
            (FORM, b"[FIRING]", "[FIRING]"),
            ("text/plain", b"[FIRING]", "[FIRING]"),
            ("application/json", br#""disk full""#, "disk full"),
            ("application/json", br#""{\"text\":\"encoded twice\"}""#, "encoded twice"),
            (
                multipart,
                b"--x y\r\nContent-Disposition: form-data; name=\"payload\"\r\n\r\n{\"text\":\"part\"}\r\n--x y--\r\n",
                "part",
            ),
        ] {
            let shown = String::from_utf8_lossy(body);
            assert_eq!(said(content_type, body).as_deref(), Ok(expected), "{content_type} {shown}");
        }
    }

    #[test]
    fn lists_may_be_encoded_twice_and_parts_have_charsets_of_their_own() {
        let read = |content_type, body: &[u8]| {
            payload(Wrapping { content_type, encoding: "" }, body, MOST).map(|payload| payload.to_string())
        };
        for (content_type, body, expected) in [
            (
                "",
                &br#"{"attachments":"{\"text\":\"b\"}","blocks":"[{\"a\":1}]"}"#[..],
                r#"{"attachments":{"text":"b"},"blocks":[{"a":1}]}"#,
            ),
            (
                "",
                br#"{"attachments":"7","blocks":"[half"}"#,
                r#"{"attachments":"7","blocks":"[half"}"#,
            ),
            (FORM, b"blocks=%5B1%5D&text=a&attachments=x", r#"{"attachments":"x","blocks":[1],"text":"a"}"#),
            (FORM, b"host=db1&check=disk+full&tag=a&tag=b&tag=c&off=",
                r#"{"check":"disk full","host":"db1","off":"","tag":["a","b","c"]}"#),
            (FORM, b"payload=%5B%7B%22a%22%3A1%7D%5D", r#"[{"a":1}]"#),
            (FORM, br#"[{"a":1,}]"#, r#"[{"a":1}]"#),
            ("", b"[]", "[]"),
            ("application/json", br#"[{"a":NaN},"b"]"#, r#"[{"a":"NaN"},"b"]"#),
            ("application/x-ndjson", b"{\"a\":1}\n{\"b\":2}\n", r#"[{"a":1},{"b":2}]"#),
            (
                "multipart/form-data; boundary=b",
                b"--b\r\nContent-Type: text/plain; charset=ISO-8859-1\r\nContent-Disposition: form-data; name=text\r\n\r\nh\xe9\r\n\
                --b\r\nContent-Disposition: form-data; name=username\r\n\r\n\xc3\xa9\r\n--b--",
                "{\"text\":\"hé\",\"username\":\"é\"}",
            ),
            (
                "multipart/form-data; boundary=b",
                b"--b\nContent-Disposition: form-data; name=\"text\"\n\none\ntwo\n--b--\n",
                r#"{"text":"one\ntwo"}"#,
            ),
            (
                "multipart/form-data; boundary=b",
                b"--b\r\nContent-Disposition: form-data; name=att; filename=\"x.png\"\r\n\r\n\x89PNG\r\n\
                --b\r\nContent-Disposition: form-data; name=text; filename=log\r\n\r\nfull\r\n--b--",
                r#"{"att":"x.png","text":"full"}"#,
            ),
        ] {
            let shown = String::from_utf8_lossy(body);
            assert_eq!(read(content_type, body).as_deref(), Ok(expected), "{content_type} {shown}");
        }
    }

    #[test]
    fn what_nothing_can_be_read_of_is_refused() {
        for (content_type, body) in [
            ("application/json", &b""[..]),
            ("text/plain", b" \r\n"),
            ("application/json", b"\xe2\x80\x8b"),
            ("image/png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"),
            ("", b"\xff\xd8\xe1\x93 \xb2\x81 jpeg \xc0\xee\xfa"),
            (FORM, b""),
            (FORM, b"payload="),
            ("multipart/form-data", b"--x\r\n"),
            ("multipart/form-data; boundary=x", b"rubbish"),
        ] {
            assert_eq!(said(content_type, body), Err(Unreadable::Form), "{content_type} {body:?}");
        }
        assert_eq!(
            said("application/json", b" null ").as_deref(),
            Ok("null"),
            "of a payload that says nothing"
        );
    }

    #[test]
    fn a_form_is_read_by_the_boundary_that_it_uses() {
        let form = b"--x\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\nhi\r\n--x--\r\n";
        for content_type in
            ["multipart/form-data; boundary=x", "multipart/form-data; boundary=y", "multipart/form-data"]
        {
            assert_eq!(said(content_type, form).as_deref(), Ok("hi"), "{content_type}");
        }
    }

    #[test]
    fn what_is_packed_is_unpacked_within_bounds() {
        let packed = |bytes: &[u8]| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        };
        let read = |encoding, body: &[u8]| payload(Wrapping { content_type: "", encoding }, body, MOST);
        let good = packed(b"{\"text\":\"a\"}");
        assert_eq!(read("GZIP", &good).unwrap()["text"], "a");
        let mut bare = Vec::new();
        let text = &b"{\"text\":\"b\"}"[..];
        DeflateEncoder::new(text, Compression::fast()).read_to_end(&mut bare).unwrap();
        assert_eq!(read("deflate", &bare).unwrap()["text"], "b");
        assert_eq!(read("gzip", &packed(&vec![b' '; 10_000_000])), Err(Unreadable::TooLong));
        assert_eq!(read("gzip", &good[..good.len() - 9]), Err(Unreadable::Form));
        assert_eq!(read("gzip", b"{\"text\":\"c\"}").unwrap()["text"], "c", "its head lies");
        assert_eq!(read("gzip", &[&good[..], b"rest"].concat()).unwrap()["text"], "a");
        assert_eq!(read("identity, ", b"{\"text\":\"d\"}").unwrap()["text"], "d");
        assert_eq!(read("", &good).unwrap()["text"], "a", "its head does not say so");
        assert_eq!(read("br", b"{}"), Err(Unreadable::Encoding));
        assert_eq!(read("gzip, gzip", b"{}"), Err(Unreadable::Encoding));
    }

    /// On a stack as small as a client thread's.
    #[test]
    fn deep_nesting_is_text() {
        let deep = format!(r#"{{"text":"a","x":{}"#, "[".repeat(60_000));
        let closed = format!(r#"{{"text":"a","x":{}{}}}"#, "[".repeat(30_000), "]".repeat(30_000));
        let fits = format!(r#"{{"text":"a","x":{}{}}}"#, "[".repeat(39), "]".repeat(39));
        let run = move || {
            assert!(said("", deep.as_bytes()) == Ok(deep));
            assert!(said("", closed.as_bytes()) == Ok(closed));
            assert_eq!(said("", fits.as_bytes()).as_deref(), Ok("a"));
        };
        let thread = std::thread::Builder::new().stack_size(128 * 1024);
        thread.spawn(run).unwrap().join().unwrap();
    }
}
