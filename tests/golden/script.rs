//! Scripts: text files with the lines that clients send, and the answers.
//!
//! A line of a script is one of these; `name< …` and `name closed` are results of the run, and are written
//! anew.
//!
//! | line | meaning |
//! |---|---|
//! | `# …`, blank | stays as it is |
//! | `cluster {"servers":3}` | begins a cluster; its last server leads |
//! | `open NAME [SERVER] [reserved]` | a client connects |
//! | `NAME> LINE` | it sends a line, and 40 ms pass |
//! | `NAME+ LINE` | it sends a line at the same moment as the next one |
//! | `NAME>hex 7b…` | it sends these bytes |
//! | `hangup NAME` | it closes its connection |
//! | `advance MS` | time passes |
//! | `kill S`, `start S`, `stop S`, `elect S`, `cut S S`, `mend S S` | something happens to servers |
//! | `keep VAR NAME FIELD.FIELD` | `$VAR` stands for what the newest line that NAME heard has there |
//! | `prove VAR` | `$PROOF` stands for what an operator answers to the challenge `$VAR` |
//!
//! `<<x*700>>` stands for seven hundred letters.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::Value;

use crate::{
    recording::{lengthen, shorten},
    server::{Setup, World, operator_proof},
};

/// Time that passes after a line.
const PAUSE_MS: u64 = 40;

#[derive(Default)]
struct Player {
    world: Option<World>,
    /// Connections by their names, in the order of opening.
    conns: Vec<(String, u64, bool)>,
    newest: BTreeMap<String, Vec<Value>>,
    vars: Vec<(String, String)>,
    text: String,
}

/// Plays a script; the same with what it gives now.
pub fn play(script: &str) -> String {
    let mut player = Player::default();
    for line in script.lines().filter(|line| !is_output(line)) {
        player.text.push_str(line);
        player.text.push('\n');
        if !line.is_empty() && !line.starts_with('#') {
            player.step(line);
        }
    }
    player.text
}

fn is_output(line: &str) -> bool {
    let word = line.split(' ').next().unwrap_or_default();
    word.ends_with('<') || (line.ends_with(" closed") && line.split(' ').count() == 2)
}

impl Player {
    fn world(&mut self) -> &mut World {
        self.world.as_mut().expect("a script begins with cluster")
    }

    fn step(&mut self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let words: Vec<&str> = rest.split(' ').collect();
        let number = |place: usize| words[place].parse().unwrap_or_else(|_| panic!("no number: {line}"));
        match word {
            "cluster" => {
                let setup: Setup =
                    serde_json::from_str(rest).unwrap_or_else(|error| panic!("{line}: {error}"));
                *self = Player {
                    world: Some(World::new(setup)),
                    text: std::mem::take(&mut self.text),
                    ..Player::default()
                };
            }
            "open" => {
                let server = words.get(1).map_or(1, |server| server.parse().expect("a server's number"));
                let conn = self.world().open(server, words.get(2) == Some(&"reserved"));
                self.conns.push((words[0].into(), conn, false));
                self.world().settle();
            }
            "hangup" => {
                let conn = self.conn(words[0]);
                self.world().hang_up(conn);
                self.world().settle();
            }
            "advance" => self.world().advance(number(0) as u64),
            "kill" => self.world().kill(number(0)),
            "start" => self.world().start(number(0)),
            "stop" => self.world().stop(number(0)),
            "elect" => self.world().elect(number(0)),
            "cut" => self.world().cut(number(0), number(1)),
            "mend" => self.world().mend(number(0), number(1)),
            "keep" => {
                let value = self.found(words[1], words[2]);
                self.vars.push((format!("${}", words[0]), value));
            }
            "prove" => {
                let proof = operator_proof(&self.filled(&format!("${}", words[0])));
                self.vars.push(("$PROOF".into(), proof));
            }
            _ => self.send(word, rest),
        }
        self.hear();
    }

    fn send(&mut self, word: &str, rest: &str) {
        let (name, how) = word.split_at(word.find(['>', '+']).unwrap_or_else(|| panic!("what is {word}?")));
        let conn = self.conn(name);
        let line = match how {
            ">hex" => bytes(rest),
            _ => self.filled(&lengthen(rest)).into_bytes(),
        };
        self.world().feed(conn, &line);
        if how != "+" {
            self.world().advance(PAUSE_MS);
        }
    }

    fn conn(&self, name: &str) -> u64 {
        let newest = self.conns.iter().rev().find(|(known, ..)| known == name);
        newest.unwrap_or_else(|| panic!("{name} is not connected")).1
    }

    /// A text with the variables filled in, the newest ones first.
    fn filled(&self, text: &str) -> String {
        self.vars.iter().rev().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    fn found(&self, name: &str, path: &str) -> String {
        let pointer = format!("/{}", path.replace('.', "/"));
        let heard = self.newest.get(name).into_iter().flatten().rev();
        let value = heard.filter_map(|line| line.pointer(&pointer)).next();
        match value.unwrap_or_else(|| panic!("{name} heard no {path}")) {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }

    /// Writes down what the connections heard.
    fn hear(&mut self) {
        let Some(world) = &mut self.world else { return };
        for (name, conn, is_closed) in &mut self.conns {
            for line in world.take(*conn) {
                let text = std::str::from_utf8(&line).expect("a server says UTF-8");
                let text = text.strip_suffix('\n').expect("a line ends with its line end");
                let heard = self.newest.entry(name.clone()).or_default();
                heard.push(serde_json::from_str(text).expect("a server says JSON"));
                let _ = writeln!(self.text, "{name}< {}", shorten(text));
            }
            if world.is_closed(*conn) && !*is_closed {
                *is_closed = true;
                let _ = writeln!(self.text, "{name} closed");
            }
        }
    }
}

fn bytes(digits: &str) -> Vec<u8> {
    let digits = digits.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16).expect("digits"))
        .collect()
}
