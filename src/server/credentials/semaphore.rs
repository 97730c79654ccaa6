//! As many threads hash at the same time as there are hashers, each with its own memory; the others wait in
//! the order in which they came. If too many wait, the next one is refused at once.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::protocol::{
    credential::{Done, Job},
    operator::OperatorKey,
    refusal::{Code, Refusal},
};

use super::hasher::{Costs, Hasher, system_chance};

/// The assumed time of a job before one has been measured, in microseconds.
const FIRST_GUESS_US: u64 = 30_000;
/// The most that one job may count for in the average, in microseconds: the machine may have slept.
const JOB_MAX_US: u64 = 60_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hashing {
    pub costs: Costs,
    /// How many may be hashed at the same time. Each takes [`Costs::memory_kib`], which is kept for the next
    /// one.
    pub threads: usize,
    /// How many may wait for it. If it is full the next one is refused at once.
    pub queue: usize,
}

/// Does the jobs that the replica gives to the threads of connections.
pub struct Credentials {
    queue: Mutex<Queue>,
    /// Signalled when another one may be served, and at the end.
    changed: Condvar,
    /// For jobs that take no time, so that an operator's login need not wait behind passwords.
    quick: Mutex<Hasher>,
    hashing: Hashing,
}

struct Queue {
    free: Vec<Hasher>,
    /// The number that the next arrival gets.
    next: u64,
    /// The number that is served next: those from here to `next` wait.
    serving: u64,
    /// How long a job lasts, averaged.
    job_us: u64,
    is_over: bool,
}

impl Queue {
    fn waiting(&self) -> u64 {
        self.next - self.serving
    }
}

impl Credentials {
    /// `operators` is the key of this cluster's operators, if it has any.
    pub fn new(hashing: Hashing, operators: Option<OperatorKey>) -> Self {
        let hasher = || Hasher::new(hashing.costs, None, system_chance());
        let free = (0..hashing.threads).map(|_| hasher()).collect();
        let queue = Queue { free, next: 0, serving: 0, job_us: FIRST_GUESS_US, is_over: false };
        Credentials {
            queue: Mutex::new(queue),
            changed: Condvar::new(),
            quick: Mutex::new(Hasher::new(hashing.costs, operators, system_chance())),
            hashing,
        }
    }

    /// Does a job on this thread. A job that hashes waits for its turn.
    ///
    /// # Errors
    /// `overloaded` if too many wait, with the time to come back; `unavailable` at the end of the server;
    /// `forbidden` if the cluster has no operators.
    pub fn work(&self, job: Job) -> Result<Done, Refusal> {
        if !job.hashes() {
            return self.quick.lock().work(job);
        }
        let mut turn = self.wait_for_turn()?;
        let begun = Instant::now();
        let done = turn.work(job);
        turn.took(begun.elapsed());
        done
    }

    /// Refuses all jobs that wait, and all that come later.
    pub fn end(&self) {
        self.queue.lock().is_over = true;
        self.changed.notify_all();
    }

    fn wait_for_turn(&self) -> Result<Turn<'_>, Refusal> {
        let mut queue = self.queue.lock();
        let must_wait = queue.free.is_empty() || queue.waiting() > 0;
        if must_wait && queue.waiting() >= self.hashing.queue as u64 {
            let refusal = Refusal::new(Code::Overloaded, "too many passwords wait to be checked");
            return Err(refusal.retry_after(self.until_empty_ms(&queue)));
        }
        let number = queue.next;
        queue.next += 1;
        while !queue.is_over && (number != queue.serving || queue.free.is_empty()) {
            self.changed.wait(&mut queue);
        }
        queue.serving += 1;
        let hasher = if queue.is_over { None } else { queue.free.pop() };
        if queue.waiting() > 0 && !queue.free.is_empty() {
            self.changed.notify_all();
        }
        let hasher = hasher
            .ok_or_else(|| Refusal::new(Code::Unavailable, "this server is stopping; ask another one"))?;
        Ok(Turn { credentials: self, hasher: Some(hasher) })
    }

    /// How long the jobs that wait now will take. A client that comes back then finds the queue empty, unless
    /// others came first. With only the time until one place is free, all would come back at once.
    fn until_empty_ms(&self, queue: &Queue) -> u64 {
        let us = (queue.waiting() + 1) * queue.job_us / self.hashing.threads as u64;
        us.div_ceil(1_000).max(1)
    }
}

