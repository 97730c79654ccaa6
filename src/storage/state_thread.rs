//! The thread that writes the state, so that the thread which decides never waits for it.
//!
//! Jobs are done in the order in which they are given, one after the other. Each is answered by a report or
//! by the failure that ends the thread.
//!
//! If damage in the database keeps a job from being done, the transaction is undone, and the thread says so
//! and tries again, now and then. The log has what is to be written, so nothing is lost meanwhile. Rows that
//! are to be repaired are not kept waiting by that: they may be what is damaged.

use std::{
    collections::VecDeque,
    io,
    thread::{self, JoinHandle},
    time::Duration,
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, unbounded};

use super::{
    state_writer::{Job, Report, StateWriter},
    transaction::Broken,
};
use crate::disk::StorageError;

/// Pause before a job is tried again that damage keeps from being done.
const TRY_AGAIN: Duration = Duration::from_secs(2);

/// What the thread says of its jobs.
#[derive(Debug)]
pub(super) enum News {
    /// The oldest one is done.
    Done(Report),
    /// Damage keeps the oldest one from being done. It will be tried again.
    Stuck(StorageError),
}

/// The thread, while it has the writer.
#[derive(Debug)]
pub(super) struct StateThread {
    /// Gone when the thread is to end.
    jobs: Option<Sender<Job>>,
    news: Receiver<Result<News, Broken>>,
    thread: Option<JoinHandle<StateWriter>>,
}

impl StateThread {
    /// Hands the writer to a new thread, which calls `ring` if there is news.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(writer: StateWriter, ring: impl Fn() + Send + 'static) -> io::Result<StateThread> {
        let (jobs, inbox) = unbounded();
        let (outbox, news) = unbounded();
        let worker = Worker { writer, waiting: VecDeque::new(), outbox, ring };
        let thread = thread::Builder::new().name("state".to_owned()).spawn(move || worker.run(&inbox))?;
        Ok(StateThread { jobs: Some(jobs), news, thread: Some(thread) })
    }

    /// Gives it a job.
    pub fn give(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // A thread that has ended is found out by its news.
            let _ = jobs.send(job);
        }
    }

    /// The next news, if there is some already.
    pub fn news(&self) -> Result<Option<News>, Broken> {
        match self.news.try_recv() {
            Ok(news) => news.map(Some),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(ended()),
        }
    }

    /// Waits for the next news.
    pub fn wait(&self) -> Result<News, Broken> {
        self.news.recv().unwrap_or_else(|_| Err(ended()))
    }

    /// Lets it finish what it was given, and takes the writer back. Its news must have been taken before.
    pub fn stop(mut self) -> Result<StateWriter, Broken> {
        self.jobs = None;
        let thread = self.thread.take().expect("it is taken once");
        thread.join().map_err(|_| ended())
    }
}

impl Drop for StateThread {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // If it panicked, that was said, and what is on the disk is as after a kill.
            let _ = thread.join();
        }
    }
}

/// What the thread has.
struct Worker<R> {
    writer: StateWriter,
    /// Jobs that were taken and not done yet, the next one first.
    waiting: VecDeque<Job>,
    outbox: Sender<Result<News, Broken>>,
    ring: R,
}

impl<R: Fn()> Worker<R> {
    /// Does jobs until there are no more, one has failed, or one is stuck and no more can come.
    fn run(mut self, inbox: &Receiver<Job>) -> StateWriter {
        while let Some(job) = self.waiting.pop_front().or_else(|| inbox.recv().ok()) {
            match self.writer.run(&job) {
                Ok(report) => self.tell(Ok(News::Done(report))),
                Err(Broken { error, rolled_back: true, .. }) if error.doubt().is_some() => {
                    self.waiting.push_front(job);
                    self.tell(Ok(News::Stuck(error)));
                    if !self.wait_until_again(inbox) {
                        break;
                    }
                }
                Err(broken) => {
                    self.writer.abandon();
                    self.tell(Err(broken));
                    break;
                }
            }
        }
        self.writer
    }

    /// Waits until the next job is to be tried again. Returns whether it is.
    fn wait_until_again(&mut self, inbox: &Receiver<Job>) -> bool {
        match inbox.recv_timeout(TRY_AGAIN) {
            Ok(repair @ Job::Repair(..)) => self.waiting.push_front(repair),
            Ok(job) => self.waiting.push_back(job),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        true
    }

    fn tell(&self, news: Result<News, Broken>) {
        // If there is no receiver any more, its owner is ending and waits for this thread.
        let _ = self.outbox.send(news);
        (self.ring)();
    }
}

fn ended() -> Broken {
    Broken::from(StorageError::Failed("the thread that writes the state has ended".to_owned()))
}
