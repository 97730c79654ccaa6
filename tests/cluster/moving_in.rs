//! The story of a team that moves in: everything that people do, by the line client, with servers dying in
//! between.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::harness::{Cluster, PATIENCE};

/// A person at a line client, which writes JSON so that the test can read it.
struct Person {
    name: &'static str,
    child: Child,
    input: Option<ChildStdin>,
    output: mpsc::Receiver<Value>,
    /// Everything that was seen, for the end of the story.
    seen: Arc<Mutex<Vec<Value>>>,
}

impl Person {
    fn comes(cluster: &Cluster, server: usize, name: &'static str, options: &[&str]) -> Person {
        let target = &cluster.targets[server];
        let mut child = Command::new(env!("CARGO_BIN_EXE_syncnet-client"))
            .args(["--json", "--user", name, "--history", "100", "--server-host", &target.host])
            .args(["--server-port", &target.port.to_string()])
            .args(["--outbox-dir", if options.contains(&"--login") { "phone" } else { "people" }])
            .args(options)
            .current_dir(cluster.folder())
            .env("SYNCNET_PASSWORD", format!("the password of {name}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the client program can be run");
        let input = child.stdin.take();
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let (sender, output) = mpsc::channel();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let all = seen.clone();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let object: Value = serde_json::from_str(&line).expect("each line is JSON");
                all.lock().push(object.clone());
                if sender.send(object).is_err() {
                    return;
                }
            }
        });
        Person { name, child, input, output, seen }
    }

    fn types(&mut self, line: &str) {
        writeln!(self.input.as_mut().expect("it is open"), "{line}").expect("the client reads");
    }

    /// Waits for something that `fits`, and skips everything before it.
    #[track_caller]
    fn sees(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(object) if fits(&object) => return object,
                Ok(_) => {}
                Err(_) => panic!("{} waited for {what} and saw {:#?}", self.name, self.seen.lock()),
            }
        }
    }

    /// Waits for a message with this text in it, in any room.
    #[track_caller]
    fn hears(&mut self, text: &str) -> Value {
        self.sees(text, |object| {
            object["type"] == "event" && object["body"].as_str().is_some_and(|body| body.contains(text))
        })
    }

    /// Says something and waits until it is acknowledged; gives its number.
    #[track_caller]
    fn says(&mut self, text: &str) -> u64 {
        self.types(text);
        let acked = self.sees(text, |object| object["type"] == "acked" && object["body"] == text);
        acked["seq"].as_u64().expect("a number")
    }

    /// Repeats a command until it is certain that it was carried out, as a person does who is told that the
    /// connection was lost before the answer.
    #[track_caller]
    fn does(&mut self, command: &str) -> Value {
        loop {
            self.types(command);
            let answer = self.sees(command, |object| object["command"] == command);
            match answer["outcome"].as_str() {
                Some("unknown") => {}
                Some("refused") => panic!("{}: {answer}", self.name),
                _ => return answer,
            }
        }
    }

    #[track_caller]
    fn joins(&mut self, room: &str, command: &str) -> Value {
        self.types(command);
        self.sees(command, |object| object["type"] == "joined" && object["room"] == room)
    }

    #[track_caller]
    fn is_refused(&mut self, room: &str, command: &str) -> Value {
        self.types(command);
        self.sees(command, |object| object["type"] == "room_refused" && object["room"] == room)
    }

    #[track_caller]
    fn is_logged_in(&mut self) {
        self.sees("a login", |object| object["type"] == "logged_in" && object["account"] == true);
    }

    /// Ends the input and waits for the exit status.
    #[track_caller]
    fn leaves(mut self) -> Option<i32> {
        drop(self.input.take());
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "{} does not end: {:#?}", self.name, self.seen.lock());
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Kills the leader; gives which one it was.
fn behead(cluster: &mut Cluster) -> usize {
    let leader = cluster.leader();
    cluster.kill(leader);
    leader
}

fn write_file(folder: &Path, bytes: usize) -> PathBuf {
    let path = folder.join("plan.bin");
    let content: Vec<u8> = (0..bytes).map(|at| (at * 31 + at / 251) as u8).collect();
    fs::write(&path, content).expect("the folder is ours");
    path
}

