//! The known servers, which one to try next, and how long to wait before that.
//!
//! A directory holds what the user configured (never forgotten), what discovery found and what the servers
//! themselves list. Attempts go in *rounds*: each known server is tried once a round, those believed alive
//! first. Of two that are drawn at random, the nearer one is next, and of two that are as near the one with
//! fewer clients, so that the clients of a lost server spread over the others, and do not all go to the same
//! one. How near a server is, its answers have shown; one that was never met counts as near until it is. The
//! first attempt after a working connection is immediate; each further one waits twice as long as the one
//! before, with jitter, up to [`BACK_OFF_MAX_MS`].

use std::fmt;

use crate::protocol::{ServerId, ServerList};

use super::limits::{BACK_OFF_FIRST_MS, BACK_OFF_MAX_MS, SERVERS_MAX};

/// Times of answers that differ by less tell nothing: machines are busy, and networks waver.
const NEAR_MS: u64 = 50;

/// Where a server listens for clients.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// Host name or IP address.
    pub host: String,
    pub tcp_port: u16,
}

impl Address {
    /// `host` is a name or an IP address.
    pub fn new(host: impl Into<String>, tcp_port: u16) -> Self {
        Address { host: host.into(), tcp_port }
    }

    /// Whether the host means "this machine" on each machine that reads it.
    fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host == "::1" || self.host.starts_with("127.")
    }

    /// Whether the host is the listener's wildcard, which is no address to connect to.
    fn is_wildcard(&self) -> bool {
        self.host.is_empty() || self.host == "0.0.0.0" || self.host == "::"
    }

    /// This address as told by the server at `through`.
    ///
    /// A server configured with a loopback or wildcard host lists the others the same way. A client that
    /// reached it over the network reaches the others at the same host, if at all.
    pub fn seen_through(self, through: &Address) -> Address {
        if self.is_wildcard() || (self.is_loopback() && !through.is_loopback()) {
            Address { host: through.host.clone(), ..self }
        } else {
            self
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.tcp_port)
        } else {
            write!(f, "{}:{}", self.host, self.tcp_port)
        }
    }
}

/// A generator of jitter: the same seed gives the same numbers (splitmix64).
#[derive(Debug, Clone)]
pub struct Jitter(u64);

impl Jitter {
    /// A generator that starts from `seed`.
    pub fn new(seed: u64) -> Self {
        Jitter(seed)
    }

    /// A number below `end`, or 0 if `end` is 0. Slightly uneven, which does not matter for jitter.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end.max(1)
    }
}

#[derive(Debug, Clone)]
struct Known {
    address: Address,
    server_id: Option<ServerId>,
    /// Given by the user: it stays even if the servers do not list it.
    configured: bool,
    alive: bool,
    /// Its clients, as the servers last said.
    clients: u64,
    /// How long its last answer took.
    took_ms: Option<u64>,
    /// Tried in this round.
    tried: bool,
}

impl Known {
    /// What is least is best.
    fn cost(&self) -> (u64, u64) {
        (self.took_ms.unwrap_or(0) / NEAR_MS, self.clients)
    }
}

/// The known servers and the state of the search for a working one.
#[derive(Debug)]
pub struct Directory {
    known: Vec<Known>,
    jitter: Jitter,
    /// Attempts since a connection last worked.
    attempts: u32,
    /// Until a first connection worked, servers are tried in the user's order, not in random order.
    ever_worked: bool,
}

impl Directory {
    /// A directory that knows what the user configured.
    pub fn new(configured: &[Address], seed: u64) -> Self {
        let mut directory =
            Directory { known: Vec::new(), jitter: Jitter::new(seed), attempts: 0, ever_worked: false };
        for address in configured {
            directory.add(address.clone(), None, true);
        }
        directory
    }

    /// Whether no server is known at all.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// The address of the server `server_id`, if it is known.
    pub fn address_of(&self, server_id: &str) -> Option<&Address> {
        let is_it = |known: &&Known| known.server_id.as_ref().is_some_and(|id| id.as_str() == server_id);
        self.known.iter().find(is_it).map(|known| &known.address)
    }

    /// Adds what discovery found.
    pub fn found(&mut self, addresses: impl IntoIterator<Item = Address>) {
        for address in addresses {
            self.add(address, None, false);
        }
    }

    /// The server at `address` has said who it is.
    pub fn identify(&mut self, address: &Address, server_id: &ServerId) {
        let configured = self.known.iter().any(|known| known.configured && known.address == *address);
        // One server under two addresses would be tried twice a round: the one that works is kept.
        self.known.retain(|known| {
            known.address == *address || known.configured || known.server_id.as_ref() != Some(server_id)
        });
        self.add(address.clone(), Some(server_id.clone()), configured);
    }

