//! Slack's attachments as lines of text. Teams wraps its cards in a list of the same name.

use serde_json::{Value, json};

use super::{
    blocks::{self, link_line},
    mrkdwn::plain,
    teams,
    values::{list, text_of},
};
use crate::protocol::text::is_visible;

/// Adds the lines of a list of attachments.
pub fn render(attachments: &Value, lines: &mut Vec<String>) {
    for attachment in list(attachments) {
        let before = lines.len();
        if attachment.is_object() {
            add(lines, &attachment["pretext"]);
            fields_of(attachment, true, lines);
            if attachment["content"].is_object() {
                teams::render(&attachment["content"], lines);
            }
        } else {
            add(lines, attachment);
        }
        for name in ["fallback", "content"] {
            if lines.len() == before {
                add(lines, &attachment[name]);
            }
        }
    }
}

/// Adds what an attachment has besides its pretext. Some senders write the same fields beside `text` at the
/// top; then `text` was added already.
pub fn fields_of(attachment: &Value, with_text: bool, lines: &mut Vec<String>) {
    add(lines, &attachment["author_name"]);
    let title = link_line(text_of(&attachment["title"]), text_of(&attachment["title_link"]));
    lines.extend(title.map(|title| plain(title.trim())));
    if with_text {
        add(lines, &attachment["text"]);
        blocks::render(&attachment["blocks"], lines);
    }
    match &attachment["fields"] {
        // A map from titles to values.
        Value::Object(fields) if !fields.contains_key("title") && !fields.contains_key("value") => {
            for (title, value) in fields {
                field(Some(title.clone()), value_of(value), lines);
            }
        }
        fields => {
            for item in list(fields) {
                match item {
                    Value::Object(_) => field(text_of(&item["title"]), value_of(&item["value"]), lines),
                    item => field(None, text_of(item), lines),
                }
            }
        }
    }
    for action in list(&attachment["actions"]) {
        let label = ["text", "name", "label"].iter().find_map(|name| text_of(&action[*name]));
        lines.extend(link_line(label, text_of(&action["url"])).map(|line| plain(line.trim())));
    }
    add(lines, &attachment["image_url"]);
    add(lines, &attachment["footer"]);
}

/// The text of a value; an object or a list without one as JSON, so that nothing is lost.
fn value_of(value: &Value) -> Option<String> {
    let is_empty = |value: &Value| *value == json!({}) || *value == json!([]);
    let whole = || Some(value).filter(|value| value.is_object() || value.is_array()).map(Value::to_string);
    text_of(value).or_else(|| whole().filter(|_| !is_empty(value)))
}

fn field(title: Option<String>, value: Option<String>, lines: &mut Vec<String>) {
    let text = match (title, value) {
        (Some(title), Some(value)) => {
            Some(format!("{}: {}", title.trim().trim_end_matches(':'), value.trim()))
        }
        (title, value) => value.or(title),
    };
    lines.extend(text.map(|text| plain(text.trim())));
}

/// Adds a text, if there is one.
pub fn add(lines: &mut Vec<String>, value: &Value) {
    lines.extend(text_of(value).map(|text| plain(text.trim())).filter(|text| is_visible(text)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::http::hook::rendered;

    #[test]
    fn attachments_become_lines() {
        for (attachments, expected) in [
            (
                json!([{ "fallback": "not shown", "pretext": "before", "author_name": "ci", "title": "Build 7",
                    "title_link": "https://ci/7", "text": "it works", "color": "#fff", "ts": 123,
                    "fields": [{ "title": "branch", "value": "main", "short": true }, { "title": "only" },
                        { "value": "x" }, { "title": "", "value": 7 }, { "title": "up", "value": true }, null],
                    "footer": "foot", "actions": [{ "type": "button", "text": "Go", "url": "https://g" }] }]),
                "before\nci\nBuild 7 (https://ci/7)\nit works\nbranch: main\nonly\nx\n7\nup: true\nGo (https://g)\nfoot",
            ),
            (json!([{ "fallback": "only this", "text": "" }, {}, null]), "only this"),
            (
                json!([{ "blocks": [{ "type": "header", "text": { "type": "plain_text", "text": "H" } }] }]),
                "H",
            ),
            (
                json!([{ "text": "t", "actions": [{ "action": "view", "label": "Panel", "url": "https://p" }] }]),
                "t\nPanel (https://p)",
            ),
            (json!([{ "fields": { "cpu": 97, "host": "a" } }]), "cpu: 97\nhost: a"),
            (
                json!([{ "fields": [{ "title": "a", "value": { "b": 1 } }, { "title": "c", "value": {} }] }]),
                "a: {\"b\":1}\nc",
            ),
            (json!([{ "fields": {} , "text": 5.5}]), "5.5"),
            (json!({ "text": "one" }), "one"),
            (json!(["bare", false]), "bare\nfalse"),
            (json!({}), ""),
            (json!(null), ""),
        ] {
            assert_eq!(rendered(render, &attachments), expected, "{attachments}");
        }
    }
}
