//! Threads that end: they have names, they are joined, and a panic in one of them ends the process.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    thread::{Builder, JoinHandle},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};
use parking_lot::Mutex;

/// Stops the threads that hold a [`Stop`] of it when it is dropped.
#[derive(Debug)]
pub struct Stopper(Sender<Never>);

/// Tells a thread that it is to end.
#[derive(Debug, Clone)]
pub struct Stop(Receiver<Never>);

#[derive(Debug)]
enum Never {}

impl Stopper {
    pub fn new() -> (Stopper, Stop) {
        let (sender, receiver) = bounded(0);
        (Stopper(sender), Stop(receiver))
    }

    pub fn stop(self) {
        drop(self.0);
    }
}

impl Stop {
    /// Whether it is time to end.
    pub fn is_set(&self) -> bool {
        matches!(self.0.try_recv(), Err(TryRecvError::Disconnected))
    }

    /// Sleeps for `duration`, or less if it is time to end; returns whether it is.
    pub fn wait(&self, duration: Duration) -> bool {
        matches!(self.0.recv_timeout(duration), Err(RecvTimeoutError::Disconnected))
    }
}

/// The threads of the core. Clients have their own way to end and are not among them.
#[derive(Debug, Default)]
pub struct Threads {
    running: Mutex<Vec<(String, JoinHandle<()>)>>,
}

impl Threads {
    /// Starts a thread of the core. If it panics, the state that it shares cannot be trusted any more: the
    /// process ends at once and starts again from its disk.
    pub fn spawn(&self, name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let thread_name = name.to_owned();
        let handle = Builder::new().name(name.into()).spawn(move || {
            if catch_unwind(AssertUnwindSafe(body)).is_err() {
                log::error!("the process ends, because its thread {thread_name} panicked");
                log::logger().flush();
                std::process::abort();
            }
        })?;
        self.running.lock().push((name.into(), handle));
        Ok(())
    }

    /// The names of the threads that run.
    pub fn names(&self) -> Vec<String> {
        let running = self.running.lock();
        running.iter().filter(|(_, handle)| !handle.is_finished()).map(|(name, _)| name.clone()).collect()
    }

    /// The names of those that have ended, though [`Threads::join`] has not waited for them.
    pub fn ended(&self) -> Vec<String> {
        let running = self.running.lock();
        running.iter().filter(|(_, handle)| handle.is_finished()).map(|(name, _)| name.clone()).collect()
    }

    /// Waits for the threads whose names begin with `prefix`, until `deadline`; returns the names of
    /// those that had not ended by then. They are left behind.
    pub fn join(&self, prefix: &str, deadline: Instant) -> Vec<String> {
        let mut waiting: Vec<_> =
            self.running.lock().extract_if(.., |(name, _)| name.starts_with(prefix)).collect();
        loop {
            for (_, handle) in waiting.extract_if(.., |(_, handle)| handle.is_finished()) {
                handle.join().expect("a panic would have ended the process");
            }
            if waiting.is_empty() || Instant::now() >= deadline {
                return waiting.into_iter().map(|(name, _)| name).collect();
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_end_when_they_are_stopped_and_stragglers_are_named() {
        let threads = Threads::default();
        let (stopper, stop) = Stopper::new();
        let (hold, held) = bounded::<()>(0);
        threads.spawn("good-1", move || while !stop.wait(Duration::from_secs(60)) {}).unwrap();
        threads
            .spawn("late-1", move || {
                let _ = held.recv();
            })
            .unwrap();
        assert_eq!(threads.names(), ["good-1", "late-1"]);
        assert!(threads.ended().is_empty());
        stopper.stop();
        while threads.ended() != ["good-1"] {
            std::thread::yield_now();
        }
        assert_eq!(threads.names(), ["late-1"]);
        let far = Instant::now() + Duration::from_secs(60);
        assert!(threads.join("good", far).is_empty());
        assert_eq!(threads.join("late", Instant::now()), ["late-1"]);
        drop(hold);
        assert!(threads.names().is_empty());
    }
}
