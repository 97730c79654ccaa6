//! What JSON values mean that are of another type than the documented one.

use serde_json::Value;

use crate::protocol::text::is_visible;

/// The text of a value: numbers and booleans are written out, an object gives its `text`, and a list all its
/// items. `None` for null and if nothing would be seen.
pub fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => is_visible(text).then(|| text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(yes) => Some(yes.to_string()),
        Value::Null => None,
        Value::Object(fields) => text_of(fields.get("text")?),
        Value::Array(items) => {
            let texts: Vec<String> = items.iter().filter_map(text_of).collect();
            (!texts.is_empty()).then(|| texts.join("\n"))
        }
    }
}

/// The items of a list without nulls. An object or a text in place of a list is its only item; an empty
/// object has none.
pub fn list(value: &Value) -> impl Iterator<Item = &Value> {
    let items = match value {
        Value::Array(items) => items.as_slice(),
        Value::Object(fields) if fields.is_empty() => &[],
        Value::Null | Value::Bool(false) => &[],
        value => std::slice::from_ref(value),
    };
    items.iter().filter(|item| !item.is_null())
}
