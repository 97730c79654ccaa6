//! The queues of the query threads and of the fan-out threads. They stand apart from both, because each of
//! the two gives work to the other.

use std::time::Duration;

use crate::{
    fanout::{ConnId, Instruction},
    protocol::refusal::{Code, Refusal},
    replica::io::Query,
};

use crate::server::{
    machine::mailbox::{Bell, Receiver, Sender, Unsent, mailbox},
    shared::Shared,
};

/// Batches of instructions that may wait for a fan-out thread. If it is full the replica waits: the thread
/// itself waits for no other.
const FAN_OUT_QUEUE: usize = 1_024;
/// Queries that may wait for one thread. If it is full, a query is answered `overloaded`.
const QUERY_QUEUE: usize = 512;

#[derive(Debug)]
pub enum FanOutTask {
    Instructions(Vec<Instruction>),
    /// A connection has control frames to be written (see `Client::control`).
    Control(ConnId),
    /// To be dropped once everything before it is written, as far as the clients take it at once.
    Written(crossbeam_channel::Sender<()>),
}

#[derive(Debug, Clone)]
pub struct FanOutQueues {
    queues: Vec<Sender<FanOutTask>>,
}

impl FanOutQueues {
    /// The queues of `count` threads, and for each thread its receiving end.
    pub fn new(count: usize) -> (FanOutQueues, Vec<Receiver<FanOutTask>>) {
        let (queues, receivers) = (0..count).map(|_| mailbox(FAN_OUT_QUEUE, &Bell::default())).unzip();
        (FanOutQueues { queues }, receivers)
    }

    /// Hands instructions over, in order. Those about one connection go to its thread, the others to all.
    pub fn hand_over(&self, batch: Vec<Instruction>) {
        if batch.is_empty() {
            return;
        }
        if let [queue] = self.queues.as_slice() {
            // The receiving threads are the last to end.
            let _ = queue.send(FanOutTask::Instructions(batch));
            return;
        }
        let mut shares: Vec<Vec<Instruction>> = self.queues.iter().map(|_| Vec::new()).collect();
        for instruction in batch {
            match conn_of(&instruction) {
                Some(conn) => shares[conn.0 as usize % self.queues.len()].push(instruction),
                None => shares.iter_mut().for_each(|share| share.push(instruction.clone())),
            }
        }
        for (queue, share) in self.queues.iter().zip(shares) {
            if !share.is_empty() {
                let _ = queue.send(FanOutTask::Instructions(share));
            }
        }
    }

    /// Waits until everything that was handed over is written, as far as the clients take it at once; at most
    /// for `patience`.
    pub fn wait_until_written(&self, patience: Duration) {
        let (written, all_written) = crossbeam_channel::bounded(0);
        for queue in &self.queues {
            let _ = queue.send(FanOutTask::Written(written.clone()));
        }
        drop(written);
        // Nothing is ever sent: each thread drops its end.
        let _ = all_written.recv_timeout(patience);
    }

    /// Says that a connection has control frames to be written.
    pub fn control(&self, conn: ConnId) {
        let place = conn.0 as usize % self.queues.len();
        let _ = self.queues[place].send(FanOutTask::Control(conn));
    }
}

/// The connection that an instruction is about; `None` for those about all.
fn conn_of(instruction: &Instruction) -> Option<ConnId> {
    match instruction {
        Instruction::Open { conn }
        | Instruction::Answer { conn, .. }
        | Instruction::Say { conn, .. }
        | Instruction::Follow { conn, .. }
        | Instruction::Unfollow { conn, .. }
        | Instruction::QueryResult { conn, .. }
        | Instruction::Close { conn }
        | Instruction::Forget { conn } => Some(*conn),
        Instruction::Join(join) => Some(join.conn),
        Instruction::SayAll { .. }
        | Instruction::Publish { .. }
        | Instruction::Rewrite(_)
        | Instruction::Tick => None,
    }
}

#[derive(Debug, Clone)]
pub struct QueryQueues {
    queues: Vec<Sender<Query>>,
}

impl QueryQueues {
    /// The queues of `count` threads, and for each thread its receiving end.
    pub fn new(count: usize) -> (QueryQueues, Vec<Receiver<Query>>) {
        let (queues, receivers) = (0..count).map(|_| mailbox(QUERY_QUEUE, &Bell::default())).unzip();
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

/// The instruction that refuses a query for which no queue has room.
pub fn refused(query: Query, shared: &Shared) -> Instruction {
    let refusal = Refusal::new(Code::Overloaded, "too many reads wait for this server's disk");
    query.refused(refusal, shared.signature())
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        thread,
        time::Instant,
    };

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn what_was_said_last_is_waited_for_on_all_threads() {
        let (queues, receivers) = FanOutQueues::new(2);
        queues.hand_over(vec![Instruction::Close { conn: ConnId(1) }, Instruction::Tick]);
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                queues.wait_until_written(PATIENCE);
                is_over.store(true, Ordering::Release);
            });
            let mut taken: Vec<Vec<FanOutTask>> = vec![Vec::new(), Vec::new()];
            for (receiver, taken) in receivers.iter().zip(&mut taken) {
                while !matches!(taken.last(), Some(FanOutTask::Written(_))) {
                    receiver.wait_until(Instant::now() + PATIENCE);
                    receiver.take(10, taken);
                }
                assert!(matches!(taken[0], FanOutTask::Instructions(_)), "what came before comes first");
            }
            let last = taken.pop();
            drop(taken);
            assert!(!is_over.load(Ordering::Acquire), "the other thread has not written yet");
            drop(last);
        });
        assert!(is_over.into_inner());
    }
}
