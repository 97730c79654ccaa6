//! The network between servers, and between clients and servers: delays, losses, and blocked directions.
//!
//! Datagrams are delayed, lost, doubled and reordered one by one. Streams (peer links, client connections)
//! keep their order and lose nothing while they are open: a blocked or stalled direction holds its bytes
//! back, and only a reset loses them.

use crate::{
    queue::{MS, Micros},
    random::Random,
};

/// How a network behaves without cuts.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// Least time on the way.
    pub latency_min: Micros,
    /// Greatest time on the way, without a spike.
    pub latency_max: Micros,
    /// Share of datagrams that are lost.
    pub loss: f64,
    /// Share of datagrams that come twice.
    pub doubling: f64,
    /// Share of deliveries that take up to `spike` longer.
    pub spikes: f64,
    /// See `spikes`.
    pub spike: Micros,
}

impl Weather {
    /// A quiet local network.
    pub fn fair() -> Weather {
        Weather { latency_min: 100, latency_max: MS, loss: 0.0, doubling: 0.0, spikes: 0.0, spike: 0 }
    }
}

/// What is blocked in one direction of a link.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Blocked {
    /// Datagrams.
    pub udp: bool,
    /// Streams.
    pub tcp: bool,
}

/// The links between the servers.
pub struct Network {
    servers: usize,
    blocked: Vec<Blocked>,
    /// Until when a stream is held up, by direction.
    stalled_until: Vec<Micros>,
    weather: Weather,
    random: Random,
}

impl Network {
    /// All servers reach each other.
    pub fn new(servers: usize, weather: Weather, random: Random) -> Network {
        Network {
            servers,
            blocked: vec![Blocked::default(); servers * servers],
            stalled_until: vec![0; servers * servers],
            weather,
            random,
        }
    }

    /// Changes the weather.
    pub fn set_weather(&mut self, weather: Weather) {
        self.weather = weather;
    }

    /// Blocks or frees one direction of a link.
    pub fn block(&mut self, from: usize, to: usize, blocked: Blocked) {
        let link = self.link(from, to);
        self.blocked[link] = blocked;
    }

    /// Holds a stream up until `until`.
    pub fn stall(&mut self, from: usize, to: usize, until: Micros) {
        let link = self.link(from, to);
        self.stalled_until[link] = self.stalled_until[link].max(until);
    }

    /// Frees every link.
    pub fn heal(&mut self) {
        self.blocked.fill(Blocked::default());
        self.stalled_until.fill(0);
    }

    /// Whether a stream can move from one server to another.
    pub fn tcp_open(&self, from: usize, to: usize) -> bool {
        !self.blocked[self.link(from, to)].tcp
    }

    /// Whether two servers reach each other both ways, by both transports.
    pub fn talk(&self, a: usize, b: usize) -> bool {
        let open = |from, to| self.blocked[self.link(from, to)] == Blocked::default();
        open(a, b) && open(b, a)
    }

    /// When the copies of a datagram sent now arrive: none, one or two.
    pub fn datagram(&mut self, now: Micros, from: usize, to: usize) -> [Option<Micros>; 2] {
        if self.blocked[self.link(from, to)].udp || self.random.chance(self.weather.loss) {
            return [None, None];
        }
        let first = now + self.delay();
        let second = self.random.chance(self.weather.doubling).then(|| now + self.delay());
        [Some(first), second]
    }

    /// When a piece of a server-to-server stream sent now arrives, at the earliest; the stream keeps the
    /// order.
    pub fn segment(&mut self, now: Micros, from: usize, to: usize) -> Micros {
        let stalled = self.stalled_until[self.link(from, to)];
        now.max(stalled) + self.delay()
    }

    /// A random time on the way.
    pub fn delay(&mut self) -> Micros {
        let Weather { latency_min, latency_max, spikes, spike, .. } = self.weather;
        let usual = self.random.between(latency_min, latency_max);
        if self.random.chance(spikes) { usual + self.random.below(spike) } else { usual }
    }

    fn link(&self, from: usize, to: usize) -> usize {
        from * self.servers + to
    }
}

#[test]
fn blocked_datagrams_are_lost_in_one_direction_only() {
    let mut network = Network::new(3, Weather::fair(), Random::new(1));
    network.block(0, 1, Blocked { udp: true, tcp: false });
    assert_eq!(network.datagram(0, 0, 1), [None, None]);
    assert!(network.datagram(0, 1, 0)[0].is_some());
    assert!(network.tcp_open(0, 1) && !network.talk(0, 1) && network.talk(0, 2));
    network.heal();
    assert!(network.datagram(0, 0, 1)[0].is_some());
}