    /// Replaces what was listed before by what the server at `through` lists now.
    pub fn learn(&mut self, list: &ServerList, through: &Address) {
        let old = std::mem::take(&mut self.known);
        let before = |address: &Address| old.iter().find(|known| known.address == *address);
        // The address in use stays even if it is not listed: it works.
        self.known =
            old.iter().filter(|known| known.configured || known.address == *through).cloned().collect();
        for server in &list.servers {
            let same = |known: &&mut Known| known.server_id.as_ref() == Some(&server.server_id);
            if let Some(known) = self.known.iter_mut().find(same) {
                (known.alive, known.clients) = (server.alive, server.clients);
                continue;
            }
            if server.tcp_port == 0 {
                continue;
            }
            let address = Address::new(server.host.clone(), server.tcp_port).seen_through(through);
            let (tried, took_ms) =
                before(&address).map_or((false, None), |known| (known.tried, known.took_ms));
            if let Some(known) = self.add(address, Some(server.server_id.clone()), false) {
                (known.alive, known.clients) = (server.alive, server.clients);
                known.tried |= tried;
                known.took_ms = known.took_ms.or(took_ms);
            }
        }
    }

    /// The server at `address` was this long about an answer.
    pub fn answers_in(&mut self, address: &Address, took_ms: Option<u64>) {
        if let Some(known) = self.known.iter_mut().find(|known| known.address == *address) {
            known.took_ms = took_ms.or(known.took_ms);
        }
    }

    /// The server to try next, or `None` if none is known. It counts as tried in this round.
    pub fn choose(&mut self) -> Option<Address> {
        if self.known.iter().all(|known| known.tried) {
            self.known.iter_mut().for_each(|known| known.tried = false);
        }
        let untried = |known: &Known| !known.tried;
        let any_alive = self.known.iter().any(|known| untried(known) && known.alive);
        let candidates: Vec<usize> = (0..self.known.len())
            .filter(|&at| untried(&self.known[at]) && (self.known[at].alive || !any_alive))
            .collect();
        let chosen = match candidates.len() {
            0 => return None,
            _ if !self.ever_worked => candidates[0],
            count => {
                let mut draw = || candidates[self.jitter.below(count as u64) as usize];
                let (one, other) = (draw(), draw());
                if self.known[other].cost() < self.known[one].cost() { other } else { one }
            }
        };
        self.known[chosen].tried = true;
        Some(self.known[chosen].address.clone())
    }

    /// Whether the next call of [`Directory::choose`] begins a new round.
    pub fn round_is_over(&self) -> bool {
        self.known.iter().all(|known| known.tried)
    }

    /// Counts an attempt and gives the pause to keep before it.
    pub fn pause_ms(&mut self) -> u64 {
        let attempt = self.attempts;
        self.attempts = attempt.saturating_add(1);
        if attempt == 0 {
            return 0;
        }
        let full_ms = BACK_OFF_MAX_MS.min(BACK_OFF_FIRST_MS << (attempt - 1).min(10));
        // Between half and all of it: enough to spread clients that were cut off together.
        full_ms / 2 + self.jitter.below(full_ms / 2 + 1)
    }

    /// The connection to `address` works: the next search starts afresh, with this server last.
    pub fn works(&mut self, address: &Address) {
        self.ever_worked = true;
        self.attempts = 0;
        for known in &mut self.known {
            known.tried = known.address == *address;
        }
    }

