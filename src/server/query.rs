//! The query threads: they read the database beside its writer.

use std::{
    io::Read,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::{Mutex, RwLock};

use crate::{
    disk::{Reader, Scrubbed, StorageError},
    protocol::{
        peer::{RowKey, SnapshotHead},
        refusal::{Code, Refusal},
    },
    replica::io::Query,
    storage::SqliteReader,
};

use super::{
    context::Context,
    core::Control,
    fan_out::FanOutQueues,
    mailbox::{Bell, Receiver, Sender, Unsent, mailbox},
};

/// Queries that may wait for one thread. If it is full, a query is answered `overloaded`.
const QUEUE: usize = 512;

#[derive(Debug, Clone)]
pub struct QueryQueues {
    queues: Vec<Sender<Query>>,
}

impl QueryQueues {
    /// The queues of `count` threads, and for each thread its receiving end.
    pub fn new(count: usize) -> (QueryQueues, Vec<Receiver<Query>>) {
        let (queues, receivers) = (0..count).map(|_| mailbox(QUEUE, &Bell::default())).unzip();
        (QueryQueues { queues }, receivers)
    }

    /// Asks the thread that serves the connection, or gives the query back: that thread has too much to do.
    #[must_use]
    pub fn ask(&self, query: Query) -> Option<Query> {
        let place = query.conn().0 as usize % self.queues.len();
        self.queues[place].try_send(query).err().map(Unsent::into_inner)
    }

    /// Ends the threads. They cannot wait until all senders are gone, because the fan-out threads both ask
    /// them and get their results.
    pub fn close(&self) {
        self.queues.iter().for_each(Sender::close);
    }
}

/// One reader for each query thread, as long as the data may be read. There are none while the data is set
/// aside; taking them away waits for the reads that are under way.
#[derive(Default)]
pub struct Readers {
    readers: RwLock<Vec<Mutex<SqliteReader>>>,
    /// Counts how often the data was replaced.
    life: AtomicU64,
}

/// A copy of the whole state, and which data it is of.
pub struct Copy {
    pub head: SnapshotHead,
    /// The copy, which is read as it is asked for.
    pub content: Box<dyn Read + Send>,
    /// For [`Readers::is_same`].
    pub life: u64,
}

impl Readers {
    pub fn set(&self, readers: Vec<SqliteReader>) {
        let mut held = self.readers.write();
        self.life.fetch_add(1, Ordering::AcqRel);
        *held = readers.into_iter().map(Mutex::new).collect();
    }

    /// Runs `action` while the data cannot be replaced.
    pub fn hold<T>(&self, action: impl FnOnce() -> T) -> T {
        let _held = self.readers.read();
        action()
    }

    /// A copy of the whole state; `None` if there is no data now. The data may be replaced while the copy is
    /// read.
    pub fn snapshot(&self) -> Option<Result<Copy, StorageError>> {
        let readers = self.readers.read();
        let reader = readers.first()?.lock();
        let life = self.life.load(Ordering::Acquire);
        Some(reader.snapshot().map(|(head, content)| Copy { head, content, life }))
    }

    /// See [`Reader::scrub`]; `None` if there is no data now.
    pub fn scrub(&self, above: Option<&RowKey>, max_bytes: usize) -> Option<Result<Scrubbed, StorageError>> {
        self.read(0, |reader| reader.scrub(above, max_bytes))
    }

    /// Whether the data has not been replaced since.
    pub fn is_same(&self, life: u64) -> bool {
        self.life.load(Ordering::Acquire) == life
    }

    /// Reads with reader number `number`; `None` if there is no data now.
    fn read<T>(&self, number: usize, action: impl FnOnce(&SqliteReader) -> T) -> Option<T> {
        let readers = self.readers.read();
        let reader = readers.get(number)?.lock();
        Some(action(&reader))
    }
}

pub struct QueryThread {
    pub number: usize,
    pub readers: Arc<Readers>,
    pub fan_outs: FanOutQueues,
    pub context: Arc<Context>,
    /// For the replica thread, which has to know if the disk fails.
    pub control: Sender<Control>,
}

impl QueryThread {
    /// Answers queries until [`QueryQueues::close`].
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
