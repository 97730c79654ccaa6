//! How much may be asked: requests and bytes of a connection, a user and an address; rooms made and bytes
//! uploaded by a user and from an address; accounts registered, passwords set and new names used, from an
//! address. If guests are let in a name costs nothing, so what is limited for a user is limited for an
//! address as well.
//!
//! Bytes are those of requests, and those of answers that list what a server holds in memory: a short
//! question can have a long answer.
//!
//! Each count is a bucket that leaks at a steady rate and holds a fixed amount. A request that does not fit
//! is refused and does not count. The refusal says when it will fit, which is true unless other requests of
//! the same user or address fill the bucket meanwhile.
//!
//! A user's counts cover all connections of the user on this server, an address's all connections from it.
//! Behind a proxy, or in an office, many users have one address, so an address may do many times what a
//! connection may (`address_times`). That limit is for one machine with thousands of connections; users
//! should never meet it.
//!
//! The counts are this server's own and not replicated: three servers give three times as much.

use core::{net::IpAddr, num::NonZeroUsize};

use lru::LruCache;

use crate::protocol::{
    limits::Limits,
    name::UserKey,
    refusal::{Code, Refusal},
};

use super::super::neighbourhood::Neighbourhood;

/// Users and addresses that are counted at the same time.
const ENTRIES_MAX: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();
const SECOND_MS: u64 = 1_000;
const HOUR_MS: u64 = 60 * 60 * SECOND_MS;
const NS_PER_MS: u64 = 1_000_000;

/// A rate of units, and how many may be used at once.
#[derive(Debug, Clone, Copy)]
struct Rate {
    units: u64,
    time_ms: u64,
    burst: u64,
}

impl Rate {
    fn per_second(units: u64, burst: u64) -> Rate {
        Rate { units, time_ms: SECOND_MS, burst }
    }

    /// The whole amount of an hour may be used at once.
    fn per_hour(units: u64) -> Rate {
        Rate { units, time_ms: HOUR_MS, burst: units }
    }

    fn times(self, times: u32) -> Rate {
        let times = u64::from(times);
        Rate { units: self.units.saturating_mul(times), burst: self.burst.saturating_mul(times), ..self }
    }

    /// How long so many units take to leak.
    fn time_ns(self, units: u64) -> u64 {
        let ns = u128::from(units) * u128::from(self.time_ms * NS_PER_MS) / u128::from(self.units.max(1));
        u64::try_from(ns).unwrap_or(u64::MAX)
    }
}

/// What has been used of a rate. Kept as the time at which all of it will have leaked away.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    empty_ns: u64,
}

impl Bucket {
    /// How long it takes until so many units fit; 0 if they do. More than the bucket holds fits when it is
    /// empty.
    fn pause_ms(&self, now_ms: u64, rate: Rate, units: u64) -> u64 {
        let wanted_ns = rate.time_ns(units);
        let used_ns = self.empty_ns.saturating_sub(now_ms.saturating_mul(NS_PER_MS));
        let room_ns = rate.time_ns(rate.burst).max(wanted_ns);
        used_ns.saturating_add(wanted_ns).saturating_sub(room_ns).div_ceil(NS_PER_MS)
    }

    fn spend(&mut self, now_ms: u64, rate: Rate, units: u64) {
        let now_ns = now_ms.saturating_mul(NS_PER_MS);
        self.empty_ns = self.empty_ns.max(now_ns).saturating_add(rate.time_ns(units));
    }
}

/// The requests of a connection, user or address, and their bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Traffic {
    requests: Bucket,
    bytes: Bucket,
}

/// What one connection has sent, and how often it was refused in a row.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConnTraffic {
    traffic: Traffic,
    refused: u32,
}