    /// The entry of `address`, new or old; `None` if the directory is full.
    fn add(&mut self, address: Address, server_id: Option<ServerId>, configured: bool) -> Option<&mut Known> {
        let at = match self.known.iter().position(|known| known.address == address) {
            Some(at) => at,
            None if self.known.len() >= SERVERS_MAX => return None,
            None => {
                self.known.push(Known {
                    address,
                    server_id: None,
                    configured,
                    alive: true,
                    clients: 0,
                    took_ms: None,
                    tried: false,
                });
                self.known.len() - 1
            }
        };
        let known = &mut self.known[at];
        if server_id.is_some() {
            known.server_id = server_id;
        }
        known.configured |= configured;
        Some(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ServerInfo;

    fn info(number: u16, host: &str, alive: bool) -> ServerInfo {
        ServerInfo {
            server_id: ServerId::new(&format!("server{number}")).unwrap(),
            host: host.into(),
            tcp_port: 7999 + number,
            ring_position: u32::from(number) - 1,
            alive,
            is_leader: false,
            clients: 0,
        }
    }

    fn list(servers: Vec<ServerInfo>) -> ServerList {
        ServerList { servers, leader_id: None, term: 1, epoch: 1 }
    }

    #[test]
    fn those_with_few_clients_are_tried_first_more_often() {
        let here = Address::new("localhost", 8000);
        let mut directory = Directory::new(std::slice::from_ref(&here), 7);
        directory.identify(&here, &ServerId::new("server1").unwrap());
        let crowded = ServerInfo { clients: 500, ..info(2, "localhost", true) };
        let idle = ServerInfo { clients: 3, ..info(3, "localhost", true) };
        directory.learn(&list(vec![info(1, "localhost", true), crowded, idle]), &here);
        let mut to_idle = 0;
        for _ in 0..1_000 {
            directory.works(&here);
            to_idle += u32::from(directory.choose().unwrap().tcp_port == 8002);
        }
        // Three of four draws of two have the idle one among them; the crowded one gets some, too.
        assert!((650..850).contains(&to_idle), "{to_idle}");
    }

    #[test]
    fn near_ones_are_tried_first_more_often_though_they_have_more_clients() {
        let here = Address::new("localhost", 8000);
        let mut directory = Directory::new(std::slice::from_ref(&here), 7);
        directory.identify(&here, &ServerId::new("server1").unwrap());
        let busy = ServerInfo { clients: 500, ..info(2, "localhost", true) };
        let servers = list(vec![info(1, "localhost", true), busy, info(3, "localhost", true)]);
        directory.learn(&servers, &here);
        directory.answers_in(&Address::new("localhost", 8001), Some(4));
        directory.answers_in(&Address::new("localhost", 8002), Some(180));
        let mut to_near = 0;
        for _ in 0..1_000 {
            // What was measured outlasts the next list.
            directory.learn(&servers, &here);
            directory.works(&here);
            to_near += u32::from(directory.choose().unwrap().tcp_port == 8001);
        }
        assert!((650..850).contains(&to_near), "{to_near}");
    }

    #[test]
    fn a_round_tries_each_server_once_and_the_lost_one_last() {
        let here = Address::new("localhost", 8000);
        let mut directory = Directory::new(std::slice::from_ref(&here), 7);
        directory.identify(&here, &ServerId::new("server1").unwrap());
        let all = (1..=3).map(|number| info(number, "localhost", true)).collect();
        directory.learn(&list(all), &here);
        directory.works(&here);
        let mut round: Vec<_> = (0..2).map(|_| directory.choose().unwrap().tcp_port).collect();
        round.sort();
        assert_eq!(round, [8001, 8002]);
        assert!(directory.round_is_over());
    }

    #[test]
    fn servers_believed_dead_come_last_but_are_tried() {
        let here = Address::new("localhost", 8000);
        let mut directory = Directory::new(std::slice::from_ref(&here), 7);
        directory.identify(&here, &ServerId::new("server1").unwrap());
        let all = vec![info(1, "localhost", true), info(2, "localhost", false), info(3, "localhost", true)];
        directory.learn(&list(all), &here);
        directory.works(&here);
        let order: Vec<_> = (0..2).map(|_| directory.choose().unwrap().tcp_port).collect();
        assert_eq!(order, [8002, 8001]);
    }

    #[test]
    fn pauses_double_with_jitter_up_to_their_limit() {
        let mut directory = Directory::new(&[Address::new("localhost", 8000)], 7);
        assert_eq!(directory.pause_ms(), 0);
        let mut full_ms = BACK_OFF_FIRST_MS;
        for _ in 0..20 {
            let pause_ms = directory.pause_ms();
            assert!((full_ms / 2..=full_ms).contains(&pause_ms), "{pause_ms} of {full_ms}");
            full_ms = BACK_OFF_MAX_MS.min(full_ms * 2);
        }
        directory.works(&Address::new("localhost", 8000));
        assert_eq!(directory.pause_ms(), 0);
    }

    #[test]
    fn loopback_and_wildcard_hosts_are_those_of_the_server_that_lists_them() {
        let far = Address::new("10.0.0.5", 8000);
        let mut directory = Directory::new(std::slice::from_ref(&far), 7);
        directory.learn(&list(vec![info(2, "127.0.0.1", true), info(3, "0.0.0.0", true)]), &far);
        assert_eq!(directory.address_of("server2"), Some(&Address::new("10.0.0.5", 8001)));
        assert_eq!(directory.address_of("server3"), Some(&Address::new("10.0.0.5", 8002)));
    }

    #[test]
    fn configured_servers_outlast_every_list_and_listed_ones_do_not() {
        let here = Address::new("localhost", 8000);
        let mut directory = Directory::new(&[here.clone(), Address::new("elsewhere", 9000)], 7);
        directory.learn(&list(vec![info(2, "localhost", true)]), &here);
        directory.learn(&list(vec![info(3, "localhost", true)]), &here);
        let mut known: Vec<_> = (0..3).map(|_| directory.choose().unwrap().tcp_port).collect();
        known.sort();
        assert_eq!(known, [8000, 8002, 9000]);
    }
}
