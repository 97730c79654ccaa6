//! Rules about the source that the compiler does not check.
//!
//! The pure folders must not use clocks, sockets, files or random numbers: these would differ between the
//! threads of a server and the simulator, and a failing seed would no longer be a bug report.

mod circles;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The pure folders and files.
///
/// In the client library, the connection's state machine and the core of the screen are pure; the rest is
/// their shell.
const PURE: [&str; 31] = [
    "src/protocol",
    "src/json",
    "src/disk.rs",
    "src/config.rs",
    "src/chat",
    "src/consensus",
    "src/election",
    "src/fanout",
    "src/replica",
    "src/client/answers.rs",
    "src/client/asking.rs",
    "src/client/ask.rs",
    "src/client/directory.rs",
    "src/client/io.rs",
    "src/client/limits.rs",
    "src/client/link.rs",
    "src/client/login.rs",
    "src/client/outbox.rs",
    "src/client/own.rs",
    "src/client/rooms.rs",
    "src/client/screen/acts",
    "src/client/screen/keys.rs",
    "src/client/screen/layout",
    "src/client/screen/model",
    "src/client/screen/news.rs",
    "src/client/screen/view",
    "src/client/search.rs",
    "src/client/state.rs",
    "src/client/transfer.rs",
    "src/client/transfers.rs",
    "src/client/update.rs",
];

/// What pure code must not name, and what to do instead.
const FORBIDDEN_IN_PURE: [(&str, &str); 13] = [
    ("std::net", "sockets belong to the shells"),
    ("std::thread", "threads belong to the shells"),
    ("std::fs", "files belong to the shells"),
    ("std::process", "processes belong to the shells"),
    ("Instant", "time is a number handed in"),
    ("SystemTime", "time is a number handed in"),
    ("rand", "chance is settled by the proposer's shell and handed in"),
    ("getrandom", "chance is settled by the proposer's shell and handed in"),
    ("HashMap", "its order is a hidden random input; use BTreeMap"),
    ("HashSet", "its order is a hidden random input; use BTreeSet"),
    ("parking_lot", "pure code has one owner and needs no lock"),
    ("crossbeam_channel", "pure code returns its outputs"),
    ("rusqlite", "pure code speaks of storage by its trait"),
];

/// The types of secrets. They must not get into the log, which is on every server's disk for ever.
const SECRETS: [&str; 3] = ["Password", "ChosenPassword", "Token"];

/// Which of the folders and files the code of one of them may name, beside itself: the arrows of
/// docs/ARCHITECTURE.md. The administration shares the form of the configuration file with the
/// servers, and describes the command lines of all.
const ARROWS: [(&str, &[&str]); 15] = [
    ("protocol", &[]),
    ("json", &["protocol"]),
    ("disk", &["protocol"]),
    ("config", &["protocol"]),
    ("chat", &["protocol", "disk"]),
    ("consensus", &["protocol", "disk", "config"]),
    ("election", &["protocol", "config"]),
    ("fanout", &["protocol", "disk"]),
    ("replica", &["protocol", "disk", "config", "chat", "consensus", "election", "fanout"]),
    ("storage", &["protocol", "disk"]),
    ("backup", &["protocol", "disk", "chat", "replica", "storage"]),
    (
        "server",
        &["protocol", "json", "disk", "config", "election", "fanout", "replica", "storage", "backup", "tls"],
    ),
    ("tls", &[]),
    ("client", &["protocol", "json", "tls"]),
    ("admin", &["protocol", "json", "config", "server", "backup", "tls", "client::terminal"]),
];

/// The width that rustfmt gives to code. It leaves comments as they are.
const COLUMNS_MAX: usize = 110;

/// Longer files should be split. The tests at the end of a file do not count.
const LINES_MAX: usize = 700;

