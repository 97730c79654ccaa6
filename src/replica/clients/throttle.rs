//! When a password may be tried again: failures are counted, and too many are `rate_limited`.
//!
//! Three counts make guessing slow without letting one user lock another out:
//!
//! - **An account or room, from one address** (a guesser). The first few failures are free, as typing
//!   mistakes; each further one doubles the pause, up to a quarter of an hour.
//! - **An address** (spraying: one password, many names) and **an account or room, from all addresses** (a
//!   guesser with many addresses). Each leaks: a number of failures at once, then one in `LEAK_MS`.
//!
//! **No user is locked out from a home address.** If an account has been logged in to from an address, that
//! is its home: only the first count applies there, with more free tries and short pauses. A stranger's
//! failures elsewhere, or on other names from the same address (an office, a proxy), cost that user nothing.
//! Homes have a table of their own that only successes fill, so failures cannot push them out.
//!
//! **A try counts before it is checked**, and a success takes it back. Otherwise a thousand tries at the same
//! time would all be the first. A try that was not checked because the queue was full is taken back, too. One
//! whose connection has gone is checked like any other, and counts.
//!
//! Unknown names are counted like known ones, so the answers tell nothing. Every table is bounded: the least
//! recently used entry goes first. Pushing a count out takes as many failures as the table is long, which the
//! other counts make slow, and only gains one round of free tries.
//!
//! The counts are this server's own and not replicated: three servers give a guesser three times as much.

use core::{net::IpAddr, num::NonZeroUsize};

use lru::LruCache;

use crate::protocol::{
    name::{RoomKey, UserKey},
    refusal::{Code, Refusal},
};

use super::super::neighbourhood::Neighbourhood;

/// Entries of each table.
const ENTRIES_MAX: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();
/// Failures of one address on one account before pauses begin.
const FREE: u32 = 5;
/// The same from a home of the account: programs of the same user come all at once.
const FREE_AT_HOME: u32 = 20;
const FIRST_PAUSE_MS: u64 = 1_000;
const PAUSE_MAX_MS: u64 = 15 * 60 * 1_000;
/// The longest pause from a home of the account.
const PAUSE_MAX_AT_HOME_MS: u64 = 30_000;
/// Failures of one address on one account are forgotten after so long without one.
const FORGET_MS: u64 = 60 * 60 * 1_000;
/// Failures of one address that may come at once.
const ADDRESS_BURST: u64 = 40;
/// Failures on one account that may come at once, from all addresses that are not its homes.
const GUARDED_BURST: u64 = 30;
/// One failure of an address or on an account leaks away in this time.
const LEAK_MS: u64 = 10_000;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Guarded {
    /// The account of a name, whether it exists or not.
    Account(UserKey),
    /// A room with a password.
    Room(RoomKey),
}

/// Counts failures; see the top of this file.
#[derive(Debug)]
pub struct Throttle {
    pairs: LruCache<(Guarded, Neighbourhood), Pair>,
    homes: LruCache<(Guarded, Neighbourhood), ()>,
    addresses: LruCache<Neighbourhood, Leaky>,
    guarded: LruCache<Guarded, Leaky>,
}

/// Failures of one neighbourhood on one guarded thing.
#[derive(Debug, Clone, Copy, Default)]
struct Pair {
    failures: u32,
    last_ms: u64,
    until_ms: u64,
}

impl Default for Throttle {
    fn default() -> Self {
        Throttle::with_entries(ENTRIES_MAX)
    }
}

impl Throttle {
    fn with_entries(entries_max: NonZeroUsize) -> Self {
        Throttle {
            pairs: LruCache::new(entries_max),
            homes: LruCache::new(entries_max),
            addresses: LruCache::new(entries_max),
            guarded: LruCache::new(entries_max),
        }
    }

