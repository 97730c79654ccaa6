//! A connection that has proven to be an operator's.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Map, Value, json};

use crate::{
    admin::{
        probe::{connect, explain},
        target::Target,
    },
    protocol::{
        RequestId, ServerMessage, hex,
        operator::{OperatorKey, PROOF_BYTES},
        server_message::Content,
    },
};

/// Most bytes of one line that is read.
const LINE_BYTES: u64 = 4 * 1024 * 1024;
/// How often a server may send this connection to another.
const REDIRECTS_MAX: usize = 3;

/// The data of an answer.
pub type Fields = Map<String, Value>;

/// Why a request has no answer.
#[derive(Debug, PartialEq)]
enum Trouble {
    /// The server is not there: another may be.
    Gone(String),
    /// The server wants it to be asked there.
    Elsewhere(Target),
    /// It said no, or something that cannot be understood.
    No(String),
    /// It said no for now, and when to come back.
    Later(String, Duration),
}

/// A connection that has proven to be an operator's.
pub struct Session {
    lines: BufReader<TcpStream>,
    target: Target,
    key: OperatorKey,
    timeout: Duration,
    asked: i64,
}

impl Session {
    /// Connects to the first of `targets` that answers and proves to be an operator's. Each answer may take
    /// `timeout`. The error is one sentence.
    pub fn open(targets: &[Target], key: &OperatorKey, timeout: Duration) -> Result<Session, String> {
        let mut tried = Vec::new();
        for target in targets {
            match Session::try_open(target.clone(), key.clone(), timeout) {
                Ok(session) => return Ok(session),
                Err(Trouble::Gone(reason)) => tried.push(format!("{}: {reason}", target.label())),
                Err(Trouble::Elsewhere(other)) => tried.push(format!("{}: it names {other}", target.label())),
                Err(Trouble::No(reason) | Trouble::Later(reason, _)) => {
                    return Err(format!("{}: {reason}", target.label()));
                }
            }
        }
        Err(format!("no server can be asked ({})", tried.join("; ")))
    }

    fn try_open(target: Target, key: OperatorKey, timeout: Duration) -> Result<Session, Trouble> {
        let stream = connect(&target, timeout).map_err(|error| Trouble::Gone(explain(&error)))?;
        let mut session = Session { lines: BufReader::new(stream), target, key, timeout, asked: 0 };
        let answer = session.exchange("operator_challenge", &json!({}))?;
        let challenge = answer.get("challenge").and_then(Value::as_str).and_then(challenge);
        let challenge =
            challenge.ok_or_else(|| Trouble::No("its challenge is not 64 hexadecimal digits".into()))?;
        let proof = hex::encode(&session.key.proof(&challenge));
        session.exchange("operator_login", &json!({ "proof": proof }))?;
        Ok(session)
    }

    /// Asks, also another server where this one says so, and again where that is too fast. The error is one
    /// sentence.
    pub fn ask(&mut self, msg_type: &str, data: &Value) -> Result<Fields, String> {
        let deadline = Instant::now() + self.timeout;
        let mut redirects = 0;
        while redirects <= REDIRECTS_MAX {
            let other = match self.exchange(msg_type, data) {
                Ok(fields) => return Ok(fields),
                Err(Trouble::Later(_, pause)) if Instant::now() + pause < deadline => {
                    thread::sleep(pause);
                    continue;
                }
                Err(Trouble::Later(reason, _)) => return Err(reason),
                Err(Trouble::No(reason)) => return Err(reason),
                Err(Trouble::Gone(reason)) => {
                    return Err(format!(
                        "{}: {reason}; whether {msg_type} was done is not known",
                        self.target.label()
                    ));
                }
                Err(Trouble::Elsewhere(other)) => other,
            };
            *self = Session::open(&[other], &self.key, self.timeout)?;
            redirects += 1;
        }
        Err("the servers send each other's clients in circles; is there a leader?".into())
    }

