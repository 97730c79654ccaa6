//! People at real terminals: `tmux` plays them, and the test reads what they see.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use crate::harness::{Cluster, PATIENCE};

/// Pause between two looks at a screen.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A tmux for this story alone, which ends with it.
struct Tmux {
    socket: PathBuf,
    folder: PathBuf,
}

impl Tmux {
    fn start(cluster: &Cluster) -> Tmux {
        let folder = cluster.folder().join("people");
        fs::create_dir(&folder).expect("the cluster's folder is ours");
        Tmux { socket: folder.join("tmux"), folder }
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(&self.socket).args(["-f", "/dev/null", "-u"]).args(words);
        command.env_remove("TMUX").env("LC_ALL", "C.UTF-8");
        command.output().expect("tmux is installed (Debian: apt install tmux)")
    }

    /// A shell on a terminal of this size, for a user of this name.
    fn person<'a>(&'a self, name: &'a str, columns: u16, rows: u16) -> Person<'a> {
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let shell = "env PS1='$ ' HISTFILE= EDITOR=./editor bash --norc --noprofile -i";
        let folder = self.folder.to_str().expect("its name is plain");
        let words = ["new-session", "-d", "-s", name, "-x", &columns, "-y", &rows, "-c", folder, shell];
        let output = self.run(&words);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let person = Person { tmux: self, name };
        person.sees("the prompt of the shell", |screen| screen.contains('$'));
        person
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        self.run(&["kill-server"]);
    }
}

struct Person<'a> {
    tmux: &'a Tmux,
    name: &'a str,
}

impl Person<'_> {
    /// Presses keys, as tmux calls them.
    fn presses(&self, keys: &[&str]) {
        let words: Vec<&str> = ["send-keys", "-t", self.name].iter().chain(keys).copied().collect();
        self.tmux.run(&words);
    }

    /// Types a text, and Enter.
    fn types(&self, text: &str) {
        self.tmux.run(&["send-keys", "-t", self.name, "-l", "--", text]);
        self.presses(&["Enter"]);
    }

    /// Starts the client.
    fn starts(&self, environment: &str, port: u16, options: &str) {
        let client = env!("CARGO_BIN_EXE_syncnet-client");
        let name = self.name;
        self.types(&format!(
            "{environment} {client} --server-port {port} --user {name} --outbox-dir {name} {options}"
        ));
    }

    fn screen(&self) -> String {
        let output = self.tmux.run(&["capture-pane", "-p", "-t", self.name]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The screen with its colours, and with its links if this tmux knows them.
    fn screen_with_links(&self) -> Option<String> {
        let version = String::from_utf8_lossy(&self.tmux.run(&["-V"]).stdout).into_owned();
        let number: String =
            version.chars().filter(|letter| letter.is_ascii_digit() || *letter == '.').collect();
        let (major, minor) = number.split_once('.')?;
        let knows_links = (major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?) >= (3, 4);
        let output = self.tmux.run(&["capture-pane", "-p", "-e", "-t", self.name]);
        knows_links.then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Waits until the screen is as it should be.
    #[track_caller]
    fn sees(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let screen = self.screen();
            if is_so(&screen) {
                return screen;
            }
            assert!(Instant::now() < deadline, "{} waited for {what} and sees:\n{screen}", self.name);
            thread::sleep(LOOK_EVERY);
        }
    }

    /// The terminal is as a shell needs it.
    #[track_caller]
    fn is_back_in_the_shell(&self) {
        // Keys that are typed while the client is still ending would be lost with it.
        self.sees("the prompt of the shell", |screen| {
            screen.lines().rfind(|line| !line.trim().is_empty()).is_some_and(|line| line.trim_end() == "$")
        });
        self.types("clear; stty -a | grep -o -w -e '-*icanon' -e '-*echo'; echo back");
        let screen = self.sees("the shell", |screen| screen.lines().any(|line| line == "back"));
        let has = |word: &str| screen.lines().any(|line| line == word);
        assert!(has("icanon") && has("echo"), "lines are read and shown as ever:\n{screen}");
        let modes = self.tmux.run(&[
            "display",
            "-p",
            "-t",
            self.name,
            "#{alternate_on}#{mouse_any_flag}#{cursor_flag}",
        ]);
        assert_eq!(
            String::from_utf8_lossy(&modes.stdout).trim(),
            "001",
            "no other screen, no mouse, a cursor"
        );
    }
}

/// How often a message with this text is on the screen.
fn count(screen: &str, text: &str) -> usize {
    screen.lines().filter(|line| line.contains(text)).count()
}

#[test]
fn two_people_talk_on_while_the_leader_is_killed() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.settle_highest();
    let tmux = Tmux::start(&cluster);
    let (alice, bob) = (tmux.person("alice", 100, 30), tmux.person("bob", 80, 24));
    alice.starts("", cluster.targets[leader].port, "");
    bob.starts("", cluster.targets[0].port, "");
    for (person, name) in [(&alice, "alice"), (&bob, "bob")] {
        person.sees("the status line", |screen| screen.contains(&format!("{name} on server")));
        person.sees("both members", |screen| screen.contains("2 members"));
    }
    alice.types("the first message");
    bob.sees("the first message", |screen| count(screen, "the first message") == 1);
    cluster.kill(leader);
    alice.types("the second message");
    bob.types("the third message");
    let texts = ["the first message", "the second message", "the third message"];
    let mut orders = vec![];
    for person in [&alice, &bob] {
        let screen = person.sees("all three messages, committed", |screen| {
            texts.iter().all(|text| screen.contains(text)) && !screen.contains(['○', '↻', '✗'])
        });
        assert!(texts.iter().all(|text| count(&screen, text) == 1), "nothing is there twice:\n{screen}");
        let lines = screen.lines().filter_map(|line| texts.iter().find(|text| line.contains(**text)));
        orders.push(lines.copied().collect::<Vec<_>>());
    }
    assert_eq!(orders[0], orders[1], "both see the same order");
    let screen = alice
        .sees("another server", |screen| screen.contains("alice on server") && screen.contains("leader"));
    assert!(!screen.contains(&format!("alice on server{}", leader + 1)), "{screen}");
    // A direct message, by the switcher, and what it looks like from the other side.
    alice.presses(&["C-k"]);
    alice.sees("the switcher", |screen| screen.contains("Go to a room or a person"));
    alice.types("bob");
    alice.sees("the conversation", |screen| screen.contains("@bob"));
    alice.types("just for you");
    // The conversation is there before its first message is.
    bob.sees("a room with something unread", |screen| screen.contains("1 unread · Alt-A"));
    bob.presses(&["M-a"]);
    bob.sees("the direct message", |screen| screen.contains("just for you") && screen.contains("@alice"));
    alice.presses(&["C-q"]);
    alice.is_back_in_the_shell();
    bob.types("/quit");
    bob.is_back_in_the_shell();
}