impl ConnTraffic {
    /// Whether it was refused so often that it is to be closed.
    pub fn is_refused_too_often(&self, limits: &Limits) -> bool {
        self.refused > limits.requests_burst
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct OfUser {
    traffic: Traffic,
    makes: Makes,
}

/// Rooms and uploaded bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Makes {
    rooms: Bucket,
    uploads: Bucket,
}

#[derive(Debug, Clone, Copy, Default)]
struct OfAddress {
    traffic: Traffic,
    makes: Makes,
    registrations: Bucket,
    passwords: Bucket,
    names: Bucket,
}

/// All counts except those of single connections.
#[derive(Debug)]
pub struct Rates {
    users: LruCache<UserKey, OfUser>,
    addresses: LruCache<Neighbourhood, OfAddress>,
}

impl Default for Rates {
    fn default() -> Self {
        Rates { users: LruCache::new(ENTRIES_MAX), addresses: LruCache::new(ENTRIES_MAX) }
    }
}

impl Rates {
    /// Counts a request of so many bytes, or refuses it.
    pub fn request(
        &mut self,
        now_ms: u64,
        limits: &Limits,
        conn: &mut ConnTraffic,
        (user, addr): (Option<UserKey>, Option<IpAddr>),
        bytes: usize,
    ) -> Result<(), Refusal> {
        let requests = Rate::per_second(limits.requests_per_s.into(), limits.requests_burst.into());
        let volume = Rate::per_second(limits.bytes_per_s, limits.bytes_burst);
        let of_address =
            &mut self.addresses.get_or_insert_mut(Neighbourhood::of(addr), OfAddress::default).traffic;
        let of_user = user.map(|user| &mut self.users.get_or_insert_mut(user, OfUser::default).traffic);
        let mut counts = [
            Some(("a connection", 1, &mut conn.traffic)),
            of_user.map(|traffic| ("a user", limits.user_times, traffic)),
            Some(("an address", limits.address_times, of_address)),
        ];
        let mut worst = (0, String::new());
        for (whose, times, traffic) in counts.iter().flatten() {
            let (requests, volume) = (requests.times(*times), volume.times(*times));
            for (pause_ms, rate, what) in [
                (traffic.requests.pause_ms(now_ms, requests, 1), requests, "requests"),
                (traffic.bytes.pause_ms(now_ms, volume, bytes as u64), volume, "bytes"),
            ] {
                if pause_ms > worst.0 {
                    worst = (pause_ms, format!("{whose} may send {} {what} a second", rate.units));
                }
            }
        }
        if worst.0 > 0 {
            conn.refused = conn.refused.saturating_add(1);
            return Err(Refusal::new(Code::RateLimited, worst.1).retry_after(worst.0));
        }
        conn.refused = 0;
        for (_, times, traffic) in counts.iter_mut().flatten() {
            traffic.requests.spend(now_ms, requests.times(*times), 1);
            traffic.bytes.spend(now_ms, volume.times(*times), bytes as u64);
        }
        Ok(())
    }

    /// Counts what a request cost beyond its line, in bytes. It was answered, so it is never refused. But
    /// later requests are, until it has leaked away.
    pub fn answered(
        &mut self,
        now_ms: u64,
        limits: &Limits,
        conn: &mut ConnTraffic,
        (user, addr): (Option<UserKey>, Option<IpAddr>),
        bytes: usize,
    ) {
        let volume = Rate::per_second(limits.bytes_per_s, limits.bytes_burst);
        let of_address =
            &mut self.addresses.get_or_insert_mut(Neighbourhood::of(addr), OfAddress::default).traffic;
        let of_user = user.map(|user| &mut self.users.get_or_insert_mut(user, OfUser::default).traffic);
        conn.traffic.bytes.spend(now_ms, volume, bytes as u64);
        of_address.bytes.spend(now_ms, volume.times(limits.address_times), bytes as u64);
        if let Some(of_user) = of_user {
            of_user.bytes.spend(now_ms, volume.times(limits.user_times), bytes as u64);
        }
    }

    /// Whether a connection has not used up its bytes.
    ///
    /// # Errors
    /// `rate_limited`: it has.
    pub fn volume(
        &mut self,
        now_ms: u64,
        limits: &Limits,
        conn: &ConnTraffic,
        (user, addr): (Option<UserKey>, Option<IpAddr>),
    ) -> Result<(), Refusal> {
        let volume = Rate::per_second(limits.bytes_per_s, limits.bytes_burst);
        let of_address =
            self.addresses.get_or_insert_mut(Neighbourhood::of(addr), OfAddress::default).traffic;
        let of_user = user.map(|user| self.users.get_or_insert_mut(user, OfUser::default).traffic);
        let counts = [
            Some((1, conn.traffic)),
            of_user.map(|traffic| (limits.user_times, traffic)),
            Some((limits.address_times, of_address)),
        ];
        let pauses = counts
            .iter()
            .flatten()
            .map(|(times, traffic)| traffic.bytes.pause_ms(now_ms, volume.times(*times), 1));
        match pauses.max() {
            Some(pause_ms) if pause_ms > 0 => {
                let reason = "the answers to your other requests have used up your bytes a second";
                Err(Refusal::new(Code::RateLimited, reason).retry_after(pause_ms))
            }
            _ => Ok(()),
        }
    }

