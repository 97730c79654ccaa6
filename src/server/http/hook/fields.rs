//! A payload of which nothing is known, as lines `name: value`.

use serde_json::Value;

use super::bare::{pair, shown};

/// Fields that are shown.
const LINES_MAX: usize = 50;
/// Characters of one value that are shown.
const VALUE_MAX: usize = 1_000;

/// Fields that only say how a text is to look or where it belongs: alone, they say nothing.
const SILENT: [&str; 19] = [
    "username",
    "icon_url",
    "icon_emoji",
    "avatar_url",
    "channel",
    "mrkdwn",
    "mrkdwn_in",
    "link_names",
    "unfurl_links",
    "unfurl_media",
    "parse",
    "tts",
    "type",
    "color",
    "short",
    "ts",
    "thread_ts",
    "response_type",
    "block_id",
];

/// Adds a line for each field that shows something; those of objects in it have names such as `host.name`.
pub fn render(payload: &Value, lines: &mut Vec<String>) {
    let mut found = Vec::new();
    walk("", payload, &mut found);
    let left_out = found.len().saturating_sub(LINES_MAX);
    found.truncate(LINES_MAX);
    lines.append(&mut found);
    if left_out > 0 {
        lines.push(format!("[… {left_out} more fields are left out]"));
    }
}

fn walk(name: &str, value: &Value, found: &mut Vec<String>) {
    let inner = |field: &str| if name.is_empty() { field.to_owned() } else { format!("{name}.{field}") };
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(field, _)| !SILENT.contains(&field.as_str()));
            fields.for_each(|(field, value)| walk(&inner(field), value, found));
        }
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            for (number, item) in items.iter().enumerate() {
                walk(&inner(&(number + 1).to_string()), item, found);
            }
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().filter_map(shown).collect();
            if !items.is_empty() {
                found.push(pair(name, &cut(items.join(", "))));
            }
        }
        value => found.extend(shown(value).map(|value| pair(name, &cut(value)))),
    }
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
    use serde_json::json;

    fn text(payload: &Value) -> String {
        let mut lines = Vec::new();
        render(payload, &mut lines);
        lines.join("\n")
    }

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
            (json!({}), ""),
        ] {
            assert_eq!(text(&payload), expected, "{payload}");
        }
    }

    #[test]
    fn a_large_payload_is_cut_with_a_note() {
        let long = text(&json!({ "x": "ä".repeat(VALUE_MAX + 1) }));
        assert_eq!(long, format!("x: {}…", "ä".repeat(VALUE_MAX)));
        let many: serde_json::Map<String, Value> =
            (0..LINES_MAX + 4).map(|number| (format!("f{number}"), json!(number))).collect();
        let text = text(&many.into());
        assert_eq!(text.lines().count(), LINES_MAX + 1);
        assert!(text.ends_with("\n[… 4 more fields are left out]"));
    }
}
