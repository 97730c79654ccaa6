//! The webhooks of Prometheus' Alertmanager and of Grafana as lines of text.
//!
//! Both send a list of alerts with labels and annotations. Grafana writes a text about them as well; an alert
//! that has its name there is not listed again.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    bare::{add, pair, shown},
    fields,
    values::list,
};

/// Alerts of one request that are shown.
const ALERTS_MAX: usize = 50;
/// The label with an alert's name.
const NAME: &str = "alertname";
/// Annotations that are whole sentences and need no name before them.
const SENTENCES: [&str; 3] = ["summary", "description", "message"];
/// Where to go on, by the fields of an alert.
const PLACES: [(&str, &str); 5] = [
    ("valueString", "value"),
    ("generatorURL", "source"),
    ("dashboardURL", "dashboard"),
    ("panelURL", "panel"),
    ("silenceURL", "silence"),
];

/// Adds the lines of the alerts that `lines` does not name yet.
pub fn render(payload: &Value, lines: &mut Vec<String>) {
    // The title names one alert of many, and says nothing about it.
    let heading = shown(&payload["title"]);
    let said = lines.iter().filter(|line| heading.as_ref() != Some(line));
    let said = said.map(String::as_str).collect::<Vec<_>>().join("\n");
    let is_said = |alert: &Value| shown(&alert["labels"][NAME]).is_some_and(|name| said.contains(&name));
    let alerts: Vec<&Value> = list(&payload["alerts"]).filter(|alert| !is_said(alert)).collect();
    if alerts.is_empty() {
        return;
    }
    if lines.is_empty() {
        lines.push(title(payload));
    }
    alerts.iter().take(ALERTS_MAX).for_each(|alert| self::alert(alert, &payload["status"], lines));
    let left_out = alerts.len().saturating_sub(ALERTS_MAX) as u64;
    let left_out = left_out.saturating_add(payload["truncatedAlerts"].as_u64().unwrap_or(0));
    if left_out > 0 {
        lines.push(format!("[… {left_out} more alerts are left out]"));
    }
}

/// `[FIRING:2, RESOLVED:1] DiskFull`.
fn title(payload: &Value) -> String {
    let mut counts = BTreeMap::<String, usize>::new();
    for alert in list(&payload["alerts"]) {
        if let Some(status) = shown(&alert["status"]).or_else(|| shown(&payload["status"])) {
            *counts.entry(status.to_uppercase()).or_default() += 1;
        }
    }
    let counts: Vec<String> = counts.iter().map(|(status, count)| format!("{status}:{count}")).collect();
    let counts = if counts.is_empty() { "ALERTS".into() } else { counts.join(", ") };
    let name = shown(&payload["commonLabels"][NAME]);
    let name = name.or_else(|| {
        let labels = payload["groupLabels"].as_object()?;
        Some(labels.values().filter_map(shown).collect::<Vec<_>>().join(" "))
    });
    format!("[{counts}] {}", name.unwrap_or_default()).trim_end().to_owned()
}

fn alert(alert: &Value, status: &Value, lines: &mut Vec<String>) {
    let Value::Object(about) = alert else { return add(lines, alert) };
    let (labels, annotations) = (about.get("labels"), about.get("annotations"));
    if !labels.or(annotations).is_some_and(Value::is_object) {
        return fields::render(alert, lines);
    }
    let named = |name: &str| labels.and_then(|labels| shown(&labels[name]));
    let status = shown(&alert["status"]).or_else(|| shown(status)).unwrap_or_else(|| "alert".into());
    let labels = labels.and_then(Value::as_object).into_iter().flat_map(texts);
    let others: Vec<String> =
        labels.filter(|(name, _)| *name != NAME).map(|(name, value)| format!("{name}={value}")).collect();
    let mut head = pair(&status, &named(NAME).unwrap_or_default()).trim_end_matches([' ', ':']).to_owned();
    if !others.is_empty() {
        head += &format!(" ({})", others.join(", "));
    }
    lines.push(head);
    if let Some(annotations) = annotations {
        SENTENCES.iter().for_each(|name| add(lines, &annotations[*name]));
    }
    let annotations = annotations.and_then(Value::as_object).into_iter().flat_map(texts);
    let annotations = annotations.filter(|(name, _)| !SENTENCES.contains(name));
    lines.extend(annotations.map(|(name, value)| pair(name, &value)));
    for (field, name) in PLACES {
        lines.extend(shown(&alert[field]).map(|value| pair(name, &value)));
    }
}

fn texts(fields: &Map<String, Value>) -> impl Iterator<Item = (&str, String)> {
    fields.iter().filter_map(|(name, value)| Some((name.as_str(), shown(value)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::http::hook::rendered;
    use serde_json::json;

    #[test]
    fn alertmanagers_alerts_are_text() {
        let disk = json!({ "status": "firing", "labels": { "alertname": "DiskFull", "instance": "db1:9100",
                "severity": "critical" },
            "annotations": { "description": "Only 3 % <left> & falling", "summary": "Disk of db1",
                "runbook_url": "https://r/disk" },
            "startsAt": "2026-11-30T01:00:00Z", "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://prom/graph", "fingerprint": "c0ffee" });
        let over = json!({ "status": "resolved", "labels": { "alertname": "DiskFull" }, "annotations": {} });
        let payload = json!({ "version": "4", "groupKey": "{}:{}", "truncatedAlerts": 2, "status": "firing",
            "receiver": "chat", "groupLabels": { "alertname": "DiskFull" }, "commonLabels": {},
            "commonAnnotations": {}, "externalURL": "http://am", "alerts": [disk, over] });
        assert_eq!(
            rendered(render, &payload),
            "[FIRING:1, RESOLVED:1] DiskFull\n\
            firing: DiskFull (instance=db1:9100, severity=critical)\n\
            Disk of db1\nOnly 3 % <left> & falling\nrunbook_url: https://r/disk\nsource: http://prom/graph\n\
            resolved: DiskFull\n[… 2 more alerts are left out]"
        );
    }

    #[test]
    fn alerts_of_unusual_forms_are_not_lost() {
        for (payload, expected) in [
            (json!({ "alerts": [] }), ""),
            (json!({ "alerts": null }), ""),
            (json!({ "alerts": ["down", null, 7] }), "[ALERTS]\ndown\n7"),
            (json!({ "alerts": { "name": "one", "host": "a" } }), "[ALERTS]\nhost: a\nname: one"),
            (json!({ "status": "firing", "alerts": [{ "labels": { "a": 1 } }] }), "[FIRING:1]\nfiring (a=1)"),
            (
                json!({ "alerts": [{ "annotations": { "summary": "S" }, "valueString": "[ value=97 ]" }] }),
                "[ALERTS]\nalert\nS\nvalue: [ value=97 ]",
            ),
        ] {
            assert_eq!(rendered(render, &payload), expected, "{payload}");
        }
        let many = json!({ "alerts": vec![json!("x"); ALERTS_MAX + 3] });
        assert!(rendered(render, &many).ends_with("x\n[… 3 more alerts are left out]"));
        assert_eq!(rendered(render, &many).lines().count(), ALERTS_MAX + 2);
    }
}