    /// Counts a try as a failure before the password is checked, until [`Throttle::succeeded`] or
    /// [`Throttle::undone`].
    ///
    /// # Errors
    /// `rate_limited`: too many have failed. It has not counted, and the time to come back is true, unless
    /// another try fails meanwhile.
    pub fn begin(&mut self, now_ms: u64, guarded: &Guarded, addr: Option<IpAddr>) -> Result<(), Refusal> {
        let place = Neighbourhood::of(addr);
        let key = (guarded.clone(), place);
        let is_home = self.homes.contains(&key);
        let mut pause_ms =
            self.pairs.peek(&key).map_or(0, |pair| pair.at(now_ms).until_ms.saturating_sub(now_ms));
        if !is_home {
            let of_address =
                self.addresses.peek(&place).map_or(0, |leaky| leaky.pause_ms(now_ms, ADDRESS_BURST));
            let of_guarded =
                self.guarded.peek(guarded).map_or(0, |leaky| leaky.pause_ms(now_ms, GUARDED_BURST));
            pause_ms = pause_ms.max(of_address).max(of_guarded);
        }
        if pause_ms > 0 {
            let reason =
                format!("too many passwords were wrong; try again in {} s", pause_ms.div_ceil(1_000));
            return Err(Refusal::new(Code::RateLimited, reason).retry_after(pause_ms));
        }
        let pair = self.pairs.get_or_insert_mut(key, Pair::default);
        *pair = pair.at(now_ms);
        pair.fail(now_ms, is_home);
        if !is_home {
            self.addresses.get_or_insert_mut(place, Leaky::default).add(now_ms);
            self.guarded.get_or_insert_mut(guarded.clone(), Leaky::default).add(now_ms);
        }
        Ok(())
    }

    /// The password was right.
    pub fn succeeded(&mut self, now_ms: u64, guarded: &Guarded, addr: Option<IpAddr>) {
        let key = (guarded.clone(), Neighbourhood::of(addr));
        self.undone(now_ms, guarded, addr);
        self.pairs.pop(&key);
        self.homes.put(key, ());
    }

    /// The password was not checked after all.
    pub fn undone(&mut self, now_ms: u64, guarded: &Guarded, addr: Option<IpAddr>) {
        let place = Neighbourhood::of(addr);
        let key = (guarded.clone(), place);
        if let Some(pair) = self.pairs.peek_mut(&key) {
            pair.failures = pair.failures.saturating_sub(1);
            pair.until_ms = now_ms;
        }
        if !self.homes.contains(&key) {
            self.addresses.peek_mut(&place).into_iter().for_each(|leaky| leaky.take_back(now_ms));
            self.guarded.peek_mut(guarded).into_iter().for_each(|leaky| leaky.take_back(now_ms));
        }
    }

    /// Forgets the homes of an account that is gone or has another password.
    pub fn forget_homes(&mut self, guarded: &Guarded) {
        let gone: Vec<_> =
            self.homes.iter().map(|(key, ())| key).filter(|(of, _)| of == guarded).cloned().collect();
        for key in gone {
            self.homes.pop(&key);
        }
    }
}

impl Pair {
    /// What of it has not been forgotten.
    fn at(self, now_ms: u64) -> Pair {
        if now_ms.saturating_sub(self.last_ms) >= FORGET_MS { Pair::default() } else { self }
    }

    fn fail(&mut self, now_ms: u64, is_home: bool) {
        let (free, longest) =
            if is_home { (FREE_AT_HOME, PAUSE_MAX_AT_HOME_MS) } else { (FREE, PAUSE_MAX_MS) };
        self.failures = self.failures.saturating_add(1);
        self.last_ms = now_ms;
        if let Some(beyond) = self.failures.checked_sub(free) {
            let pause_ms = FIRST_PAUSE_MS.checked_shl(beyond.min(32)).unwrap_or(u64::MAX);
            self.until_ms = now_ms.saturating_add(pause_ms.min(longest));
        }
    }
}

/// Failures that leak away, one in [`LEAK_MS`]. Kept as the time at which all of them will have.
#[derive(Debug, Clone, Copy, Default)]
struct Leaky {
    empty_ms: u64,
}

impl Leaky {
    fn add(&mut self, now_ms: u64) {
        self.empty_ms = self.empty_ms.max(now_ms).saturating_add(LEAK_MS);
    }

