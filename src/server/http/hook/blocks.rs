//! Slack's Block Kit as lines of text.
//!
//! Of an unknown block everything is shown that looks as if it were to be read, so a new kind is not lost.

use serde_json::Value;

use super::{
    mrkdwn::{self, labelled},
    values::{list, text_of},
};
use crate::protocol::text::is_visible;

/// Adds the lines of a list of blocks.
pub fn render(blocks: &Value, lines: &mut Vec<String>) {
    list(blocks).for_each(|block| self::block(block, lines));
}

fn block(block: &Value, lines: &mut Vec<String>) {
    let mut add = |line: Option<String>| lines.extend(line.filter(|line| is_visible(line)));
    match kind(block) {
        "divider" => add(Some("---".into())),
        "context" => add(joined(&block["elements"], " ")),
        "actions" => add(joined(&block["elements"], " | ")),
        "image" => add(image(block)),
        "video" => {
            let title = text(&block["title"]).or_else(|| text_of(&block["alt_text"]));
            let link = text_of(&block["title_url"]).or_else(|| text_of(&block["video_url"]));
            add(link_line(title, link));
            add(text(&block["description"]));
        }
        "rich_text" => list(&block["elements"]).for_each(|element| add(rich_element(element))),
        "table" => {
            for row in list(&block["rows"]) {
                let cells: Vec<String> = list(row).map(|cell| element(cell).unwrap_or_default()).collect();
                add(Some(cells.join(" | ")));
            }
        }
        "header" | "section" | "markdown" | "input" => {
            add(text(&block["label"]));
            add(text(&block["text"]));
            list(&block["fields"]).for_each(|field| add(text(field)));
            add(element(&block["accessory"]));
            add(element(&block["element"]));
            add(text(&block["hint"]));
        }
        _ => everything(block, 0, &mut add),
    }
}

/// The fields that are to be read if they are texts, in the order of reading; other fields may have ids.
const READ: [&str; 9] =
    ["title", "subtitle", "label", "text", "body", "description", "alt_text", "placeholder", "hint"];
/// How deep texts are looked for.
const DEPTH_MAX: usize = 8;

/// Adds all texts in a block of a kind that is not known.
fn everything(value: &Value, depth: usize, add: &mut impl FnMut(Option<String>)) {
    if depth > DEPTH_MAX {
        return;
    }
    let Some(object) = value.as_object() else {
        let is_list = value.is_array();
        return if is_list {
            list(value).for_each(|item| everything(item, depth + 1, add));
        } else {
            add(text(value));
        };
    };
    if matches!(
        kind(value),
        "plain_text" | "mrkdwn" | "raw_text" | "raw_number" | "rich_text" | "button" | "image"
    ) {
        return add(element(value));
    }
    READ.iter().filter_map(|name| object.get(*name)).for_each(|field| everything(field, depth + 1, add));
    let others = object.iter().filter(|(name, _)| !READ.contains(&name.as_str()));
    others.filter(|(_, field)| field.is_object() || field.is_array()).for_each(|(_, field)| {
        everything(field, depth + 1, add);
    });
}

fn kind(value: &Value) -> &str {
    value["type"].as_str().unwrap_or_default()
}

/// A text object, or a text.
fn text(value: &Value) -> Option<String> {
    let said = text_of(value)?;
    Some(match kind(value) {
        "plain_text" | "raw_text" => mrkdwn::plain_text(&said),
        _ => mrkdwn::plain(&said),
    })
}

fn joined(elements: &Value, between: &str) -> Option<String> {
    let parts: Vec<String> = list(elements).filter_map(element).filter(|part| is_visible(part)).collect();
    (!parts.is_empty()).then(|| parts.join(between))
}

/// The text of an element of a block: a text, an image, a button or another control.
fn element(value: &Value) -> Option<String> {
    match kind(value) {
        "image" => text_of(&value["alt_text"]).or_else(|| text_of(&value["image_url"])),
        "rich_text" => {
            let lines: Vec<String> = list(&value["elements"]).filter_map(rich_element).collect();
            Some(lines.join("\n"))
        }
        "raw_number" => text_of(&value["value"]),
        "button" | "workflow_button" => link_line(text(&value["text"]), text_of(&value["url"])),
        // A text has its words in `text`, and so has an option, with an address beside it or not.
        _ if value["text"].is_object() => link_line(text(&value["text"]), text_of(&value["url"])),
        _ => {
            let said = text(value).or_else(|| text(&value["placeholder"]));
            let all: Vec<String> = said.into_iter().chain(joined(&value["options"], " | ")).collect();
            (!all.is_empty()).then(|| all.join(": "))
        }
    }
}

fn image(block: &Value) -> Option<String> {
    let said = text(&block["title"]).or_else(|| text_of(&block["alt_text"]));
    link_line(said, text_of(&block["image_url"]))
}

