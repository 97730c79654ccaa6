//! What the replica thread tells all other threads about this server.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use parking_lot::RwLock;

use crate::{
    election::Standing,
    protocol::{
        answer::Signature,
        directory::Directory,
        envelope::AnswerTo,
        name::ServerId,
        refusal::Refusal,
        said::Said,
        status::{ServerList, Status},
    },
};

use super::machine::clock::Clock;

/// A balancer asks at least this often.
const BALANCER_MS: u64 = 60_000;
/// A replica thread that has not worked for so long hangs.
const HANGS_MS: u64 = 120_000;

/// A copy of the replica's latest state. Reading it never waits for the replica.
pub struct Shared {
    clock: Clock,
    server_id: ServerId,
    /// When the replica last ended a turn, or a step of a long one, on the monotonic clock: it proves that
    /// the thread and its disk work.
    worked_ms: AtomicU64,
    lamport_timestamp: AtomicU64,
    clients: AtomicU64,
    /// Whether this server is about to stop, and when `/readyz` was last asked; 0 for never.
    is_leaving: AtomicBool,
    readyz_ms: AtomicU64,
    standing: RwLock<Standing>,
    servers: RwLock<Arc<Directory>>,
    status: RwLock<Option<(Status, ServerList)>>,
}

impl Shared {
    pub fn new(clock: Clock, server_id: ServerId, standing: Standing, servers: Directory) -> Self {
        Shared {
            clock,
            server_id,
            worked_ms: AtomicU64::new(0),
            lamport_timestamp: AtomicU64::new(0),
            clients: AtomicU64::new(0),
            is_leaving: AtomicBool::new(false),
            readyz_ms: AtomicU64::new(0),
            standing: RwLock::new(standing),
            servers: RwLock::new(Arc::new(servers)),
            status: RwLock::new(None),
        }
    }

    /// The replica thread has done a step of a long turn.
    pub fn worked(&self) {
        self.worked_ms.store(self.clock.mono_ms(), Ordering::Relaxed);
    }

    /// A turn of the replica has ended. Returns whether the standing changed in more than the log, so that
    /// others should hear of it at once.
    pub fn turned(&self, standing: Standing, lamport_timestamp: u64, clients: u64) -> bool {
        self.worked();
        self.lamport_timestamp.store(lamport_timestamp, Ordering::Relaxed);
        self.clients.store(clients, Ordering::Relaxed);
        let mut told = self.standing.write();
        let is_news = (told.leads, told.votes, &told.leader, told.data.term, told.data.node_id)
            != (standing.leads, standing.votes, &standing.leader, standing.data.term, standing.data.node_id);
        *told = standing;
        is_news
    }

    /// Whether this server is about to stop. Notes that `/readyz` was asked for now.
    pub fn is_leaving(&self) -> bool {
        self.readyz_ms.store(self.clock.mono_ms().max(1), Ordering::Relaxed);
        self.is_leaving.load(Ordering::Relaxed)
    }

    /// Notes that this server is about to stop. Returns whether `/readyz` was asked for in the last minute:
    /// by a balancer, which should hear of it first.
    pub fn leave(&self) -> bool {
        self.is_leaving.store(true, Ordering::Relaxed);
        let asked_ms = self.readyz_ms.load(Ordering::Relaxed);
        asked_ms > 0 && self.clock.mono_ms().saturating_sub(asked_ms) < BALANCER_MS
    }

    /// How many client connections are logged in.
    pub fn clients(&self) -> u64 {
        self.clients.load(Ordering::Relaxed)
    }

    /// How long ago the replica thread last worked, in milliseconds.
    pub fn idle_ms(&self) -> u64 {
        self.clock.mono_ms().saturating_sub(self.worked_ms.load(Ordering::Relaxed))
    }

    /// Whether the replica thread hangs, so that only a restart can help.
    pub fn hangs(&self) -> bool {
        self.idle_ms() > HANGS_MS
    }

    /// When the replica thread last worked, on the monotonic clock.
    pub fn worked_ms(&self) -> u64 {
        self.worked_ms.load(Ordering::Relaxed)
    }

    /// The servers of the cluster, as the replica has them.
    pub fn servers(&self) -> Arc<Directory> {
        Arc::clone(&self.servers.read())
    }

    /// The servers of the cluster are these from now on.
    pub fn set_servers(&self, servers: Directory) {
        *self.servers.write() = Arc::new(servers);
    }

    /// What the election needs to know of the replica.
    pub fn standing(&self) -> Standing {
        self.standing.read().clone()
    }

    /// The replica described itself.
    pub fn described(&self, status: Status, list: ServerList) {
        *self.status.write() = Some((status, list));
    }

    /// The status; `None` before the first turn.
    pub fn status(&self) -> Option<Status> {
        self.status.read().as_ref().map(|(status, _)| status.clone())
    }

    /// The servers; `None` before the first turn.
    pub fn server_list(&self) -> Option<ServerList> {
        self.status.read().as_ref().map(|(_, list)| list.clone())
    }

    /// A line that refuses a connection before the replica ever hears of it.
    pub fn nack_line(&self, refusal: Refusal) -> Vec<u8> {
        Said::nack(AnswerTo::default(), refusal, self.signature()).json().to_vec()
    }

    /// The signature of lines that do not come from the replica.
    pub fn signature(&self) -> Signature {
        Signature {
            server_id: self.server_id.clone(),
            lamport_timestamp: self.lamport_timestamp.load(Ordering::Relaxed),
            now_ms: self.clock.now().wall_ms,
        }
    }
}
