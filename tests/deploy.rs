//! The shipped configurations agree with the program.

use std::{fs, path::Path};

use clap::CommandFactory;
use syncnet::server::{
    program::{args::Args, environment::VARIABLES},
    run::STOP_TIMEOUT,
};

fn text(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The value behind `key` in a line of its own, up to a space.
fn setting<'a>(text: &'a str, key: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.trim().strip_prefix(key));
    line.and_then(|rest| rest.split_whitespace().next()).unwrap_or_else(|| panic!("there is no {key}"))
}

#[test]
fn whoever_stops_a_server_waits_for_longer_than_it_may_take() {
    let needed_s = STOP_TIMEOUT.as_secs() + 3;
    let seconds = |text: &str| text.trim_end_matches('s').parse::<u64>().expect("a number of seconds");
    for granted in [
        setting(&text("docker-compose.yml"), "stop_grace_period:"),
        setting(&text("deploy/systemd/syncnet.service"), "TimeoutStopSec="),
    ] {
        assert!(seconds(granted) >= needed_s, "{granted}");
    }
    let line = text("docs/DOCKER.md");
    let (_, behind) = line.split_once("--stop-timeout ").expect("the line that runs a container has it");
    assert!(seconds(behind.split_whitespace().next().unwrap()) >= needed_s);
}

#[test]
fn every_variable_that_is_set_or_told_of_is_one_of_the_program() {
    // Those that Compose reads, or that are set for programs before the server.
    let others = ["SYNCNET_PUBLISH", "SYNCNET_PORT1", "SYNCNET_PORT2", "SYNCNET_PORT3"];
    let known =
        |name: &str| VARIABLES.iter().any(|(variable, _)| *variable == name) || others.contains(&name);
    for file in [
        "Dockerfile",
        "docker-compose.yml",
        "docs/DOCKER.md",
        "deploy/systemd/syncnet.service",
        "deploy/systemd/syncnet.env",
    ] {
        let text = text(file);
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let named: Vec<_> = words.filter(|word| word.starts_with("SYNCNET_")).collect();
        assert!(!named.is_empty(), "{file}");
        for name in named {
            assert!(known(name), "{file}: {name}");
        }
    }
    let docs = text("docs/DOCKER.md");
    for (variable, _) in VARIABLES {
        assert!(docs.contains(&format!("`{variable}`")), "docs/DOCKER.md does not tell of {variable}");
    }
}

#[test]
fn the_options_that_are_used_are_there() {
    let command = Args::command();
    for question in ["health", "ready"] {
        assert!(command.get_arguments().any(|option| option.get_long() == Some(question)), "--{question}");
    }
    assert!(text("Dockerfile").contains(r#"CMD ["syncnet-server", "--health"]"#));
    assert!(text("Dockerfile").contains(r#"ENTRYPOINT ["syncnet-server"]"#));
}

#[test]
fn the_page_about_proxies_quotes_the_files_that_are_tested() {
    let page = text("docs/PROXIES.md");
    for (language, file) in [
        ("nginx", "nginx.conf"),
        ("nginx", "nginx-lines.conf"),
        ("haproxy", "haproxy.cfg"),
        ("caddy", "Caddyfile"),
    ] {
        let quote = format!("```{language}\n{}```\n", text(&format!("deploy/proxies/{file}")));
        assert!(page.contains(&quote), "docs/PROXIES.md does not quote deploy/proxies/{file} as it is");
    }
}
