//! Discord's embeds as lines of text. Its `content` is read as any other text is.

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
}
