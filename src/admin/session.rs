//! A connection that has proven to be an operator's.

use std::{
    thread,
    time::{Duration, Instant},
};

use thiserror::Error;

use crate::{
    admin::{
        line_client::{CallError, LineClient},
        target::Target,
    },
    protocol::{
        Code, Refusal,
        answer::Challenge,
        checked::Digest,
        operator::OperatorKey,
        request::{Answered, OperatorChallenge, OperatorLogin},
    },
};

/// How often a server may send this connection to another.
const REDIRECTS_MAX: usize = 3;

/// Why no server can be asked as an operator.
#[derive(Debug, Error)]
pub enum OpenError {
    /// None of them answers; each with its error.
    #[error("no server can be asked ({})", list(.0))]
    NoServer(Vec<(String, CallError)>),
    /// Its secret, or the name of its cluster, is another one.
    #[error(
        "{server} accepts no operator with this secret: --secret-file must be its cluster's, and the name of the \
        cluster too, which --config has"
    )]
    WrongSecret { server: String },
    /// One of them answers, and does not accept this as an operator.
    #[error("{server}: {source}")]
    Denied { server: String, source: CallError },
}

fn list(tried: &[(String, CallError)]) -> String {
    let tried: Vec<String> = tried.iter().map(|(server, error)| format!("{server}: {error}")).collect();
    tried.join("; ")
}

/// Why a request was not carried out.
#[derive(Debug, Error)]
pub enum AskError {
    /// The cluster said no.
    #[error("{0}")]
    Refused(Refusal),
    /// The server was lost before its answer.
    #[error("{server}: {source}; whether {msg_type} was done is not known")]
    Unknown { server: String, msg_type: &'static str, source: CallError },
    /// The server's answer cannot be understood.
    #[error(transparent)]
    Unreadable(CallError),
    /// It names another server, and that one cannot be asked.
    #[error(transparent)]
    Moved(#[from] OpenError),
    /// The servers redirect to each other again and again.
    #[error("the servers send each other's clients in circles; is there a leader?")]
    Circles,
}

/// A connection that has proven to be an operator's.
pub struct Session {
    client: LineClient,
    target: Target,
    key: OperatorKey,
    timeout: Duration,
}

impl Session {
    /// Connects to the first of `targets` that answers and proves to be an operator's. Each answer may take
    /// `timeout`.
    ///
    /// # Errors
    /// None answers, or one does not accept the proof.
    pub fn open(targets: &[Target], key: &OperatorKey, timeout: Duration) -> Result<Session, OpenError> {
        let mut tried = Vec::new();
        for target in targets {
            let server = target.label();
            match Session::try_open(target.clone(), key.clone(), timeout) {
                Ok(session) => return Ok(session),
                Err(CallError::Refused(refusal)) if refusal.code == Code::BadCredentials => {
                    return Err(OpenError::WrongSecret { server });
                }
                Err(source @ (CallError::Refused(_) | CallError::Unreadable(_))) => {
                    return Err(OpenError::Denied { server, source });
                }
                Err(source) => tried.push((server, source)),
            }
        }
        Err(OpenError::NoServer(tried))
    }

    fn try_open(target: Target, key: OperatorKey, timeout: Duration) -> Result<Session, CallError> {
        let mut client = LineClient::open(&target, timeout)?;
        let Challenge { challenge: Digest(challenge) } = client.ask(OperatorChallenge {})?;
        client.ask(OperatorLogin { proof: Digest(key.proof(&challenge)) })?;
        Ok(Session { client, target, key, timeout })
    }

    /// The server that is asked now.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Asks. Follows redirects to other servers, and tries again after `rate_limited`.
    ///
    /// # Errors
    /// It was not done, or it is not known whether it was.
    pub fn ask<R: Answered + Clone>(&mut self, request: R) -> Result<R::Answer, AskError> {
        let deadline = Instant::now() + self.timeout;
        let mut redirects = 0;
        while redirects <= REDIRECTS_MAX {
            let other = match self.client.ask(request.clone()) {
                Ok(answer) => return Ok(answer),
                Err(CallError::Refused(refusal)) => {
                    let pause = refusal.retry_after_ms.map(Duration::from_millis);
                    match pause.filter(|pause| Instant::now() + *pause < deadline) {
                        Some(pause) => thread::sleep(pause),
                        None => return Err(AskError::Refused(refusal)),
                    }
                    continue;
                }
                Err(source @ CallError::Unreadable(_)) => return Err(AskError::Unreadable(source)),
                Err(source @ (CallError::Lost(_) | CallError::Closed | CallError::Silent)) => {
                    let (server, msg_type) = (self.target.label(), request.into().msg_type());
                    return Err(AskError::Unknown { server, msg_type, source });
                }
                Err(CallError::Elsewhere(other)) => other,
            };
            *self = Session::open(&[other], &self.key, self.timeout)?;
            redirects += 1;
        }
        Err(AskError::Circles)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::{
        io::{BufRead, BufReader, Write},
        net::{TcpListener, TcpStream},
    };

    use clap::Parser;
    use data_encoding::HEXLOWER;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        json as lines,
        protocol::{
            Limits, Request, RequestHead, UserName,
            answer::{AccountName, Either},
            credential::ChosenPassword,
            request::{Ban, Register, Unban},
            secret::ClusterSecret,
        },
    };

    const TIMEOUT: Duration = Duration::from_secs(20);
    const CHALLENGE: [u8; 32] = [0xa7; 32];

    pub(crate) fn key() -> OperatorKey {
        OperatorKey::new(&ClusterSecret::from_bytes([3; 32]), "syncnet")
    }

    /// The answer of a server to a request: the line's `msg_type` and data.
    pub(crate) type Script = fn(&Request) -> (&'static str, Value);

    fn read(line: &str) -> (RequestHead, Request) {
        let (head, request) = lines::read_request(line.as_bytes(), &Limits::default());
        (head, request.unwrap())
    }

    fn user(name: &str) -> UserName {
        UserName::new(name).unwrap()
    }

    fn ban(name: &str) -> Ban {
        Ban { room: None, username: user(name), seconds: None }
    }

    /// A server that lets operators in and then follows a script. Each answer comes after a push.
    pub(crate) fn server(script: Script) -> Target {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                thread::spawn(move || serve(stream, script));
            }
        });
        Target { server_id: Some(format!("at{port}")), host: "127.0.0.1".into(), port, trust: None }
    }