#[test]
fn an_address_is_a_link_of_the_terminal() {
    let mut cluster = Cluster::start(1);
    cluster.settle();
    let tmux = Tmux::start(&cluster);
    let dora = tmux.person("dora", 90, 25);
    let written = tmux.folder.join("written");
    let copy = format!("cat > {}", written.to_str().expect("its name is plain"));
    tmux.run(&["pipe-pane", "-t", "dora", "-o", &copy]);
    dora.starts("", cluster.targets[0].port, "--room lobby");
    dora.sees("the screen", |screen| screen.contains("dora on server1"));
    dora.types("see http://localhost/a?b=c there");
    // The letters are there first. What turns them into a link erases them: tmux would keep them as they are.
    let link = |text: &str| {
        let (before, after) = text.split_once("X\u{1b}]8;;http://localhost/a?b=c\u{1b}\\")?;
        Some(before.ends_with("\u{1b}[22") && after.contains("http://localhost/a?b=c"))
    };
    dora.sees("the link", |_| {
        let written = fs::read(&written).unwrap_or_default();
        link(&String::from_utf8_lossy(&written)) == Some(true)
    });
    let shown = "\u{1b}]8;;http://localhost/a?b=c\u{1b}\\";
    dora.sees("the link in tmux", |_| dora.screen_with_links().is_none_or(|screen| screen.contains(shown)));
}