/// A label and its address, as far as they are there.
pub fn link_line(label: Option<String>, address: Option<String>) -> Option<String> {
    (label.is_some() || address.is_some())
        .then(|| labelled(&label.unwrap_or_default(), &address.unwrap_or_default()))
}

/// A part of a rich text.
fn rich_element(value: &Value) -> Option<String> {
    let inner = || list(&value["elements"]).map(rich_text).collect::<String>();
    let shown = match kind(value) {
        "rich_text_list" => {
            let number = |field: &str| text_of(&value[field])?.parse::<u64>().ok();
            let first = number("offset").unwrap_or(0).saturating_add(1);
            let indent = "  ".repeat(number("indent").unwrap_or(0).min(8) as usize);
            let items = list(&value["elements"]).enumerate().map(|(place, item)| {
                let item = rich_element(item).unwrap_or_default();
                match value["style"].as_str() {
                    Some("ordered") => format!("{indent}{}. {item}", first.saturating_add(place as u64)),
                    _ => format!("{indent}• {item}"),
                }
            });
            items.collect::<Vec<_>>().join("\n")
        }
        "rich_text_preformatted" => format!("```\n{}\n```", inner().trim_end_matches('\n')),
        "rich_text_quote" => inner().lines().map(|line| format!("> {line}")).collect::<Vec<_>>().join("\n"),
        "rich_text_section" => inner().trim_end_matches('\n').to_owned(),
        _ => rich_text(value),
    };
    is_visible(&shown).then_some(shown)
}

/// A piece of a line of rich text. Nothing is escaped in it.
fn rich_text(value: &Value) -> String {
    let said = |field: &str| text_of(&value[field]).unwrap_or_default();
    let shown = match kind(value) {
        "link" => labelled(&said("text"), &said("url")),
        "emoji" => emoji(value).unwrap_or_else(|| format!(":{}:", said("name"))),
        "user" => format!("@{}", said("user_id")),
        "usergroup" => format!("@{}", said("usergroup_id")),
        "team" => format!("@{}", said("team_id")),
        "channel" => format!("#{}", said("channel_id")),
        "broadcast" => format!("@{}", said("range")),
        "color" => said("value"),
        "date" => {
            let seconds = value["timestamp"].as_i64();
            let shown = seconds.and_then(|seconds| mrkdwn::date(seconds, &said("format")));
            let shown = text_of(&value["fallback"]).or(shown).unwrap_or_default();
            labelled(&shown, &said("url"))
        }
        _ if !value["elements"].is_null() => list(&value["elements"]).map(rich_text).collect(),
        // A blank is a text as well.
        _ => value["text"].as_str().map(str::to_owned).or_else(|| text_of(value)).unwrap_or_default(),
    };
    let shown = shown.replace("\r\n", "\n").replace(['\r'], "\n").replace('\0', "");
    if value["style"]["code"].as_bool() == Some(true) { format!("`{shown}`") } else { shown }
}

