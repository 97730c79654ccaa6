//! The message of an incoming webhook as plain text. Pure.

use serde_json::{Value, json};

use super::{
    alerts, attachments, bare, blocks, discord, fields, teams,
    values::{list, text_of},
};
use crate::protocol::{limits::DISPLAY_NAME_BYTES, text::is_visible};

/// Characters of a text, as many as Slack takes. What is longer is cut.
const CHARACTERS_MAX: usize = 40_000;

/// Names that tools made for other chats use for their text.
const OTHER_TEXTS: [&str; 5] = ["message", "content", "msg", "body", "description"];

/// Lists that say all of a payload beside its text.
const KNOWN_LISTS: [&str; 4] = ["blocks", "attachments", "embeds", "alerts"];

#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// Its text, not empty.
    pub body: String,
    /// The name that the tool wants to be shown under, if it sent one. No message is refused for a bad one.
    pub display_name: Option<String>,
}

/// Reads a payload. `None` when it says nothing.
pub fn read(payload: &Value) -> Option<Message> {
    let payload = match payload {
        Value::Array(items) if items.len() == 1 => &items[0],
        payload => payload,
    };
    let body = cut(lines(payload).join("\n"));
    if !is_visible(&body) {
        return None;
    }
    let display_name = text_of(&payload["username"]).map(|name| short(&name)).filter(|name| !name.is_empty());
    Some(Message { body, display_name })
}

/// What a payload says: an object of any form, a text, or all of a list.
fn lines(payload: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    match payload {
        Value::Object(_) => {}
        Value::Array(items) => return items.iter().flat_map(self::lines).collect(),
        text => {
            bare::add(&mut lines, text);
            return lines;
        }
    }
    if teams::is_card(payload) {
        teams::render(payload, &mut lines);
    } else {
        texts(payload, &mut lines);
    }
    attachments::render(&payload["attachments"], &mut lines);
    discord::render(&payload["embeds"], &mut lines);
    discord::components(&payload["components"], &mut lines);
    alerts::render(payload, &mut lines);
    // Of Google Chat; without a text they are fields like any other.
    for name in ["cards", "cardsV2"] {
        if !lines.is_empty() && list(&payload[name]).next().is_some() {
            fields::render(&json!({ name: payload[name] }), &mut lines);
        }
    }
    for name in ["fallback", "summary"] {
        if lines.is_empty() {
            attachments::add(&mut lines, &payload[name]);
        }
    }
    if lines.is_empty() && list(&payload["blocks"]).next().is_some() {
        blocks::render(&payload["blocks"], &mut lines);
    }
    if !is_visible(&lines.join("")) {
        // A form that is not known here, or one that says what it has to say in another place.
        fields::render(payload, &mut lines);
    }
    lines
}

/// Adds what Slack shows above the attachments, and the texts of other chats.
fn texts(payload: &Value, lines: &mut Vec<String>) {
    // If there are blocks, the text is for clients that cannot show them.
    blocks::render(&payload["blocks"], lines);
    if lines.iter().all(|line| line == "---") {
        lines.clear();
        attachments::add(lines, &payload["pretext"]);
        attachments::add(lines, &payload["text"]);
    }
    attachments::fields_of(payload, false, lines);
    if text_of(&payload["text"]).is_none() {
        let said = OTHER_TEXTS.iter().find(|name| text_of(&payload[**name]).is_some());
        if let Some(name) = said {
            if text_of(&payload["title"]).is_none() {
                attachments::add(lines, &payload["subject"]);
            }
            attachments::add(lines, &payload[*name]);
            let is_known = |name: &&str| list(&payload[*name]).next().is_some();
            if !KNOWN_LISTS.iter().any(is_known) {
                fields::beside(payload, name, lines);
            }
        }
    }
}

/// A name without characters that are not allowed, cut if it is too long.
fn short(name: &str) -> String {
    let mut name: String = name.chars().filter(|letter| !letter.is_control()).collect();
    name.truncate(name.floor_char_boundary(DISPLAY_NAME_BYTES));
    name.trim().to_owned()
}

/// A text that is not too long, with a note of what is left out.
fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(CHARACTERS_MAX) {
        let left_out = text[end..].chars().count();
        text.truncate(end);
        text.push_str(&format!("\n[… {left_out} more characters are left out]"));
    }
    text
}

