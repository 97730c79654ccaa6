//! How much of the hashing each address has.

use core::net::IpAddr;
use std::collections::{BTreeMap, btree_map::Entry};

use super::{
    super::neighbourhood::Neighbourhood,
    connection::{Awaited, Connection},
};

/// How many passwords are hashed, or wait for it, for the connections of each address. A connection has one
/// at a time, and keeps it until the hash is done: hanging up gives nothing back.
#[derive(Debug, Default)]
pub struct Shares(BTreeMap<Neighbourhood, usize>);

impl Shares {
    pub fn hashing(&self, addr: Option<IpAddr>) -> usize {
        self.0.get(&Neighbourhood::of(addr)).copied().unwrap_or(0)
    }

    pub fn take(&mut self, addr: Option<IpAddr>) {
        *self.0.entry(Neighbourhood::of(addr)).or_default() += 1;
    }

    /// Notes that the connection hashes nothing any more.
    pub fn give_back(&mut self, connection: &Connection) {
        if matches!(&connection.awaited, Some(Awaited::Job(pending)) if pending.hashes)
            && let Entry::Occupied(mut entry) = self.0.entry(Neighbourhood::of(connection.addr))
        {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}
