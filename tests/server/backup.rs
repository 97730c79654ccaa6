//! A backup of a cluster, and another cluster made of it, by the program that people use for it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Instant,
};

use serde_json::{Value, json};

use crate::{
    http_client::{Answer, Http},
    one_server::{Client, PATIENCE},
    three_servers::Cluster,
};

const PASSWORD: &str = "correct horse battery";

/// `syncnet-admin` with these words, as the operator of a cluster.
pub fn admin(cluster: &Cluster, words: &[&str]) -> Output {
    let servers: Vec<String> = cluster.ports.iter().map(|port| format!("localhost:{port}")).collect();
    run(&[words, &["--servers", &servers.join(","), "--secret-file", path(&secret(cluster))]].concat())
}

fn secret(cluster: &Cluster) -> PathBuf {
    cluster.folder.path().join("cluster.secret")
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn run(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_syncnet-admin")).args(words).output().unwrap()
}

/// Its output; it must succeed.
#[track_caller]
pub fn done(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

/// Its output; it must fail.
#[track_caller]
pub fn not_done(output: &Output) -> String {
    said_with(output, 1)
}

/// Its output; it must say that it was called in a wrong way, in one line.
#[track_caller]
fn mistaken(output: &Output) -> String {
    let said = said_with(output, 2);
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

#[track_caller]
fn said_with(output: &Output, status: i32) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(status), "{said}");
    said
}

struct User {
    client: Client,
    asked: u64,
}

impl User {
    fn log_in(cluster: &Cluster, place: usize, data: Value) -> (User, Value) {
        let mut user = User { client: cluster.client(place), asked: 0 };
        let answer = user.ask("login", data);
        (user, answer)
    }

    /// Asks and gives the answer's data; the answer must be no nack.
    fn ask(&mut self, msg_type: &str, data: Value) -> Value {
        self.asked += 1;
        self.client.send(&json!({"msg_type": msg_type, "data": data, "request_id": self.asked}).to_string());
        let answer = self.client.answer(self.asked);
        assert_ne!(answer["msg_type"], "nack", "{msg_type}: {answer}");
        answer["data"].clone()
    }
}

/// Fills a cluster with accounts, rooms of all kinds and a file, whose id it gives.
fn fill(cluster: &Cluster) -> String {
    let mut alice = User { client: cluster.client(0), asked: 0 };
    alice.ask("register", json!({"username": "alice", "password": PASSWORD}));
    let token = alice.ask("login", json!({"username": "alice", "password": PASSWORD}))["token"].clone();
    let (mut bob, _) = User::log_in(cluster, 1, json!({"username": "Bob"}));
    alice.ask("create_join", json!({"room": "Lobby"}));
    bob.ask("create_join", json!({"room": "lobby"}));
    for number in 0..150 {
        alice.ask("chat", json!({"room": "lobby", "body": format!("message {number} é")}));
    }
    alice.ask("edit", json!({"room": "lobby", "seq": 5, "body": "better, @bob"}));
    bob.ask("react", json!({"room": "lobby", "seq": 5, "emoji": "+1"}));
    alice.ask("delete", json!({"room": "lobby", "seq": 6}));
    alice.ask("create_join", json!({"room": "den", "private": true}));
    alice.ask("chat", json!({"room": "den", "body": "psst"}));
    alice.ask("chat", json!({"to": "bob", "body": "between us"}));
    alice.ask("mute", json!({"room": "lobby", "username": "bob", "seconds": 9}));
    let authorization = format!("Authorization: Bearer {}", token.as_str().unwrap());
    let mut http = Http::connect(cluster.ports[2]);
    http.send(&format!(
        "POST /files?room=lobby&name=a.txt&post=1 HTTP/1.1\r\nHost: localhost\r\n{authorization}\r\n\
         Content-Length: {}\r\n\r\n",
        file().len()
    ));
    http.send_bytes(&file()).unwrap();
    let posted = http.answer();
    assert!(posted.status < 300, "{posted:?}");
    posted.json()["file_id"].as_str().unwrap().to_owned()
}

fn get(http: &mut Http, path: &str, authorization: &str) -> Answer {
    http.send(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{authorization}\r\n\r\n"));
    http.answer()
}

/// Some pieces long.
fn file() -> Vec<u8> {
    (0..100_000_u32).flat_map(u32::to_le_bytes).collect()
}

fn exported(cluster: &Cluster, name: &str) -> String {
    let file = cluster.folder.path().join(name);
    done(&admin(cluster, &["export", "--all", "--output", path(&file)]));
    fs::read_to_string(file).unwrap()
}

fn audited(cluster: &Cluster) -> String {
    let output = admin(cluster, &["audit", "--json"]);
    done(&output);
    String::from_utf8(output.stdout).unwrap()
}

fn restore(backup: &Path, cluster: &Cluster, place: usize) -> Output {
    let folder = cluster.folder.path();
    run(&["restore", path(backup), "--data-dir", path(folder), "--server-id", &format!("s{place}")])
}

#[test]
fn a_cluster_is_restored_from_a_backup_and_not_mixed_with_the_one_of_before() {
    let mut old = Cluster::start();
    old.wait_for(0, |status| status["leader_id"] == "s2");
    let file_id = fill(&old);
    let backup = old.folder.path().join("all.backup");
    let (rooms, deeds) = (exported(&old, "before.jsonl"), audited(&old));
    let said = done(&admin(&old, &["backup", "--output", path(&backup)]));
    assert!(said.contains("events up to entry"), "{said}");
    for place in 0..3 {
        let status = old.wait_for(place, |status| status["last_backup"].is_number());
        let made_s = status["last_backup"].as_f64().unwrap() as u64;
        let series = format!("\nsyncnet_last_backup_timestamp_seconds {made_s}\n");
        let deadline = Instant::now() + PATIENCE;
        // A server describes itself to the metrics a moment later.
        while !get(&mut Http::connect(old.ports[place]), "/metrics", "Accept: */*").text().contains(&series) {
            assert!(Instant::now() < deadline, "{series} does not come");
        }
    }
    assert!(audited(&old).contains(r#""action":"backup_made""#));
    assert!(deeds.contains(r#""action":"mute""#), "{deeds}");
    // Later messages are not in it.
    let (mut carol, answer) = User::log_in(&old, 0, json!({"username": "carol"}));
    assert_eq!(answer["epoch"], 1);
    carol.ask("create_join", json!({"room": "lobby"}));
    let said = done(&run(&["backup", "--verify", path(&backup)]));
    assert!(said.contains("is good: 3 rooms, 2 users, 153 messages and 1 file of"), "{said}");

    let mut new = Cluster::prepare();
    for place in 0..3 {
        done(&restore(&backup, &new, place));
    }
    assert!(not_done(&restore(&backup, &new, 0)).contains("has data already"));
    (0..3).for_each(|place| new.start_server(place));
    for place in 0..3 {
        new.wait_for(place, |status| status["leader_id"] == "s2" && status["messages"] == 153);
    }
    assert_eq!(exported(&new, "after.jsonl"), rooms);
    assert_eq!(audited(&new), deeds);
    let (mut alice, answer) = User::log_in(&new, 1, json!({"username": "alice", "password": PASSWORD}));
    assert!(answer["epoch"].as_u64().unwrap() > 1, "clients begin afresh: {answer}");
    let authorization = format!("Authorization: Bearer {}", answer["token"].as_str().unwrap());
    let mut http = Http::connect(new.ports[0]);
    let found = get(&mut http, &format!("/files/{file_id}"), &authorization);
    assert!(found.status == 200 && found.body == file());
    alice.ask("chat", json!({"room": "lobby", "body": "we are back"}));
    let hits = alice.ask("search", json!({"query": "back"}));
    assert_eq!(hits["hits"][0]["body"], "we are back");

    // A restored server does not get into the old cluster, and takes no data from it.
    old.stop_server(0);
    fs::rename(old.folder.path().join("s0"), old.folder.path().join("aside")).unwrap();
    done(&restore(&backup, &old, 0));
    old.start_server(0);
    let is_refused = |status: &Value| {
        let note = status["note"].as_str().unwrap_or_default();
        note.contains("was restored from a backup for a new cluster")
    };
    let status = old.wait_for(0, is_refused);
    assert_eq!((&status["role"], &status["messages"]), (&json!("forming"), &json!(153)));
    carol.client = old.client(1);
    carol.ask("login", json!({"username": "carol"}));
    carol.ask("chat", json!({"room": "lobby", "body": "the old ones go on"}));
    // With its own folder it is accepted again.
    old.stop_server(0);
    fs::remove_dir_all(old.folder.path().join("s0")).unwrap();
    fs::rename(old.folder.path().join("aside"), old.folder.path().join("s0")).unwrap();
    old.start_server(0);
    old.wait_for(0, |status| status["messages"] == 154);
}

#[test]
fn what_one_disk_of_three_has_becomes_a_new_cluster() {
    let mut old = Cluster::start();
    old.wait_for(0, |status| status["leader_id"] == "s2");
    fill(&old);
    let rooms = exported(&old, "before.jsonl");
    // What a majority has acknowledged the third may not have yet.
    old.wait_for(1, |status| status["messages"] == 153);
    let (folder, backup) = (old.folder.path().to_owned(), old.folder.path().join("saved.backup"));
    let words = ["backup", "--data-dir", path(&folder), "--server-id", "s1", "--output", path(&backup)];
    assert!(not_done(&run(&words)).contains("in use"), "it runs");
    for place in 0..3 {
        old.stop_server(place);
    }
    for lost in ["s0", "s2"] {
        fs::remove_dir_all(folder.join(lost)).unwrap();
    }
    let missing = ["backup", "--data-dir", path(&folder), "--server-id", "s0", "--output", path(&backup)];
    assert!(not_done(&run(&missing)).contains("there is no server's data in"));
    assert!(!backup.exists() && !folder.join("s0").exists());
    let said = done(&run(&words));
    assert!(said.contains("3 rooms, 2 users, 153 messages and 1 file of the folder of s1"), "{said}");
    let mut new = Cluster::prepare();
    for place in 0..3 {
        done(&restore(&backup, &new, place));
    }
    (0..3).for_each(|place| new.start_server(place));
    for place in 0..3 {
        new.wait_for(place, |status| status["leader_id"] == "s2" && status["messages"] == 153);
    }
    assert_eq!(exported(&new, "after.jsonl"), rooms);
    let (mut alice, _) = User::log_in(&new, 1, json!({"username": "alice", "password": PASSWORD}));
    alice.ask("chat", json!({"room": "lobby", "body": "we are back"}));
}

#[test]
fn only_operators_get_a_backup_and_a_damaged_one_is_refused() {
    let cluster = Cluster::start();
    cluster.wait_for(0, |status| status["leader_id"] == "s2");
    fill(&cluster);
    let folder = cluster.folder.path();
    let backup = folder.join("all.backup");
    let other = folder.join("other.secret");
    crate::one_server::write_secret(&other);
    fs::write(&other, "fedcba9876543210".repeat(4)).unwrap();
    let servers = format!("localhost:{}", cluster.ports[0]);
    let asked = ["backup", "--output", path(&backup), "--servers", &servers, "--secret-file", path(&other)];
    assert!(not_done(&run(&asked)).contains("accepts no operator with this secret"));
    let mut http = Http::connect(cluster.ports[0]);
    let asked = http.get("/backup");
    assert_eq!(asked.status, 401);
    assert!(asked.header("WWW-Authenticate").starts_with("SyncNet-Operator "));
    let zeros = "0".repeat(64);
    let forged = format!("Authorization: SyncNet-Operator {zeros}:{zeros}");
    assert_eq!(get(&mut http, "/backup", &forged).status, 401);
    assert!(!backup.exists());

    done(&admin(&cluster, &["backup", "--output", path(&backup)]));
    let good = fs::read(&backup).unwrap();
    let bad = folder.join("bad.backup");
    for (bytes, why) in [
        (&good[..good.len() - 1], "checksum"),
        (&good[..good.len() / 2], "checksum"),
        (&[&good[..], b"more"].concat(), "this backup is damaged: take another one"),
        (&b"SQLite format 3\0"[..], "this is no backup; name a file"),
    ] {
        fs::write(&bad, bytes).unwrap();
        let said = not_done(&run(&["backup", "--verify", path(&bad)]));
        assert!(said.contains(why) && said.contains(path(&bad)), "{said}");
        let empty = tempfile::tempdir().unwrap();
        let restored = run(&["restore", path(&bad), "--data-dir", path(empty.path()), "--server-id", "s0"]);
        assert!(not_done(&restored).contains(why));
        // Nothing of it stays: the folder can be used for a good backup.
        done(&run(&["restore", path(&backup), "--data-dir", path(empty.path()), "--server-id", "s0"]));
    }
}

/// Two keys as `age-keygen` makes them, and their public halves.
const KEYS: [(&str, &str); 2] = [
    (
        "AGE-SECRET-KEY-14UJJXRDF8HAQJFE20ZQGJKQM03LN4WYL5A7PY9ZUFCUKLFMXEDEQWEYZX5",
        "age1xwwf0fdudaw603ssqx0yqrqr33neahgnrqm4fv4zl0l8pfswevrquctaf7",
    ),
    (
        "AGE-SECRET-KEY-1KVF2YEPLAE4NK8FF5ZZZJ7NLU4HCFF2DP8H3QEJC89AP6E5HTPDQZHPHM7",
        "age15hp39524thlk79rcm6v3la9gm2gd9k609jqw8zfdzynzvkq46gvqv6wj9l",
    ),
];

#[test]
fn only_the_holder_of_the_key_reads_an_encrypted_backup() {
    let cluster = Cluster::start();
    cluster.wait_for(0, |status| status["leader_id"] == "s2");
    fill(&cluster);
    let folder = cluster.folder.path();
    let identity = |name: &str, text: &str| {
        let file = folder.join(name);
        fs::write(&file, text).unwrap();
        #[cfg(unix)]
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        file
    };
    let mine = identity("mine", &format!("# public key: {}\n{}\n", KEYS[0].1, KEYS[0].0));
    let other = identity("other", KEYS[1].0);
    let backup = folder.join("all.backup");
    let said = done(&admin(&cluster, &["backup", "--output", path(&backup), "--encrypt-to", KEYS[0].1]));
    assert!(said.contains("all.backup was written: encrypted, "), "{said}");
    let good = fs::read(&backup).unwrap();
    for open in [&b"SNBACKUP"[..], b"message 1", b"alice"] {
        assert!(!good.windows(open.len()).any(|bytes| bytes == open), "{open:?} can be read in it");
    }

    let verify = |file: &Path, key: &[&str]| run(&[&["backup", "--verify", path(file)], key].concat());
    let empty = tempfile::tempdir().unwrap();
    let restore = |file: &Path, key: &[&str]| {
        run(&[&["restore", path(file), "--data-dir", path(empty.path()), "--server-id", "s0"], key].concat())
    };
    let (with, with_other) = (["--identity", path(&mine)], ["--identity", path(&other)]);
    let said = done(&verify(&backup, &with));
    assert!(said.contains("is good: 3 rooms, 2 users, 153 messages and 1 file of"), "{said}");
    for (key, why) in [
        (&[][..], "it is encrypted, and no identity was named; name the identity file"),
        (&with_other, "it is encrypted, and none of these identities opens it; name"),
        (&["--identity", path(&backup)], "it is encrypted with a passphrase itself"),
        (&["--identity", path(&folder.join("none"))], "No such file"),
        (&["--identity", path(&identity("empty", "# nothing"))], "there is no identity in it"),
        (&["--identity", path(&identity("word", "secret"))], "line 1 is no identity"),
    ] {
        for said in [mistaken(&verify(&backup, key)), mistaken(&restore(&backup, key))] {
            assert!(said.contains(why), "{said}");
        }
    }
    #[cfg(unix)]
    {
        let open = identity("open", KEYS[0].0);
        fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
        let said = mistaken(&verify(&backup, &["--identity", path(&open)]));
        assert!(said.contains("others can read it (mode 640); run chmod 600 on it"), "{said}");
    }

    let bad = folder.join("bad.backup");
    let end = good.len() - 1;
    for place in [end, end - 64 * 1024, good.len() / 2] {
        let mut bytes = good.clone();
        bytes[place] ^= 1;
        fs::write(&bad, bytes).unwrap();
        for said in [not_done(&verify(&bad, &with)), not_done(&restore(&bad, &with))] {
            assert!(said.contains("this backup is damaged: take another one"), "byte {place}: {said}");
        }
    }
    fs::write(&bad, &good[..good.len() / 2]).unwrap();
    assert!(not_done(&verify(&bad, &with)).contains("this backup is damaged"));
    done(&restore(&backup, &with));

    let backups = folder.join("backups");
    let both = ["--encrypt-to", KEYS[0].1, "--encrypt-to", KEYS[1].1];
    done(&admin(&cluster, &[&["backup", "--folder", path(&backups), "--keep", "1"][..], &both].concat()));
    let made = fs::read_dir(&backups).unwrap().next().unwrap().unwrap().path();
    for key in [with, with_other] {
        done(&verify(&made, &key));
    }
    let refused = admin(&cluster, &["backup", "--output", path(&backup), "--encrypt-to", "age1"]);
    assert!(said_with(&refused, 2).contains("a word that begins with age1"));
}

#[test]
fn a_folder_keeps_the_newest_backups() {
    let cluster = Cluster::start();
    cluster.wait_for(0, |status| status["leader_id"] == "s2");
    let folder = cluster.folder.path().join("backups");
    for name in ["syncnet-20200101T000000Z.backup", "syncnet-20210101T000000Z.backup"] {
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), "old").unwrap();
    }
    done(&admin(&cluster, &["backup", "--folder", path(&folder), "--keep", "2"]));
    let mut names: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(names.len() == 2 && names[0] == "syncnet-20210101T000000Z.backup", "{names:?}");
    done(&run(&["backup", "--verify", path(&folder.join(&names[1]))]));
}