/// A hasher, given back when this is dropped, even if the thread panics.
struct Turn<'a> {
    credentials: &'a Credentials,
    hasher: Option<Hasher>,
}

impl Turn<'_> {
    fn work(&mut self, job: Job) -> Result<Done, Refusal> {
        self.hasher.as_mut().expect("it is given back by the drop alone").work(job)
    }

    /// Notes how long a job took.
    fn took(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).min(JOB_MAX_US);
        let mut queue = self.credentials.queue.lock();
        queue.job_us = (queue.job_us * 7 + us) / 8;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut queue = self.credentials.queue.lock();
        queue.free.extend(self.hasher.take());
        self.credentials.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::protocol::credential::Password;

    const COSTS: Costs = Costs { memory_kib: 64, iterations: 1, scram_iterations: 1 };

    fn credentials(threads: usize, queue: usize) -> Credentials {
        Credentials::new(Hashing { costs: COSTS, threads, queue }, None)
    }

    fn check(credentials: &Credentials) -> Result<Done, Refusal> {
        credentials.work(Job::Check { password: Password::new("guess guess").unwrap(), verifier: None })
    }

    /// Waits until `count` jobs wait.
    fn wait_for(credentials: &Credentials, count: u64) {
        while credentials.queue.lock().waiting() < count {
            thread::yield_now();
        }
    }

    #[test]
    fn so_many_hash_so_many_wait_and_the_rest_is_refused_at_once() {
        let credentials = credentials(2, 3);
        thread::scope(|scope| {
            let turns = [credentials.wait_for_turn().unwrap(), credentials.wait_for_turn().unwrap()];
            let waiting: Vec<_> = (0..3).map(|_| scope.spawn(|| check(&credentials))).collect();
            wait_for(&credentials, 3);
            for _ in 0..50 {
                let refusal = check(&credentials).unwrap_err();
                assert_eq!(refusal.code, Code::Overloaded);
                // Four jobs of 30 ms, two at a time.
                assert_eq!(refusal.retry_after_ms, Some(60));
            }
            drop(turns);
            for thread in waiting {
                assert!(matches!(thread.join().unwrap(), Ok(Done::Checked { ok: false, .. })));
            }
        });
        assert!(check(&credentials).is_ok(), "and all is free again");
        assert_eq!(credentials.queue.lock().free.len(), 2);
    }

    #[test]
    fn first_come_first_served() {
        let (credentials, order) = (credentials(1, 9), Mutex::new(Vec::new()));
        let order = &order;
        thread::scope(|scope| {
            let turn = credentials.wait_for_turn().unwrap();
            for number in 0..9 {
                let credentials = &credentials;
                scope.spawn(move || {
                    let turn = credentials.wait_for_turn().unwrap();
                    order.lock().push(number);
                    drop(turn);
                });
                wait_for(credentials, number + 1);
            }
            drop(turn);
        });
        assert_eq!(*order.lock(), (0..9).collect::<Vec<_>>());
    }

    #[test]
    fn an_operator_waits_behind_no_password() {
        let credentials = credentials(1, 1);
        let _turn = credentials.wait_for_turn().unwrap();
        assert_eq!(credentials.work(Job::Challenge).unwrap_err().code, Code::Forbidden);
        assert!(matches!(credentials.work(Job::Draw), Ok(Done::Drawn { .. })));
    }

    #[test]
    fn at_the_end_all_that_waits_is_refused() {
        let credentials = credentials(1, 9);
        thread::scope(|scope| {
            let _turn = credentials.wait_for_turn().unwrap();
            let waiting: Vec<_> = (0..9).map(|_| scope.spawn(|| check(&credentials))).collect();
            wait_for(&credentials, 9);
            credentials.end();
            for thread in waiting {
                assert_eq!(thread.join().unwrap().unwrap_err().code, Code::Unavailable);
            }
        });
        assert_eq!(check(&credentials).unwrap_err().code, Code::Unavailable);
    }

    #[test]
    fn a_thread_that_panics_gives_its_hasher_back() {
        let credentials = credentials(1, 1);
        thread::scope(|scope| {
            let panics = scope.spawn(|| {
                let _turn = credentials.wait_for_turn().unwrap();
                std::panic::resume_unwind(Box::new("in the middle of it"));
            });
            assert!(panics.join().is_err());
        });
        assert!(check(&credentials).is_ok());
    }
}
