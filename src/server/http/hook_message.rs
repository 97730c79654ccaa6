//! What an incoming webhook says, in Slack's format, as plain text. Pure.

use serde::Deserialize;

use super::{file_name::essence, target::fields};
use crate::protocol::limits::DISPLAY_NAME_BYTES;

/// A message.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// Its text, not empty.
    pub body: String,
    /// The name that the tool would like to go by, where there is one. No message is refused for it.
    pub display_name: Option<String>,
}

/// The fields that are understood. Unknown ones are passed over, however deep; a known one of a wrong type is
/// an error, so that nothing here nests.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Payload {
    text: Option<String>,
    username: Option<String>,
    attachments: Option<Vec<Attachment>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Attachment {
    fallback: Option<String>,
    pretext: Option<String>,
    author_name: Option<String>,
    title: Option<String>,
    title_link: Option<String>,
    text: Option<String>,
    fields: Option<Vec<Field>>,
    footer: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Field {
    title: Option<String>,
    value: Option<String>,
}

/// Reads a body: JSON, or a form with JSON in its field `payload`. The error is Slack's word for it.
pub fn read(content_type: &str, body: &[u8]) -> Result<Message, &'static str> {
    let text = std::str::from_utf8(body).map_err(|_| "invalid_payload")?;
    let is_form = essence(content_type) == "application/x-www-form-urlencoded";
    let payload = match is_form && !text.trim_start().starts_with('{') {
        true => {
            let fields = fields(text).map_err(|_| "invalid_payload")?;
            let payload = fields.iter().find(|(name, _)| name == "payload").ok_or("invalid_payload")?;
            Payload::parse(&payload.1)?
        }
        // What calls itself a form may be JSON all the same: curl says so unless it is told otherwise.
        false => Payload::parse(text)?,
    };
    let mut lines = Vec::new();
    add(&mut lines, &payload.text);
    for attachment in payload.attachments.unwrap_or_default() {
        attachment.render(&mut lines);
    }
    let body = lines.join("\n");
    if body.trim().is_empty() {
        return Err("no_text");
    }
    let display_name = payload.username.map(|name| short(&name)).filter(|name| !name.is_empty());
    Ok(Message { body, display_name })
}

/// A name without what cannot stand in one, cut where it is too long.
fn short(name: &str) -> String {
    let mut name: String = name.chars().filter(|letter| !letter.is_control()).collect();
    name.truncate(name.floor_char_boundary(DISPLAY_NAME_BYTES));
    name.trim().to_owned()
}

impl Payload {
    fn parse(text: &str) -> Result<Payload, &'static str> {
        // A list would be taken for the fields in their order.
        let is_object = text.trim_start().starts_with('{');
        is_object.then(|| serde_json::from_str(text).ok()).flatten().ok_or("invalid_payload")
    }
}

/// Adds a text where there is one.
fn add(lines: &mut Vec<String>, text: &Option<String>) {
    if let Some(text) = text.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
        lines.push(plain(text));
    }
}

impl Attachment {
    fn render(self, lines: &mut Vec<String>) {
        let before = lines.len();
        add(lines, &self.pretext);
        add(lines, &self.author_name);
        let title = match (self.title, self.title_link) {
            (Some(title), Some(link)) if !link.trim().is_empty() => Some(format!("{title} ({link})")),
            (title, link) => title.or(link),
        };
        add(lines, &title);
        add(lines, &self.text);
        for field in self.fields.unwrap_or_default() {
            let text = match (field.title, field.value) {
                (Some(title), Some(value)) => Some(format!("{title}: {value}")),
                (title, value) => title.or(value),
            };
            add(lines, &text);
        }
        add(lines, &self.footer);
        if lines.len() == before {
            add(lines, &self.fallback);
        }
    }
}

/// What begins a link, ends it, or breaks it off.
const MARKS: [char; 3] = ['<', '>', '\n'];

/// Slack's escapes as text: `<https://a|b>` is `b (https://a)`, `<!here>` is `@here`, `&lt;` is `<`.
fn plain(text: &str) -> String {
    let links = without_links(text, text.match_indices(MARKS));
    links.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").replace('\0', "")
}

/// A text with what its links say in their places. Each mark is looked at once, so that no text, however
/// full of them, is slow.
fn without_links<'a>(text: &str, marks: impl Iterator<Item = (usize, &'a str)>) -> String {
    let mut plain = String::with_capacity(text.len());
    let (mut said, mut opened) = (0, None);
    for (at, mark) in marks {
        match (mark, opened) {
            // Neither a line end nor another sign stands in a link: the one before was only a sign.
            ("<", _) => opened = Some(at),
            (">", Some(start)) => {
                plain.push_str(&text[said..start]);
                plain.push_str(&link(&text[start + 1..at]));
                (said, opened) = (at + 1, None);
            }
            _ => opened = None,
        }
    }
    plain.push_str(&text[said..]);
    plain
}