    /// Counts an account that is to be registered from an address, a bot's included.
    ///
    /// # Errors
    /// `rate_limited`: there were too many.
    pub fn registration(
        &mut self,
        now_ms: u64,
        limits: &Limits,
        addr: Option<IpAddr>,
    ) -> Result<(), Refusal> {
        let bucket =
            &mut self.addresses.get_or_insert_mut(Neighbourhood::of(addr), OfAddress::default).registrations;
        take_from_address(now_ms, 1, bucket, limits.registrations_per_hour, "accounts may be registered")
    }

    /// Counts a password that is to be set from an address.
    ///
    /// # Errors
    /// `rate_limited`: there were too many.
    pub fn password(&mut self, now_ms: u64, limits: &Limits, addr: Option<IpAddr>) -> Result<(), Refusal> {
        let bucket =
            &mut self.addresses.get_or_insert_mut(Neighbourhood::of(addr), OfAddress::default).passwords;
        take_from_address(now_ms, 1, bucket, limits.passwords_per_hour, "passwords may be set")
    }

    /// Counts new names that are used from an address: from then on they are stored.
    ///
    /// # Errors
    /// `rate_limited`: there were too many.
    pub fn new_names(
        &mut self,
        now_ms: u64,
        limits: &Limits,
        addr: Option<IpAddr>,
        count: u64,
    ) -> Result<(), Refusal> {
        let bucket = &mut self.addresses.get_or_insert_mut(Neighbourhood::of(addr), OfAddress::default).names;
        take_from_address(
            now_ms,
            count,
            bucket,
            limits.new_names_per_hour,
            "names may be used for the first time",
        )
    }

    /// Counts a room that a user makes from an address.
    ///
    /// # Errors
    /// `rate_limited`: there were too many.
    pub fn new_room(
        &mut self,
        now_ms: u64,
        limits: &Limits,
        (user, addr): (UserKey, Option<IpAddr>),
    ) -> Result<(), Refusal> {
        let of_user = &mut self.users.get_or_insert_mut(user, OfUser::default).makes.rooms;
        let of_address =
            &mut self.addresses.get_or_insert_mut(Neighbourhood::of(addr), OfAddress::default).makes.rooms;
        let rates = [limits.rooms_per_hour, limits.address_rooms_per_hour];
        let rates = rates.map(|rooms| Rate::per_hour(rooms.into()));
        take(now_ms, 1, of_both([of_user, of_address], rates, "rooms may be made"))
    }

    /// Counts a file of so many bytes that a user begins to upload from an address.
    ///
    /// # Errors
    /// `rate_limited`: there were too many bytes.
    pub fn upload(
        &mut self,
        now_ms: u64,
        limits: &Limits,
        (user, addr): (UserKey, Option<IpAddr>),
        bytes: u64,
    ) -> Result<(), Refusal> {
        let of_user = &mut self.users.get_or_insert_mut(user, OfUser::default).makes.uploads;
        let of_address =
            &mut self.addresses.get_or_insert_mut(Neighbourhood::of(addr), OfAddress::default).makes.uploads;
        let rates = [limits.upload_bytes_per_hour, limits.address_upload_bytes_per_hour];
        let rates = rates.map(Rate::per_hour);
        take(now_ms, bytes, of_both([of_user, of_address], rates, "bytes may be uploaded"))
    }
}

/// A bucket, its rate, and what it counts in words.
struct Share<'a> {
    bucket: &'a mut Bucket,
    rate: Rate,
    whose: &'static str,
    what: &'static str,
}

fn of_both<'a>(
    [of_user, of_address]: [&'a mut Bucket; 2],
    [user_rate, address_rate]: [Rate; 2],
    what: &'static str,
) -> [Share<'a>; 2] {
    [
        Share { bucket: of_user, rate: user_rate, whose: "by one user", what },
        Share { bucket: of_address, rate: address_rate, whose: "from one address", what },
    ]
}

/// Counts something for its address only: `what` may be done `per_hour` times in an hour.
fn take_from_address(
    now_ms: u64,
    units: u64,
    bucket: &mut Bucket,
    per_hour: u32,
    what: &'static str,
) -> Result<(), Refusal> {
    let rate = Rate::per_hour(per_hour.into());
    take(now_ms, units, [Share { bucket, rate, whose: "from one address", what }])
}

