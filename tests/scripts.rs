//! The scripts, run as a user runs them, in folders of their own.
#![cfg(unix)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use tempfile::TempDir;

/// A place for one cluster: its folders are temporary, its programs those that cargo built for the tests.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Place {
        Place { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A script with this place's settings, called from a folder that is not the project's.
    fn script(&self, name: &str) -> Command {
        let mut command = Command::new("bash");
        command
            .arg(scripts().join(name))
            .current_dir(self.folder.path())
            .env("SYNCNET_BIN_DIR", Path::new(env!("CARGO_BIN_EXE_syncnet-server")).parent().unwrap())
            .env("SYNCNET_DATA_DIR", self.path("data"))
            .env("SYNCNET_LOG_DIR", self.path("logs"))
            .env("SYNCNET_RUN_DIR", self.path("run"))
            .stdin(Stdio::null());
        command
    }

    fn run(&self, name: &str, args: &[&str]) -> (i32, String) {
        said(&self.script(name).args(args).output().expect("bash runs"))
    }
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts")
}

/// The exit status, and all that was said.
fn said(output: &Output) -> (i32, String) {
    let text = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    (output.status.code().unwrap_or(-1), text.concat())
}

/// A process that is killed when the test ends, however it ends.
struct Bystander(Child);

impl Drop for Bystander {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn every_script_has_its_twin() {
    let stems = |extension: &str| -> BTreeSet<String> {
        let files = fs::read_dir(scripts()).unwrap().map(|entry| entry.unwrap().path());
        files
            .filter(|path| path.extension().is_some_and(|found| found == extension))
            .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(stems("sh"), stems("bat"));
    assert!(stems("sh").len() >= 8);
}

#[test]
fn stopping_touches_nothing_but_the_servers() {
    let place = Place::new();
    fs::create_dir(place.path("run")).unwrap();
    // A process id that was given to another program since, even one that talks like a server's.
    let mut bystander = Bystander(
        Command::new("sh")
            .args(["-c", "read line; :", "x", "--server-id", "server1"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    fs::write(place.path("run/server1.pid"), format!("{}\n", bystander.0.id())).unwrap();
    fs::write(place.path("run/server2.pid"), "-1\n").unwrap();
    fs::write(place.path("run/server3.pid"), "1; rm -rf x\n").unwrap();
    let (status, text) = place.run("stop_all_servers.sh", &[]);
    assert_eq!(status, 0, "{text}");
    assert!(text.contains("server1 does not run"), "{text}");
    assert_eq!(bystander.0.try_wait().unwrap(), None, "the bystander was stopped: {text}");
    assert!(!place.path("run/server1.pid").exists());
}

#[test]
fn a_missing_program_is_said_and_nothing_is_made() {
    let place = Place::new();
    let output = place.script("start_all_servers.sh").env("SYNCNET_BIN_DIR", place.path("none")).output();
    let (status, text) = said(&output.unwrap());
    assert_eq!(status, 1, "{text}");
    assert!(text.contains("there is no syncnet-server"), "{text}");
    assert!(!place.path("data").exists());
}

#[test]
fn a_wrong_word_is_a_usage_error() {
    for script in ["status_check.sh", "demo_scenarios.sh"] {
        let (status, text) = Place::new().run(script, &["twice"]);
        assert_eq!(status, 2, "{script}: {text}");
        assert!(text.contains("usage"), "{script}: {text}");
    }
}
