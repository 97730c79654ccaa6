//! Checks what must always hold: at regular times during a run, and all of it at the end.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use syncnet::{
    disk::{Storage, StorageError},
    protocol::peer::NodeId,
};

use crate::{
    checker::{Point, Verdict, Violation},
    cluster::{Cluster, Event, Tally},
    company::is_private,
    device::Device,
    queue::{MS, Micros, SECOND},
    rude::{KEPT_MAX, Step, is_forgetful, keeps_days},
    scenario::{CALM_US, LEADER_US, SAFETY_US, SETTLE_US},
};

/// The time between two checks.
pub const AUDIT_US: Micros = 100 * MS;
/// How long a server without a majority may lead: its lease, and a slow disk's syncs.
const ALONE_US: Micros = 2 * SECOND;

/// In this time a backlog must become smaller once all should have settled. A server that takes few messages
/// at a time and has a slow disk needs longer for it than the time that all others are given.
const LESS_US: Micros = 3 * SECOND;
/// How long the reader at the end waits after a refusal.
const PATIENCE_US: Micros = 100 * MS;
/// How long it waits for an answer.
const ANSWER_US: Micros = 3 * SECOND;

/// Rows whose key begins with less are not chat state (`disk::Row`).
const CHAT_ROWS: u8 = 16;

/// What is kept between two checks.
pub struct Audit {
    /// The last leader.
    leader: Option<usize>,
    /// Since when a server has had no majority.
    alone_since: Vec<Option<Micros>>,
    /// The count of acknowledged messages when all was healed.
    acked_at_heal: u64,
    /// When each server last led or followed with nothing missing.
    pub settled_at: Option<Micros>,
    /// The rooms that forget, as they were read first at the end.
    forgetful: BTreeMap<String, Vec<Value>>,
}

impl Audit {
    pub fn new(servers: usize) -> Audit {
        Audit {
            leader: None,
            alone_since: vec![None; servers],
            acked_at_heal: 0,
            settled_at: None,
            forgetful: BTreeMap::new(),
        }
    }

    /// A server has become the leader.
    pub fn led(&mut self, server: usize, tally: &mut Tally) {
        tally.leader_changes += u64::from(self.leader.is_some());
        self.leader = Some(server);
    }
}

impl Cluster {
    /// The check that is due every `AUDIT_US`.
    pub fn look(&mut self) -> Verdict {
        self.queue.schedule(self.now + AUDIT_US, Event::Audit);
        for server in 0..self.hosts.len() {
            self.look_for_lonely_leader(server)?;
        }
        if self.now <= SAFETY_US {
            self.audit.acked_at_heal = self.checker.chats_acked();
        } else {
            self.look_for_life()?;
        }
        Ok(())
    }

    /// A leader without a majority steps down in time.
    fn look_for_lonely_leader(&mut self, server: usize) -> Verdict {
        let is_reached = |peer: &usize| {
            *peer == server
                || self.is_moving(*peer)
                    && self.network.tcp_open(server, *peer)
                    && self.network.tcp_open(*peer, server)
        };
        let reached: BTreeSet<_> = (0..self.hosts.len())
            .filter(is_reached)
            .filter_map(|peer| self.hosts[peer].disk.borrow().known.node_id)
            .collect();
        let conf = self.hosts[server].disk.borrow().known.applied.conf.clone();
        let lacks = |voters: &[NodeId]| {
            2 * voters.iter().filter(|node| reached.contains(node)).count() <= voters.len()
        };
        let joint = &conf.voters_outgoing;
        let is_alone = self.is_moving(server)
            && !conf.voters.is_empty()
            && (lacks(&conf.voters) || !joint.is_empty() && lacks(joint));
        if !is_alone {
            self.audit.alone_since[server] = None;
            return Ok(());
        }
        let since = *self.audit.alone_since[server].get_or_insert(self.now);
        let leads = self.hosts[server].process.as_ref().is_some_and(|process| process.standing.leads);
        if leads && self.now > since + ALONE_US {
            let text =
                format!("{} still leads {} ms after it was left alone", server + 1, (self.now - since) / MS);
            return Err(Violation::new(Point::OneLeader, text));
        }
        Ok(())
    }