/// Splits a text into pieces of at most `most` bytes, at line ends if possible, else at spaces. Only the
/// white space between two pieces gets lost.
pub fn split(text: &str, most: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text.trim_end();
    while rest.len() > most {
        let piece = &rest[..rest.floor_char_boundary(most)];
        // If the last line end or space is in the first quarter of the piece, the line or word is split
        // instead.
        let enough = |end: &usize| *end >= piece.len() / 4;
        let end = piece.rfind('\n').filter(enough).or_else(|| piece.rfind(' ').filter(enough));
        let end = end.unwrap_or(piece.len());
        let said = rest[..end].trim_end();
        if is_visible(said) {
            pieces.push(said);
        }
        rest = rest[end..].trim_start_matches(['\n', ' ']);
    }
    if is_visible(rest) {
        pieces.push(rest);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(payload: Value) -> String {
        read(&payload).map_or("-".into(), |message| message.body)
    }

    #[test]
    fn a_payload_becomes_a_message() {
        let section = |text: &str| json!({ "type": "section", "text": { "type": "mrkdwn", "text": text } });
        for (payload, expected) in [
            (json!({ "text": "hello <!here>" }), "hello @here"),
            (json!({ "text": "fallback", "blocks": [section("shown")] }), "shown"),
            (json!({ "text": "fallback", "blocks": [] }), "fallback"),
            (json!({ "text": "fallback", "blocks": {} }), "fallback"),
            (json!({ "text": "fallback", "blocks": [null, { "type": "section" }] }), "fallback"),
            (json!({ "text": "fallback", "blocks": [{ "type": "divider" }] }), "fallback"),
            (json!({ "blocks": [section("only")] }), "only"),
            (json!({ "blocks": [section("a")], "attachments": [{ "blocks": [section("b")] }] }), "a\nb"),
            (json!({ "text": "t", "attachments": [{ "text": "a" }] }), "t\na"),
            (json!({ "text": "t", "attachments": [null] }), "t"),
            (json!({ "text": "t", "attachments": {} }), "t"),
            (json!({ "attachments": [{ "fallback": "f" }] }), "f"),
            (
                json!({ "title": "Down", "title_link": "https://d", "text": "db1", "fields": [{ "title": "cpu", "value": 97 }] }),
                "db1\nDown (https://d)\ncpu: 97",
            ),
            (json!({ "fallback": "top" }), "top"),
            (
                json!({ "version": "1.0", "title": "Backup", "message": "all is well", "type": "info" }),
                "Backup\nall is well",
            ),
            (
                json!({ "to": "#ops", "subject": "Problem: disk", "message": "db1 is full" }),
                "Problem: disk\ndb1 is full\nto: #ops",
            ),
            (json!({ "content": "as Discord has it", "text": null }), "as Discord has it"),
            (
                json!({ "content": "c", "embeds": [{ "title": "t", "fields": [{ "name": "n", "value": "v" }] }] }),
                "c\nt\nn: v",
            ),
            (
                json!({ "@type": "MessageCard", "title": "first", "text": "then", "summary": "unsaid" }),
                "first\nthen",
            ),
            (
                json!({ "type": "message", "summary": "unsaid", "attachments": [
                    { "contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": null,
                        "content": { "type": "AdaptiveCard", "body": [{ "type": "TextBlock", "text": "a card" }] } }] }),
                "a card",
            ),
            (
                json!({ "type": "AdaptiveCard", "body": [{ "type": "FactSet", "facts": [{ "title": "a", "value": "b" }] }] }),
                "a: b",
            ),
            (
                json!({ "version": "4", "status": "firing", "alerts": [
                    { "status": "firing", "labels": { "alertname": "Down" }, "annotations": { "summary": "db1" } }] }),
                "[FIRING:1]\nfiring: Down\ndb1",
            ),
            (
                json!({ "title": "[FIRING:1] Down", "message": "**Firing**\n - alertname = Down", "alerts": [
                    { "status": "firing", "labels": { "alertname": "Down" } }] }),
                "[FIRING:1] Down\n**Firing**\n - alertname = Down",
            ),
            (
                json!({ "title": "T", "message": "see below", "alerts": [
                    { "status": "firing", "labels": { "alertname": "Down" } }] }),
                "T\nsee below\nfiring: Down",
            ),
            (
                json!({ "title": "[FIRING:1] Down", "message": "", "alerts": [
                    { "status": "firing", "labels": { "alertname": "Down" }, "annotations": { "summary": "db1" } }] }),
                "[FIRING:1] Down\nfiring: Down\ndb1",
            ),
            (json!({ "foo": "bar", "n": 7 }), "foo: bar\nn: 7"),
            (json!({ "text": "", "host": { "name": "db1" } }), "host.name: db1"),
            (json!({ "text": "t", "cards": [{ "header": { "title": "T" } }] }), "t\ncards.1.header.title: T"),
            (json!({ "summary": "s" }), "s"),
            (json!({ "username": "CI", "channel": "#x" }), "-"),
            (json!({ "text": "said", "message": "unsaid" }), "said"),
            (json!({ "text": 7 }), "7"),
            (json!({ "text": false }), "false"),
            (json!({ "text": { "type": "plain_text", "text": "obj" } }), "obj"),
            (json!({ "text": null, "attachments": [{}] }), "-"),
            (json!({ "text": " \n " }), "-"),
            (json!({ "text": "\u{200b}\u{2066}" }), "-"),
            (
                json!({ "text": "fallback", "blocks": [section("\u{200b}"), section("\u{2060}\u{feff}")] }),
                "fallback",
            ),
            (json!({ "text": "\u{3164}", "attachments": [{ "text": "\u{200b}", "fallback": "f" }] }), "f"),
            (json!({ "flags": 32768, "components": [{ "type": 10, "content": "# Release" }] }), "# Release"),
            (
                json!({ "content": "c", "components": [{ "type": 1, "components": [
                { "type": 2, "style": 5, "label": "Open", "url": "https://o" }] }] }),
                "c\nOpen (https://o)",
            ),
            (
                json!({ "components": [{ "name": "db1", "state": "down" }] }),
                "components.1.name: db1\ncomponents.1.state: down",
            ),
            (json!({}), "-"),
            (json!(null), "-"),
            (json!([]), "-"),
            (json!([null, "a", { "text": "b" }, [{ "host": "db1", "cpu": 97 }]]), "a\nb\ncpu: 97\nhost: db1"),
            (
                json!({ "message": "Disk full", "severity": "High", "host": "db1", "title": "Zabbix",
                    "tags": ["a", "b"], "more": { "of": "it" }, "channel": "#ops", "what": "Disk full" }),
                "Zabbix\nDisk full\nchannel: #ops\nhost: db1\nmore.of: it\nseverity: High\ntags: a, b",
            ),
            (
                json!({ "message": "db1 is down", "data": { "host": { "name": "db1", "token": "x" }, "checks": [
                    { "id": 1 }, { "id": 2 }] }, "allowed_mentions": { "parse": [] } }),
                "db1 is down\ndata.checks.1.id: 1\ndata.checks.2.id: 2\ndata.host.name: db1",
            ),
            (
                json!({ "content": "c", "components": [{ "type": 10, "content": "d" }], "cards": [{ "a": 1 }] }),
                "c\nd\ncards.1.a: 1",
            ),
        ] {
            assert_eq!(body(payload.clone()), expected, "{payload}");
        }
    }

    #[test]
    fn a_name_that_cannot_be_one_is_cut_to_one() {
        for (given, expected) in [
            (json!("ä".repeat(60)), Some("ä".repeat(40))),
            (json!("a\u{0}\nb"), Some("ab".into())),
            (json!(" ci bot "), Some("ci bot".into())),
            (json!(7), Some("7".into())),
            (json!(" \t "), None),
            (json!(null), None),
        ] {
            assert_eq!(read(&json!({ "text": "x", "username": given })).unwrap().display_name, expected);
        }
    }

    #[test]
    fn what_is_too_long_is_cut_with_a_note() {
        let body = body(json!({ "text": "ä".repeat(40_003) }));
        assert_eq!(body, "ä".repeat(40_000) + "\n[… 3 more characters are left out]");
    }

    #[test]
    fn a_long_text_is_parted_at_its_line_ends() {
        assert_eq!(split("one two", 10), ["one two"]);
        assert_eq!(split("one\ntwo\nthree\n", 8), ["one\ntwo", "three"]);
        assert_eq!(split("one two three", 8), ["one two", "three"]);
        assert_eq!(split("ääää", 5), ["ää", "ää"]);
        assert_eq!(split("a\nbbbbbbbbbbbb", 8), ["a\nbbbbbb", "bbbbbb"]);
        assert_eq!(split(&format!("a{}b", " \n".repeat(20)), 4), ["a", "b"]);
        let long: String = (0..4_000).map(|line| format!("line {line}\n")).collect();
        let pieces = split(&long, 16 * 1024);
        assert!(pieces.iter().all(|piece| piece.len() <= 16 * 1024 && piece.starts_with("line ")));
        assert_eq!(pieces.join("\n"), long.trim_end());
    }
}