    fn take_back(&mut self, now_ms: u64) {
        self.empty_ms = self.empty_ms.saturating_sub(LEAK_MS).max(now_ms.min(self.empty_ms));
    }

    /// How long it takes until another one does not make more than `burst`.
    fn pause_ms(&self, now_ms: u64, burst: u64) -> u64 {
        let full_ms = (burst - 1) * LEAK_MS;
        self.empty_ms.saturating_sub(now_ms).saturating_sub(full_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::name::{RoomName, UserName};

    const HOUR_MS: u64 = 3_600_000;

    fn account(name: &str) -> Guarded {
        Guarded::Account(UserName::new(name).unwrap().key())
    }

    fn address(number: u32) -> Option<IpAddr> {
        Some(IpAddr::V4((0x0a00_0000 + number).into()))
    }

    /// How many wrong passwords are checked from `from_ms` for `for_ms`, for a guesser that comes back as
    /// soon as it is told to. Checks that each time to come back is true.
    fn guesses(
        throttle: &mut Throttle,
        from_ms: u64,
        for_ms: u64,
        who: &Guarded,
        addr: Option<IpAddr>,
    ) -> u32 {
        let (mut now_ms, mut count) = (from_ms, 0);
        while now_ms < from_ms + for_ms {
            match throttle.begin(now_ms, who, addr) {
                Ok(()) => count += 1,
                Err(refusal) => {
                    assert_eq!(refusal.code, Code::RateLimited);
                    let pause_ms = refusal.retry_after_ms.unwrap();
                    assert!((1..=PAUSE_MAX_MS).contains(&pause_ms), "{pause_ms}");
                    throttle.begin(now_ms + pause_ms - 1, who, addr).unwrap_err();
                    now_ms += pause_ms;
                }
            }
        }
        count
    }

    #[test]
    fn guessing_gets_slower_and_slower() {
        let mut throttle = Throttle::default();
        let alice = account("alice");
        assert_eq!(guesses(&mut throttle, 0, 1, &alice, address(1)), FREE);
        assert_eq!(throttle.begin(0, &alice, address(1)).unwrap_err().retry_after_ms, Some(1_000));
        // 1 + 2 + 4 + … seconds, then four an hour.
        let in_a_day = guesses(&mut throttle, 1_000, 24 * HOUR_MS, &alice, address(1));
        assert!((80..130).contains(&in_a_day), "{in_a_day}");
        // A pause of an hour, and it begins anew.
        assert_eq!(guesses(&mut throttle, 26 * HOUR_MS, 1, &alice, address(1)), FREE);
    }

    #[test]
    fn a_typing_mistake_costs_nothing() {
        let mut throttle = Throttle::default();
        let alice = account("Alice");
        for day in 0..1_000 {
            for _ in 0..FREE {
                throttle.begin(day * 24 * HOUR_MS, &alice, address(1)).unwrap();
            }
            throttle.succeeded(day * 24 * HOUR_MS, &account("ALICE"), address(1));
        }
    }

    #[test]
    fn spraying_one_password_over_many_names_is_slowed_down_by_address() {
        let mut throttle = Throttle::default();
        let mut count = 0;
        for second in 0..3_600_u64 {
            for name in 0..10 {
                let who = account(&format!("user{}", second * 10 + name));
                count += u64::from(throttle.begin(second * 1_000, &who, address(1)).is_ok());
            }
        }
        assert_eq!(count, ADDRESS_BURST + 3_599_000 / LEAK_MS);
    }

    #[test]
    fn many_addresses_against_one_account_are_slowed_down_by_account() {
        let mut throttle = Throttle::default();
        let alice = account("alice");
        let mut count = 0;
        for second in 0..3_600_u64 {
            for number in 0..10 {
                let addr = address(second as u32 * 10 + number);
                count += u64::from(throttle.begin(second * 1_000, &alice, addr).is_ok());
            }
        }
        assert_eq!(count, GUARDED_BURST + 3_599_000 / LEAK_MS);
    }

    #[test]
    fn nobody_is_locked_out_at_home() {
        let mut throttle = Throttle::default();
        let (alice, home) = (account("alice"), address(7));
        throttle.begin(0, &alice, home).unwrap();
        throttle.succeeded(0, &alice, home);
        // Guessers from many addresses, and one at the home address who sprays, and fills the tables.
        for number in 0..100_000 {
            let _ = throttle.begin(1_000, &alice, address(100 + number));
            let _ = throttle.begin(1_000, &account(&format!("u{number}")), home);
        }
        throttle.begin(1_000, &alice, address(8)).unwrap_err();
        throttle.begin(1_000, &account("bob"), home).unwrap_err();
        for _ in 0..FREE_AT_HOME {
            throttle.begin(1_000, &alice, home).unwrap();
        }
        // A guesser at the home address delays the others by half a minute at most.
        guesses(&mut throttle, 1_000, HOUR_MS, &alice, home);
        let refusal = throttle.begin(1_000 + HOUR_MS, &alice, home);
        assert!(refusal.map_or_else(|no| no.retry_after_ms.unwrap(), |()| 0) <= PAUSE_MAX_AT_HOME_MS);
        // With another password it is no home any more.
        throttle.forget_homes(&alice);
        throttle.begin(1_000, &alice, home).unwrap_err();
    }

    #[test]
    fn tries_at_the_same_time_are_counted_before_they_are_checked() {
        let mut throttle = Throttle::default();
        let alice = account("alice");
        let begun = (0..1_000).filter(|_| throttle.begin(0, &alice, address(1)).is_ok()).count();
        assert_eq!(begun as u32, FREE);
        // All of them found the queue full, so nothing has happened.
        (0..begun).for_each(|_| throttle.undone(0, &alice, address(1)));
        assert_eq!(guesses(&mut throttle, 0, 1, &alice, address(1)), FREE);
        let mut throttle = Throttle::default();
        for _ in 0..1_000 {
            throttle.begin(5, &alice, address(1)).unwrap();
            throttle.undone(5, &alice, address(1));
        }
    }

    #[test]
    fn a_success_elsewhere_is_no_way_to_guess_more() {
        let mut throttle = Throttle::default();
        let mut count = 0;
        for number in 0..10_000 {
            count += u64::from(throttle.begin(0, &account(&format!("u{number}")), address(1)).is_ok());
            // The guesser has an account of its own.
            if throttle.begin(0, &account("mallory"), address(1)).is_ok() {
                throttle.succeeded(0, &account("mallory"), address(1));
            }
        }
        assert_eq!(count, ADDRESS_BURST);
    }

    #[test]
    fn rooms_and_accounts_of_one_name_are_two() {
        let mut throttle = Throttle::default();
        let room = Guarded::Room(RoomName::new("alice").unwrap().key());
        assert_eq!(guesses(&mut throttle, 0, 1, &room, address(1)), FREE);
        throttle.begin(0, &account("alice"), address(1)).unwrap();
    }

    #[test]
    fn tables_are_bounded_and_forget_what_is_oldest() {
        let mut throttle = Throttle::with_entries(NonZeroUsize::new(100).unwrap());
        assert_eq!(guesses(&mut throttle, 0, 1, &account("alice"), address(1)), FREE);
        for number in 0..10_000 {
            let (who, addr) = (account(&format!("u{number}")), address(10 + number));
            throttle.begin(0, &who, addr).unwrap();
            if number % 2 == 0 {
                throttle.succeeded(0, &who, addr);
            }
        }
        let Throttle { pairs, homes, addresses, guarded } = &throttle;
        for entries in [pairs.len(), homes.len(), addresses.len(), guarded.len()] {
            assert!(entries <= 100, "{entries}");
        }
        throttle.begin(0, &account("alice"), address(1)).unwrap();
    }

    #[test]
    fn times_at_their_end_do_not_overflow() {
        let mut throttle = Throttle::default();
        for _ in 0..200 {
            let _ = throttle.begin(u64::MAX, &account("alice"), None);
            throttle.undone(0, &account("bob"), None);
        }
        for number in 0..200_u64 {
            // As if each came after the pause.
            let _ = throttle.begin(number * PAUSE_MAX_MS, &account("carol"), address(1));
        }
    }
}
