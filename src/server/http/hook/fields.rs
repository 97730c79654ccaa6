//! What a payload has of fields that no form knows, as lines `name: value`.

use serde_json::Value;

use super::{
    bare::{pair, shown},
    body::NESTING_MAX,
};
use crate::json::nesting;

/// Fields that are shown.
const LINES_MAX: usize = 50;
/// Characters of one value that are shown.
const VALUE_MAX: usize = 1_000;

/// Fields that only say how a text is to look, and by whom: they are not shown.
const SILENT: [&str; 13] = [
    "username",
    "icon_url",
    "icon_emoji",
    "avatar_url",
    "mrkdwn",
    "mrkdwn_in",
    "link_names",
    "unfurl_links",
    "unfurl_media",
    "tts",
    "thread_ts",
    "response_type",
    "block_id",
];

/// Fields that are no reader's business: everybody in the room would see them.
const SECRET: [&str; 11] = [
    "token",
    "secret",
    "password",
    "passwd",
    "api_key",
    "apikey",
    "access_token",
    "auth_token",
    "routing_key",
    "authorization",
    "signature",
];

/// Fields that say something, but nothing alone.
const VAGUE: [&str; 6] = ["channel", "parse", "type", "color", "short", "ts"];
/// Fields that belong to the form of a payload that has a text, or are shown with it.
const OF_TEXTS: [&str; 9] =
    ["version", "pretext", "author_name", "title", "title_link", "fields", "image_url", "footer", "fallback"];

/// Objects and lists that are shown by a form of their own, or that say nothing to a reader.
const OF_FORMS: [&str; 5] = ["components", "cards", "cardsV2", "allowed_mentions", "metadata"];

/// How deep a text may be that is read as JSON. Each one may be nested itself, and the stack is small.
const JSON_DEPTH_MAX: usize = 1;

/// A field that shows something.
struct Field {
    line: String,
    /// How many objects and lists it is in.
    depth: usize,
    is_vague: bool,
}

/// Adds a line for each field that shows something; those of objects in it have names such as `host.name`.
pub fn render(payload: &Value, lines: &mut Vec<String>) {
    let mut found = Vec::new();
    walk("", payload, (0, false), &mut found);
    if found.iter().all(|field| field.is_vague) {
        return;
    }
    let left_out = found.len().saturating_sub(LINES_MAX);
    // What a payload is about is seldom deep in it.
    let mut depths: Vec<usize> = found.iter().map(|field| field.depth).collect();
    depths.sort_unstable();
    let deepest = depths.get(LINES_MAX - 1).copied().unwrap_or(usize::MAX);
    let mut of_deepest = LINES_MAX.saturating_sub(depths.partition_point(|depth| *depth < deepest));
    let shown = found.into_iter().filter(|field| {
        let is_left = field.depth == deepest && of_deepest > 0;
        of_deepest -= usize::from(is_left);
        field.depth < deepest || is_left
    });
    lines.extend(shown.map(|field| field.line));
    if left_out > 0 {
        lines.push(format!("[… {left_out} more fields are left out]"));
    }
}

/// Adds the fields beside the text of a payload, which is its field `text`, as far as they say something new.
pub fn beside(payload: &Value, text: &str, lines: &mut Vec<String>) {
    let Value::Object(fields) = payload else { return };
    let is_said = |value: &Value| shown(value).is_some_and(|value| lines.contains(&value));
    let others = fields.iter().filter(|(name, value)| {
        let name = name.as_str();
        name != text && !OF_TEXTS.contains(&name) && !OF_FORMS.contains(&name) && !is_said(value)
    });
    let others: serde_json::Map<_, _> = others.map(|(name, value)| (name.clone(), value.clone())).collect();
    render(&others.into(), lines);
}

/// Whether a value is more than one line.
fn has_more(value: &Value) -> bool {
    match value {
        Value::Object(_) => true,
        Value::Array(items) => items.iter().any(|item| item.is_object() || item.is_array()),
        _ => false,
    }
}

