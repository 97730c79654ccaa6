//! The history of a run, told to the checker as it happens.
//!
//! A line is reported before it is written to its socket and after it was read from one, under one lock. So
//! the order in which the checker hears of lines is an order in which they can have happened: a message that
//! it takes for acknowledged before another was sent really was.
//!
//! The first broken promise ends the run: it is kept with its time, and every client stops. The whole
//! history is written to `history.log` beside the servers' logs.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use parking_lot::Mutex;
use serde_json::Value;

use crate::checker::{Checker, Verdict};

/// What is known of a run. Shared by all its clients.
pub struct Judge {
    known: Mutex<Known>,
    broken: AtomicBool,
    conns: AtomicU64,
    began: Instant,
}

struct Known {
    checker: Checker,
    history: BufWriter<File>,
    violation: Option<String>,
}

impl Judge {
    /// For a cluster of this many servers. The history goes into `folder`.
    pub fn new(servers: usize, folder: &Path) -> Arc<Judge> {
        let history = File::create(folder.join("history.log")).expect("the folder is ours");
        Arc::new(Judge {
            known: Mutex::new(Known {
                checker: Checker::new(servers),
                history: BufWriter::new(history),
                violation: None,
            }),
            broken: AtomicBool::new(false),
            conns: AtomicU64::new(0),
            began: Instant::now(),
        })
    }

    /// A connection to `server` is open.
    pub fn opened(self: &Arc<Self>, server: usize) -> Tape {
        let conn = self.conns.fetch_add(1, Ordering::Relaxed) + 1;
        self.tell(conn, "opened to", format!("server{}", server + 1).as_bytes(), |checker| {
            checker.opened(conn, server, None);
            Ok(())
        });
        Tape { judge: self.clone(), conn }
    }

    /// A user wrote a message on a device that will send it until it is acknowledged, in its turn.
    pub fn composed(&self, device: usize, user: &str, client_msg_id: &str) {
        self.known.lock().checker.composed(device, user, client_msg_id);
    }

    /// A message was refused for good.
    pub fn given_up(&self, user: &str, client_msg_id: &str) {
        self.known.lock().checker.given_up(user, client_msg_id);
    }

    /// `server` holds these events of `room` at the end.
    pub fn final_read(&self, server: usize, room: &str, events: &[Value]) {
        let what = format!("server{} has {} events of {room} at the end", server + 1, events.len());
        self.tell(0, "read", what.as_bytes(), |checker| checker.final_read(server, room, events));
    }

    /// Everything was read: checks what can only be checked now.
    pub fn finish(&self) {
        self.tell(0, "finished", b"", |checker| checker.finish());
    }

    /// Acknowledgements of messages so far, repetitions included.
    pub fn chats_acked(&self) -> u64 {
        self.known.lock().checker.chats_acked()
    }

    /// Whether a promise was broken, so that it makes no sense to go on.
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// Reports a breach of the contract that was seen outside of the checker.
    pub fn object(&self, what: impl Into<String>) {
        let what = what.into();
        self.tell(0, "objection:", what.as_bytes(), |_| Ok(()));
        self.keep(&mut self.known.lock(), &what);
    }

    /// Fails the test if a promise was broken.
    #[track_caller]
    pub fn expect_kept(&self) {
        let mut known = self.known.lock();
        // What was written so far matters most if something is wrong.
        drop(known.history.flush());
        if let Some(violation) = &known.violation {
            panic!("{violation}");
        }
    }

    fn tell(&self, conn: u64, what: &str, line: &[u8], tell: impl FnOnce(&mut Checker) -> Verdict) {
        let mut known = self.known.lock();
        let at = self.began.elapsed().as_micros();
        drop(write!(known.history, "{at} {conn} {what} "));
        drop(known.history.write_all(line.trim_ascii_end()));
        drop(known.history.write_all(b"\n"));
        if known.violation.is_some() {
            return;
        }
        if let Err(violation) = tell(&mut known.checker) {
            self.keep(&mut known, &format!("at {at} µs, connection {conn}: {violation}"));
        }
    }

    fn keep(&self, known: &mut Known, violation: &str) {
        if known.violation.is_none() {
            drop(writeln!(known.history, "--- BROKEN: {violation}"));
            known.violation = Some(violation.into());
        }
        drop(known.history.flush());
        self.broken.store(true, Ordering::Relaxed);
    }
}

/// What one connection reports to the judge. Dropping it says that the connection is gone.
pub struct Tape {
    judge: Arc<Judge>,
    conn: u64,
}

impl Tape {
    /// A line is about to be sent.
    pub fn sent(&self, line: &[u8]) {
        self.judge.tell(self.conn, ">", line, |checker| {
            checker.sent(self.conn, line.trim_ascii_end());
            Ok(())
        });
    }

    /// A line was received.
    pub fn received(&self, line: &[u8]) {
        self.judge.tell(self.conn, "<", line, |checker| checker.received(self.conn, line.trim_ascii_end()));
    }

    /// Whether a promise was broken, by any connection.
    pub fn is_broken(&self) -> bool {
        self.judge.is_broken()
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        self.judge.tell(self.conn, "closed", b"", |checker| {
            checker.closed(self.conn);
            Ok(())
        });
    }
}
