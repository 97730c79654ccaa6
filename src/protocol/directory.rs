//! Which servers a cluster has: the directory that the log keeps, and how it is changed.
//!
//! A cluster begins with the servers of its configuration. The first change writes them into the log, and
//! from then on the log says which there are: a server that joins changes nothing in the configuration of the
//! others. One change is under way at a time. It is asked for by an operator, the leader lets consensus
//! follow (`replica/node/forming.rs`), and when the servers that count are what it wants it is settled. All
//! three happen at one place of the log.

use std::{collections::BTreeSet, ops::Deref};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::name::ServerId;

/// Most servers that a cluster may have: as many as one datagram can name.
pub const SERVERS_MAX: usize = 9;

/// The largest base port: the other ports of a server are counted from it.
const PORT_MAX: u16 = u16::MAX - PORTS_SPAN;
/// From the first to the last port of a server.
const PORTS_SPAN: u16 = 40;
/// From each port of a server to the next.
const PORTS_STEP: u16 = 10;
/// The longest name of a host (RFC 1035).
const HOST_BYTES: usize = 253;

/// One server of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerEntry {
    /// Its id.
    pub server_id: ServerId,
    /// The host that peers reach it at; clients too, unless `client_host` says otherwise.
    pub host: String,
    /// The base of its ports: it listens for clients here, the other ports are counted from it.
    pub port: u16,
    /// Its place in the ring; of the living, the highest leads.
    pub ring_position: u32,
    /// The host that clients are told, if it is not `host`: the servers of a container network have names
    /// there that mean nothing outside.
    pub client_host: Option<String>,
    /// The port that clients are told, if it is not `port`: the one under which a container's is published.
    pub client_port: Option<u16>,
}

impl ServerEntry {
    /// A server that clients and peers reach at the same address.
    pub fn new(server_id: ServerId, host: impl Into<String>, port: u16, ring_position: u32) -> Self {
        ServerEntry {
            server_id,
            host: host.into(),
            port,
            ring_position,
            client_host: None,
            client_port: None,
        }
    }

    /// The host and the port that clients are told.
    pub fn client_address(&self) -> (&str, u16) {
        (self.client_host.as_deref().unwrap_or(&self.host), self.client_port.unwrap_or(self.port))
    }

    /// Checks what can be checked of it alone.
    ///
    /// # Errors
    /// The field that cannot be so.
    pub fn check(&self) -> Result<(), ChangeError> {
        for (what, host) in [("host", Some(&self.host)), ("client_host", self.client_host.as_ref())] {
            let fits = |host: &String| {
                (1..=HOST_BYTES).contains(&host.len()) && host.bytes().all(|byte| byte.is_ascii_graphic())
            };
            if !host.is_none_or(fits) {
                return Err(ChangeError::Host(what));
            }
        }
        if !(1..=PORT_MAX).contains(&self.port) {
            return Err(ChangeError::Port);
        }
        if self.client_port == Some(0) {
            return Err(ChangeError::ClientPort);
        }
        Ok(())
    }

    /// Whether both would want the same port of the same machine, as far as the names of the machines tell.
    fn collides(&self, other: &ServerEntry) -> bool {
        let apart = self.port.abs_diff(other.port);
        self.host.eq_ignore_ascii_case(&other.host) && apart <= PORTS_SPAN && apart.is_multiple_of(PORTS_STEP)
    }
}

/// A change of the servers, as an operator asks for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServerChange {
    /// One more server.
    Add(ServerEntry),
    /// One server less; or a server that was to join is to join no more.
    Remove(ServerId),
    /// A server takes the place of another one, in one change of those that vote.
    Replace {
        /// The one that goes.
        old: ServerId,
        /// The one that comes.
        new: ServerEntry,
    },
    /// A server keeps its vote, and gives its clients and the lead away; or that ends.
    Drain {
        /// Which.
        server_id: ServerId,
        /// Whether it is to be so.
        drained: bool,
    },
}

