//! Peer links and datagrams between the servers.

use std::rc::Rc;

use syncnet::{
    election::{self, membership::LinkEvent},
    protocol::{
        ServerId,
        datagram::{Datagram, Run},
        peer::{self, PeerMessage, RaftMessage},
    },
    replica::io::Input,
};

use crate::{
    checker::Verdict,
    cluster::{Cluster, Event, ServerEvent},
    links::{Cargo, Delivery},
    queue::{MS, Micros},
};

/// How often a pair of servers checks whether it needs a link.
const DIAL_US: Micros = 100 * MS;

/// The numbers of the consensus messages that promise something.
const APPEND_RESPONSE: u8 = 2;
const VOTE_REQUEST: u8 = 3;
const VOTE_RESPONSE: u8 = 4;

impl Cluster {
    /// The number of the server with this id.
    pub fn number_of(&self, id: &ServerId) -> usize {
        self.hosts.iter().position(|host| host.id == *id).expect("servers speak only to configured servers")
    }

    /// Makes a link between `a` and `b` if there is none and both can, and checks again later.
    pub fn dial(&mut self, a: usize, b: usize) {
        self.queue.schedule(self.now + DIAL_US, Event::Dial { a, b });
        self.try_link(a, b);
    }

    fn try_link(&mut self, a: usize, b: usize) {
        let is_open = self.network.tcp_open(a, b) && self.network.tcp_open(b, a);
        if !is_open || !self.hosts[a].has_power || !self.hosts[b].has_power || self.links.stands(a, b) {
            return;
        }
        for (server, peer) in [(a, b), (b, a)] {
            if self.is_moving(server) && !self.is_running(peer) && self.knows(server, peer) {
                let at = self.now + 2 * self.network.delay();
                self.schedule_at(at, server, ServerEvent::LinkRefused { peer });
            }
        }
        if !self.is_moving(a) || !self.is_moving(b) || self.links.is_making(a, b, self.now) {
            return;
        }
        if !self.should_link(a, b) {
            return;
        }
        let generation = self.links.make(a, b, self.now);
        for (server, peer) in [(a, b), (b, a)] {
            let run = Run::from(&self.process(peer).replica.node().data_mark());
            let at = self.now + 3 * self.network.delay();
            self.schedule_at(at, server, ServerEvent::LinkUp { peer, generation, run });
        }
    }

    pub fn link_up(&mut self, server: usize, peer: usize, generation: u64, run: Run) {
        let id = self.hosts[peer].id.clone();
        if !self.knows(server, peer) {
            // It was one of them when the link was begun.
            let at = self.now + 500 * MS;
            return self.schedule_at(at, peer, ServerEvent::LinkDown { peer: server, generation });
        }
        if self.links.generation(server, peer).is_some() {
            self.unlink(server, peer);
        }
        self.links.up(self.now, server, peer, generation);
        self.process(server).sealer.met(&id, run);
        self.input(server, Input::PeerUp(id));
        self.link_event(server, peer, LinkEvent::Up);
    }

    pub fn link_down(&mut self, server: usize, peer: usize, generation: u64) {
        if self.links.generation(server, peer) != Some(generation) {
            return;
        }
        self.unlink(server, peer);
        self.link_event(server, peer, LinkEvent::Lost);
        // The real link dials again at once, and so learns whether the port still answers.
        self.try_link(server.min(peer), server.max(peer));
    }

    fn unlink(&mut self, server: usize, peer: usize) {
        self.links.down(server, peer);
        let id = self.hosts[peer].id.clone();
        if self.links.end_snapshot(server, peer) {
            self.input(server, Input::SnapshotSent { to: id.clone(), ok: false });
        }
        self.input(server, Input::PeerDown(id));
    }

    pub fn link_event(&mut self, server: usize, peer: usize, event: LinkEvent) {
        let now_ms = self.hosts[server].mono_ms(self.now);
        let id = self.hosts[peer].id.clone();
        self.process(server).membership.on_link(now_ms, &id, event);
        self.tell_view(server, false);
    }

    /// The process of `server` is gone. Its own ends go with it. The other ends hear of it soon if the
    /// machine runs and can reach them, else by a timeout.
    pub fn lose_links(&mut self, server: usize, is_told: bool) {
        for peer in (0..self.hosts.len()).filter(|peer| *peer != server) {
            self.links.down(server, peer);
            self.links.end_snapshot(server, peer);
            if let Some(generation) = self.links.generation(peer, server) {
                let after = if is_told && self.network.tcp_open(server, peer) {
                    self.network.delay()
                } else {
                    self.random.between(1_000, 4_000) * MS
                };
                self.schedule_at(self.now + after, peer, ServerEvent::LinkDown { peer: server, generation });
            }
        }
    }

    /// A link is reset, or its ends time out.
    pub fn reset_link(&mut self, a: usize, b: usize, patience: Micros) {
        for (server, peer) in [(a, b), (b, a)] {
            if let Some(generation) = self.links.generation(server, peer) {
                let at = self.now + self.random.below(patience + 1) + self.network.delay();
                self.schedule_at(at, server, ServerEvent::LinkDown { peer, generation });
            }
        }
    }