#[test]
fn a_team_moves_in_while_servers_die() {
    let mut cluster = Cluster::start_with(3, json!({ "auth": { "scram_iterations": 4096 } }));
    let mut alice = Person::comes(&cluster, 0, "alice", &["--register"]);
    let mut bob = Person::comes(&cluster, 1, "bob", &["--register"]);
    let mut carol = Person::comes(&cluster, 2, "carol", &["--register"]);
    let mut mallory = Person::comes(&cluster, 0, "mallory", &[]);
    for person in [&mut alice, &mut bob, &mut carol] {
        person.is_logged_in();
    }

    // A private room, and a third one who is invited while there is no leader.
    let joined = alice.joins("den", "/create den private");
    assert_eq!(joined["created"], true);
    alice.does("/invite bob");
    bob.joins("den", "/join den");
    let dead = behead(&mut cluster);
    alice.does("/invite carol");
    carol.joins("den", "/join den");
    alice.says("welcome @bob and @carol");
    let mentions = bob.hears("welcome")["mentions"].to_string();
    assert!(mentions.contains("bob") && mentions.contains("carol"), "{mentions}");
    cluster.start_server(dead);
    cluster.settle();

    // A file is on its way when the leader dies.
    let path = write_file(cluster.folder(), 700_000);
    alice.types(&format!("/send {}", path.display()));
    let dead = behead(&mut cluster);
    let uploaded = alice.sees("the upload", |object| object["type"] == "uploaded");
    let file_id = uploaded["file"]["file_id"].as_str().expect("an id").to_owned();
    let shown = bob.hears("plan.bin");
    assert_eq!(shown["file"]["file_id"], file_id.as_str());
    cluster.start_server(dead);
    cluster.settle();
    let copy = cluster.folder().join("copy.bin");
    bob.types(&format!("/get {file_id} {}", copy.display()));
    bob.sees("the file", |object| object["type"] == "downloaded");
    assert_eq!(fs::read(&copy).expect("it is saved"), fs::read(&path).expect("it is there"));

    // An edit, a reaction, a search.
    let seq = bob.says("we start on wensday");
    bob.does("/edit ^ we start on wednesday");
    let dead = behead(&mut cluster);
    alice.does(&format!("/react {seq} 👍"));
    carol.types("/search wednesday in:den");
    let found = carol.sees("the hits", |object| object["type"] == "search");
    assert_eq!(found["hits"][0]["seq"], seq);
    assert_eq!(found["hits"][0]["reactions"], json!({ "👍": ["alice"] }));
    cluster.start_server(dead);
    cluster.settle();

    // A direct conversation opens by itself for the other user.
    alice.types("/msg bob between us");
    assert_eq!(bob.hears("between us")["room"], "@alice,bob");

    // A member is removed, and stays out.
    let dead = behead(&mut cluster);
    alice.does("/kick carol");
    carol.sees("the kick", |object| object["type"] == "room_refused" && object["room"] == "den");
    alice.does("/ban carol 3600");
    carol.is_refused("den", "/join den");
    let last = alice.says("only we two are left");
    bob.hears("only we two");
    cluster.start_server(dead);
    cluster.settle();

    // An outsider sees nothing of it, with any request.
    let refusal = mallory.is_refused("den", "/join den");
    let nowhere = mallory.is_refused("nowhere-at-all", "/leave nowhere-at-all");
    assert_eq!(refusal["code"], nowhere["code"]);
    mallory.types("/search wednesday");
    let found = mallory.sees("the hits", |object| object["type"] == "search");
    assert_eq!(found["hits"], json!([]));
    mallory.types("/rooms");
    let rooms = mallory.sees("the rooms", |object| object["type"] == "rooms");
    assert!(!rooms.to_string().contains("den"), "{rooms}");
    mallory.types(&format!("/get {file_id}"));
    mallory.sees("the refusal", |object| object["type"] == "transfer_failed");
    for outsider in [&mallory, &carol] {
        let seen = outsider.seen.lock();
        let shown = |object: &&Value| object["type"] == "event" && object["room"] == "den";
        let later = seen.iter().filter(shown).filter(|event| event["seq"] == last).count();
        assert_eq!(later, 0, "{} sees what is not for them", outsider.name);
    }
    assert_eq!(mallory.seen.lock().iter().filter(|object| object["room"] == "den").count(), 1);

    // A refusal on the way gives exit status 1, and none gives 0.
    assert_eq!(mallory.leaves(), Some(1));
    assert_eq!(carol.leaves(), Some(1));
    assert_eq!(bob.leaves(), Some(0));

    // The token is enough for the next time.
    let mut bob = Person::comes(&cluster, 2, "bob", &["--room", "den"]);
    bob.is_logged_in();
    let message = bob.hears("wednesday");
    assert_eq!((&message["seq"], &message["reactions"]), (&json!(seq), &json!({ "👍": ["alice"] })));
    assert!(message["edited"].is_u64());
    // Another session ends with the password, on any server.
    let mut phone = Person::comes(&cluster, 0, "bob", &["--login", "--room", "den"]);
    phone.is_logged_in();
    phone.does("/logout everywhere");
    bob.sees("the end", |object| object["type"] == "login_needed");
    assert_eq!(bob.leaves(), Some(1));
    assert_eq!(phone.leaves(), Some(0));
    assert_eq!(alice.leaves(), Some(0));
}
