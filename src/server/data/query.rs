//! The query threads: they read the database beside its writer.

use std::sync::Arc;

use crate::{
    disk::StorageError,
    protocol::refusal::{Code, Refusal},
    replica::io::Query,
};

use super::readers::Readers;
use crate::server::{
    clients::queues::FanOutQueues,
    context::Context,
    inboxes::Control,
    machine::mailbox::{Receiver, Sender},
};

pub struct QueryThread {
    pub number: usize,
    pub readers: Arc<Readers>,
    pub fan_outs: FanOutQueues,
    pub context: Arc<Context>,
    /// For the replica thread, which has to know if the disk fails.
    pub control: Sender<Control>,
}

impl QueryThread {
    /// Answers queries until [`QueryQueues::close`](crate::server::clients::queues::QueryQueues::close).
    pub fn run(&self, queries: &Receiver<Query>) {
        while let Some(query) = queries.receive() {
            let by = self.context.shared.signature();
            let done = self.readers.read(self.number, |reader| query.carry_out(reader, by.clone()));
            let instruction = match done {
                Some(Ok(instruction)) => instruction,
                Some(Err(error)) => query.refused(self.complain(error), by),
                None => {
                    let reason = "this server's data is being replaced";
                    query.refused(Refusal::new(Code::Overloaded, reason), by)
                }
            };
            self.fan_outs.hand_over(vec![instruction]);
        }
    }

    /// Tells the replica thread of a failed disk or damaged data: it decides what to do.
    fn complain(&self, error: StorageError) -> Refusal {
        log::error!("reading for a client failed: {error}");
        // If the replica thread is gone the process is ending.
        let _ = self.control.send(Control::Broken(error));
        Refusal::new(Code::Overloaded, "this server's disk could not be read; ask another server")
    }
}