/// A change that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum UnderWay {
    /// This server is to join: it does not vote yet.
    Joins(ServerId),
    /// `new` is to vote in the place of `old`, which does so until then.
    Replaces {
        /// The one that goes.
        old: ServerId,
        /// The one that comes.
        new: ServerId,
    },
    /// This server is to vote no more.
    Leaves(ServerId),
}

/// The servers of a cluster, by ring position.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Directory {
    /// The entry of the log that made it so; 0 if it is what the configuration says.
    pub version: u64,
    servers: Vec<ServerEntry>,
    /// The change that is under way.
    pub under_way: Option<UnderWay>,
    drained: BTreeSet<ServerId>,
}

/// Why the servers are not changed so.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ChangeError {
    #[error("{0} is a server of this cluster already; choose another id")]
    Known(ServerId),
    #[error("this cluster has no server {0}")]
    Unknown(ServerId),
    #[error("{server_id} stands at ring position {position} already; choose another one")]
    Position { server_id: ServerId, position: u32 },
    #[error("{0} has that host and, counted from its base port, one of those ports; choose another port")]
    Ports(ServerId),
    #[error("{0} must be a name or an address, at most {HOST_BYTES} characters without spaces")]
    Host(&'static str),
    #[error("port must be 1 to {PORT_MAX}, as the other ports are counted from it")]
    Port,
    #[error("client_port must be 1 to 65535")]
    ClientPort,
    #[error("a cluster has at most {SERVERS_MAX} servers, one that is being replaced included")]
    TooMany,
    #[error("{0} is the last server that votes; a cluster needs one")]
    Last(ServerId),
    #[error(
        "{joins} is still to join, and one change at a time is made: start it and wait until it votes, or take it \
         back with `server remove {joins}`"
    )]
    Joining {
        /// The server that is to come.
        joins: ServerId,
    },
    #[error("{0} is still leaving, and one change at a time is made: try again in a moment")]
    Leaving(ServerId),
}

/// How many servers vote, and how many of them live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Majority {
    /// Those that vote.
    pub voting: usize,
    /// So many of them are a majority.
    pub needed: usize,
    /// Those that vote and do not answer.
    pub missing: Vec<ServerId>,
}

impl Majority {
    /// How many of those that vote live.
    pub fn alive(&self) -> usize {
        self.voting - self.missing.len()
    }

    /// Whether the living are a majority.
    pub fn is_alive(&self) -> bool {
        self.alive() >= self.needed
    }
}

impl Deref for Directory {
    type Target = [ServerEntry];

    fn deref(&self) -> &[ServerEntry] {
        &self.servers
    }
}

impl FromIterator<ServerEntry> for Directory {
    /// The servers that a configuration names.
    fn from_iter<I: IntoIterator<Item = ServerEntry>>(servers: I) -> Directory {
        let mut directory = Directory { servers: servers.into_iter().collect(), ..Directory::default() };
        directory.sort();
        directory
    }
}

impl From<Vec<ServerEntry>> for Directory {
    fn from(servers: Vec<ServerEntry>) -> Directory {
        servers.into_iter().collect()
    }
}

impl Directory {
    fn sort(&mut self) {
        self.servers.sort_by(|a, b| (a.ring_position, &a.server_id).cmp(&(b.ring_position, &b.server_id)));
    }

    /// The same, made so by the entry `version` of the log.
    pub fn made_by(self, version: u64) -> Directory {
        Directory { version, ..self }
    }

    /// The entry of a server, if the cluster has it.
    pub fn entry(&self, server_id: &ServerId) -> Option<&ServerEntry> {
        self.servers.iter().find(|server| server.server_id == *server_id)
    }

    /// Whether a server is to join and does not vote yet.
    pub fn is_joining(&self, server_id: &ServerId) -> bool {
        self.joining() == Some(server_id)
    }

    /// The server that is to join.
    pub fn joining(&self) -> Option<&ServerId> {
        match &self.under_way {
            Some(UnderWay::Joins(new) | UnderWay::Replaces { new, .. }) => Some(new),
            Some(UnderWay::Leaves(_)) | None => None,
        }
    }