    fn exchange(&mut self, msg_type: &str, data: &Value) -> Result<Fields, Trouble> {
        self.asked += 1;
        let mut line = json!({ "msg_type": msg_type, "data": data, "request_id": self.asked }).to_string();
        line.push('\n');
        let deadline = Instant::now() + self.timeout;
        let gone = |error: std::io::Error| Trouble::Gone(explain(&error));
        self.lines.get_mut().write_all(line.as_bytes()).map_err(gone)?;
        loop {
            let line = self.read_line(deadline)?;
            let message =
                ServerMessage::parse(&line).map_err(|reason| Trouble::No(format!("its answer: {reason}")))?;
            let is_ours = message.request_id == Some(RequestId::Number(self.asked));
            match message.content {
                Content::Redirect { host, tcp_port, .. } => {
                    return Err(Trouble::Elsewhere(Target { server_id: None, host, port: tcp_port }));
                }
                // Without a request's id where the server turns the whole connection away.
                Content::Nack(refusal) if is_ours || message.request_id.is_none() => {
                    let reason = refusal.to_string();
                    return Err(match refusal.retry_after_ms {
                        Some(pause_ms) => Trouble::Later(reason, Duration::from_millis(pause_ms)),
                        None => Trouble::No(reason),
                    });
                }
                Content::Ack(data) | Content::Other { data, .. } if is_ours => return Ok(data),
                // A push.
                _ => {}
            }
        }
    }

    fn read_line(&mut self, deadline: Instant) -> Result<Vec<u8>, Trouble> {
        let gone = |error: std::io::Error| Trouble::Gone(explain(&error));
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Trouble::Gone("it does not answer in time".into()));
            }
            self.lines.get_ref().set_read_timeout(Some(left)).map_err(gone)?;
            let room = LINE_BYTES.saturating_sub(line.len() as u64);
            if room == 0 {
                return Err(Trouble::No("its answer is too long".into()));
            }
            if self.lines.by_ref().take(room).read_until(b'\n', &mut line).map_err(gone)? == 0 {
                return Err(Trouble::Gone("it closed the connection without an answer".into()));
            }
        }
        line.truncate(line.trim_ascii_end().len());
        Ok(line)
    }
}

