//! The cards of Microsoft Teams as lines of text: the old `MessageCard`, and what bots send.

use serde_json::Value;

use super::{
    adaptive_card,
    bare::{add, add_pair, shown},
    blocks::link_line,
    values::list,
};

/// Whether a payload is a card by itself. Not all senders write its type.
pub fn is_card(payload: &Value) -> bool {
    let has_type = payload["@type"].as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("MessageCard"));
    has_type || ["sections", "potentialAction", "body"].iter().any(|name| payload[*name].is_array())
}

/// Adds the lines of a card.
pub fn render(card: &Value, lines: &mut Vec<String>) {
    let before = lines.len();
    ["title", "subtitle", "text"].iter().for_each(|name| add(lines, &card[*name]));
    list(&card["sections"]).for_each(|section| self::section(section, lines));
    adaptive_card::render(card, lines);
    list(&card["potentialAction"]).for_each(|action| self::action(action, lines));
    for button in list(&card["buttons"]) {
        lines.extend(link_line(shown(&button["title"]), shown(&button["value"])));
    }
    // For those who cannot see the card.
    for name in ["summary", "fallbackText"] {
        if lines.len() == before {
            add(lines, &card[name]);
        }
    }
}

fn section(section: &Value, lines: &mut Vec<String>) {
    for name in ["title", "activityTitle", "activitySubtitle", "activityText", "text"] {
        add(lines, &section[name]);
    }
    list(&section["facts"]).for_each(|fact| add_pair(lines, &fact["name"], &fact["value"]));
    for image in list(&section["images"]) {
        lines.extend(link_line(shown(&image["title"]), shown(&image["image"])));
    }
    list(&section["potentialAction"]).for_each(|action| self::action(action, lines));
}

/// A button that opens an address; the others need the program that shows the card.
fn action(action: &Value, lines: &mut Vec<String>) {
    let address = list(&action["targets"]).find_map(|target| shown(&target["uri"]));
    let address = address.or_else(|| list(&action["target"]).find_map(shown));
    if address.is_some() {
        lines.extend(link_line(shown(&action["name"]), address));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::http::hook::rendered;
    use serde_json::json;

    #[test]
    fn cards_become_lines() {
        for (card, expected) in [
            (
                json!({ "@type": "MessageCard", "@context": "http://schema.org/extensions", "summary": "unsaid",
                    "themeColor": "ff0000", "title": "Build 7", "text": "**failed** on <main>", "sections": [
                        { "startGroup": true, "activityTitle": "ann", "activitySubtitle": "a minute ago",
                            "facts": [{ "name": "branch", "value": "main" }, { "name": "n:", "value": 7 }, null],
                            "images": [{ "image": "https://i", "title": "a graph" }] },
                        { "title": "More", "text": "of it" }],
                    "potentialAction": [{ "@type": "OpenUri", "name": "Open",
                        "targets": [{ "os": "default", "uri": "https://o" }] }, { "@type": "ActionCard", "name": "x" }] }),
                "Build 7\n**failed** on <main>\nann\na minute ago\nbranch: main\nn: 7\na graph (https://i)\nMore\nof it\n\
                Open (https://o)",
            ),
            (json!({ "@type": "messagecard", "summary": "only this" }), "only this"),
            (
                json!({ "title": "hero", "subtitle": "s", "text": "t", "buttons": [{ "type": "openUrl", "title": "Go",
                    "value": "https://g" }] }),
                "hero\ns\nt\nGo (https://g)",
            ),
            (json!({ "body": [{ "type": "TextBlock", "text": "a" }], "fallbackText": "f" }), "a"),
            (json!({ "body": [{ "type": "Input.Date" }], "fallbackText": "f" }), "f"),
            (json!({}), ""),
        ] {
            assert_eq!(rendered(render, &card), expected, "{card}");
        }
    }
}