/// An emoji by its code points: `1f44d-1f3fd`.
fn emoji(value: &Value) -> Option<String> {
    let points = value["unicode"].as_str()?.split('-');
    points.map(|point| u32::from_str_radix(point, 16).ok().and_then(char::from_u32)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::http::hook::rendered;
    use serde_json::json;

    #[test]
    fn every_kind_of_block_is_text() {
        let plain = |text: &str| json!({ "type": "plain_text", "text": text, "emoji": true });
        let mrkdwn = |text: &str| json!({ "type": "mrkdwn", "text": text });
        for (block, expected) in [
            (json!({ "type": "header", "text": plain("Disk &amp; memory <x>") }), "Disk & memory <x>"),
            (
                json!({ "type": "section", "text": mrkdwn("*High* on <https://h|h1>"),
                    "fields": [mrkdwn("*CPU*\n97"), plain("95 %"), null],
                    "accessory": { "type": "button", "text": plain("Open"), "url": "https://o" } }),
                "*High* on h1 (https://h)\n*CPU*\n97\n95 %\nOpen (https://o)",
            ),
            (json!({ "type": "section", "text": "bare" }), "bare"),
            (json!({ "type": "section", "text": { "type": "mrkdwn", "text": 7 } }), "7"),
            (
                json!({ "type": "context", "elements": [
                    { "type": "image", "image_url": "https://i", "alt_text": "logo" }, mrkdwn("by ci"), {} ] }),
                "logo by ci",
            ),
            (json!({ "type": "divider" }), "---"),
            (
                json!({ "type": "image", "image_url": "https://i/1.png", "alt_text": "a graph" }),
                "a graph (https://i/1.png)",
            ),
            (
                json!({ "type": "image", "title": plain("Load"), "image_url": "https://i", "alt_text": "x" }),
                "Load (https://i)",
            ),
            (
                json!({ "type": "actions", "elements": [
                    { "type": "button", "text": plain("Ack"), "url": "https://a" },
                    { "type": "button", "text": plain("Mute"), "value": "m" },
                    { "type": "overflow", "options": [{ "text": plain("more"), "url": "https://m" }] },
                    { "type": "static_select", "placeholder": plain("Pick") } ] }),
                "Ack (https://a) | Mute | more (https://m) | Pick",
            ),
            (json!({ "type": "markdown", "text": "**bold**" }), "**bold**"),
            (
                json!({ "type": "video", "title": plain("Demo"), "title_url": "https://v" }),
                "Demo (https://v)",
            ),
            (
                json!({ "type": "table", "rows": [
                    [{ "type": "raw_text", "text": "a" }, { "type": "raw_text", "text": "b" }],
                    [{ "type": "rich_text", "elements": [{ "type": "rich_text_section",
                        "elements": [{ "type": "text", "text": "c" }] }] }, null] ] }),
                "a | b\nc",
            ),
            (
                json!({ "type": "input", "label": plain("Why"), "hint": plain("a word"),
                    "element": { "type": "radio_buttons", "options": [{ "text": plain("yes"), "value": "1" }, { "text": plain("no") }] } }),
                "Why\nyes | no\na word",
            ),
            (
                json!({ "type": "actions", "elements": [{ "type": "static_select", "placeholder": plain("Pick"),
                    "options": [{ "text": plain("a") }, { "text": plain("b") }] }] }),
                "Pick: a | b",
            ),
            (
                json!({ "type": "table", "rows": [[{ "type": "raw_number", "value": 3 }, { "type": "raw_text", "text": "x" }]] }),
                "3 | x",
            ),
            (
                json!({ "type": "card", "block_id": "b", "title": plain("T"), "subtitle": mrkdwn("S"), "body": plain("B"),
                    "actions": [{ "type": "button", "action_id": "x", "text": plain("Go"), "url": "https://g" }] }),
                "T\nS\nB\nGo (https://g)",
            ),
            (
                json!({ "type": "carousel", "elements": [{ "type": "card", "body": { "type": "mrkdwn", "text": "b1" } },
                    { "type": "card", "body": { "type": "mrkdwn", "text": "b2" } }] }),
                "b1\nb2",
            ),
            (
                json!({ "type": "plan", "title": "Plan", "tasks": [{ "task_id": "1", "title": "first",
                    "output": { "type": "rich_text", "elements": [{ "type": "rich_text_section",
                        "elements": [{ "type": "text", "text": "done" }] }] } }] }),
                "Plan\nfirst\ndone",
            ),
            (
                json!({ "type": "context_actions", "elements": [{ "type": "feedback_buttons", "action_id": "f",
                    "positive_button": { "text": plain("Good"), "value": "1" },
                    "negative_button": { "text": plain("Bad"), "value": "0" } }] }),
                "Bad\nGood",
            ),
            (json!({ "type": "of_tomorrow", "title": "T", "elements": [plain("e")] }), "T\ne"),
            (json!(null), ""),
            (json!(5), "5"),
        ] {
            assert_eq!(rendered(render, &json!([block])), expected, "{block}");
        }
        assert_eq!(rendered(render, &json!({})), "");
        assert_eq!(rendered(render, &json!({ "type": "divider" })), "---", "one block that is no list");
    }

    #[test]
    fn rich_text_is_text() {
        let section = |elements: Value| json!({ "type": "rich_text_section", "elements": elements });
        let blocks = json!([{ "type": "rich_text", "elements": [
            section(json!([
                { "type": "text", "text": "Hi &amp; " }, { "type": "link", "url": "https://a", "text": "there" },
                { "type": "text", "text": " " }, { "type": "emoji", "name": "tada", "unicode": "1f389" },
                { "type": "emoji", "name": "own" }, { "type": "user", "user_id": "U1" },
                { "type": "broadcast", "range": "here" }, { "type": "channel", "channel_id": "C1" },
                { "type": "text", "text": "x = 1", "style": { "code": true } },
                { "type": "date", "timestamp": 0, "format": "{date_num}", "fallback": "then" },
            ])),
            { "type": "rich_text_list", "style": "bullet", "indent": 1,
              "elements": [section(json!([{ "type": "text", "text": "one" }]))] },
            { "type": "rich_text_list", "style": "ordered", "offset": "2",
              "elements": [section(json!([{ "type": "text", "text": "two" }]))] },
            { "type": "rich_text_preformatted", "elements": [{ "type": "text", "text": "a\nb\n" }] },
            { "type": "rich_text_quote", "elements": [{ "type": "text", "text": "q\nr" }] },
        ] }]);
        assert_eq!(
            rendered(render, &blocks),
            "Hi &amp; there (https://a) 🎉:own:@U1@here#C1`x = 1`then\n  • one\n3. two\n```\na\nb\n```\n> q\n> r"
        );
    }
}