/// What stands between `<` and `>`.
fn link(inside: &str) -> String {
    let (target, label) = match inside.split_once('|') {
        Some((target, label)) => (target, Some(label).filter(|label| !label.is_empty())),
        None => (inside, None),
    };
    match target.chars().next() {
        Some('!') => format!("@{}", label.map_or(&target[1..], |label| label.trim_start_matches('@'))),
        Some('@') => format!("@{}", label.map_or(&target[1..], |label| label.trim_start_matches('@'))),
        Some('#') => format!("#{}", label.unwrap_or(&target[1..])),
        _ => match label {
            Some(label) if label != target => format!("{label} ({target})"),
            _ => target.to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = "application/json; charset=utf-8";
    const FORM: &str = "application/x-www-form-urlencoded";

    fn body(json: &str) -> String {
        read(JSON, json.as_bytes()).unwrap().body
    }

    #[test]
    fn every_way_to_say_hello() {
        let hello = Message { body: "hello".into(), display_name: Some("ci bot".into()) };
        for (content_type, text) in [
            (JSON, r##"{"text":"hello","username":" ci bot ","icon_emoji":":x:","channel":"#a"}"##),
            ("", r#"{"text":"hello","username":"ci bot"}"#),
            (FORM, r#" {"text":"hello","username":"ci bot"}"#),
            (FORM, "payload=%7B%22text%22%3A%22hello%22%2C%22username%22%3A%22ci+bot%22%7D"),
            (FORM, "x=y&payload={\"text\":\"hello\",\"username\":\"ci%20bot\"}"),
        ] {
            assert_eq!(read(content_type, text.as_bytes()).unwrap(), hello, "{content_type} {text}");
        }
    }

    #[test]
    fn a_name_that_cannot_be_one_is_cut_to_one() {
        for (given, expected) in [
            ("ä".repeat(60), Some("ä".repeat(40))),
            ("a\\u0000\\nb".into(), Some("ab".into())),
            (" \\t ".into(), None),
        ] {
            let text = format!(r#"{{"text":"x","username":"{given}"}}"#);
            assert_eq!(read(JSON, text.as_bytes()).unwrap().display_name, expected, "{given}");
        }
    }

    #[test]
    fn attachments_become_lines() {
        let text = r##"{"text":"deploy","attachments":[
            {"fallback":"not shown","pretext":"before","title":"Build 7","title_link":"https://ci/7","text":"it works",
             "color":"#fff","fields":[{"title":"branch","value":"main","short":true},{"title":"only"},{"value":"x"}],
             "footer":"ci","ts":123,"actions":[{"a":[[[1]]]}]},
            {"fallback":"only this","text":""},
            {}]}"##;
        assert_eq!(
            body(text),
            "deploy\nbefore\nBuild 7 (https://ci/7)\nit works\nbranch: main\nonly\nx\nci\nonly this"
        );
    }

    #[test]
    fn escapes_become_text() {
        for (given, expected) in [
            ("<https://a.b/c|the build> failed", "the build (https://a.b/c) failed"),
            ("<https://a.b/c>", "https://a.b/c"),
            ("<https://a|https://a>", "https://a"),
            ("<!here> <!channel|channel> <@U12|bob> <@U12> <#C1|dev>", "@here @channel @bob @U12 #dev"),
            ("1 &lt; 2 &amp;&amp; 3 &gt; 2 &amp;lt;", "1 < 2 && 3 > 2 &lt;"),
            ("a < b", "a < b"),
            ("a <\nb>", "a <\nb>"),
            ("1 < 2 <!here> > 0", "1 < 2 @here > 0"),
            ("<>", ""),
            ("ä<ö|ü>ß", "äü (ö)ß"),
            ("a\\u0000b", "ab"),
        ] {
            let text = format!(r#"{{"text":"x {}"}}"#, given.replace('\n', "\\n"));
            assert_eq!(body(&text), format!("x {expected}"), "{given}");
        }
    }

    /// If anything of it were looked at again for every sign, this would take minutes.
    #[test]
    fn a_text_of_nothing_but_signs_is_looked_at_once() {
        for end in [">", "\n>", ""] {
            let text = format!("{}{end}", "<".repeat(1 << 20));
            let mut looked_at = 0;
            let plain_text = without_links(&text, text.match_indices(MARKS).inspect(|_| looked_at += 1));
            assert_eq!(looked_at, text.len());
            let expected = if end == ">" { &text[..text.len() - 2] } else { &text };
            assert!(plain_text == expected, "{} bytes are left", plain_text.len());
        }
    }

    #[test]
    fn what_says_nothing_is_refused() {
        for (content_type, text, word) in [
            (JSON, "{}", "no_text"),
            (JSON, r#"{"text":"  "}"#, "no_text"),
            (JSON, r#"{"text":null,"attachments":[{}]}"#, "no_text"),
            (JSON, "", "invalid_payload"),
            (JSON, "hello", "invalid_payload"),
            (JSON, "[]", "invalid_payload"),
            (JSON, r#"{"text":7}"#, "invalid_payload"),
            (JSON, r#"{"text":"a","attachments":{}}"#, "invalid_payload"),
            (FORM, "text=hello", "invalid_payload"),
            (FORM, "payload=%zz", "invalid_payload"),
        ] {
            assert_eq!(read(content_type, text.as_bytes()), Err(word), "{text}");
        }
        assert_eq!(read(JSON, b"{\"text\":\"\xff\"}"), Err("invalid_payload"));
    }

    /// On a stack as small as a client thread's.
    #[test]
    fn deep_nesting_is_passed_over_or_refused() {
        let deep = |field: &str| format!(r#"{{"text":"a","{field}":{}"#, "[".repeat(60_000));
        let closed = format!(r#"{{"text":"a","x":{}{}}}"#, "[".repeat(30_000), "]".repeat(30_000));
        let thread = std::thread::Builder::new().stack_size(128 * 1024);
        let run = move || {
            assert_eq!(read(JSON, deep("x").as_bytes()), Err("invalid_payload"));
            assert_eq!(read(JSON, deep("attachments").as_bytes()), Err("invalid_payload"));
            let _ = read(JSON, closed.as_bytes());
        };
        thread.spawn(run).unwrap().join().unwrap();
    }
}