/// A challenge as a server writes it.
fn challenge(text: &str) -> Option<[u8; PROOF_BYTES]> {
    let mut bytes = [0; PROOF_BYTES];
    hex::decode(text, &mut bytes).then_some(bytes)
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::protocol::{Envelope, secret::ClusterSecret};

    const TIMEOUT: Duration = Duration::from_secs(20);
    const CHALLENGE: [u8; 32] = [0xa7; 32];

    pub(crate) fn key() -> OperatorKey {
        OperatorKey::new(&ClusterSecret::from_bytes([3; 32]), "syncnet")
    }

    /// What a server answers: to a request's `msg_type` and data, the line's `msg_type` and data.
    pub(crate) type Script = fn(&str, &Fields) -> (&'static str, Value);

    /// A server that lets operators in and then follows a script. Each answer comes after a push.
    pub(crate) fn server(script: Script) -> Target {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                thread::spawn(move || serve(stream, script));
            }
        });
        Target { server_id: Some(format!("at{port}")), host: "127.0.0.1".into(), port }
    }

    fn serve(mut stream: TcpStream, script: Script) {
        let lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let mut is_operator = false;
        for line in lines.map_while(Result::ok) {
            let Envelope { msg_type, data, request_id, .. } = Envelope::parse(line.as_bytes()).unwrap();
            let (answer, fields) = match msg_type.as_str() {
                "operator_challenge" => {
                    ("ack", json!({"for": msg_type, "challenge": hex::encode(&CHALLENGE)}))
                }
                "operator_login" => {
                    is_operator = challenge(data["proof"].as_str().unwrap())
                        .is_some_and(|proof| key().accepts(&CHALLENGE, &proof));
                    match is_operator {
                        true => ("ack", json!({"for": msg_type})),
                        false => refused("bad_credentials", "this is not the cluster's secret"),
                    }
                }
                _ if !is_operator => refused("not_authenticated", "log in first"),
                other => script(other, &data),
            };
            let push =
                json!({"msg_type": "server_list", "data": {"servers": [], "leader_id": null, "term": 1}});
            let answer = json!({"msg_type": answer, "data": fields, "request_id": request_id});
            if stream.write_all(format!("{push}\n{answer}\n").as_bytes()).is_err() {
                return;
            }
        }
    }

    pub(crate) fn refused(code: &str, reason: &str) -> (&'static str, Value) {
        ("nack", json!({"for": "", "code": code, "reason": reason}))
    }

    fn nobody() -> Target {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Target { server_id: Some("gone".into()), host: "127.0.0.1".into(), port }
    }

    #[test]
    fn an_operator_is_let_in_by_the_first_server_that_is_there() {
        let target = server(|msg_type, data| ("ack", json!({"for": msg_type, "echo": data["username"]})));
        let mut session = Session::open(&[nobody(), target], &key(), TIMEOUT).unwrap();
        let answer = session.ask("ban", &json!({"username": "mallory"})).unwrap();
        assert_eq!(answer["echo"], "mallory");
        let error = Session::open(&[nobody()], &key(), TIMEOUT).err().unwrap();
        assert!(error.contains("gone: nothing listens there"), "{error}");
    }

    #[test]
    fn another_secret_is_refused_in_the_servers_words() {
        let other = OperatorKey::new(&ClusterSecret::from_bytes([4; 32]), "syncnet");
        let target = server(|_, _| unreachable!("it must not get so far"));
        let error = Session::open(&[target], &other, TIMEOUT).err().unwrap();
        assert!(error.contains("this is not the cluster's secret"), "{error}");
    }

    #[test]
    fn a_refusal_is_an_error_and_the_session_goes_on() {
        let target = server(|msg_type, _| match msg_type {
            "register" => refused("name_taken", "alice exists already"),
            _ => ("ack", json!({"for": msg_type})),
        });
        let mut session = Session::open(&[target], &key(), TIMEOUT).unwrap();
        let error = session.ask("register", &json!({})).unwrap_err();
        assert_eq!(error, "name_taken: alice exists already");
        session.ask("unban", &json!({})).unwrap();
    }

    #[test]
    fn a_redirect_is_followed_and_circles_are_not() {
        let leader = server(|msg_type, _| ("ack", json!({"for": msg_type, "by": "leader"})));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let follower = Target { port: listener.local_addr().unwrap().port(), ..leader.clone() };
        // The script knows no ports, so the first server is a plain one that sends everybody on.
        let (port, us) = (leader.port, follower.port);
        thread::spawn(move || {
            for number in 0.. {
                let (mut stream, _) = listener.accept().unwrap();
                thread::spawn(move || {
                    let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                    for line in lines.map_while(Result::ok) {
                        let asked = Envelope::parse(line.as_bytes()).unwrap();
                        let to = if number == 0 { port } else { us };
                        let (msg_type, data) = match asked.msg_type.as_str() {
                            "operator_challenge" => ("ack", json!({"challenge": hex::encode(&CHALLENGE)})),
                            "operator_login" => ("ack", json!({})),
                            _ => (
                                "redirect",
                                json!({"server_id": "s", "host": "127.0.0.1", "tcp_port": to, "reason": ""}),
                            ),
                        };
                        let id = asked.request_id;
                        let answer = json!({"msg_type": msg_type, "data": data, "request_id": id});
                        stream.write_all(format!("{answer}\n").as_bytes()).unwrap();
                    }
                });
            }
        });
        let mut session = Session::open(std::slice::from_ref(&follower), &key(), TIMEOUT).unwrap();
        assert_eq!(session.ask("ban", &json!({})).unwrap()["by"], "leader");
        let mut session = Session::open(&[follower], &key(), TIMEOUT).unwrap();
        assert!(session.ask("ban", &json!({})).unwrap_err().contains("circles"));
    }

    #[test]
    fn silence_and_nonsense_are_said() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target { port: silent.local_addr().unwrap().port(), ..nobody() };
        let error = Session::open(&[target], &key(), Duration::from_millis(200)).err().unwrap();
        assert!(error.contains("does not answer in time"), "{error}");
        for bad in ["", "zz", &"a".repeat(63), &"a".repeat(65), &"é".repeat(32)] {
            assert_eq!(challenge(bad), None);
        }
        assert_eq!(challenge(&hex::encode(&CHALLENGE)), Some(CHALLENGE));
    }
}
