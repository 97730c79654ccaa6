//! Golden files: recordings of what clients see, so that a change of the code shows what it changes for them.
//!
//! ```text
//! cargo test --test golden                  # compares
//! GOLDEN=write cargo test --test golden     # records anew; the diff of the files is then the change
//! ```
//!
//! Nothing here says what is right: other tests do. A recording says what *is*, and a failure asks: was this
//! change wanted? Changes of what clients see (`scripts`, `forms`, `http`, `sockets`) need a reason that a
//! client's author would accept; changes of what servers store (`commands`) one that an operator would
//! accept.
//!
//! | module | recording | what it is |
//! |---|---|---|
//! | `script` | `files/scripts/*.txt` | conversations of clients with a cluster in memory, a topic each |
//! | `forms` | `files/forms.txt` | every request in every bad form, and the line that refuses it |
//! | `commands` | `files/commands.txt` | each command of the log, encoded; each kind of event as stored |
//! | `http` | `files/http.txt`, `files/sockets.txt` | a real server: HTTP, and what ends other dialects |
//! | `server` | | the cluster in memory: all that `script` and `forms` know of the program's inside |
//! | `recording` | | compares, and shows what differs |
//!
//! The traces of the simulation are recorded beside these: `scripts/simulate.sh --traces`.

mod commands;
mod forms;
mod http;
#[allow(dead_code, reason = "tests/server uses the rest of it")]
#[path = "../server/one_server.rs"]
mod one_server;
mod recording;
mod script;
mod server;

use std::fs;

#[test]
fn conversations_are_as_recorded() {
    let folder = recording::path("scripts");
    let mut names: Vec<String> = fs::read_dir(folder)
        .expect("the folder of the scripts")
        .map(|entry| entry.expect("a folder can be listed").file_name().into_string().expect("a plain name"))
        .collect();
    names.sort();
    assert!(names.len() >= 8, "scripts are missing: {names:?}");
    let mut failed = Vec::new();
    for name in names.iter().map(|name| format!("scripts/{name}")) {
        let played = script::play(&recording::read(&name));
        let compared = std::panic::catch_unwind(|| recording::compare(&name, &played));
        failed.extend(compared.is_err().then_some(name));
    }
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn bad_forms_are_refused_as_recorded() {
    recording::compare("forms.txt", &forms::record());
}

#[test]
fn commands_and_events_are_written_as_recorded() {
    recording::compare("commands.txt", &commands::record());
}

#[test]
fn http_is_answered_as_recorded() {
    recording::compare("http.txt", &http::record());
}

#[test]
fn other_dialects_end_as_recorded() {
    recording::compare("sockets.txt", &http::record_sockets());
}
