//! `syncnet-admin status`: what is shown of a cluster, once or every second.

use std::{
    collections::VecDeque,
    io::{self, IsTerminal},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{
    output::{clean, grouped, print, table, time},
    probe::{self, Observation},
    target::Target,
    verdict::{self, Committed, Diagnosis, Verdict},
};
use crate::protocol::{Status, status::WantedLeader};

/// Pause between two pictures of `--watch`.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// A server that lacks what was committed so long ago does not keep up.
const LATE_AFTER: Duration = Duration::from_secs(2);
/// Pause before a cluster in which a server is behind is asked again.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// In which form the cluster is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A table, a summary and a verdict.
    Table,
    Simple,
    Json,
}

/// Asks once, shows it, and says what to exit with.
pub fn once(targets: &[Target], timeout: Duration, form: Form) -> io::Result<Verdict> {
    let mut observations = probe::ask_cluster(targets, timeout);
    // At any moment a server may be a little behind. Only one that stays so does not keep up.
    let (begin, index) = (Instant::now(), verdict::committed(&observations));
    while verdict::lacks(&observations, index) && begin.elapsed() < LATE_AFTER {
        thread::sleep(LOOK_AGAIN);
        observations = probe::ask_cluster(targets, timeout);
    }
    let ago = begin.elapsed();
    let before = (ago >= LATE_AFTER).then_some(Committed { index, ago });
    let diagnosis = verdict::diagnose(&observations, before);
    print(&show(&observations, &diagnosis, form))?;
    Ok(diagnosis.verdict)
}

/// Asks and shows for ever, until a signal comes or the terminal is gone.
pub fn watch(targets: &[Target], timeout: Duration, form: Form) -> io::Result<()> {
    let redraw = form == Form::Table && io::stdout().is_terminal();
    let mut earlier = VecDeque::new();
    loop {
        let asked_at = Instant::now();
        let observations = probe::ask_cluster(targets, timeout);
        earlier.push_back((asked_at, verdict::committed(&observations)));
        while earlier.get(1).is_some_and(|(at, _)| at.elapsed() >= LATE_AFTER) {
            earlier.pop_front();
        }
        let (at, index) = earlier[0];
        let ago = at.elapsed();
        let before = (ago >= LATE_AFTER).then_some(Committed { index, ago });
        let mut text = show(&observations, &verdict::diagnose(&observations, before), form);
        if redraw {
            // Home, each line cleared to its end, then the rest of the screen: redrawing without flicker.
            text = format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n"));
        }
        print(&text)?;
        thread::sleep(WATCH_EVERY);
    }
}

/// The text that is shown, with its line end.
fn show(observations: &[Observation], diagnosis: &Diagnosis, form: Form) -> String {
    match form {
        Form::Table => show_table(observations, diagnosis),
        Form::Simple => format!("{} {}\n", diagnosis.verdict, clean(&summary(observations, diagnosis))),
        Form::Json => show_json(observations, diagnosis),
    }
}

fn show_table(observations: &[Observation], diagnosis: &Diagnosis) -> String {
    const HEADER: [&str; 9] =
        ["SERVER", "STATUS", "LEADER", "TERM", "UPTIME", "CLIENTS", "MESSAGES", "APPLIED", "PORTS"];
    let rows: Vec<Vec<String>> = observations.iter().map(row).collect();
    let mut text = table(&HEADER, &rows, 3);
    text.push('\n');
    for note in &diagnosis.notes {
        text.push_str(&format!("  ! {}\n", clean(note)));
    }
    let wanted = |seen: &Observation| seen.outcome.as_ref().ok()?.wanted_leader.clone();
    if let Some(WantedLeader { server_id, until }) = observations.iter().find_map(wanted) {
        let until = time((until * 1_000.0) as u64);
        text.push_str(&format!("{server_id} is to lead until {until}, whatever its place in the ring\n"));
    }
    let made = observations.iter().filter_map(|seen| seen.outcome.as_ref().ok()?.last_backup);
    if let Some(newest) = made.max_by(f64::total_cmp) {
        text.push_str(&format!("last backup {}\n", time((newest * 1_000.0) as u64)));
    }
    text.push_str(&format!("{}\n", clean(&summary(observations, diagnosis))));
    text.push_str(&format!("Verdict: {}\n", diagnosis.verdict));
    text
}

