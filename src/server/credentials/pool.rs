//! The hashing threads and the way to them.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::{
    protocol::{
        credential::{Done, Job},
        operator::OperatorKey,
        refusal::{Code, Refusal},
    },
    replica::io::ConnId,
    server::{mailbox, threads::Threads},
};

use super::hasher::{Chance, Costs, Hasher};

/// What a job is taken to last before one has been measured, in microseconds.
const FIRST_GUESS_US: u64 = 30_000;

/// How passwords are hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hashing {
    /// What each costs.
    pub costs: Costs,
    /// How many threads there are.
    pub threads: usize,
    /// How many jobs may wait. Full means that a job is refused at once.
    pub queue: usize,
}

/// What became of the job of a connection.
pub struct Finished {
    /// Whose.
    pub conn: ConnId,
    /// What.
    pub done: Result<Done, Refusal>,
}

/// The way to the hashing threads.
pub struct Credentials {
    queue: Sender<(ConnId, Job)>,
    /// Works on what takes no time: an operator's login waits behind nobody's password.
    quick: Hasher,
    state: Arc<State>,
    threads: usize,
}

#[derive(Default)]
struct State {
    /// What waits is thrown away.
    is_over: AtomicBool,
    /// How long a job lasts, averaged.
    job_us: AtomicU64,
}

impl Credentials {
    /// Most results that can wait to be taken in at the same time.
    pub fn results_max(hashing: &Hashing) -> usize {
        hashing.queue + hashing.threads
    }

    /// Starts the threads. `results` has room for [`Credentials::results_max`], so that nobody waits.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn start(
        threads: &Threads,
        hashing: Hashing,
        operators: Option<OperatorKey>,
        results: &mailbox::Sender<Finished>,
    ) -> io::Result<(Credentials, Ending)> {
        let (queue, jobs) = bounded(hashing.queue);
        let state = Arc::new(State { job_us: AtomicU64::new(FIRST_GUESS_US), ..State::default() });
        for number in 0..hashing.threads {
            let (jobs, state, results) = (jobs.clone(), state.clone(), results.clone());
            let hasher = Hasher::new(hashing.costs, None, system_chance());
            threads.spawn(&format!("hash-{number}"), move || work_all(hasher, &jobs, &state, &results))?;
        }
        let ending = Ending(state.clone());
        let quick = Hasher::new(hashing.costs, operators, system_chance());
        Ok((Credentials { queue, quick, state, threads: hashing.threads }, ending))
    }

    /// Begins a job. What needs no hashing is done at once, and a full queue refuses at once: then the result
    /// is returned.
    #[must_use]
    pub fn begin(&mut self, conn: ConnId, job: Job) -> Option<Finished> {
        if !job.hashes() {
            let done = self.quick.work(job);
            return Some(Finished { conn, done });
        }
        match self.queue.try_send((conn, job)) {
            Ok(()) => None,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                let refusal = Refusal::new(Code::Overloaded, "too many passwords wait to be checked");
                Some(Finished { conn, done: Err(refusal.retry_after(self.until_empty_ms())) })
            }
        }
    }

    /// How long the threads have to do with what waits now. Whoever comes back then finds the queue empty,
    /// unless others came first; were it only the time until there is one free place, all would come at once.
    fn until_empty_ms(&self) -> u64 {
        let waiting = self.queue.len() as u64 + 1;
        let us = waiting * self.state.job_us.load(Ordering::Relaxed) / self.threads as u64;
        us.div_ceil(1_000).max(1)
    }
}

/// Ends the threads: what waits is thrown away. They are gone when the [`Credentials`] are dropped, too.
pub struct Ending(Arc<State>);

impl Ending {
    /// See there.
    pub fn end(&self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }
}