    /// Once all is healed there must be a leader that acknowledges, in time; later everything settles.
    fn look_for_life(&mut self) -> Verdict {
        let deadline = SAFETY_US + LEADER_US;
        if self.now >= deadline && self.now < deadline + AUDIT_US {
            if self.leader().is_none() {
                return Err(Violation::new(Point::Alive, self.described("no server leads")));
            }
            let waits = self.devices.iter().any(|device| !device.is_idle());
            if waits && self.checker.chats_acked() == self.audit.acked_at_heal {
                return Err(Violation::new(Point::Alive, self.described("nothing is acknowledged")));
            }
        }
        if self.now >= SAFETY_US + CALM_US {
            self.is_lively = false;
            if self.unsettled().is_some() {
                self.audit.settled_at = None;
            } else {
                self.audit.settled_at.get_or_insert(self.now);
            }
        }
        Ok(())
    }

    /// Why the cluster is not settled yet, if it is not.
    fn unsettled(&self) -> Option<String> {
        if let Some(why) = self.unsettled_servers() {
            return Some(why);
        }
        let members = self.members();
        let highest = self.due_leader();
        if self.leader() != highest {
            let shown = |server: Option<usize>| server.map(|server| server + 1);
            return Some(format!("server {:?} leads, not {:?}", shown(self.leader()), shown(highest)));
        }
        for (number, device) in self.devices.iter().enumerate() {
            if !device.is_idle() {
                return Some(format!("device {number} waits: {}", device.waits_for()));
            }
        }
        let known = |server: &usize| self.hosts[*server].disk.borrow().known.clone();
        let applied: BTreeSet<u64> = members.iter().map(|server| known(server).applied.index).collect();
        if applied.len() > 1 {
            return Some(format!("servers have applied {applied:?}"));
        }
        let nodes: BTreeSet<_> = members.iter().filter_map(|server| known(server).node_id).collect();
        for server in &members {
            let conf = known(server).applied.conf;
            let counting: BTreeSet<_> = conf.voters.iter().copied().collect();
            if counting != nodes || !conf.voters_outgoing.is_empty() {
                return Some(format!(
                    "{conf:?} count, says server {}, where {nodes:?} are there",
                    server + 1
                ));
            }
        }
        None
    }

    /// The server that should lead: the highest in the ring, if it is not drained.
    fn due_leader(&self) -> Option<usize> {
        let members = self.members();
        let directory = self.operator.as_ref().map(|operator| &operator.directory);
        let is_fit =
            |server: &usize| directory.is_none_or(|directory| directory.should_lead(&self.hosts[*server].id));
        let fit = members.iter().copied().filter(is_fit).collect::<Vec<_>>();
        let fit = if fit.is_empty() { members } else { fit };
        fit.into_iter().max_by_key(|server| self.scenario.positions[*server])
    }

    fn described(&self, what: &str) -> String {
        let servers = self.hosts.iter().enumerate().map(|(number, host)| {
            let known = host.disk.borrow().known.clone();
            let role = host.process.as_ref().map(|process| process.replica.role());
            let linked = (0..self.hosts.len()).filter(|peer| self.links.generation(number, *peer).is_some());
            let linked: Vec<_> = linked.map(|peer| peer + 1).collect();
            let servers = host.process.as_ref().map(|process| {
                let servers = process.replica.servers();
                let ids: Vec<_> = servers.iter().map(|entry| entry.server_id.to_string()).collect();
                format!("knows {} of entry {}", ids.join(", "), servers.version)
            });
            format!("\n  server{}: {role:?} {servers:?}, linked to {linked:?}, {known:?}", number + 1)
        });
        format!("{what}{}", servers.collect::<String>())
    }

    /// The whole run: faults, healing, calm, and the reading of everything.
    pub fn run(&mut self) -> Verdict {
        self.run_until(SAFETY_US + CALM_US)?;
        self.hosts.iter().for_each(|host| host.disk.borrow().write_at_once());
        // Messages settle; the run still goes on to its full length.
        self.run_until(SAFETY_US + CALM_US + SETTLE_US)?;
        self.work_off()?;
        self.tally.acked = self.checker.chats_acked();
        if let Some(what) = self.unsettled() {
            return Err(Violation::new(Point::Alive, self.described(&what)));
        }
        self.compare_disks()?;
        self.read_everything()?;
        self.judge_company()?;
        self.judge_changes()?;
        self.judge_upgrade()?;
        self.checker.finish()
    }

