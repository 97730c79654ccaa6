//! What the hashing threads have under way, for whom and from where.
//!
//! A job outlives its connection: whoever hangs up has the queue filled all the same, and may have guessed.
//! So a job counts from when it is handed out until its result is there, whatever became of the connection.

use core::net::IpAddr;
use std::collections::BTreeMap;

use super::{bounded::Neighbourhood, io::ConnId, throttle::Guarded};

/// A job that was handed out.
#[derive(Debug)]
pub struct UnderWay {
    /// Where the connection came from.
    pub addr: Option<IpAddr>,
    /// Whose password is tried, where one is.
    pub guarded: Option<Guarded>,
    /// Whether a thread hashes for it; else it is done at once.
    pub hashes: bool,
}

/// The jobs that were handed out and have no result yet: at most one of a connection.
#[derive(Debug, Default)]
pub struct Jobs {
    under_way: BTreeMap<ConnId, UnderWay>,
    hashing: BTreeMap<Neighbourhood, usize>,
}

impl Jobs {
    /// How many passwords are hashed, or wait for it, for connections from the neighbourhood of `addr`.
    pub fn hashing(&self, addr: Option<IpAddr>) -> usize {
        self.hashing.get(&Neighbourhood::of(addr)).copied().unwrap_or(0)
    }

    /// A job is handed out.
    pub fn begin(&mut self, conn: ConnId, job: UnderWay) {
        if job.hashes {
            *self.hashing.entry(Neighbourhood::of(job.addr)).or_default() += 1;
        }
        self.under_way.insert(conn, job);
    }

    /// Its result is there.
    pub fn end(&mut self, conn: ConnId) -> Option<UnderWay> {
        let job = self.under_way.remove(&conn)?;
        let place = Neighbourhood::of(job.addr);
        if job.hashes
            && let Some(count) = self.hashing.get_mut(&place)
        {
            *count -= 1;
            if *count == 0 {
                self.hashing.remove(&place);
            }
        }
        Some(job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hashes_counts_by_neighbourhood_until_it_ends() {
        let mut jobs = Jobs::default();
        let here = Some("10.0.0.1".parse().unwrap());
        for number in 1..=4 {
            jobs.begin(ConnId(number), UnderWay { addr: here, guarded: None, hashes: number > 1 });
        }
        assert_eq!((jobs.hashing(here), jobs.hashing(None)), (3, 0));
        for number in 1..=4 {
            assert!(jobs.end(ConnId(number)).is_some() && jobs.end(ConnId(number)).is_none());
        }
        assert_eq!(jobs.hashing(here), 0);
        assert!(jobs.hashing.is_empty() && jobs.under_way.is_empty());
    }
}