fn walk(name: &str, value: &Value, (depth, is_vague): (usize, bool), found: &mut Vec<Field>) {
    let inner = |field: &str| if name.is_empty() { field.to_owned() } else { format!("{name}.{field}") };
    let mut add = |value: String| found.push(Field { line: pair(name, &value), depth, is_vague });
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(field, _)| !is_silent(field));
            fields.for_each(|(field, value)| {
                let is_vague = is_vague || VAGUE.contains(&field.as_str());
                walk(&inner(field), value, (depth + 1, is_vague), found);
            });
        }
        Value::Array(items) if has_more(value) => {
            for (number, item) in items.iter().enumerate() {
                walk(&inner(&(number + 1).to_string()), item, (depth + 1, is_vague), found);
            }
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().filter_map(shown).collect();
            if !items.is_empty() {
                add(cut(items.join(", ")));
            }
        }
        value => match value.as_str().filter(|_| depth <= JSON_DEPTH_MAX).and_then(json_in) {
            Some(inner) => walk(name, &inner, (depth + 1, is_vague), found),
            None => shown(value).into_iter().for_each(|value| add(cut(value))),
        },
    }
}

fn is_silent(field: &str) -> bool {
    SILENT.contains(&field) || SECRET.iter().any(|secret| field.eq_ignore_ascii_case(secret))
}

/// The object or list in a text that is JSON.
fn json_in(text: &str) -> Option<Value> {
    let is_json = text.trim_start().starts_with(['{', '[']) && nesting(text.as_bytes()) <= NESTING_MAX;
    is_json.then(|| serde_json::from_str(text).ok()).flatten()
}

fn cut(mut value: String) -> String {
    if let Some((end, _)) = value.char_indices().nth(VALUE_MAX) {
        value.truncate(end);
        value.push('…');
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::http::hook::rendered;
    use serde_json::json;

    #[test]
    fn fields_are_lines() {
        for (payload, expected) in [
            (
                json!({ "foo": "bar", "n": 7, "up": false, "gone": null, "blank": " " }),
                "foo: bar\nn: 7\nup: false",
            ),
            (
                json!({ "host": { "name": "db1", "tags": ["a", "b", null], "none": {} } }),
                "host.name: db1\nhost.tags: a, b",
            ),
            (json!({ "checks": [{ "id": 1 }, "x", []] }), "checks.1.id: 1\nchecks.2: x"),
            (json!({ "username": "ci", "channel": "#x", "attachments": [{ "color": "red" }] }), ""),
            (json!({ "username": "ci", "type": "invoice.failed", "id": 7 }), "id: 7\ntype: invoice.failed"),
            (
                json!({ "Subject": "s", "Message": "{\"state\":\"ALARM\",\"why\":[{\"n\":1}]}", "half": "{half" }),
                "Message.state: ALARM\nMessage.why.1.n: 1\nSubject: s\nhalf: {half",
            ),
            (
                json!({ "host": "db1", "token": "t", "auth": { "Password": "p", "user": "u" } }),
                "auth.user: u\nhost: db1",
            ),
            (json!({}), ""),
        ] {
            assert_eq!(rendered(render, &payload), expected, "{payload}");
        }
    }

    #[test]
    fn a_large_payload_is_cut_with_a_note() {
        let long = rendered(render, &json!({ "x": "ä".repeat(VALUE_MAX + 1) }));
        assert_eq!(long, format!("x: {}…", "ä".repeat(VALUE_MAX)));
        let many: serde_json::Map<String, Value> =
            (0..LINES_MAX + 4).map(|number| (format!("f{number}"), json!(number))).collect();
        let many = rendered(render, &many.into());
        assert_eq!(many.lines().count(), LINES_MAX + 1);
        assert!(many.ends_with("\n[… 4 more fields are left out]"));
        let links: serde_json::Map<String, Value> =
            (0..LINES_MAX + 4).map(|number| (format!("l{number}"), json!("https://x"))).collect();
        let deep = rendered(
            render,
            &json!({ "a": { "b": 1 , "links": links }, "issue": { "title": "Broken" }, "z": "last" }),
        );
        assert_eq!(deep.lines().count(), LINES_MAX + 1);
        assert!(deep.contains("a.b: 1\n") && deep.contains("\nissue.title: Broken\nz: last\n"), "{deep}");
    }
}
