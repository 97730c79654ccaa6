//! The clients of the cluster: what they say, what they hear, and the threads of their connections.

use core::net::IpAddr;
use std::collections::VecDeque;

use data_encoding::HEXLOWER;
use serde_json::Value;

use super::{
    super::{JOIN, chat},
    Cluster,
};
use crate::{
    fanout::ConnId,
    json,
    protocol::{
        Code, Refusal, credential::Job, operator::OperatorKey, request::Request, secret::ClusterSecret,
    },
    replica::io::Input,
    server::credentials::{Costs, Hasher},
};

/// Passwords cost almost nothing here, and random numbers are a counter.
pub(super) fn hasher() -> Hasher {
    let costs = Costs { memory_kib: 8, iterations: 1, scram_iterations: 1 };
    let mut count = 0_u64;
    let chance = Box::new(move |bytes: &mut [u8]| {
        count += 1;
        bytes.fill(0);
        bytes[..8].copy_from_slice(&count.to_be_bytes());
    });
    Hasher::new(costs, Some(operator_key()), chance)
}

/// The key by which an operator of this cluster proves to be one.
pub fn operator_key() -> OperatorKey {
    OperatorKey::new(&ClusterSecret::from_bytes([7; 32]), "tests")
}

/// The thread of a connection: it hands over what its client sends, and stops behind what must be answered
/// first.
#[derive(Default)]
pub(super) struct ClientThread {
    pub is_waiting: bool,
    unread: VecDeque<Input>,
}

impl ClientThread {
    fn next(&mut self) -> Option<Input> {
        let input = self.unread.pop_front_if(|_| !self.is_waiting)?;
        if let Input::Request { request, .. } = &input {
            self.is_waiting = request.as_ref().is_ok_and(Request::is_awaited);
        }
        Some(input)
    }
}

impl Cluster {
    /// Three servers, the last one leads; alice is in the lobby, on connection 1 of server `number`. All is
    /// written, and she has heard of it.
    pub fn with_alice_at(number: usize) -> Self {
        Cluster::with_messages_at(number, &[])
    }

    /// The same, and alice has said this.
    pub fn with_messages_at(number: usize, texts: &[&str]) -> Self {
        let mut cluster = Cluster::led_by_the_last(3);
        cluster.say(number, 1, &[JOIN]);
        for text in texts {
            cluster.say(number, 1, &[&chat(text)]);
        }
        cluster.run_ms(400);
        cluster.heard(number, 1);
        cluster
    }

    /// Opens a connection, if it is not open, and sends its lines, all at once.
    pub fn say(&mut self, number: usize, conn: u64, lines: &[&str]) {
        self.say_from(number, conn, None, lines);
    }

    /// The same for a connection from an address.
    pub fn say_from(&mut self, number: usize, conn: u64, addr: Option<IpAddr>, lines: &[&str]) {
        let conn = ConnId(conn);
        if !self.servers[&number].heard.contains_key(&conn) {
            self.servers.get_mut(&number).expect("it runs").heard.insert(conn, Vec::new());
            self.input(number, Input::Opened { conn, addr, reserved: false });
        }
        for line in lines {
            let (head, request) = json::read_request(line.as_bytes(), &self.limits);
            self.send(number, conn, Input::Request { conn, head, request, bytes: line.len() });
        }
    }

    /// The client hangs up. Its thread notices when it reads again.
    pub fn hang_up(&mut self, number: usize, conn: u64) {
        let conn = ConnId(conn);
        self.send(number, conn, Input::Closed { conn });
    }

    fn send(&mut self, number: usize, conn: ConnId, input: Input) {
        let server = self.servers.get_mut(&number).expect("it runs");
        server.threads.entry(conn).or_default().unread.push_back(input);
        self.read(number, conn);
    }

    /// The thread of a connection reads, unless it waits.
    pub(super) fn read(&mut self, number: usize, conn: ConnId) {
        let next = |cluster: &mut Cluster| cluster.servers.get_mut(&number)?.threads.get_mut(&conn)?.next();
        while let Some(input) = next(self) {
            self.input(number, input);
        }
    }

    /// Lets the threads of connections do the jobs that wait, and go on.
    pub fn hash_all(&mut self) {
        for (number, conn, job) in self.unhashed.take().into_iter().flatten() {
            self.hash(number, conn, job);
        }
        self.settle();
    }

    /// Refuses the jobs that wait, as if too many did.
    pub fn refuse_to_hash(&mut self) {
        for (number, conn, _) in self.unhashed.take().into_iter().flatten() {
            let refusal = Refusal::new(Code::Overloaded, "too many passwords wait to be checked");
            self.input(number, Input::Credential { conn, done: Err(refusal.retry_after(70)) });
        }
        self.settle();
    }

    pub(super) fn hash(&mut self, number: usize, conn: ConnId, job: Job) {
        self.hashed += usize::from(job.hashes());
        let done = self.hasher.work(job);
        self.input(number, Input::Credential { conn, done });
    }

    /// Opens a connection in a place that is reserved for operators and administrators.
    pub fn open_reserved(&mut self, number: usize, conn: u64) {
        let conn = ConnId(conn);
        self.servers.get_mut(&number).expect("it runs").heard.insert(conn, Vec::new());
        self.input(number, Input::Opened { conn, addr: None, reserved: true });
    }

    /// Proves that a connection is an operator's.
    pub fn become_operator(&mut self, number: usize, conn: u64) {
        self.say(number, conn, &[r#"{"msg_type":"operator_challenge"}"#]);
        self.run_ms(40);
        let heard = self.heard(number, conn);
        let mut challenge = [0; 32];
        let shown = heard[0]["data"]["challenge"].as_str().expect("a challenge");
        HEXLOWER.decode_mut(shown.as_bytes(), &mut challenge).unwrap();
        let proof = HEXLOWER.encode(&operator_key().proof(&challenge));
        let line = format!(r#"{{"msg_type":"operator_login","data":{{"proof":"{proof}"}}}}"#);
        self.say(number, conn, &[&line]);
        self.run_ms(40);
        assert_eq!(self.heard(number, conn)[0]["msg_type"], "ack");
    }

    /// What the connection got since the last call, without the lists of servers.
    pub fn heard(&mut self, number: usize, conn: u64) -> Vec<Value> {
        let heard = self.servers.get_mut(&number).expect("it runs").heard.get_mut(&ConnId(conn));
        let mut heard = std::mem::take(heard.expect("the connection was opened"));
        heard.retain(|line| line["msg_type"] != "server_list");
        heard
    }

    /// The acknowledgements and refusals among what was heard.
    pub fn answers(&mut self, number: usize, conn: u64) -> Vec<Value> {
        let mut heard = self.heard(number, conn);
        heard.retain(|line| line["msg_type"] == "ack" || line["msg_type"] == "nack");
        heard
    }

    /// A number that no connection has had.
    pub fn new_conn(&self) -> u64 {
        let conns = self.servers.values().filter_map(|server| server.heard.keys().next_back());
        conns.max().map_or(1, |conn| conn.0 + 1)
    }

    /// Whether the thread of a connection waits for nothing but its client.
    pub fn is_read_from(&self, number: usize, conn: u64) -> bool {
        self.servers[&number].threads.get(&ConnId(conn)).is_none_or(|thread| !thread.is_waiting)
    }

    pub fn is_closed(&self, number: usize, conn: u64) -> bool {
        self.servers[&number].closed.contains(&ConnId(conn))
    }
}
