//! How the terminal client ends in a script if something goes wrong: a full disk, a signal, an output without
//! a reader. Nothing is lost silently: each line of the input is kept on the disk, or reported as lost.
#![cfg(unix)]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

/// A client without a server: nothing listens on its port. `shell` is run before it in the same process.
fn client(folder: &Path, shell: &str, more: &[&str]) -> Child {
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    Command::new("sh")
        .args(["-c", &format!("{shell}\nexec \"$@\""), "sh", env!("CARGO_BIN_EXE_syncnet-client")])
        .args(["--server-host", "127.0.0.1", "--server-port", &unused, "--user", "alice", "--outbox-dir"])
        .arg(folder)
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The messages in the outbox.
fn kept(folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join("alice.outbox")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|line| line["added"]["body"].as_str().unwrap().to_owned()).collect()
}

/// The number before `words` in the output.
fn number(said: &str, words: &str) -> usize {
    let Some(at) = said.find(words) else { return 0 };
    said[..at].rsplit([' ', ';']).find_map(|word| word.parse().ok()).unwrap()
}

fn said(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[test]
fn on_a_full_disk_each_message_is_kept_or_said_not_to_be() {
    let folder = tempfile::tempdir().unwrap();
    // A file may not grow beyond this many blocks; without the trap a signal would end the program there.
    let mut child = client(folder.path(), "trap '' XFSZ\nulimit -f 60", &["--wait-s", "0"]);
    let lines: Vec<String> = (1..=300).map(|number| format!("{number} {}", "x".repeat(80))).collect();
    let mut input = child.stdin.take().unwrap();
    let text = lines.join("\n") + "\n";
    // It stops reading, so the rest may find no reader.
    let writing = std::thread::spawn(move || drop(input.write_all(text.as_bytes())));
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = said(&output);
    assert!(said.contains("cannot write the outbox"), "{said}");
    let kept = kept(folder.path());
    assert!(!kept.is_empty() && kept.len() < 300);
    assert_eq!(kept, lines[..kept.len()], "in order, and without a hole");
    let last = said.lines().last().unwrap();
    assert_eq!(number(last, " messages not acknowledged yet, kept in"), kept.len(), "{last}");
    let refused = number(last, " requests refused") + number(last, " request refused");
    let lost =
        number(last, " messages neither sent nor kept") + number(last, " message neither sent nor kept");
    let taken = last.rsplit_once("only up to its line ").map(|(_, line)| line.parse::<usize>().unwrap());
    let taken = taken.unwrap_or(lines.len());
    assert_eq!(kept.len() + refused + lost, taken, "{last}");
    assert_eq!(said.matches("! not sent to lobby").count(), refused, "each is named");
}

#[test]
fn a_signal_ends_it_in_order() {
    for signal in ["TERM", "INT", "HUP"] {
        let folder = tempfile::tempdir().unwrap();
        let mut child = client(folder.path(), "", &["--json"]);
        let mut input = child.stdin.take().unwrap();
        input.write_all(b"one\ntwo\nhalf a li").unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        lines.find(|line| line.as_ref().unwrap().contains("two"));
        let killed = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status();
        assert!(killed.unwrap().success());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{signal}");
        let said = said(&output);
        for part in ["ended by a signal", "2 messages not acknowledged yet, kept in", "only up to its line 2"]
        {
            assert!(said.contains(part), "{signal}: {said}");
        }
        assert_eq!(kept(folder.path()), ["one", "two"]);
    }
}

#[test]
fn an_output_that_nobody_reads_is_said_and_what_was_taken_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = client(folder.path(), "", &["--json", "--wait-s", "0"]);
    drop(child.stdout.take());
    let mut input = child.stdin.take().unwrap();
    let _ = input.write_all(b"one\ntwo\n");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = said(&output);
    assert!(said.contains("Broken pipe") && said.contains("not acknowledged yet, kept in"), "{said}");
    let kept = kept(folder.path());
    assert_eq!(kept, ["one", "two"][..kept.len()]);
    assert_eq!(number(said, " message"), kept.len());
}

#[test]
fn a_signal_at_the_start_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = folder.path().join("alice.outbox");
    assert!(Command::new("mkfifo").arg(&outbox).status().unwrap().success());
    let mut child = client(folder.path(), "", &[]);
    child.stdin.take().unwrap().write_all(b"one\n").unwrap();
    // Once there is a reader, the client waits in the middle of its start for what was kept.
    let held = fs::File::options().write(true).open(&outbox).unwrap();
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(killed.unwrap().success());
    let output = child.wait_with_output().unwrap();
    drop(held);
    assert_eq!(output.status.code(), Some(1));
    let said = said(&output);
    assert!(said.contains("ended by a signal; nothing of the input was carried out"), "{said}");
}
