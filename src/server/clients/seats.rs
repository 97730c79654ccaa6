//! How many connections there may be: in all, from one address, and in places that are kept for those who
//! must always get in.

use std::collections::BTreeMap;

use crate::{fanout::ConnId, protocol::limits::Limits, replica::neighbourhood::Neighbourhood};

/// Reserved places that one address may have. A client that does not become an operator's keeps one for
/// seconds at most, and an operator needs no more.
const RESERVED_OF_ONE_ADDRESS: usize = 2;

/// How many connections there may be at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    pub ordinary: usize,
    /// How many of these may come from one address.
    pub of_one_address: usize,
    /// How many more there may be for operators and administrators.
    pub reserved: usize,
}

impl Room {
    /// As the configuration limits it.
    pub fn of(limits: &Limits) -> Room {
        Room {
            ordinary: limits.connections,
            of_one_address: limits.connections_per_address,
            reserved: limits.connections_reserved,
        }
    }

    /// How many connections there can be.
    pub fn total(&self) -> usize {
        self.ordinary + self.reserved
    }
}

/// Which place a connection takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seat {
    /// One of those for all clients.
    Ordinary(Neighbourhood),
    /// One of those that are kept for operators and administrators.
    Reserved(Neighbourhood),
    /// One of those for all clients; the connection is from a trusted proxy.
    Proxy,
    /// None: it belongs to a connection that has one already.
    Local,
}

/// The places that are taken.
#[derive(Debug)]
pub struct Seats {
    room: Room,
    /// How many of them have an ordinary place.
    ordinary: usize,
    /// How many of them have a reserved place.
    reserved: usize,
    /// The addresses of clients behind trusted proxies, as far as the proxies have said them.
    behind_proxies: BTreeMap<ConnId, Neighbourhood>,
    /// Both, by the address that they come from.
    by_address: BTreeMap<Neighbourhood, OfAddress>,
}

/// How many connections come from one address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct OfAddress {
    ordinary: usize,
    reserved: usize,
}

impl Seats {
    pub fn new(room: Room) -> Seats {
        Seats { room, ordinary: 0, reserved: 0, behind_proxies: BTreeMap::new(), by_address: BTreeMap::new() }
    }

    /// Changes the limits. Places that are taken stay taken, even if there are more than the new limits.
    pub fn resize(&mut self, room: Room) {
        self.room = room;
    }

    /// How many places are taken.
    pub fn count(&self) -> usize {
        self.ordinary + self.reserved
    }

    /// The place for another connection from there, if there is one. Connections through a proxy are not
    /// limited by the proxy's address: see [`Seats::comes_from`].
    pub fn find(&self, place: Neighbourhood, is_proxy: bool) -> Option<Seat> {
        if is_proxy && self.ordinary < self.room.ordinary { Some(Seat::Proxy) } else { self.seat(place) }
    }

    fn seat(&self, place: Neighbourhood) -> Option<Seat> {
        let room = self.room;
        let of_address = self.by_address.get(&place).copied().unwrap_or_default();
        if of_address.ordinary >= room.of_one_address {
            // This address took all its places itself. The reserved ones are for those whom others shut out.
            return None;
        }
        if self.ordinary < room.ordinary {
            return Some(Seat::Ordinary(place));
        }
        let may_have = self.reserved < room.reserved && of_address.reserved < RESERVED_OF_ONE_ADDRESS;
        may_have.then_some(Seat::Reserved(place))
    }

    pub fn take(&mut self, seat: Seat) {
        match seat {
            Seat::Ordinary(place) => {
                self.ordinary += 1;
                self.by_address.entry(place).or_default().ordinary += 1;
            }
            Seat::Reserved(place) => {
                self.reserved += 1;
                self.by_address.entry(place).or_default().reserved += 1;
            }
            Seat::Proxy => self.ordinary += 1,
            Seat::Local => {}
        }
    }

    fn give_back(&mut self, seat: Seat) {
        let place = match seat {
            Seat::Ordinary(place) => {
                self.ordinary -= 1;
                self.by_address.entry(place).or_default().ordinary -= 1;
                place
            }
            Seat::Reserved(place) => {
                self.reserved -= 1;
                self.by_address.entry(place).or_default().reserved -= 1;
                place
            }
            Seat::Proxy => {
                self.ordinary -= 1;
                return;
            }
            Seat::Local => return,
        };
        self.forget_if_empty(place);
    }