    /// Whether a server is to vote no more, because it leaves or is replaced.
    pub fn goes(&self, server_id: &ServerId) -> bool {
        match &self.under_way {
            Some(UnderWay::Leaves(old) | UnderWay::Replaces { old, .. }) => old == server_id,
            Some(UnderWay::Joins(_)) | None => false,
        }
    }

    /// The server in whose place `new` is to vote.
    pub fn replaced_by(&self, new: &ServerId) -> Option<&ServerId> {
        match &self.under_way {
            Some(UnderWay::Replaces { old, new: other }) if other == new => Some(old),
            _ => None,
        }
    }

    /// Whether a server is to be without clients and without the lead.
    pub fn is_drained(&self, server_id: &ServerId) -> bool {
        self.drained.contains(server_id)
    }

    /// Whether a server should lead if others can do so as well.
    pub fn should_lead(&self, server_id: &ServerId) -> bool {
        !self.goes(server_id) && !self.is_drained(server_id)
    }

    /// The servers that vote: all but one that is to join.
    pub fn voting(&self) -> impl Iterator<Item = &ServerEntry> {
        self.servers.iter().filter(|server| !self.is_joining(&server.server_id))
    }

    /// Whether a server should have clients if others can have them as well.
    pub fn is_for_clients(&self, server_id: &ServerId) -> bool {
        !self.is_joining(server_id) && self.should_lead(server_id)
    }

    /// The servers that clients are told of. If none is left for them, all that vote.
    pub fn for_clients(&self) -> Vec<&ServerEntry> {
        let serving: Vec<_> = self.voting().filter(|server| self.is_for_clients(&server.server_id)).collect();
        if serving.is_empty() { self.voting().collect() } else { serving }
    }

    /// More than half of those that vote.
    pub fn majority(&self) -> usize {
        self.voting().count() / 2 + 1
    }

    /// How many vote, and who of them does not live.
    pub fn count(&self, is_alive: impl Fn(&ServerId) -> bool) -> Majority {
        let dead = self.voting().map(|server| &server.server_id).filter(|id| !is_alive(id)).cloned();
        Majority { voting: self.voting().count(), needed: self.majority(), missing: dead.collect() }
    }

    /// What an operator's change makes of it. The version is for the caller to set.
    ///
    /// # Errors
    /// It cannot be changed so, or not now.
    pub fn changed(&self, change: &ServerChange) -> Result<Directory, ChangeError> {
        let mut next = self.clone();
        match change {
            ServerChange::Add(server) => {
                self.must_be_settled()?;
                self.must_be_new(server, None)?;
                next.servers.push(server.clone());
                next.under_way = Some(UnderWay::Joins(server.server_id.clone()));
            }
            ServerChange::Replace { old, new } => {
                self.must_be_settled()?;
                self.must_have(old)?;
                self.must_be_new(new, Some(old))?;
                next.servers.push(new.clone());
                next.under_way = Some(UnderWay::Replaces { old: old.clone(), new: new.server_id.clone() });
            }
            ServerChange::Remove(server_id) => {
                self.must_have(server_id)?;
                // To take back what was begun is no second change.
                if !self.is_joining(server_id) {
                    self.must_be_settled()?;
                    if self.servers.len() == 1 {
                        return Err(ChangeError::Last(server_id.clone()));
                    }
                }
                next.under_way = Some(UnderWay::Leaves(server_id.clone()));
            }
            ServerChange::Drain { server_id, drained } => {
                self.must_have(server_id)?;
                if *drained {
                    next.drained.insert(server_id.clone());
                } else {
                    next.drained.remove(server_id);
                }
            }
        }
        next.sort();
        Ok(next)
    }

    /// What it is when the change under way has reached its end.
    pub fn when_settled(&self) -> Directory {
        let mut next = self.clone();
        match next.under_way.take() {
            Some(UnderWay::Leaves(gone) | UnderWay::Replaces { old: gone, .. }) => {
                next.servers.retain(|server| server.server_id != gone);
                next.drained.remove(&gone);
            }
            Some(UnderWay::Joins(_)) | None => {}
        }
        next
    }

