//! The thread that writes the state, so that the thread which decides never waits for it.
//!
//! Jobs are done in the order in which they are given, one after the other. Each is answered by a report or
//! by the failure that ends the thread.

use std::{
    io,
    thread::{self, JoinHandle},
};

use crossbeam_channel::{Receiver, Sender, TryRecvError, unbounded};

use super::{
    state_writer::{Job, Report, StateWriter},
    transaction::Broken,
};
use crate::disk::StorageError;

/// The thread, while it has the writer.
#[derive(Debug)]
pub(super) struct StateThread {
    /// Gone when the thread is to end.
    jobs: Option<Sender<Job>>,
    reports: Receiver<Result<Report, Broken>>,
    thread: Option<JoinHandle<StateWriter>>,
}

impl StateThread {
    /// Hands the writer to a new thread, which calls `ring` after each report.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(mut writer: StateWriter, ring: impl Fn() + Send + 'static) -> io::Result<StateThread> {
        let (jobs, inbox) = unbounded();
        let (outbox, reports) = unbounded();
        let body = move || {
            for job in inbox {
                let report = writer.run(job);
                let is_last = report.is_err();
                // If there is no receiver any more, its owner is ending and waits for this thread.
                let _ = outbox.send(report);
                ring();
                if is_last {
                    break;
                }
            }
            writer
        };
        let thread = thread::Builder::new().name("state".to_owned()).spawn(body)?;
        Ok(StateThread { jobs: Some(jobs), reports, thread: Some(thread) })
    }

    /// Gives it a job.
    pub fn give(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // A thread that has ended is found out by its reports.
            let _ = jobs.send(job);
        }
    }

    /// The next report, if there is one already.
    pub fn report(&self) -> Result<Option<Report>, Broken> {
        match self.reports.try_recv() {
            Ok(report) => report.map(Some),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(ended()),
        }
    }

    /// Waits for the next report.
    pub fn wait(&self) -> Result<Report, Broken> {
        self.reports.recv().unwrap_or_else(|_| Err(ended()))
    }

    /// Lets it finish what it was given, and takes the writer back. Its reports must have been taken before.
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

fn ended() -> Broken {
    Broken::from(StorageError::Failed("the thread that writes the state has ended".to_owned()))
}