fn row(seen: &Observation) -> Vec<String> {
    let name = clean(&seen.name());
    let Ok(status) = &seen.outcome else {
        let none = || "-".to_owned();
        let port = format!("tcp {}", seen.target.port);
        return vec![name, "DOWN".into(), none(), none(), none(), none(), none(), none(), port];
    };
    vec![
        name,
        status.role.word().into(),
        status.leader_id.as_ref().map_or_else(|| "-".into(), ToString::to_string),
        status.term.to_string(),
        uptime(status.uptime),
        grouped(status.clients),
        grouped(status.messages),
        grouped(status.applied_index),
        format!("tcp {} udp {}", status.tcp_port, status.udp_port),
    ]
}

/// One line: who answers, who leads, and the sums.
fn summary(observations: &[Observation], diagnosis: &Diagnosis) -> String {
    let answers: Vec<&Status> = observations.iter().filter_map(|seen| seen.outcome.as_ref().ok()).collect();
    let leader = match &diagnosis.leader {
        Some((leader_id, term)) => format!("leader={leader_id} term={term}"),
        None => "leader=none".into(),
    };
    format!(
        "servers={}/{} {leader} clients={} messages={}",
        answers.len(),
        observations.len(),
        answers.iter().map(|status| status.clients).sum::<u64>(),
        // Every server counts the same replicated messages; the furthest one is the truest.
        answers.iter().map(|status| status.messages).max().unwrap_or(0),
    )
}

fn show_json(observations: &[Observation], diagnosis: &Diagnosis) -> String {
    let servers: Vec<_> = observations
        .iter()
        .map(|seen| match &seen.outcome {
            Ok(status) => {
                json!({ "server_id": seen.name(), "address": seen.target.to_string(), "status": status })
            }
            Err(reason) => {
                json!({ "server_id": seen.name(), "address": seen.target.to_string(), "error": reason.to_string() })
            }
        })
        .collect();
    let line = json!({
        "verdict": diagnosis.verdict.to_string(),
        "exit_status": diagnosis.verdict.exit_status(),
        "leader_id": diagnosis.leader.as_ref().map(|(leader_id, _)| leader_id),
        "term": diagnosis.leader.as_ref().map(|(_, term)| term),
        "notes": diagnosis.notes,
        "servers": servers,
    });
    format!("{line}\n")
}

/// Seconds as an operator reads them: `41s`, `3m12s`, `5h02m`, `9d04h`.
fn uptime(seconds: f64) -> String {
    // A float that does not fit saturates, and what is not a number becomes 0.
    let seconds = seconds as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{:02}s", seconds % 60),
        (0, _, _) => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        admin::verdict::tests::{observed, silent},
        protocol::status::Role,
    };

    fn shown(form: Form) -> String {
        let mut seen =
            [observed(1, Role::Follower, 4, Some(3)), silent(2), observed(3, Role::Leader, 4, Some(3))];
        seen[0].outcome.as_mut().unwrap().note = "disk is \u{1b}[31mslow".into();
        show(&seen, &verdict::diagnose(&seen, None), form)
    }

    #[test]
    fn the_table_says_it_all() {
        assert_eq!(
            shown(Form::Table),
            "\
SERVER   STATUS    LEADER   TERM  UPTIME  CLIENTS  MESSAGES  APPLIED              PORTS
server1  FOLLOWER  server3     4     41s        2     1,503       12  tcp 8000 udp 8020
server2  DOWN      -           -       -        -         -        -           tcp 8001
server3  LEADER    server3     4     41s        2     1,503       12  tcp 8002 udp 8022

  ! server1: disk is ?[31mslow
  ! server2 (localhost:8001): nothing listens there
servers=2/3 leader=server3 term=4 clients=4 messages=1503
Verdict: DEGRADED
"
        );
    }

    #[test]
    fn one_line_and_json_say_the_same() {
        assert_eq!(
            shown(Form::Simple),
            "DEGRADED servers=2/3 leader=server3 term=4 clients=4 messages=1503\n"
        );
        let json: serde_json::Value = serde_json::from_str(&shown(Form::Json)).unwrap();
        assert_eq!(json["verdict"], "DEGRADED");
        assert_eq!(json["exit_status"], 1);
        assert_eq!(json["leader_id"], "server3");
        assert_eq!(json["servers"][1]["error"], "nothing listens there");
        assert_eq!(json["servers"][2]["status"]["role"], "leader");
    }

    #[test]
    fn uptimes_read_well() {
        for (seconds, text) in [
            (0.4, "0s"),
            (59.9, "59s"),
            (192.0, "3m12s"),
            (18_120.0, "5h02m"),
            (792_000.0, "9d04h"),
            (f64::NAN, "0s"),
        ] {
            assert_eq!(uptime(seconds), text);
        }
    }
}
