//! Snapshots on their way to a server that is far behind, and into this one.

use std::{
    io::{self, Read},
    sync::Arc,
    thread,
};

use crate::{
    disk::{Reader, StorageError},
    protocol::{name::ServerId, peer::SnapshotHead, rules::RulesVersion},
    replica::io::Input,
    server::{
        data::readers::Readers,
        inboxes::Control,
        machine::mailbox::Sender,
        peer::{
            link::Outgoing,
            snapshot::{self, SendError},
        },
    },
    storage::SqliteReader,
};

/// For the replica: a snapshot has come. `worked` is called again and again while it is installed. That takes
/// long for one turn, so each step of it proves that the thread works, and heartbeats go on.
pub fn arrived(
    from: ServerId,
    head: SnapshotHead,
    content: impl Read + Send + 'static,
    worked: impl Fn() + Send + 'static,
) -> Input {
    log::info!("a snapshot of {from} up to entry {} has arrived", head.index);
    Input::SnapshotReceived { from, head, content: Box::new(Steps { of: content, worked }) }
}

/// Calls `worked` at each step of reading.
struct Steps<R, F> {
    of: R,
    worked: F,
}

impl<R: Read, F: Fn()> Read for Steps<R, F> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        (self.worked)();
        self.of.read(into)
    }
}

/// A snapshot to be sent.
pub struct Sending {
    pub to: ServerId,
    pub term: u64,
    pub rules: RulesVersion,
    /// Of the data that is in use now.
    pub reader: Result<SqliteReader, StorageError>,
    /// The link; `None` if there is none any more.
    pub outgoing: Option<Outgoing>,
    pub readers: Arc<Readers>,
    /// Hears of the end, and of a disk that fails.
    pub control: Sender<Control>,
}

/// Starts a thread that sends a snapshot and tells the replica of its end. Returns whether there is one: if
/// not, no snapshot is sent, and no end told.
pub fn send(sending: Sending) -> bool {
    let thread = thread::Builder::new().name(format!("snapshot-{}", sending.to));
    let started = thread.spawn(move || sending.run());
    if let Err(error) = &started {
        log::warn!("there is no thread to send a snapshot: {error}");
    }
    started.is_ok()
}

impl Sending {
    fn run(self) {
        let Sending { to, term, rules, reader, outgoing, readers, control } = self;
        let sent = readers.hold(|| match (reader, outgoing) {
            (Ok(reader), Some(outgoing)) => send_all(&reader, (term, rules), &outgoing),
            (Err(error), _) => Err(SendError::Disk(error)),
            (_, None) => Err(SendError::NoLink),
        });
        match &sent {
            Ok(bytes) => log::info!("a snapshot of {bytes} bytes was sent to {to}"),
            Err(reason) => log::warn!("a snapshot for {to} was not sent: {reason}"),
        }
        // If the replica thread is gone the process is ending.
        if let Some(error) = sent.as_ref().err().and_then(SendError::of_disk) {
            let _ = control.send(Control::Broken(error));
        }
        let _ = control.send(Control::SnapshotSent { to, ok: sent.is_ok() });
    }
}

fn send_all(
    reader: &SqliteReader,
    (term, rules): (u64, RulesVersion),
    outgoing: &Outgoing,
) -> Result<u64, SendError> {
    let (mut head, content) = reader.snapshot()?;
    (head.term, head.rules) = (term, rules);
    snapshot::send(head, content, outgoing.bulk())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::protocol::peer::ConfState;

    /// Reading takes long when a snapshot is installed, and without this the heartbeats of the server stop.
    #[test]
    fn each_step_of_installing_a_snapshot_proves_that_the_thread_works() {
        let head = SnapshotHead {
            cluster_id: 1,
            term: 2,
            index: 3,
            index_term: 2,
            conf: ConfState::default(),
            rules: RulesVersion::FIRST,
        };
        let steps = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&steps);
        let from = ServerId::new("b").unwrap();
        let worked = move || {
            counted.fetch_add(1, Ordering::Relaxed);
        };
        let Input::SnapshotReceived { mut content, .. } = arrived(from, head, &b"content"[..], worked) else {
            panic!("it is no snapshot");
        };
        let mut read = Vec::new();
        let mut piece = [0; 3];
        while let Ok(length @ 1..) = content.read(&mut piece) {
            read.extend_from_slice(&piece[..length]);
        }
        assert_eq!(read, b"content");
        assert_eq!(steps.load(Ordering::Relaxed), 4, "three pieces and the end");
    }
}
