//! A table of bounded length, and addresses that count as one: what is counted by name or address must not
//! grow with the number of names and addresses that somebody can think of.

use core::net::IpAddr;
use std::collections::BTreeMap;

/// Addresses that count as one: whoever has one IPv6 address has at least the 2⁶⁴ of its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Neighbourhood(Option<IpAddr>);

impl Neighbourhood {
    /// That of an address. Clients whose address is not known count as one.
    pub fn of(addr: Option<IpAddr>) -> Self {
        Neighbourhood(addr.map(|addr| match addr.to_canonical() {
            IpAddr::V6(addr) => IpAddr::V6((u128::from(addr) >> 64 << 64).into()),
            v4 => v4,
        }))
    }
}

/// A table of bounded length: a new entry takes the place of the one that was used longest ago.
#[derive(Debug)]
pub struct Bounded<K, V> {
    entries: BTreeMap<K, (u64, V)>,
    /// By their last use.
    uses: BTreeMap<u64, K>,
    used: u64,
    entries_max: usize,
}

impl<K: Ord + Clone, V: Default> Bounded<K, V> {
    /// For up to so many entries.
    pub fn new(entries_max: usize) -> Self {
        Bounded { entries: BTreeMap::new(), uses: BTreeMap::new(), used: 0, entries_max }
    }

    /// An entry, which does not count as a use.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(_, value)| value)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key).map(|(_, value)| value)
    }

    /// The entry, made where there is none, and used now.
    pub fn entry(&mut self, key: K) -> &mut V {
        self.used += 1;
        if let Some((used, _)) = self.entries.get(&key) {
            self.uses.remove(used);
        } else if self.entries.len() >= self.entries_max
            && let Some((_, oldest)) = self.uses.pop_first()
        {
            self.entries.remove(&oldest);
        }
        self.uses.insert(self.used, key.clone());
        let entry = self.entries.entry(key).or_default();
        entry.0 = self.used;
        &mut entry.1
    }

    /// Forgets an entry.
    pub fn remove(&mut self, key: &K) {
        if let Some((used, _)) = self.entries.remove(key) {
            self.uses.remove(&used);
        }
    }

    /// Forgets the entries of whose keys `keeps` says no.
    pub fn retain(&mut self, keeps: impl Fn(&K) -> bool) {
        self.entries.retain(|key, _| keeps(key));
        self.uses.retain(|_, key| keeps(key));
    }

    /// How many entries there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert_eq!(self.entries.len(), self.uses.len());
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_network_are_one() {
        let of = |text: &str| Neighbourhood::of(Some(text.parse().unwrap()));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.2"), of("10.0.0.1"));
        assert_eq!(Neighbourhood::of(None), Neighbourhood::of(None));
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let mut table: Bounded<u32, u32> = Bounded::new(2);
        *table.entry(1) = 10;
        *table.entry(2) = 20;
        table.entry(1);
        table.entry(3);
        assert_eq!(
            (table.get(&1), table.get(&2), table.get(&3), table.len()),
            (Some(&10), None, Some(&0), 2)
        );
        table.remove(&1);
        table.retain(|key| *key != 3);
        assert_eq!(table.len(), 0);
    }
}