    /// A trusted proxy has given the address of the client of `conn`. Returns whether there may be another
    /// connection from there; it counts in any case, until [`Seats::leave`].
    pub fn comes_from(&mut self, conn: ConnId, place: Neighbourhood) -> bool {
        self.forget_proxied(conn);
        self.behind_proxies.insert(conn, place);
        let of_address = self.by_address.entry(place).or_default();
        of_address.ordinary += 1;
        of_address.ordinary <= self.room.of_one_address
    }

    /// The connection `conn`, which had this place, has ended.
    pub fn leave(&mut self, conn: ConnId, seat: Seat) {
        self.give_back(seat);
        self.forget_proxied(conn);
    }

    fn forget_proxied(&mut self, conn: ConnId) {
        if let Some(place) = self.behind_proxies.remove(&conn) {
            self.by_address.entry(place).or_default().ordinary -= 1;
            self.forget_if_empty(place);
        }
    }

    fn forget_if_empty(&mut self, place: Neighbourhood) {
        if self.by_address.get(&place) == Some(&OfAddress::default()) {
            self.by_address.remove(&place);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn place(number: u32) -> Neighbourhood {
        Neighbourhood::of(Some(IpAddr::V4(number.into())))
    }

    /// The places of connections that come one by one from these addresses: `o`rdinary, `r`eserved,
    /// or `-`.
    fn let_in(open: &mut Seats, addresses: &[u32]) -> (String, Vec<Seat>) {
        let seats: Vec<Option<Seat>> = addresses
            .iter()
            .map(|&from| {
                let seat = open.find(place(from), false);
                seat.into_iter().for_each(|seat| open.take(seat));
                seat
            })
            .collect();
        let letter = |seat: &Option<Seat>| match seat {
            Some(Seat::Ordinary(_)) => 'o',
            Some(Seat::Reserved(_)) => 'r',
            _ => '-',
        };
        (seats.iter().map(letter).collect(), seats.into_iter().flatten().collect())
    }

    #[test]
    fn the_last_places_are_kept_and_no_address_takes_all_others() {
        let room = Room { ordinary: 5, of_one_address: 3, reserved: 3 };
        let mut open = Seats::new(room);
        let (places, seats) = let_in(&mut open, &[1, 1, 1, 1, 2, 3]);
        assert_eq!(places, "ooo-oo", "an address that has all its places gets no reserved one");
        let (places, more) = let_in(&mut open, &[1, 4, 4, 4, 5, 6]);
        assert_eq!(places, "-rr-r-", "no address has more than two of those");
        // A place that is given back can be given again.
        open.give_back(seats[0]);
        let (places, ordinary) = let_in(&mut open, &[4]);
        assert_eq!(places, "o");
        open.give_back(more[0]);
        let (places, again) = let_in(&mut open, &[4, 7]);
        assert_eq!(places, "r-");
        let rest = seats[1..].iter().chain(&more[1..]).chain(&ordinary).chain(&again);
        rest.chain(&[Seat::Local]).for_each(|seat| open.give_back(*seat));
        assert!(open.ordinary == 0 && open.reserved == 0 && open.by_address.is_empty(), "{open:?}");
        // The new limits count for later connections.
        open.resize(Room { of_one_address: 1, ..room });
        assert_eq!(let_in(&mut open, &[1, 1, 2]).0, "o-o");
    }

    #[test]
    fn behind_a_proxy_each_client_counts_for_its_own_address() {
        let mut open = Seats::new(Room { ordinary: 3, of_one_address: 1, reserved: 1 });
        let proxy = place(9);
        for conn in [1, 2] {
            assert_eq!(open.find(proxy, true), Some(Seat::Proxy), "{conn}");
            open.take(Seat::Proxy);
        }
        assert!(open.comes_from(ConnId(1), place(1)) && !open.comes_from(ConnId(2), place(1)));
        // It said another address meanwhile, and that counts alone.
        assert!(open.comes_from(ConnId(2), place(2)));
        assert_eq!(open.find(place(1), false), None);
        open.leave(ConnId(1), Seat::Proxy);
        assert_eq!(open.find(place(1), false), Some(Seat::Ordinary(place(1))));
        open.leave(ConnId(2), Seat::Proxy);
        assert!(open.count() == 0 && open.by_address.is_empty(), "{open:?}");
    }
}