    /// Lets the devices work off their unacknowledged messages, for as long as these become fewer: nothing
    /// new is said.
    fn work_off(&mut self) -> Verdict {
        let mut waiting = self.unacknowledged();
        if waiting == 0 {
            return Ok(());
        }
        loop {
            self.run_until(self.now + LESS_US)?;
            let before = std::mem::replace(&mut waiting, self.unacknowledged());
            if waiting >= before {
                // With nothing left, this was the time for the followers to hear of it.
                return Ok(());
            }
        }
    }

    /// Messages that wait for their acknowledgement.
    fn unacknowledged(&self) -> usize {
        self.devices.iter().map(Device::unacknowledged).sum()
    }

    /// All disks hold the same state and the same events.
    fn compare_disks(&mut self) -> Verdict {
        let mut first: Option<Vec<(Vec<u8>, Vec<u8>)>> = None;
        for server in self.members() {
            for (room, events) in self.rooms_on_disk(server)? {
                self.judge_room(server, &room, &events)?;
            }
            let Some(process) = &self.hosts[server].process else { continue };
            let mut rows = process.replica.storage().load().map_err(unreadable(server))?.rows;
            rows.retain(|(key, _)| key.first().is_some_and(|owner| *owner >= CHAT_ROWS));
            let first = first.get_or_insert_with(|| rows.clone());
            if let Some((one, other)) = first.iter().zip(&rows).find(|(one, other)| one != other) {
                let text = format!("servers 1 and {} hold {one:?} and {other:?}", server + 1);
                return Err(Violation::new(Point::OneOrder, text));
            }
        }
        Ok(())
    }

    /// A room as a server has it at the end. A room with retention has no more events than it keeps, without
    /// a hole, and the same on all servers.
    fn judge_room(&mut self, server: usize, room: &str, events: &[Value]) -> Verdict {
        if !is_forgetful(room) {
            return self.checker.final_read(server, room, events);
        }
        let is_new = !self.audit.forgetful.contains_key(room);
        let first = self.audit.forgetful.entry(room.to_owned()).or_insert_with(|| events.to_vec());
        if first != events {
            let text = format!("server {} has another {room} than another place", server + 1);
            return Err(Violation::new(Point::OneOrder, text));
        }
        let seqs: Vec<u64> = events.iter().filter_map(|event| event["seq"].as_u64()).collect();
        let is_dense = seqs.windows(2).all(|pair| pair[1] == pair[0] + 1);
        let keeps_right = match keeps_days(room) {
            true => seqs.first().is_none_or(|first| *first == 1),
            false => events.len() as u64 <= KEPT_MAX,
        };
        if !is_dense || !keeps_right {
            let text = format!("server {} keeps {seqs:?} of {room}", server + 1);
            return Err(Violation::new(Point::OneOrder, text));
        }
        if is_new {
            self.tally.forgotten += seqs.first().map_or(0, |first| first - 1);
        }
        Ok(())
    }

    /// The rooms that have events, by name.
    pub fn rooms_on_disk(&self, server: usize) -> Result<Vec<(String, Vec<Value>)>, Violation> {
        let ids: BTreeSet<_> =
            self.hosts.iter().flat_map(|host| host.disk.borrow().rooms().clone()).collect();
        let mut rooms = Vec::new();
        for id in ids {
            let rows = self.hosts[server].disk.borrow().events(id).map_err(unreadable(server))?;
            let events: Vec<Value> =
                rows.iter().map(|row| serde_json::from_str(row.json.get()).unwrap_or_default()).collect();
            if let Some(name) = events.first().and_then(|event| event["room"].as_str()) {
                rooms.push((name.to_owned(), events));
            }
        }
        Ok(rooms)
    }