    fn serve(mut stream: TcpStream, script: Script) {
        let lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let mut is_operator = false;
        for line in lines.map_while(Result::ok) {
            let (RequestHead { msg_type, request_id, .. }, request) = read(&line);
            let (answer, mut fields) = match &request {
                Request::OperatorChallenge(_) => ("ack", json!({"challenge": HEXLOWER.encode(&CHALLENGE)})),
                Request::OperatorLogin(login) => {
                    is_operator = key().accepts(&CHALLENGE, &login.proof.0);
                    if is_operator {
                        ("ack", json!({}))
                    } else {
                        refused("bad_credentials", "this is not the cluster's secret")
                    }
                }
                _ if !is_operator => refused("not_authenticated", "log in first"),
                other => script(other),
            };
            fields["for"] = json!(msg_type);
            let push =
                json!({"msg_type": "server_list", "data": {"servers": [], "leader_id": null, "term": 1}});
            let answer = json!({"msg_type": answer, "data": fields, "request_id": request_id});
            if stream.write_all(format!("{push}\n{answer}\n").as_bytes()).is_err() {
                return;
            }
        }
    }

    /// A session with a server that answers by `script`.
    pub(crate) fn session(script: Script) -> Session {
        Session::open(&[server(script)], &key(), TIMEOUT).unwrap()
    }

    #[derive(Parser)]
    struct Cli<A: clap::Args> {
        #[command(flatten)]
        args: A,
    }

    /// Reads `words` as those behind the name of a command.
    pub(crate) fn parse<A: clap::Args>(words: &[&str]) -> Result<A, clap::Error> {
        Cli::try_parse_from([&["command"], words].concat()).map(|cli| cli.args)
    }

