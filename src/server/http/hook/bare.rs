//! Text of senders that do not write Slack's markup: it is shown as it is.

use serde_json::Value;

use super::values::text_of;
use crate::protocol::text::is_visible;

/// Adds a text, if there is one.
pub fn add(lines: &mut Vec<String>, value: &Value) {
    lines.extend(shown(value));
}

/// Adds `name: value`, or what there is of both.
pub fn add_pair(lines: &mut Vec<String>, name: &Value, value: &Value) {
    lines.extend(match (shown(name), shown(value)) {
        (Some(name), Some(value)) => Some(pair(&name, &value)),
        (name, value) => value.or(name),
    });
}

/// `name: value`; many senders have written the colon already.
pub fn pair(name: &str, value: &str) -> String {
    format!("{}: {value}", name.trim_end_matches(':'))
}

/// The text of a value, without white space around it.
pub fn shown(value: &Value) -> Option<String> {
    let text = text_of(value)?.replace("\r\n", "\n").replace('\r', "\n").replace('\0', "");
    Some(text.trim().to_owned()).filter(|text| is_visible(text))
}