    /// A reader asks every server for every room, page by page, as a client would.
    fn read_everything(&mut self) -> Verdict {
        let members = self.members();
        let rooms = self.rooms_on_disk(members[0])?.into_iter().map(|(room, _)| room);
        let rooms: Vec<String> = rooms.filter(|room| !is_private(room)).collect();
        let (forgetful, others): (Vec<_>, Vec<_>) = rooms.into_iter().partition(|room| is_forgetful(room));
        for server in members {
            self.read_rooms(server, &others, true)?;
            if !forgetful.is_empty() {
                self.read_rooms(server, &forgetful, false)?;
            }
        }
        Ok(())
    }

    fn read_rooms(&mut self, server: usize, rooms: &[String], is_judged: bool) -> Verdict {
        let steps = vec![reading("ping", json!({"barrier": true}))];
        let visitor = self.receive_visitor(server, steps, true);
        if let Some(visitor) = self.visitors.get_mut(&visitor) {
            visitor.is_judged = is_judged;
        }
        self.hear(visitor, "pong")?;
        for room in rooms {
            let events = self.read_room(visitor, room)?;
            self.judge_room(server, room, &events)?;
        }
        self.visitors.remove(&visitor);
        Ok(())
    }

    fn read_room(&mut self, visitor: u64, room: &str) -> Result<Vec<Value>, Violation> {
        let mut events: Vec<Value> = Vec::new();
        loop {
            let after = events.last().and_then(|event| event["seq"].as_u64()).unwrap_or(0);
            let page = json!({"room": room, "after": after, "limit": 500});
            self.visit_with(visitor, reading("history", page));
            let answer = self.hear(visitor, "history")?;
            let data = &answer["data"];
            if answer["msg_type"] == "nack" {
                // It asks faster than its rate limit.
                self.run_until(self.now + PATIENCE_US)?;
                continue;
            }
            events.extend(data["events"].as_array().into_iter().flatten().cloned());
            if data["more"] != true {
                return Ok(events);
            }
        }
    }

    /// A new client sends a request, and is answered.
    pub fn meet(&mut self, server: usize, msg_type: &str, data: Value) -> Result<(u64, Value), Violation> {
        let visitor = self.receive_visitor(server, vec![reading(msg_type, data)], true);
        let answer = match msg_type {
            "login" => "ack",
            "ping" => "pong",
            other => other,
        };
        Ok((visitor, self.hear(visitor, answer)?))
    }

    /// Sends a further request on the connection; again if that was too fast.
    pub fn converse(&mut self, visitor: u64, msg_type: &str, data: Value) -> Result<Value, Violation> {
        loop {
            self.visit_with(visitor, reading(msg_type, data.clone()));
            let heard = self.hear(visitor, msg_type)?;
            if heard["data"]["code"] != "rate_limited" {
                return Ok(heard);
            }
            self.run_until(self.now + PATIENCE_US)?;
        }
    }

    /// Waits until a visitor hears this answer, or a refusal.
    fn hear(&mut self, visitor: u64, msg_type: &str) -> Result<Value, Violation> {
        let deadline = self.now + ANSWER_US;
        loop {
            self.run_until(self.now + MS)?;
            let heard = self.visitors.get_mut(&visitor).and_then(|visitor| visitor.heard.as_mut());
            for line in heard.map(std::mem::take).unwrap_or_default() {
                let line: Value = serde_json::from_slice(&line).unwrap_or_default();
                if line["msg_type"] == msg_type || line["msg_type"] == "nack" {
                    return Ok(line);
                }
            }
            if self.now > deadline {
                let text = self.described(&format!("the reader waits for a {msg_type}"));
                return Err(Violation::new(Point::Alive, text));
            }
        }
    }
}

/// The violation of a disk that cannot be read.
fn unreadable(server: usize) -> impl Fn(StorageError) -> Violation {
    move |error| Violation::new(Point::Durable, format!("server {}: {error}", server + 1))
}

/// A request of the reader at the end.
fn reading(msg_type: &str, data: Value) -> Step {
    let mut line = json!({"msg_type": msg_type, "sender_id": "reader", "data": data}).to_string();
    line.push('\n');
    Step::Line(line.into_bytes())
}