#[test]
fn pure_folders_do_not_touch_the_world() {
    let mut wrong = Vec::new();
    for place in PURE {
        assert!(!rust_files(place).is_empty(), "{place} is gone: name what took its place");
    }
    for file in PURE.iter().flat_map(|folder| rust_files(folder)) {
        for (number, line) in code_lines(&file) {
            for (word, instead) in FORBIDDEN_IN_PURE {
                if names(&line, word) {
                    wrong.push(format!("{}:{number}: {word}: {instead}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn folders_know_those_below_them_only() {
    let mut wrong = Vec::new();
    for (folder, known) in ARROWS {
        let files =
            [format!("src/{folder}"), format!("src/{folder}.rs")].map(|place| rust_files(&place)).concat();
        assert!(!files.is_empty(), "src/{folder} is gone: name what took its place");
        for file in files {
            let code: Vec<String> = code_lines(&file).into_iter().map(|(_, line)| line).collect();
            for path in paths_in_crate(&code.join("\n")) {
                let is_of = |place: &str| path == place || path.starts_with(&format!("{place}::"));
                let is_layer = ARROWS.iter().any(|(layer, _)| is_of(layer));
                if is_layer && !is_of(folder) && !known.iter().any(|known| is_of(known)) {
                    wrong.push(format!("{}: {path}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "docs/ARCHITECTURE.md has no such arrows:\n{}", wrong.join("\n"));
}

#[test]
fn no_circle_of_files() {
    let library = circles::Crate::read(&|file| fs::read_to_string(root().join("src").join(file)).ok());
    let arrows = library.arrows();
    let layers = ARROWS.iter().filter(|(layer, _)| !arrows.keys().any(|file| file.starts_with(layer)));
    assert_eq!(layers.count(), 0, "the files of the layers are not read");
    let known = arrows.values().map(BTreeSet::len).sum::<usize>();
    assert!(known > arrows.len(), "the files know fewer others than there are: these are not read");
    let circles = circles::circles(&arrows);
    let told: Vec<String> = circles.iter().map(|circle| circle.join(" > ")).collect();
    assert!(told.is_empty(), "put what these share into a file below them:\n{}", told.join("\n"));
}

#[test]
fn only_one_folder_names_the_consensus_library() {
    let mut naming = Vec::new();
    let home = rust_files("src/consensus");
    for file in rust_files("src").into_iter().filter(|file| !home.contains(file)) {
        let says = |line: &str| names_crate(line, "raft") || names_crate(line, "raft_proto");
        if code_lines(&file).iter().any(|(_, line)| says(line)) {
            naming.push(file);
        }
    }
    assert!(!home.is_empty(), "src/consensus is gone: name what took its place");
    assert!(naming.is_empty(), "the library must stay replaceable, and {naming:?} name it");
}

#[test]
fn the_log_carries_no_secret() {
    let mut wrong = Vec::new();
    let files = [rust_files("src/chat/command"), rust_files("src/chat/entry.rs")].concat();
    assert!(files.len() > 20, "the commands are somewhere else: name their place here");
    for file in files {
        for (number, line) in code_lines(&file) {
            if let Some(secret) = SECRETS.iter().find(|secret| names(&line, secret)) {
                wrong.push(format!("{}:{number}: {secret}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "a command holds verifiers and hashes only:\n{}", wrong.join("\n"));
}

#[test]
fn files_are_about_one_thing() {
    let mut wrong = Vec::new();
    for file in ["src", "tests", "benches", "examples"].iter().flat_map(|folder| rust_files(folder)) {
        let lines = code_lines(&file).len();
        if lines > LINES_MAX {
            wrong.push(format!("{} has {lines} lines; split it at its concepts", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn comments_are_no_wider_than_code() {
    let mut wrong = Vec::new();
    for file in ["src", "tests", "benches", "examples", "build.rs"].iter().flat_map(|place| rust_files(place))
    {
        for (number, line) in read(&file).lines().enumerate().filter(|(_, line)| is_wide_comment(line)) {
            let columns = line.chars().count();
            wrong.push(format!("{}:{}: {columns} columns", file.display(), number + 1));
        }
    }
    assert!(wrong.is_empty(), "at most {COLUMNS_MAX} columns:\n{}", wrong.join("\n"));
}

#[test]
fn errors_have_types() {
    let mut wrong = Vec::new();
    for file in rust_files("src") {
        for (number, line) in code_lines(&file) {
            if fails_with_text(&line) {
                wrong.push(format!("{}:{number}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "give these a type of error with its source:\n{}", wrong.join("\n"));
}

#[test]
fn nothing_is_left_for_later() {
    let mut wrong = Vec::new();
    // Concatenated, so that this file does not find itself.
    let markers =
        [concat!("to", "do!("), concat!("unimple", "mented!("), concat!("FIX", "ME"), concat!("TO", "DO")];
    for file in ["src", "tests", "benches"].iter().flat_map(|folder| rust_files(folder)) {
        for (number, line) in read(&file).lines().enumerate() {
            if let Some(marker) = markers.iter().find(|marker| line.contains(**marker)) {
                wrong.push(format!("{}:{}: {marker}", file.display(), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The documents name only files that exist.
#[test]
fn the_documents_name_places_that_exist() {
    let mut wrong = Vec::new();
    for document in documents() {
        let text = read(&document);
        let folder = document.parent().expect("a document is in a folder");
        for place in places_quoted(&text) {
            if !root().join(place).exists() && !root().join("src").join(place).exists() {
                wrong.push(format!("{}: {place}", document.display()));
            }
        }
        for file in files_linked(&text) {
            if !folder.join(file).exists() {
                wrong.push(format!("{}: a link to {file}", document.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "these are gone:\n{}", wrong.join("\n"));
}

/// A change to code that a mutant patches must adapt the mutant, too (`scripts/mutants.sh`).
#[test]
fn every_mutant_applies_and_says_what_catches_it() {
    let mut wrong = Vec::new();
    let patches = files("tests/mutants", "patch");
    assert!(patches.len() > 20, "the mutants are somewhere else: name their place here");
    let tests: BTreeSet<String> = ["src", "tests"]
        .iter()
        .flat_map(|folder| rust_files(folder))
        .flat_map(|file| tests_in(&read(&file)))
        .collect();
    for patch in patches {
        let name = patch.file_stem().expect("a patch has a name").to_string_lossy().into_owned();
        let text = read(&patch);
        let ways: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("Caught-by: ")).collect();
        if ways.is_empty() {
            wrong.push(format!("{name} does not say what catches it"));
        }
        for way in ways.iter().filter(|way| !is_way_to_catch(way, &tests)) {
            wrong.push(format!("{name}: there is no such test: {way}"));
        }
        let git =
            Command::new("git").args(["apply", "--check", "-C1"]).arg(&patch).current_dir(root()).output();
        let git = git.expect("git is installed");
        if !git.status.success() {
            wrong.push(format!("{name} does not apply: {}", String::from_utf8_lossy(&git.stderr).trim()));
        }
    }
    assert!(wrong.is_empty(), "make these anew in tests/mutants:\n{}", wrong.join("\n"));
}

#[test]
fn the_rules_find_what_they_forbid() {
    assert!(names("use std::collections::HashMap;", "HashMap"));
    assert!(names("let at = std::time::Instant::now();", "Instant"));
    assert!(!names("let operand = strand;", "rand"));
    assert!(names_crate("use raft::RawNode;", "raft"));
    assert!(names_crate("let node: raft::Config = x;", "raft"));
    assert!(names_crate("use {raft as r};", "raft"));
    assert!(!names_crate("use crate::raft::X;", "raft"));
    assert!(!names_crate("let raft = 1;", "raft"));
    assert_eq!(
        paths_in_crate("use crate::{a::{self, b::C}, d}; fn f(x: crate::e::F) { crate::g::<u8>(x) }"),
        ["a::self", "a::b::C", "d", "e::F", "g"]
    );
    assert_eq!(
        places_quoted("`a/b.rs` and `c/` but `/api/`, `x: y.rs`\n```\nd.rs\n```\n`e.json`, `f/g.json`"),
        ["a/b.rs", "c/", "f/g.json"]
    );
    assert_eq!(files_linked("[a](b.md) [c](#d) [e](f/g.md#h) [i](https://j.org)"), ["b.md", "f/g.md"]);
    let tests =
        tests_in("#[test]\nfn a() {\n#[test]\n#[ignore]\n    fn b() {\nfn c() {").into_iter().collect();
    assert!(
        is_way_to_catch("cargo test --lib x::a", &tests) && is_way_to_catch("cargo test --test x b", &tests)
    );
    assert!(!is_way_to_catch("cargo test --lib x::c", &tests) && !is_way_to_catch("cargo test a", &tests));
    assert!(is_way_to_catch("simulation seed 7 breaks NoGap", &tests));
    assert!(is_way_to_catch("simulation seed sqlite:7 breaks NoGap", &tests));
    assert!(!is_way_to_catch("simulation seed x breaks NoGap", &tests));
    let wide = "é".repeat(COLUMNS_MAX - 3);
    assert!(is_wide_comment(&format!("/// {wide}")) && is_wide_comment(&format!("    // {wide}")));
    assert!(!is_wide_comment(&format!("// {wide}")) && !is_wide_comment(&format!("    {wide}")));
    assert!(fails_with_text("fn f() -> Result<Vec<(u8, String)>, String> {"));
    assert!(fails_with_text("let f: Box<dyn Fn() -> Result<(), String>> = x;"));
    assert!(!fails_with_text("fn f() -> Result<Map<String, String>, Refusal> {"));
    assert!(!fails_with_text("fn f() -> io::Result<String> {"));
    assert_eq!(strip("let a = 1; // HashMap"), "let a = 1; ");
    assert_eq!(strip("let a = \"http://HashMap\"; // b"), "let a = \"\"; ");
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn is_wide_comment(line: &str) -> bool {
    line.trim_start().starts_with("//") && line.chars().count() > COLUMNS_MAX
}

/// Whether a line of code has a `Result` with a text as its error.
fn fails_with_text(line: &str) -> bool {
    line.match_indices("Result<").any(|(at, head)| {
        let mut depth = 1;
        let mut argument = String::new();
        for letter in line[at + head.len()..].chars() {
            match letter {
                '<' | '(' => depth += 1,
                '>' | ')' => depth -= 1,
                ',' if depth == 1 => {
                    argument.clear();
                    argument.push(letter);
                    continue;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
            argument.push(letter);
        }
        argument.trim() == ", String"
    })
}

/// The documents that people read: those of the root, and all in `docs`.
fn documents() -> Vec<PathBuf> {
    let folders = [root(), root().join("docs"), root().join("docs/design")];
    let mut found = Vec::new();
    for folder in folders {
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let paths = entries.map(|entry| entry.expect("a folder can be listed").path());
        found.extend(paths.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    }
    found.sort();
    found
}

/// The files and folders of this project that `text` quotes: Rust, JSON, scripts, recordings, and folders,
/// which end in a slash. A path that begins with a slash is one of HTTP.
fn places_quoted(text: &str) -> Vec<&str> {
    let is_place = |name: &str| {
        let is_file = name.ends_with(".rs")
            || name.contains('/') && [".json", ".sh", ".txt", ".toml"].iter().any(|end| name.ends_with(end));
        let is_folder = name.ends_with('/') && !name.starts_with('/');
        (is_file || is_folder) && !name.contains([' ', ':', '*'])
    };
    let prose = text.split("```").step_by(2);
    prose.flat_map(|part| part.split('`').skip(1).step_by(2)).filter(|name| is_place(name)).collect()
}

/// The files that `text` links to.
fn files_linked(text: &str) -> Vec<&str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let files = targets.filter_map(|target| target.split('#').next());
    files.filter(|file| !file.is_empty() && !file.contains("://")).collect()
}

/// Whether `way` names a seed of the simulation and a promise, or one of `tests`; `scripts/mutants.sh` runs
/// it.
fn is_way_to_catch(way: &str, tests: &BTreeSet<String>) -> bool {
    match way.split(' ').collect::<Vec<_>>()[..] {
        ["simulation", "seed", seed, "breaks", _] => {
            seed.strip_prefix("sqlite:").unwrap_or(seed).parse::<u64>().is_ok()
        }
        ["cargo", "test", "--lib", path] | ["cargo", "test", "--test", _, path] => {
            path.rsplit("::").next().is_some_and(|test| tests.contains(test))
        }
        _ => false,
    }
}

/// The names of the tests in `text`.
fn tests_in(text: &str) -> Vec<String> {
    let behind = text.split("#[test]\n").skip(1).filter_map(|part| part.split_once("fn "));
    behind.filter_map(|(_, part)| Some(part.split_once('(')?.0.to_owned())).collect()
}

/// Every Rust file under `path`, which may be a file itself; none if it does not exist.
fn rust_files(path: &str) -> Vec<PathBuf> {
    files(path, "rs")
}

/// Every file with this extension under `path`, which may be a file itself; none if it does not exist.
fn files(path: &str, wanted: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![root().join(path)];
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            waiting.extend(entries.map(|entry| entry.expect("a folder can be listed").path()));
        } else if path.is_file() && path.extension().is_some_and(|extension| extension == wanted) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The numbered lines of a file that are code of the product: without comments, strings, and all that follows
/// `#[cfg(test)]` at the start of a line, where the tests of a file begin; none of a file in a folder `tests`
/// or that is called `tests.rs` or `..._tests.rs`. Tests may touch the world.
fn code_lines(file: &Path) -> Vec<(usize, String)> {
    let in_src = file.strip_prefix(root()).unwrap_or(file);
    let is_of_tests = in_src.components().any(|part| part.as_os_str() == "tests")
        || in_src
            .file_stem()
            .is_some_and(|name| name == "tests" || name.to_string_lossy().ends_with("_tests"));
    let is_test = in_src.starts_with("src") && is_of_tests;
    let text = if is_test { String::new() } else { read(file) };
    let code = text.lines().enumerate().take_while(|(_, line)| !line.starts_with("#[cfg(test)]"));
    code.map(|(number, line)| (number + 1, strip(line))).collect()
}

/// A line without the content of its strings and without its comment.
fn strip(line: &str) -> String {
    let mut code = String::new();
    let mut letters = line.chars().peekable();
    let mut in_string = false;
    while let Some(letter) = letters.next() {
        match letter {
            '\\' if in_string => drop(letters.next()),
            '"' => {
                in_string = !in_string;
                code.push('"');
            }
            _ if in_string => {}
            '/' if letters.peek() == Some(&'/') => break,
            _ => code.push(letter),
        }
    }
    code
}

/// The paths within this crate in `code`, those of a `use` one by one.
fn paths_in_crate(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for (at, head) in code.match_indices("crate::") {
        if !code[..at].ends_with(is_identifier) {
            take_paths("", &code[at + head.len()..], &mut paths);
        }
    }
    paths
}

/// Adds the paths that `code` begins with, behind `before`; returns what follows them.
fn take_paths<'a>(before: &str, code: &'a str, paths: &mut Vec<String>) -> &'a str {
    if let Some(mut rest) = code.strip_prefix('{') {
        loop {
            rest = rest.trim_start().trim_start_matches(',').trim_start();
            match rest.strip_prefix('}') {
                Some(behind) => return behind,
                None if rest.is_empty() => return rest,
                None => rest = take_paths(before, rest, paths),
            }
        }
    }
    let length = code.find(|letter| !is_identifier(letter)).unwrap_or(code.len());
    let (name, rest) = code.split_at(length);
    let path = format!("{before}{name}");
    match rest.strip_prefix("::") {
        Some(inner) if inner.starts_with(|letter| letter == '{' || is_identifier(letter)) => {
            take_paths(&format!("{path}::"), inner, paths)
        }
        _ => {
            paths.push(path);
            // An alias, or something that is no name, does not matter here.
            let end = rest.find([',', '}']).unwrap_or(rest.len());
            &rest[end..]
        }
    }
}

/// Whether `word` is in `code` as a whole path or identifier and not as a part of another.
fn names(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !before.is_some_and(is_identifier) && !after.is_some_and(is_identifier)
    })
}

/// Whether `code` uses the crate `name`: as the head of a path or in a `use`.
fn names_crate(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let (before, after) = (&code[..at], &code[at + name.len()..]);
        let is_word = !before.chars().next_back().is_some_and(is_identifier)
            && !after.chars().next().is_some_and(is_identifier);
        let is_head = !before.ends_with("::") || before.ends_with(" ::");
        let is_used = code.trim_start().starts_with("use ") || code.trim_start().starts_with("extern crate ");
        is_word && is_head && (after.starts_with("::") || is_used)
    })
}

fn is_identifier(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}
