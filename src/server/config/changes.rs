//! What has changed between two readings of the configuration file. [`SETTINGS`] says of every setting
//! whether it can change without a restart.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::file::ConfigFile;

/// When a changed setting takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counts {
    /// From a reload on.
    AtOnce,
    /// From the next start on.
    AtStart,
}

/// Every setting of the configuration file, or the section that it is in.
///
/// `AtOnce` is about later connections: one that is there keeps the limits with which it was let in.
pub const SETTINGS: &[(&str, Counts)] = &[
    ("cluster_name", Counts::AtStart),
    ("servers", Counts::AtStart),
    ("join", Counts::AtStart),
    ("bind", Counts::AtStart),
    ("timing", Counts::AtStart),
    ("limits", Counts::AtOnce),
    ("auth.mode", Counts::AtOnce),
    ("auth.token_idle_days", Counts::AtOnce),
    ("auth.token_absolute_days", Counts::AtOnce),
    ("auth.memory_kib", Counts::AtStart),
    ("auth.iterations", Counts::AtStart),
    ("auth.scram_iterations", Counts::AtStart),
    ("auth.threads", Counts::AtStart),
    ("auth.queue", Counts::AtStart),
    ("followers", Counts::AtOnce),
    ("http", Counts::AtOnce),
    ("tls", Counts::AtOnce),
    ("metrics.listen", Counts::AtStart),
    ("metrics.token_file", Counts::AtOnce),
    ("heartbeat", Counts::AtStart),
    ("log.level", Counts::AtOnce),
    ("log.file_bytes", Counts::AtStart),
    ("log.files", Counts::AtStart),
    ("threads", Counts::AtStart),
    ("keep_entries", Counts::AtOnce),
    ("scrub_pause_s", Counts::AtOnce),
];

/// The changes that a reload found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Changes {
    /// Changes that are in use now.
    pub changed: Vec<Change>,
    /// Changes that need a restart.
    pub needs_restart: Vec<Change>,
}

/// A changed setting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Its name, with the section that it is in.
    pub setting: String,
    /// The old and the new value; `None` if it names the same file as before, and that has another content,
    /// which is not shown.
    pub values: Option<(Value, Value)>,
}

impl Change {
    /// The file that this setting names has another content.
    pub fn of_content(setting: &str) -> Change {
        Change { setting: setting.into(), values: None }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.values {
            Some((was, is)) => write!(f, "{} was {was} and is {is}", self.setting),
            None => write!(f, "{}: the file has another content", self.setting),
        }
    }
}

/// The configuration that a server uses which was started with `running` and reads `file` now, and the
/// changes.
pub fn merge(running: &ConfigFile, file: &ConfigFile) -> (ConfigFile, Changes) {
    let plain = |file| serde_json::to_value(file).expect("plain data always encodes");
    let (mut merged, told) = (plain(running), plain(file));
    let mut changes = Changes::default();
    let was = settings(&merged);
    for (setting, is) in settings(&told) {
        let was = was.get(&setting).cloned().unwrap_or_default();
        if was == is {
            continue;
        }
        let change = Change { values: Some((was, is.clone())), setting };
        match counts(&change.setting) {
            Counts::AtStart => changes.needs_restart.push(change),
            Counts::AtOnce => {
                let place = merged.pointer_mut(&format!("/{}", change.setting.replace('.', "/")));
                *place.expect("both have all settings") = is;
                changes.changed.push(change);
            }
        }
    }
    (serde_json::from_value(merged).expect("each part of it was read before"), changes)
}

/// Each setting by its name. A list is one setting.
fn settings(file: &Value) -> BTreeMap<String, Value> {
    fn collect(value: &Value, name: &str, settings: &mut BTreeMap<String, Value>) {
        let Value::Object(section) = value else {
            settings.insert(name.into(), value.clone());
            return;
        };
        for (key, value) in section {
            let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
            collect(value, &name, settings);
        }
    }
    let mut settings = BTreeMap::new();
    collect(file, "", &mut settings);
    settings
}

/// When a change of this setting takes effect. A setting that is not in the table needs a restart.
fn counts(setting: &str) -> Counts {
    let known = SETTINGS.iter().find(|(name, _)| covers(name, setting));
    known.map_or(Counts::AtStart, |(_, counts)| *counts)
}

fn covers(name: &str, setting: &str) -> bool {
    setting.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_setting_once() {
        let all = settings(&serde_json::to_value(ConfigFile::default()).unwrap());
        for setting in all.keys() {
            let lines = SETTINGS.iter().filter(|(name, _)| covers(name, setting)).count();
            assert_eq!(lines, 1, "{setting}");
        }
        for (name, _) in SETTINGS {
            assert!(all.keys().any(|setting| covers(name, setting)), "{name} is no setting");
        }
    }

    #[test]
    fn the_runbook_says_what_the_table_says() {
        let text = include_str!("../../../docs/OPERATIONS.md");
        let listed = |counts| {
            let names = SETTINGS.iter().filter(|(_, of)| *of == counts);
            names.map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ")
        };
        let text: Vec<_> = text.split_whitespace().collect();
        let text = text.join(" ");
        for counts in [Counts::AtOnce, Counts::AtStart] {
            assert!(text.contains(&listed(counts)), "{}", listed(counts));
        }
    }

    #[test]
    fn what_can_change_is_taken_over_and_the_rest_is_named() {
        let running = ConfigFile::default();
        let mut file = running.clone();
        file.limits.connections = 5;
        file.http.allowed_origins = vec!["https://a.example".into()];
        file.timing.tick_ms = 30;
        let (merged, changes) = merge(&running, &file);
        assert_eq!(merged.limits.connections, 5);
        assert_eq!(merged.http, file.http);
        assert_eq!(merged.timing, running.timing);
        let said: Vec<_> = changes.changed.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                r#"http.allowed_origins was [] and is ["https://a.example"]"#,
                "limits.connections was 12000 and is 5"
            ]
        );
        let said: Vec<_> = changes.needs_restart.iter().map(ToString::to_string).collect();
        assert_eq!(said, ["timing.tick_ms was 20 and is 30"]);
        assert_eq!(merge(&running, &running), (running, Changes::default()));
    }
}