/// Takes so many units of each of the buckets, or of none.
fn take<const N: usize>(now_ms: u64, units: u64, shares: [Share<'_>; N]) -> Result<(), Refusal> {
    let pauses = shares.iter().map(|share| (share.bucket.pause_ms(now_ms, share.rate, units), share));
    if let Some((pause_ms, share)) = pauses.max_by_key(|(pause_ms, _)| *pause_ms)
        && pause_ms > 0
    {
        let reason = format!("{} {} an hour {}", share.rate.units, share.what, share.whose);
        return Err(Refusal::new(Code::RateLimited, reason).retry_after(pause_ms));
    }
    for share in shares {
        share.bucket.spend(now_ms, share.rate, units);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::name::UserName;

    fn user(name: &str) -> UserKey {
        UserName::new(name).unwrap().key()
    }

    fn address(number: u32) -> Option<IpAddr> {
        Some(IpAddr::V4((0x0a00_0000 + number).into()))
    }

    fn limits() -> Limits {
        Limits {
            requests_per_s: 10,
            requests_burst: 2,
            bytes_per_s: 1_000,
            bytes_burst: 5_000,
            user_times: 2,
            address_times: 3,
            registrations_per_hour: 2,
            rooms_per_hour: 3,
            upload_bytes_per_hour: 1_000,
            passwords_per_hour: 2,
            new_names_per_hour: 4,
            address_rooms_per_hour: 5,
            address_upload_bytes_per_hour: 2_000,
            ..Limits::default()
        }
    }

    /// Sends until it is refused; how many were taken, and how long to wait.
    fn until_refused(
        rates: &mut Rates,
        now_ms: u64,
        conn: &mut ConnTraffic,
        who: (Option<UserKey>, Option<IpAddr>),
        bytes: usize,
    ) -> (u32, Refusal) {
        for taken in 0.. {
            if let Err(refusal) = rates.request(now_ms, &limits(), conn, who.clone(), bytes) {
                return (taken, refusal);
            }
        }
        unreachable!()
    }

    #[test]
    fn requests_over_the_limit_say_when_to_come_back_and_who_goes_on_is_closed() {
        let (mut rates, mut conn) = (Rates::default(), ConnTraffic::default());
        let who = (Some(user("alice")), address(1));
        let (taken, refusal) = until_refused(&mut rates, 0, &mut conn, who.clone(), 1);
        assert_eq!((taken, refusal.code, refusal.retry_after_ms), (2, Code::RateLimited, Some(100)));
        assert!(refusal.reason.contains("a connection may send 10 requests"), "{}", refusal.reason);
        assert!(rates.request(99, &limits(), &mut conn, who.clone(), 1).is_err());
        rates.request(100, &limits(), &mut conn, who.clone(), 1).unwrap();
        let told: Vec<bool> = (0..4)
            .map(|_| {
                rates.request(100, &limits(), &mut conn, who.clone(), 1).unwrap_err();
                conn.is_refused_too_often(&limits())
            })
            .collect();
        assert_eq!(told, [false, false, true, true]);
    }

    #[test]
    fn bytes_count_and_what_is_larger_than_the_burst_fits_an_empty_bucket() {
        let (mut rates, mut conn) = (Rates::default(), ConnTraffic::default());
        let who = (None, address(1));
        rates.request(0, &limits(), &mut conn, who.clone(), 4_000).unwrap();
        let refusal = rates.request(0, &limits(), &mut conn, who.clone(), 3_000).unwrap_err();
        assert_eq!(refusal.retry_after_ms, Some(2_000));
        assert!(refusal.reason.contains("1000 bytes"), "{}", refusal.reason);
        rates.request(1_999, &limits(), &mut conn, who.clone(), 3_000).unwrap_err();
        rates.request(2_000, &limits(), &mut conn, who.clone(), 3_000).unwrap();
        // The five thousand that wait leak in five seconds.
        rates.request(6_999, &limits(), &mut conn, who.clone(), 9_000).unwrap_err();
        rates.request(7_000, &limits(), &mut conn, who, 9_000).unwrap();
    }

    #[test]
    fn all_connections_of_a_user_and_of_an_address_count_together() {
        let mut rates = Rates::default();
        let taken: u32 = (0..10)
            .map(|number| {
                let mut conn = ConnTraffic::default();
                until_refused(&mut rates, 0, &mut conn, (Some(user("alice")), address(number)), 1).0
            })
            .sum();
        assert_eq!(taken, 2 * 2);
        let mut rates = Rates::default();
        let taken: u32 = (0..10)
            .map(|number| {
                let mut conn = ConnTraffic::default();
                let who = (Some(user(&format!("u{number}"))), address(1));
                until_refused(&mut rates, 0, &mut conn, who, 1).0
            })
            .sum();
        assert_eq!(taken, 3 * 2);
        let mut conn = ConnTraffic::default();
        let (_, refusal) = until_refused(&mut rates, 0, &mut conn, (None, address(1)), 1);
        assert!(refusal.reason.contains("an address may send 30"), "{}", refusal.reason);
        until_refused(&mut rates, 0, &mut conn, (None, address(2)), 1);
    }

    #[test]
    fn what_is_refused_does_not_count() {
        let (mut rates, mut conn) = (Rates::default(), ConnTraffic::default());
        let who = (None, address(1));
        until_refused(&mut rates, 0, &mut conn, who.clone(), 1);
        for _ in 0..1_000 {
            let refusal = rates.request(50, &limits(), &mut conn, who.clone(), 1).unwrap_err();
            assert_eq!(refusal.retry_after_ms, Some(50));
        }
        rates.request(100, &limits(), &mut conn, who, 1).unwrap();
    }

    #[test]
    fn hourly_limits_are_spread_over_the_hour() {
        let mut rates = Rates::default();
        let limits = limits();
        for _ in 0..2 {
            rates.registration(0, &limits, address(1)).unwrap();
        }
        let refusal = rates.registration(0, &limits, address(1)).unwrap_err();
        assert_eq!(refusal.retry_after_ms, Some(HOUR_MS / 2));
        rates.registration(0, &limits, address(2)).unwrap();
        rates.registration(HOUR_MS / 2, &limits, address(1)).unwrap();

        let (alice, bob) = ((user("alice"), address(1)), (user("bob"), address(1)));
        for _ in 0..3 {
            rates.new_room(0, &limits, alice.clone()).unwrap();
        }
        let refusal = rates.new_room(0, &limits, (user("ALICE"), address(1))).unwrap_err();
        assert_eq!(refusal.retry_after_ms, Some(HOUR_MS / 3));
        rates.new_room(0, &limits, bob).unwrap();

        rates.upload(0, &limits, alice.clone(), 900).unwrap();
        let refusal = rates.upload(0, &limits, alice.clone(), 600).unwrap_err();
        assert_eq!(refusal.retry_after_ms, Some(HOUR_MS / 2));
        rates.upload(HOUR_MS / 2, &limits, alice, 600).unwrap();
    }

    /// If a name costs nothing, a client that takes another one for each room or file is still one address.
    #[test]
    fn an_address_is_limited_whatever_its_names() {
        let mut rates = Rates::default();
        let limits = limits();
        let guest = |number: u64| (user(&format!("g{number}")), address(1));
        let rooms = (0..100).filter(|number| rates.new_room(0, &limits, guest(*number)).is_ok()).count();
        assert_eq!(rooms, 5);
        let refusal = rates.new_room(0, &limits, guest(100)).unwrap_err();
        assert_eq!(refusal.retry_after_ms, Some(HOUR_MS / 5));
        assert!(
            refusal.reason.contains("5 rooms may be made an hour from one address"),
            "{}",
            refusal.reason
        );
        let files = (0..100).filter(|number| rates.upload(0, &limits, guest(*number), 500).is_ok()).count();
        assert_eq!(files, 4);
        // A request refused for its address has not counted for the user.
        rates.new_room(0, &limits, (user("g99"), address(2))).unwrap();

        rates.new_names(0, &limits, address(1), 2).unwrap();
        rates.new_names(0, &limits, address(1), 3).unwrap_err();
        rates.new_names(0, &limits, address(1), 2).unwrap();
        rates.new_names(0, &limits, address(2), 1).unwrap();
        let set = (0..100).filter(|_| rates.password(0, &limits, address(1)).is_ok()).count();
        assert_eq!(set, 2);
    }

    #[test]
    fn times_and_numbers_at_their_end_do_not_overflow() {
        let most = Limits {
            requests_per_s: u32::MAX,
            requests_burst: u32::MAX,
            bytes_per_s: u64::MAX,
            bytes_burst: u64::MAX,
            user_times: u32::MAX,
            address_times: u32::MAX,
            ..Limits::default()
        };
        let (mut rates, mut conn) = (Rates::default(), ConnTraffic::default());
        for now_ms in [0, u64::MAX, 1] {
            let _ = rates.request(now_ms, &most, &mut conn, (Some(user("a")), None), usize::MAX);
            let _ = rates.upload(now_ms, &most, (user("a"), None), u64::MAX);
        }
    }
}