#[test]
fn the_terminal_is_given_back_whatever_happens() {
    let mut cluster = Cluster::start(1);
    cluster.settle();
    let tmux = Tmux::start(&cluster);
    let editor = tmux.folder.join("editor");
    fs::write(&editor, "#!/bin/sh\nprintf 'hi and more\\nlines\\n' > \"$1\"\n").expect("the folder is ours");
    fs::set_permissions(&editor, fs::Permissions::from_mode(0o700)).expect("the file is ours");
    let carol = tmux.person("carol", 90, 25);
    let port = cluster.targets[0].port;
    carol.starts("", port, "");
    carol.sees("the screen", |screen| screen.contains("carol on server1"));
    // Any size, and back.
    for (columns, rows) in [("1", "1"), ("3", "2"), ("30", "8"), ("90", "25")] {
        tmux.run(&["resize-window", "-t", "carol", "-x", columns, "-y", rows]);
        carol.presses(&["PageUp"]);
    }
    carol.sees("the screen again", |screen| screen.contains("carol on server1") && screen.contains("❯"));
    // Suspended as a job, and back.
    carol.presses(&["C-z"]);
    carol.sees("the shell", |screen| screen.contains("Stopped"));
    carol.is_back_in_the_shell();
    carol.types("fg");
    carol.sees("the screen again", |screen| screen.contains("carol on server1"));
    // The editor.
    carol.presses(&["h", "i", "C-x"]);
    carol.sees("what the editor wrote", |screen| screen.contains("hi and more"));
    carol.presses(&["Enter"]);
    carol.sees("the message", |screen| screen.contains("✓ hi and more"));
    // A signal.
    let client = process_of(&tmux.folder, "carol");
    nix::sys::signal::kill(client, nix::sys::signal::Signal::SIGTERM).expect("it runs");
    carol.is_back_in_the_shell();
    // The line mode, if the terminal can do no more or the user wants it.
    for (environment, options) in [("TERM=dumb", ""), ("", "--plain")] {
        carol.types("clear");
        carol.starts(environment, port, options);
        carol.sees("the line mode", |screen| screen.contains("you are carol; /help lists the commands"));
        carol.sees("the room", |screen| screen.contains("you are in lobby"));
        carol.types(&format!("said in lines {}", environment.len()));
        carol.types("/who");
        carol.sees("an answer", |screen| screen.contains("in lobby: @carol"));
        carol.types("/quit");
        carol.is_back_in_the_shell();
    }
    // A signal in the middle of a line.
    carol.types("clear");
    carol.starts("", port, "--plain");
    carol.sees("the line mode", |screen| screen.contains("you are in lobby"));
    carol.presses(&["h", "a", "l", "f"]);
    carol.sees("half a line", |screen| screen.contains("lobby> half"));
    let client = process_of(&tmux.folder, "carol");
    nix::sys::signal::kill(client, nix::sys::signal::Signal::SIGTERM).expect("it runs");
    carol.sees("what is lost", |screen| screen.contains("* ended by a signal; not sent: half"));
    carol.is_back_in_the_shell();
    // And in the middle of a password, which the terminal does not show.
    for (options, signal) in [("--login", true), ("--login --plain", false)] {
        carol.types("clear");
        carol.starts("", port, options);
        carol.sees("the question", |screen| screen.contains("Password:"));
        if signal {
            let client = process_of(&tmux.folder, "carol");
            nix::sys::signal::kill(client, nix::sys::signal::Signal::SIGTERM).expect("it runs");
        } else {
            carol.presses(&["C-c"]);
        }
        carol.is_back_in_the_shell();
    }
    carol.types("clear");
    carol.starts("", port, "");
    let screen = carol.sees("both lines", |screen| count(screen, "said in lines") == 2);
    assert!(screen.contains("hi and more"), "{screen}");
}

/// The client of this user.
fn process_of(folder: &Path, user: &str) -> nix::unistd::Pid {
    let client = env!("CARGO_BIN_EXE_syncnet-client");
    let processes = fs::read_dir("/proc").expect("this is Linux").flatten();
    let mut numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let found = numbers.find(|number| {
        let line = fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|&byte| byte == 0).collect();
        let is_here = fs::read_link(format!("/proc/{number}/cwd")).is_ok_and(|cwd| cwd == folder);
        is_here && words.first() == Some(&client.as_bytes()) && words.contains(&user.as_bytes())
    });
    nix::unistd::Pid::from_raw(found.expect("the client runs"))
}