    /// Messages that were held back between two servers go on.
    pub fn release_links(&mut self) {
        for from in 0..self.hosts.len() {
            for to in (0..self.hosts.len()).filter(|to| *to != from) {
                if self.network.tcp_open(from, to) {
                    for delivery in self.links.release(self.now, &mut self.network, from, to) {
                        self.deliver(delivery);
                    }
                }
            }
        }
    }

    pub fn say_to_peer(&mut self, server: usize, to: &ServerId, message: PeerMessage) -> Verdict {
        let peer = self.number_of(to);
        if let PeerMessage::Raft(raft) = &message {
            self.judge_promise(server, raft)?;
        }
        if self.trace.is_printed() {
            let text = format!("{message:?}");
            let shown = text.chars().take(300).collect::<String>();
            self.trace.say(self.now, || format!("{} -> {}: {shown}", server + 1, peer + 1));
        }
        self.ship(server, peer, Cargo::Message(Rc::new(message)));
        Ok(())
    }

    /// A message to a peer may promise a vote or synced entries: that must be true now.
    fn judge_promise(&mut self, server: usize, raft: &RaftMessage) -> Verdict {
        match raft.kind {
            APPEND_RESPONSE if !raft.reject => self.checker.holds(server, raft.from.0, raft.index),
            VOTE_REQUEST => self.checker.voted(server, raft.from.0, raft.term, raft.from.0),
            VOTE_RESPONSE if !raft.reject => self.checker.voted(server, raft.from.0, raft.term, raft.to.0),
            _ => Ok(()),
        }
    }

    /// Sends something over the link, which may be gone.
    pub fn ship(&mut self, server: usize, peer: usize, cargo: Cargo) {
        let is_snapshot = matches!(cargo, Cargo::Snapshot(..));
        if is_snapshot && self.links.generation(server, peer).is_none() {
            let to = self.hosts[peer].id.clone();
            self.input(server, Input::SnapshotSent { to, ok: false });
            return;
        }
        if is_snapshot {
            self.links.begin_snapshot(server, peer);
        }
        if let Some(delivery) = self.links.send(self.now, &mut self.network, server, peer, cargo) {
            self.deliver(delivery);
        }
    }

    fn deliver(&mut self, delivery: Delivery) {
        let Delivery { at, to, from, generation, cargo } = delivery;
        self.schedule_at(at, to, ServerEvent::Link { peer: from, generation, cargo });
    }

    pub fn over_link(&mut self, server: usize, peer: usize, generation: u64, cargo: Cargo) {
        if self.links.generation(server, peer) != Some(generation) {
            return;
        }
        let from = self.hosts[peer].id.clone();
        match cargo {
            Cargo::Message(message) => {
                let bytes = peer::encode(&message);
                self.trace.step(self.now, "peer", (server * 8 + peer) as u64, &bytes);
                let message = Rc::unwrap_or_clone(message);
                self.input(server, Input::Peer { from, message });
            }
            Cargo::Snapshot(head, bytes) => {
                self.trace.step(self.now, "snapshot", (server * 8 + peer) as u64, &bytes);
                self.trace.say(self.now, || format!("{} -> {}: snapshot {head:?}", peer + 1, server + 1));
                self.tally.snapshots += 1;
                let content = Box::new(std::io::Cursor::new(Rc::unwrap_or_clone(bytes)));
                self.input(server, Input::SnapshotReceived { from, head, content });
                if self.links.end_snapshot(peer, server) {
                    let at = self.now + self.network.delay();
                    self.schedule_at(at, peer, ServerEvent::SnapshotSent { peer: server, generation });
                }
            }
        }
    }

    /// Sends the same datagram to every other server.
    pub fn broadcast(&mut self, server: usize, datagram: &Datagram) {
        let bytes = Rc::new(self.process(server).sealer.seal(None, datagram));
        for peer in (0..self.hosts.len()).filter(|peer| *peer != server) {
            self.cast(server, peer, &bytes);
        }
    }

    pub fn send_datagram(&mut self, server: usize, to: &ServerId, datagram: &Datagram) {
        let bytes = Rc::new(self.process(server).sealer.seal(Some(to), datagram));
        let peer = self.number_of(to);
        if self.trace.is_printed() {
            self.trace.say(self.now, || format!("{} ~> {}: {datagram:?}", server + 1, peer + 1));
        }
        self.cast(server, peer, &bytes);
    }

    fn cast(&mut self, from: usize, to: usize, bytes: &Rc<Vec<u8>>) {
        for at in self.network.datagram(self.now, from, to).into_iter().flatten() {
            // A datagram goes to the process that has the port when it arrives.
            self.schedule_at(at, to, ServerEvent::Datagram(bytes.clone()));
        }
    }

    pub fn datagram(&mut self, server: usize, bytes: &[u8]) {
        self.trace.step(self.now, "datagram", server as u64, bytes);
        let now_ms = self.hosts[server].mono_ms(self.now);
        let process = self.process(server);
        let Ok((from, datagram)) = process.sealer.open(bytes) else { return };
        match datagram {
            Datagram::Heartbeat(beat) => process.membership.on_heartbeat(now_ms, &from, &beat),
            Datagram::Announce(announce) => process.membership.on_announce(now_ms, &from, &announce),
            Datagram::Token(token) => return self.elect(server, election::Input::Token { from, token }),
            Datagram::Receipt(receipt) => {
                return self.elect(server, election::Input::Receipt { from, receipt });
            }
        }
        self.tell_view(server, false);
    }
}
