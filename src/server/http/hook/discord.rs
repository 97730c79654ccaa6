//! Discord's embeds and components as lines of text. Its `content` is read as any other text is.

use serde_json::Value;

use super::{
    bare::{add, add_pair, shown},
    blocks::link_line,
    values::list,
};

/// Adds the lines of a list of embeds.
pub fn render(embeds: &Value, lines: &mut Vec<String>) {
    for embed in list(embeds) {
        if !embed.is_object() {
            add(lines, embed);
            continue;
        }
        add(lines, &embed["author"]["name"]);
        lines.extend(link_line(shown(&embed["title"]), shown(&embed["url"])));
        add(lines, &embed["description"]);
        list(&embed["fields"]).for_each(|field| add_pair(lines, &field["name"], &field["value"]));
        add(lines, &embed["image"]["url"]);
        add(lines, &embed["footer"]["text"]);
    }
}

/// Adds the lines of a list of components: texts, buttons that open an address, pictures, and what holds
/// others.
pub fn components(components: &Value, lines: &mut Vec<String>) {
    for component in list(components) {
        // Other tools have lists of this name, too.
        if component["type"].is_u64() {
            self::component(component, lines);
        }
    }
}

fn component(component: &Value, lines: &mut Vec<String>) {
    add(lines, &component["content"]);
    if component["url"].is_string() {
        lines.extend(link_line(shown(&component["label"]), shown(&component["url"])));
    }
    for picture in list(&component["items"]).chain(component.get("media").map(|_| component)) {
        lines.extend(link_line(shown(&picture["description"]), shown(&picture["media"]["url"])));
    }
    components(&component["components"], lines);
    components(&component["accessory"], lines);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::http::hook::rendered;
    use serde_json::json;

    #[test]
    fn embeds_become_lines() {
        for (embeds, expected) in [
            (
                json!([{ "author": { "name": "ci" }, "title": "Build 7", "url": "https://ci/7",
                    "description": "**failed** in <main>", "color": 16711680, "timestamp": "2026-11-30T01:00:00Z",
                    "fields": [{ "name": "branch", "value": "main", "inline": true }, { "name": "n:", "value": 7 },
                        null, { "name": "bare" }],
                    "image": { "url": "https://i/1.png" }, "footer": { "text": "foot" } }]),
                "ci\nBuild 7 (https://ci/7)\n**failed** in <main>\nbranch: main\nn: 7\nbare\nhttps://i/1.png\nfoot",
            ),
            (json!([{ "title": "a" }, { "description": "b" }, {}, null, "c"]), "a\nb\nc"),
            (json!({ "title": "one" }), "one"),
            (json!(null), ""),
        ] {
            assert_eq!(rendered(render, &embeds), expected, "{embeds}");
        }
    }

    #[test]
    fn components_become_lines() {
        let text = |text: &str| json!({ "type": 10, "content": text });
        for (list, expected) in [
            (
                json!([text("# Release"), { "type": 17, "accent_color": 7, "components": [text("inside"), { "type": 14 },
                    { "type": 12, "items": [{ "media": { "url": "https://p" }, "description": "a graph" }] }] }]),
                "# Release\ninside\na graph (https://p)",
            ),
            (
                json!([{ "type": 9, "components": [text("beside")], "accessory":
                    { "type": 11, "media": { "url": "https://t" } } }]),
                "beside\nhttps://t",
            ),
            (
                json!([{ "type": 1, "components": [{ "type": 2, "style": 5, "label": "Open", "url": "https://o" },
                    { "type": 2, "style": 1, "label": "Needs Discord", "custom_id": "x" }] }]),
                "Open (https://o)",
            ),
            (json!([{ "name": "db1" }, "x", null]), ""),
        ] {
            assert_eq!(rendered(components, &list), expected, "{list}");
        }
    }
}
