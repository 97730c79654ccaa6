//! The load of `benches/load/`, a moment of each kind on a cluster of real servers.
#![cfg(unix)]

use std::{num::NonZeroUsize, path::Path, process, time::Duration};

use serde_json::Value;

#[path = "../benches/load/measure/mod.rs"]
mod measure;

use measure::{
    Run,
    body::Bodies,
    compare,
    failover::{self, Harm, Plan},
    fanout, growth, idle,
    latency::Latencies,
    local_cluster::LocalCluster,
    poller::LineCounter,
    report::{Cell, Report},
    writers,
};

const SERVER: &str = env!("CARGO_BIN_EXE_syncnet-server");

fn level(number: usize) -> [NonZeroUsize; 1] {
    [NonZeroUsize::new(number).unwrap()]
}

/// The figures of a report's only row, by column.
fn figures(report: &Report) -> Value {
    let json: Value = serde_json::from_str(&report.json()).unwrap();
    json["rows"][0].clone()
}

#[test]
fn a_running_cluster_is_measured() {
    let cluster = LocalCluster::start(Path::new(SERVER)).unwrap();
    let moment = Duration::from_millis(300);
    let run = Run::new(cluster.targets.clone(), Duration::ZERO, moment, Bodies { size: 100, words: false });

    let report = writers::measure(&run, &level(2)).unwrap();
    let written = figures(&report);
    assert!(written["acked_per_s"].as_u64() > Some(0), "{}", report.text());
    assert!(written["p50_ms"].as_f64() <= written["p99_ms"].as_f64(), "{}", report.text());
    assert_eq!((&written["refused"], &written["lost"]), (&0.into(), &0.into()), "{}", report.text());

    let report = fanout::measure(&run, &level(5)).unwrap();
    assert!(figures(&report)["deliveries_per_s"].as_u64() > Some(0), "{}", report.text());

    // Any process will do: what is read is its memory.
    let report = idle::measure(&run, &level(10), process::id()).unwrap();
    assert_eq!(report.rows.len(), 2, "before, and with ten connections");
}

#[test]
fn systems_are_compared() {
    let moment = Duration::from_millis(300);
    let plan = compare::Plan {
        binary: SERVER.into(),
        nats_binary: None,
        rounds: NonZeroUsize::MIN,
        levels: level(2).into(),
        warm_up: Duration::ZERO,
        duration: moment,
        bodies: Bodies { size: 100, words: true },
    };
    let report = compare::measure(&plan).unwrap();
    let row = figures(&report);
    assert_eq!(
        (&row["system"], &row["syncnet_ratio"]),
        (&"SyncNet".into(), &1.0.into()),
        "{}",
        report.text()
    );
}

#[test]
fn growth_is_measured() {
    let bodies = Bodies { size: 100, words: true };
    let plan = growth::Plan { binary: SERVER.into(), writers: NonZeroUsize::MIN, steps: vec![1], bodies };
    let report = growth::measure(&plan).unwrap();
    let row = figures(&report);
    assert!(row["stored"].as_u64() >= Some(1), "{}", report.text());
    assert!(row["page_p99_ms"].is_number() && row["search_p99_ms"].is_number(), "{}", report.text());
}

#[test]
fn a_failover_is_measured() {
    for harm in [Harm::Kill, Harm::Freeze] {
        let plan = Plan { binary: SERVER.into(), rounds: 1, writers: 2, harm };
        let report = failover::measure(&plan).unwrap();
        let row = figures(&report);
        assert_eq!(row["rounds"], 1, "{}", report.text());
        assert!(row["p50_ms"].as_f64() > Some(0.0), "{}", report.text());
    }
}

#[test]
fn messages_are_counted_however_the_bytes_are_cut() {
    let text = b"{\"msg_type\":\"chat\",\"data\":{}}\n{\"msg_type\":\"room_event\"}\n\n{}\n\
                 {\"msg_type\":\"ack\"}\n{\"msg_type\":\"chat\"}\n{\"msg_type\":\"chat\"";
    for piece in 1..text.len() {
        let mut counter = LineCounter::default();
        let counted: u64 = text.chunks(piece).map(|bytes| counter.count(bytes).unwrap()).sum();
        assert_eq!(counted, 2, "in pieces of {piece}");
    }
    LineCounter::default().count(b"{}\n{\"msg_type\":\"nack\",\"data\":{}}\n").unwrap_err();
}

#[test]
fn waiting_times_are_told_apart_from_a_microsecond_to_an_hour() {
    for waited_us in [1, 2_500, 55_000, 10_000_000, 3_000_000_000] {
        let (mut latencies, mut other) = (Latencies::default(), Latencies::default());
        other.add(Duration::from_micros(waited_us));
        latencies.merge(&other);
        for cell in latencies.cells() {
            let Cell::Number(ms) = cell else { panic!("there is one") };
            let is_near = (ms * 1_000.0 / waited_us as f64 - 1.0).abs() < 0.01;
            assert!(is_near, "{ms} ms for {waited_us} us");
        }
    }
}

#[test]
fn what_cannot_be_measured_is_said() {
    let sentence = idle::raise_descriptor_limit(usize::MAX / 2).unwrap_err().to_string();
    assert!(sentence.contains("hard limit"), "{sentence}");
    let sentence = idle::resident_bytes(u32::MAX).unwrap_err().to_string();
    assert!(sentence.contains("--server-pid"), "{sentence}");
}

#[test]
fn both_forms_of_a_report_carry_the_same_figures() {
    let report = Report {
        title: "writers".into(),
        columns: vec!["writers", "acked_per_s", "p50_ms"],
        rows: vec![vec![Cell::Count(16), Cell::Count(12_000), Cell::Number(1.25)]],
        notes: vec!["no election".into()],
    };
    let text = "writers\nwriters  acked_per_s  p50_ms\n16            12,000   1.250\n  no election\n";
    assert_eq!(report.text(), text);
    let row = figures(&report);
    assert_eq!((&row["acked_per_s"], &row["p50_ms"]), (&12_000.into(), &1.25.into()));
}