/// Works until the way to this thread is closed.
fn work_all(
    mut hasher: Hasher,
    jobs: &Receiver<(ConnId, Job)>,
    state: &State,
    results: &mailbox::Sender<Finished>,
) {
    for (conn, job) in jobs {
        if state.is_over.load(Ordering::Relaxed) {
            continue;
        }
        let begun = Instant::now();
        let done = hasher.work(job);
        let us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX).min(60_000_000);
        let average = state.job_us.load(Ordering::Relaxed);
        // Lost where another thread stores at the same time: it is an estimate.
        state.job_us.store((average * 7 + us) / 8, Ordering::Relaxed);
        if results.send(Finished { conn, done }).is_err() {
            // The replica thread is gone: nobody waits for the rest either.
            return;
        }
    }
}

/// The system's random numbers. Without them nothing here would be a secret, so the process ends instead.
pub fn system_chance() -> Chance {
    Box::new(|bytes| getrandom::fill(bytes).expect("the system gives random numbers"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        protocol::credential::{Password, wrong_password},
        server::mailbox::{Bell, Receiver as Inbox, mailbox},
    };

    /// About 5 ms a job, optimised or not.
    const COSTS: Costs = Costs { memory_kib: 4_096, iterations: 2, scram_iterations: 1 };

    struct Pool {
        threads: Threads,
        credentials: Credentials,
        ending: Ending,
        inbox: Inbox<Finished>,
    }

    fn pool(threads: usize, queue: usize) -> Pool {
        let hashing = Hashing { costs: COSTS, threads, queue };
        let (results, inbox) = mailbox(Credentials::results_max(&hashing), &Bell::default());
        let threads = Threads::default();
        let (credentials, ending) = Credentials::start(&threads, hashing, None, &results).unwrap();
        Pool { threads, credentials, ending, inbox }
    }

    fn job(text: &str) -> Job {
        Job::Check { password: Password::new(text).unwrap(), verifier: None }
    }

    fn far() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn every_job_is_answered_once_and_what_is_too_much_at_once() {
        let mut pool = pool(2, 4);
        let mut refused = Vec::new();
        for number in 1..=50 {
            refused.extend(pool.credentials.begin(ConnId(number), job("guess guess")));
        }
        // Two are worked on and four wait; perhaps a few have been done meanwhile.
        assert!((20..=46).contains(&refused.len()), "{}", refused.len());
        for Finished { done, .. } in &refused {
            let refusal = done.as_ref().unwrap_err();
            assert_eq!(refusal.code, Code::Overloaded);
            assert!((1..10_000).contains(&refusal.retry_after_ms.unwrap()));
        }
        let mut answered: Vec<u64> = refused.iter().map(|finished| finished.conn.0).collect();
        while answered.len() < 50 {
            let Finished { conn, done } = pool.inbox.receive().unwrap();
            assert!(matches!(done, Ok(Done::Checked { ok: false, .. })), "{}", wrong_password());
            answered.push(conn.0);
        }
        answered.sort_unstable();
        assert_eq!(answered, (1..=50).collect::<Vec<_>>());
        drop(pool.credentials);
        assert!(pool.threads.join("hash", far()).is_empty());
        assert!(pool.inbox.receive().is_none());
    }

    #[test]
    fn an_operator_waits_behind_no_password() {
        let mut pool = pool(1, 2);
        (1..=10).for_each(|number| drop(pool.credentials.begin(ConnId(number), job("guess guess"))));
        let Finished { conn, done } = pool.credentials.begin(ConnId(11), Job::Challenge).unwrap();
        assert_eq!((conn, done.unwrap_err().code), (ConnId(11), Code::Forbidden));
    }

    #[test]
    fn at_the_end_nobody_hashes_what_nobody_waits_for() {
        let mut pool = pool(1, 1_000);
        for number in 1..=1_000 {
            assert!(pool.credentials.begin(ConnId(number), job("guess guess")).is_none());
        }
        assert_eq!(pool.threads.names(), ["hash-0"]);
        pool.ending.end();
        drop(pool.credentials);
        let begun = Instant::now();
        assert!(pool.threads.join("hash", far()).is_empty());
        // All of them would have taken five seconds at least.
        assert!(begun.elapsed() < Duration::from_secs(3));
    }
}