    pub(crate) fn refused(code: &str, reason: &str) -> (&'static str, Value) {
        ("nack", json!({"code": code, "reason": reason}))
    }

    fn nobody() -> Target {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Target { server_id: Some("gone".into()), host: "127.0.0.1".into(), port, trust: None }
    }

    #[test]
    fn an_operator_is_let_in_by_the_first_server_that_is_there() {
        let target = server(|request| {
            let Request::Ban(ban) = request else { panic!("{request:?}") };
            ("ack", json!({"username": ban.username}))
        });
        let mut session = Session::open(&[nobody(), target], &key(), TIMEOUT).unwrap();
        let answer = session.ask(ban("mallory")).unwrap();
        assert_eq!(answer, Either::That(AccountName { username: user("mallory") }));
        let error = Session::open(&[nobody()], &key(), TIMEOUT).err().unwrap().to_string();
        assert!(error.contains("gone: nothing listens there"), "{error}");
    }

    #[test]
    fn another_secret_is_refused_in_the_servers_words() {
        let other = OperatorKey::new(&ClusterSecret::from_bytes([4; 32]), "syncnet");
        let target = server(|_| unreachable!("it must not get so far"));
        let error = Session::open(&[target], &other, TIMEOUT).err().unwrap().to_string();
        assert!(error.contains("accepts no operator with this secret"), "{error}");
    }

    #[test]
    fn a_refusal_is_an_error_and_the_session_goes_on() {
        let target = server(|request| match request {
            Request::Register(_) => refused("name_taken", "alice exists already"),
            _ => ("ack", json!({"username": "alice"})),
        });
        let mut session = Session::open(&[target], &key(), TIMEOUT).unwrap();
        let password = ChosenPassword::new("long enough").unwrap();
        let register = Register { username: user("alice"), password, admin: false };
        let error = session.ask(register).unwrap_err();
        assert_eq!(error.to_string(), "name_taken: alice exists already");
        session.ask(Unban { room: None, username: user("alice") }).unwrap();
    }

    #[test]
    fn a_redirect_is_followed_and_circles_are_not() {
        let leader = server(|_| ("ack", json!({"username": "leader"})));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let follower = Target { port: listener.local_addr().unwrap().port(), ..leader.clone() };
        // The script knows no ports, so the first server is a plain one that redirects every client.
        let (port, us) = (leader.port, follower.port);
        thread::spawn(move || {
            for number in 0.. {
                let (mut stream, _) = listener.accept().unwrap();
                thread::spawn(move || {
                    let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                    for line in lines.map_while(Result::ok) {
                        let (head, request) = read(&line);
                        let to = if number == 0 { port } else { us };
                        let (msg_type, mut data) = match request {
                            Request::OperatorChallenge(_) => {
                                ("ack", json!({"challenge": HEXLOWER.encode(&CHALLENGE)}))
                            }
                            Request::OperatorLogin(_) => ("ack", json!({})),
                            _ => (
                                "redirect",
                                json!({"server_id": "s", "host": "127.0.0.1", "tcp_port": to, "reason": ""}),
                            ),
                        };
                        data["for"] = json!(head.msg_type);
                        let id = head.request_id;
                        let answer = json!({"msg_type": msg_type, "data": data, "request_id": id});
                        stream.write_all(format!("{answer}\n").as_bytes()).unwrap();
                    }
                });
            }
        });
        let mut session = Session::open(std::slice::from_ref(&follower), &key(), TIMEOUT).unwrap();
        let answer = session.ask(ban("mallory")).unwrap();
        assert_eq!(answer, Either::That(AccountName { username: user("leader") }));
        let mut session = Session::open(&[follower], &key(), TIMEOUT).unwrap();
        assert!(session.ask(ban("mallory")).unwrap_err().to_string().contains("circles"));
    }

    #[test]
    fn silence_and_nonsense_are_said() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target { port: silent.local_addr().unwrap().port(), ..nobody() };
        let error = Session::open(&[target], &key(), Duration::from_millis(200)).err().unwrap().to_string();
        assert!(error.contains("does not answer in time"), "{error}");
    }
}
