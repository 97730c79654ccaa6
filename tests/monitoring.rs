//! The shipped monitoring names only series that exist, and Prometheus accepts it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use syncnet::{
    config::ReplicaConfig,
    server::{config::file::ConfigFile, machine::clock::Clock, metrics::Metrics},
};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The names of all series, as a query may use them.
fn series() -> BTreeSet<String> {
    let file = ConfigFile::default();
    let config = ReplicaConfig {
        server_id: file.servers[0].server_id.clone(),
        servers: file.servers.into(),
        joins: false,
        timing: file.timing,
        limits: file.limits,
        auth: Default::default(),
        followers: file.followers,
        keep_entries: file.keep_entries,
        rules: Default::default(),
    };
    let shown = Metrics::new(&config, Clock::start()).text();
    let samples = shown.lines().filter(|line| !line.starts_with('#'));
    samples.map(|line| line.split(['{', ' ']).next().expect("a line begins with a name").to_owned()).collect()
}

/// The words of a text that look like names of series.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let is_series = |word: &&str| word.starts_with("syncnet_") || word.starts_with("process_");
    words.filter(is_series).map(str::to_owned).collect()
}

fn promtool(words: &[&str], file: &str) {
    let ran = Command::new("promtool").args(words).arg(path(file)).output();
    match ran {
        Ok(output) => {
            let said = [output.stdout, output.stderr].concat();
            assert!(output.status.success(), "{words:?} {file}: {}", String::from_utf8_lossy(&said));
        }
        Err(_) if std::env::var("CI").as_deref() != Ok("true") => {
            eprintln!("!!! PASSED OVER: promtool is not installed: apt-get install prometheus");
        }
        Err(error) => panic!("promtool: {error}; install Debian's package prometheus"),
    }
}

#[test]
fn prometheus_takes_the_configuration_and_the_rules() {
    promtool(&["check", "config"], "deploy/prometheus/prometheus.yml");
    promtool(&["check", "rules"], "deploy/prometheus/alerts.yml");
    promtool(&["test", "rules"], "deploy/prometheus/alerts_test.yml");
}

#[test]
fn the_rules_and_the_dashboard_ask_for_series_that_there_are() {
    let known = series();
    for file in ["deploy/prometheus/alerts.yml", "deploy/prometheus/alerts_test.yml"] {
        let named = named(&text(file));
        assert!(named.len() > 10, "{file}");
        assert_eq!(named.difference(&known).collect::<Vec<_>>(), Vec::<&String>::new(), "{file}");
    }
    let dashboard: Value = serde_json::from_str(&text("deploy/grafana/syncnet.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let queries: Vec<&str> = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().into_iter().flatten())
        .map(|target| target["expr"].as_str().expect("a query is a text"))
        .collect();
    assert!(queries.len() > 20, "{queries:?}");
    let mut shown = BTreeSet::new();
    for query in queries {
        let named = named(query);
        assert!(!named.is_empty() || query.contains("up{"), "{query}");
        assert_eq!(named.difference(&known).collect::<Vec<_>>(), Vec::<&String>::new(), "{query}");
        shown.extend(named);
    }
    // No series is missing in the dashboards, except sums and counts of histograms and series that only help
    // others.
    let left: Vec<_> = known
        .difference(&shown)
        .filter(|name| !name.ends_with("_sum") && !name.ends_with("_count"))
        .filter(|name| !["syncnet_has_leader", "process_start_time_seconds"].contains(&name.as_str()))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn the_document_tells_of_each_series_and_each_alert() {
    let document = text("docs/MONITORING.md");
    let base = |name: &String| {
        let ends = ["_bucket", "_sum", "_count"];
        ends.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name).to_owned()
    };
    let known: BTreeSet<String> = series().iter().map(base).collect();
    assert_eq!(named(&document), known);
    let rules = text("deploy/prometheus/alerts.yml");
    let tests = text("deploy/prometheus/alerts_test.yml");
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() >= 10);
    for alert in alerts {
        assert!(document.contains(&format!("\n### {alert}\n")), "docs/MONITORING.md: {alert}");
        assert!(rules.contains(&format!("docs/MONITORING.md#{}", alert.to_lowercase())), "{alert}");
        assert!(tests.contains(&format!("alertname: {alert}\n")), "no test makes {alert} fire");
    }
}
