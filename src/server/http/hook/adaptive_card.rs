//! Microsoft's adaptive cards, as the workflows of Teams take them, as lines of text.
//!
//! Of an unknown element the usual fields are looked for, so a new kind is not lost.

use serde_json::Value;

use super::{
    bare::{add, add_pair, shown},
    blocks::link_line,
    values::list,
};

/// Adds the lines of a card.
pub fn render(card: &Value, lines: &mut Vec<String>) {
    elements(&card["body"], lines);
    list(&card["actions"]).for_each(|action| self::action(action, lines));
}

fn elements(elements: &Value, lines: &mut Vec<String>) {
    list(elements).for_each(|element| self::element(element, lines));
}

fn element(element: &Value, lines: &mut Vec<String>) {
    if !element.is_object() {
        return add(lines, element);
    }
    match element["type"].as_str().unwrap_or_default() {
        "FactSet" => {
            list(&element["facts"]).for_each(|fact| add_pair(lines, &fact["title"], &fact["value"]));
        }
        "Image" => lines.extend(link_line(shown(&element["altText"]), shown(&element["url"]))),
        "RichTextBlock" => {
            let parts = list(&element["inlines"]);
            let parts = parts.filter_map(|part| part.as_str().or_else(|| part["text"].as_str()));
            add(lines, &Value::from(parts.collect::<String>()));
        }
        "Table" => list(&element["rows"]).for_each(|row| {
            let cells: Vec<String> = list(&row["cells"]).map(cell).collect();
            add(lines, &Value::from(cells.join(" | ")));
        }),
        _ => {
            ["title", "label", "text"].iter().for_each(|name| add(lines, &element[*name]));
            for name in ["items", "columns", "images"] {
                elements(&element[name], lines);
            }
            list(&element["actions"]).for_each(|action| self::action(action, lines));
        }
    }
}

fn cell(cell: &Value) -> String {
    let mut lines = Vec::new();
    elements(&cell["items"], &mut lines);
    lines.join(" ")
}

/// A button that opens an address, or a card inside the card. The others need the program that shows it.
fn action(action: &Value, lines: &mut Vec<String>) {
    if let Some(address) = shown(&action["url"]) {
        lines.extend(link_line(shown(&action["title"]), Some(address)));
    }
    elements(&action["card"]["body"], lines);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::http::hook::rendered;
    use serde_json::json;

    #[test]
    fn every_kind_of_element_is_text() {
        let block = |text: &str| json!({ "type": "TextBlock", "text": text, "wrap": true });
        for (element, expected) in [
            (block("Disk <full>\r\n"), "Disk <full>"),
            (
                json!({ "type": "FactSet", "facts": [{ "title": "cpu:", "value": "97" }, { "title": "only" }, null] }),
                "cpu: 97\nonly",
            ),
            (
                json!({ "type": "Container", "items": [block("a"), { "type": "Container", "items": [block("b")] }] }),
                "a\nb",
            ),
            (
                json!({ "type": "ColumnSet", "columns": [{ "type": "Column", "items": [block("l")] },
                    { "items": [block("r")] }] }),
                "l\nr",
            ),
            (json!({ "type": "Image", "url": "https://i", "altText": "a graph" }), "a graph (https://i)"),
            (json!({ "type": "ImageSet", "images": [{ "type": "Image", "url": "https://i" }] }), "https://i"),
            (
                json!({ "type": "RichTextBlock", "inlines": ["a ", { "type": "TextRun", "text": "b" }] }),
                "a b",
            ),
            (
                json!({ "type": "Table", "rows": [{ "cells": [{ "items": [block("a")] }, { "items": [block("b")] }] }] }),
                "a | b",
            ),
            (
                json!({ "type": "ActionSet", "actions": [{ "type": "Action.OpenUrl", "title": "Go", "url": "https://g" },
                    { "type": "Action.Submit", "title": "x" },
                    { "type": "Action.ShowCard", "card": { "body": [block("inside")] } }] }),
                "Go (https://g)\ninside",
            ),
            (json!({ "type": "OfTomorrow", "title": "T", "items": [block("i")] }), "T\ni"),
            (json!("bare"), "bare"),
            (json!(null), ""),
        ] {
            let card = json!({ "type": "AdaptiveCard", "body": [element] });
            assert_eq!(rendered(render, &card), expected, "{element}");
        }
    }
}