    /// What it is by the entry `version` of the log, if by that entry those that count are what the change
    /// under way wants: those whose nodes vote, and those that have any node that counts.
    pub fn settled(
        &self,
        version: u64,
        votes: impl Fn(&ServerId) -> bool,
        counts: impl Fn(&ServerId) -> bool,
    ) -> Option<Directory> {
        let is_settled = match self.under_way.as_ref()? {
            UnderWay::Joins(new) => votes(new),
            UnderWay::Replaces { old, new } => votes(new) && !counts(old),
            UnderWay::Leaves(old) => !counts(old),
        };
        is_settled.then(|| self.when_settled().made_by(version))
    }

    fn must_be_settled(&self) -> Result<(), ChangeError> {
        match &self.under_way {
            None => Ok(()),
            Some(UnderWay::Leaves(leaves)) => Err(ChangeError::Leaving(leaves.clone())),
            Some(UnderWay::Joins(joins) | UnderWay::Replaces { new: joins, .. }) => {
                Err(ChangeError::Joining { joins: joins.clone() })
            }
        }
    }

    fn must_have(&self, server_id: &ServerId) -> Result<(), ChangeError> {
        self.entry(server_id).map(drop).ok_or_else(|| ChangeError::Unknown(server_id.clone()))
    }

    /// Whether a server may come, which may have the place of `old`.
    fn must_be_new(&self, server: &ServerEntry, old: Option<&ServerId>) -> Result<(), ChangeError> {
        server.check()?;
        if self.servers.len() >= SERVERS_MAX {
            return Err(ChangeError::TooMany);
        }
        for other in &self.servers {
            let server_id = other.server_id.clone();
            if server_id.as_str().eq_ignore_ascii_case(server.server_id.as_str()) {
                return Err(ChangeError::Known(server_id));
            }
            // The machine of a server that is replaced may be used again.
            if Some(&server_id) == old {
                continue;
            }
            if other.ring_position == server.ring_position {
                return Err(ChangeError::Position { server_id, position: server.ring_position });
            }
            if server.collides(other) {
                return Err(ChangeError::Ports(server_id));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u16) -> ServerId {
        ServerId::new(&format!("server{number}")).unwrap()
    }

    fn entry(number: u16) -> ServerEntry {
        ServerEntry::new(id(number), format!("host{number}"), 8000, number.into())
    }

    fn three() -> Directory {
        (1..=3).map(entry).collect()
    }

    fn ids(directory: &Directory) -> Vec<&str> {
        directory.iter().map(|server| server.server_id.as_str()).collect()
    }

    /// What the change makes of it, by the entry `version`.
    fn change(before: &Directory, change: &ServerChange, version: u64) -> Directory {
        before.changed(change).unwrap().made_by(version)
    }

    #[test]
    fn a_server_joins_and_votes_from_then_on() {
        let joins = change(&three(), &ServerChange::Add(entry(4)), 10);
        assert_eq!((joins.version, joins.len(), joins.voting().count(), joins.majority()), (10, 4, 3, 2));
        assert!(joins.is_joining(&id(4)) && joins.for_clients().len() == 3);
        assert_eq!(joins.settled(11, |_| false, |_| true), None);
        let settled = joins.settled(12, |server| *server == id(4), |_| true).unwrap();
        assert_eq!((settled.version, settled.voting().count(), settled.majority()), (12, 4, 3));
        assert_eq!(settled.under_way, None);
    }

    #[test]
    fn one_change_at_a_time_which_may_be_taken_back() {
        let joins = change(&three(), &ServerChange::Add(entry(4)), 10);
        for second in [
            ServerChange::Add(entry(5)),
            ServerChange::Remove(id(1)),
            ServerChange::Replace { old: id(1), new: entry(5) },
        ] {
            let refused = joins.changed(&second).unwrap_err();
            assert_eq!(refused, ChangeError::Joining { joins: id(4) });
        }
        joins.changed(&ServerChange::Drain { server_id: id(1), drained: true }).unwrap();
        let back = joins.changed(&ServerChange::Remove(id(4))).unwrap();
        assert!(back.goes(&id(4)));
        assert_eq!(back.changed(&ServerChange::Remove(id(4))), Err(ChangeError::Leaving(id(4))));
        assert_eq!(back.settled(12, |_| false, |server| *server == id(4)), None);
        let settled = back.settled(13, |_| false, |server| *server != id(4)).unwrap();
        assert_eq!(ids(&settled), ["server1", "server2", "server3"]);
    }

    #[test]
    fn a_replaced_server_votes_until_the_other_one_does() {
        let new = ServerEntry { ring_position: 1, ..entry(6) };
        let replace = ServerChange::Replace { old: id(1), new };
        let replaces = change(&three(), &replace, 10);
        assert_eq!((replaces.voting().count(), replaces.replaced_by(&id(6))), (3, Some(&id(1))));
        assert!(!replaces.should_lead(&id(1)) && replaces.should_lead(&id(2)));
        // The new one votes, and the old one has not gone: that is half of a change.
        assert_eq!(replaces.settled(11, |_| true, |_| true), None);
        let settled = replaces.settled(11, |_| true, |server| *server != id(1)).unwrap();
        assert_eq!(ids(&settled), ["server6", "server2", "server3"]);
        // Taken back, the old one stays.
        let back = replaces.changed(&ServerChange::Remove(id(6))).unwrap();
        assert_eq!(ids(&back.when_settled()), ["server1", "server2", "server3"]);
    }

    #[test]
    fn a_drained_server_votes_and_is_not_shown_to_clients() {
        let drain = |server_id, drained| ServerChange::Drain { server_id, drained };
        let drained = three().changed(&drain(id(3), true)).unwrap();
        assert_eq!((drained.majority(), drained.for_clients().len()), (2, 2));
        assert!(!drained.should_lead(&id(3)));
        let all = drained.changed(&drain(id(1), true)).unwrap().changed(&drain(id(2), true)).unwrap();
        assert_eq!(all.for_clients().len(), 3, "clients must find somebody");
        let again = drained.changed(&drain(id(3), false)).unwrap();
        assert!(again.should_lead(&id(3)) && again.for_clients().len() == 3);
        let gone = drained.changed(&ServerChange::Remove(id(3))).unwrap().when_settled();
        assert!(!gone.is_drained(&id(3)));
    }

    #[test]
    fn what_cannot_be_is_named() {
        let with = |change: &dyn Fn(&mut ServerEntry)| {
            let mut server = entry(4);
            change(&mut server);
            three().changed(&ServerChange::Add(server)).unwrap_err().to_string()
        };
        for (error, named) in [
            (with(&|server| server.server_id = ServerId::new("SERVER2").unwrap()), "server2 is a server"),
            (with(&|server| server.ring_position = 2), "server2 stands at ring position 2"),
            (with(&|server| (server.host, server.port) = ("HOST1".into(), 8030)), "server1 has that host"),
            (with(&|server| server.host = "two words".into()), "host must be"),
            (with(&|server| server.client_host = Some(String::new())), "client_host must be"),
            (with(&|server| server.port = 65_500), "port must be 1 to 65495"),
            (with(&|server| server.client_port = Some(0)), "client_port must be"),
            (three().changed(&ServerChange::Remove(id(9))).unwrap_err().to_string(), "no server server9"),
        ] {
            assert!(error.contains(named), "{error}");
        }
        let one: Directory = [entry(1)].into_iter().collect();
        assert_eq!(one.changed(&ServerChange::Remove(id(1))), Err(ChangeError::Last(id(1))));
        let full: Directory = (1..=SERVERS_MAX as u16).map(entry).collect();
        assert_eq!(full.changed(&ServerChange::Add(entry(50))), Err(ChangeError::TooMany));
    }

    #[test]
    fn the_living_are_counted_among_those_that_vote() {
        let counted = three().changed(&ServerChange::Add(entry(4))).unwrap().count(|server| *server == id(1));
        assert_eq!((counted.voting, counted.needed, counted.alive()), (3, 2, 1));
        assert!(!counted.is_alive());
        assert_eq!(counted.missing, [id(2), id(3)]);
    }
}
