//! The peer links: one stream for each pair of servers, made again whenever it is lost.
//!
//! Either end of a link may know that it is lost while the other does not yet (a half-open link). What
//! is sent into such a link is gone.

use std::{collections::VecDeque, rc::Rc};

use syncnet::protocol::peer::{PeerMessage, SnapshotHead};

use crate::{
    network::Network,
    queue::{MS, Micros},
};

/// What travels on a link.
#[derive(Clone)]
pub enum Cargo {
    /// A message.
    Message(Rc<PeerMessage>),
    /// A whole snapshot; chunks and their checksum belong to the real link.
    Snapshot(SnapshotHead, Rc<Vec<u8>>),
}

/// Something that will happen at one end of a link.
pub struct Delivery {
    pub at: Micros,
    pub to: usize,
    pub from: usize,
    /// Which link it was sent on.
    pub generation: u64,
    pub cargo: Cargo,
}

/// Messages that a link holds back for a blocked direction. Full: further ones are dropped, as from the queue
/// of the real link; consensus sends them again.
const HELD_MAX: usize = 4_096;

/// How long the ends wait for a link that is being made before they try again.
const MAKING_US: Micros = 50 * MS;

#[derive(Default)]
struct End {
    /// The link that this end believes in.
    generation: Option<u64>,
    /// When the last thing on its way to this end arrives: the next one comes no earlier.
    next_arrival: Micros,
    /// On its way to this end and held back.
    held: VecDeque<(u64, Cargo)>,
    /// Whether this end is sending a snapshot.
    sends_snapshot: bool,
    /// Until when this end waits for a link that is being made.
    making_until: Micros,
}

/// All links between this many servers.
pub struct Links {
    servers: usize,
    generations: u64,
    /// The end at `a` of the link to `b` is at `a * servers + b`.
    ends: Vec<End>,
}

impl Links {
    /// No link is up.
    pub fn new(servers: usize) -> Links {
        Links { servers, generations: 0, ends: (0..servers * servers).map(|_| End::default()).collect() }
    }

    /// Whether both ends believe in the same link.
    pub fn stands(&self, a: usize, b: usize) -> bool {
        let (here, there) = (self.generation(a, b), self.generation(b, a));
        here.is_some() && here == there
    }

    /// The link to `peer` that the end at `server` believes in.
    pub fn generation(&self, server: usize, peer: usize) -> Option<u64> {
        self.end(server, peer).generation
    }

    /// When the last thing on its way to this end arrives.
    pub fn last_arrival(&self, server: usize, peer: usize) -> Micros {
        self.end(server, peer).next_arrival
    }

    /// Whether no link of `server` stands.
    pub fn is_alone(&self, server: usize) -> bool {
        (0..self.servers).all(|peer| self.generation(server, peer).is_none())
    }

    /// Whether a link is being made already.
    pub fn is_making(&self, a: usize, b: usize, now: Micros) -> bool {
        now < self.end(a, b).making_until
    }

    /// Begins to make a link; gives its number.
    pub fn make(&mut self, a: usize, b: usize, now: Micros) -> u64 {
        self.end_mut(a, b).making_until = now + MAKING_US;
        self.generations += 1;
        self.generations
    }

    /// The end at `server` begins to send a snapshot.
    pub fn begin_snapshot(&mut self, server: usize, peer: usize) {
        self.end_mut(server, peer).sends_snapshot = true;
    }

    /// The end at `server` sends no snapshot any more; tells whether it did.
    pub fn end_snapshot(&mut self, server: usize, peer: usize) -> bool {
        std::mem::take(&mut self.end_mut(server, peer).sends_snapshot)
    }

    /// The end at `server` sees link `generation` come up.
    pub fn up(&mut self, at: Micros, server: usize, peer: usize, generation: u64) {
        let end = self.end_mut(server, peer);
        end.generation = Some(generation);
        end.next_arrival = end.next_arrival.max(at);
        end.held.retain(|(of, _)| *of == generation);
    }

    /// The end at `server` is lost. What was held back for it stays lost.
    pub fn down(&mut self, server: usize, peer: usize) {
        let end = self.end_mut(server, peer);
        end.generation = None;
        end.held.clear();
    }

    /// Sends on the link, if the end at `from` believes in one.
    pub fn send(
        &mut self,
        now: Micros,
        network: &mut Network,
        from: usize,
        to: usize,
        cargo: Cargo,
    ) -> Option<Delivery> {
        let generation = self.generation(from, to)?;
        if !network.tcp_open(from, to) || !self.end(to, from).held.is_empty() {
            let held = &mut self.end_mut(to, from).held;
            if held.len() < HELD_MAX {
                held.push_back((generation, cargo));
            }
            return None;
        }
        Some(self.dispatch(now, network, from, to, generation, cargo))
    }

    /// Releases what was held back in this direction.
    pub fn release(&mut self, now: Micros, network: &mut Network, from: usize, to: usize) -> Vec<Delivery> {
        let held = std::mem::take(&mut self.end_mut(to, from).held);
        held.into_iter()
            .map(|(generation, cargo)| self.dispatch(now, network, from, to, generation, cargo))
            .collect()
    }

    fn dispatch(
        &mut self,
        now: Micros,
        network: &mut Network,
        from: usize,
        to: usize,
        generation: u64,
        cargo: Cargo,
    ) -> Delivery {
        // A gigabit a second; small messages do not notice.
        let bytes = if let Cargo::Snapshot(_, bytes) = &cargo { bytes.len() as u64 } else { 0 };
        let at = network.segment(now, from, to).max(self.end(to, from).next_arrival) + bytes / 125;
        self.end_mut(to, from).next_arrival = at;
        Delivery { at, to, from, generation, cargo }
    }

    fn end(&self, server: usize, peer: usize) -> &End {
        &self.ends[server * self.servers + peer]
    }

    fn end_mut(&mut self, server: usize, peer: usize) -> &mut End {
        &mut self.ends[server * self.servers + peer]
    }
}
