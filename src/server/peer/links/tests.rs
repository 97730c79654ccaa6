//! Two servers that link, over real sockets.

use std::{fs, io::Read, net::Ipv4Addr, path::Path, thread};

use clap::Parser;

use super::*;
use crate::{
    protocol::{
        peer::{ConfState, NodeId, PeerMessage, SnapshotHead},
        rules::RulesVersion,
    },
    server::{
        machine::{
            mailbox::{Bell, Receiver, mailbox},
            ports::Port,
            threads::Stopper,
        },
        peer::snapshot,
        program::args::Args,
    },
};

const PATIENCE: Duration = Duration::from_secs(30);
/// How long one of two ends is listened to.
const POLL: Duration = Duration::from_millis(20);

/// One server's links and what they say.
struct End {
    links: Arc<Links>,
    threads: Arc<Threads>,
    stopper: Stopper,
    events: Receiver<PeerEvent>,
    changes: crossbeam_channel::Receiver<LinkEvent>,
    port: u16,
}

impl End {
    fn event(&self) -> PeerEvent {
        self.event_within(PATIENCE).expect("an event in time")
    }

    fn event_within(&self, time: Duration) -> Option<PeerEvent> {
        self.events.wait_until(Instant::now() + time);
        let mut event = Vec::new();
        self.events.take(1, &mut event);
        event.pop()
    }

    fn up(&self) -> crate::server::peer::link::Outgoing {
        assert_eq!(self.changes.recv_timeout(PATIENCE).unwrap(), LinkEvent::Up);
        match self.event() {
            PeerEvent::Up { outgoing, .. } => outgoing,
            _ => panic!("a link should come up first"),
        }
    }

    /// Waits for a change other than those before it.
    fn wait_for(&self, change: LinkEvent) {
        while self.changes.recv_timeout(PATIENCE).expect("a change in time") != change {}
    }

    fn message(&self) -> PeerMessage {
        loop {
            if let PeerEvent::Message { message, .. } = self.event() {
                return message;
            }
        }
    }

    fn stop(self) {
        self.stopper.stop();
        self.links.hang_up();
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
        drop(self.events);
        assert!(self.threads.join("peer", Instant::now() + PATIENCE).is_empty());
    }
}

fn end(folder: &Path, me: &str, listener: TcpListener) -> End {
    let mut args = Args::parse_from(["syncnet-server", "--server-id", me]);
    args.config = Some(folder.join("config.json"));
    args.data_dir = folder.into();
    args.log_dir = folder.into();
    let config = Config::load(&args).unwrap();
    let (events_in, events) = mailbox(100, &Bell::default());
    let (changes_in, changes) = crossbeam_channel::unbounded();
    let (stopper, stop) = Stopper::new();
    let watcher: Watcher = Arc::new(move |_, change, _| {
        let _ = changes_in.send(change);
    });
    let run = Run { node_id: NodeId(1), boot: 1 };
    let addresses = Arc::new(Addresses::new(&config));
    let threads = Arc::new(Threads::default());
    let links = Links::new(&config, run, addresses, events_in, watcher, threads.clone(), stop);
    let port = listener.local_addr().unwrap().port();
    links.start(listener).unwrap();
    End { links, threads, stopper, events, changes, port }
}

/// Two servers, of which the first dials the second.
fn ends(folder: &Path) -> [End; 2] {
    let [first, second] = listeners(folder);
    [end(folder, "s0", first), end(folder, "s1", second)]
}

fn listeners(folder: &Path) -> [TcpListener; 2] {
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
    let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut listeners = [listen(), listen()];
    // Their other ports, which are not used here, must not seem to meet.
    while port(&listeners[0]).abs_diff(port(&listeners[1])) <= Port::OFFSET_MAX {
        listeners[1] = listen();
    }
    let servers: Vec<_> = listeners
        .iter()
        .enumerate()
        .map(|(place, listener)| {
            serde_json::json!({
                "server_id": format!("s{place}"), "host": "localhost",
                "port": port(listener) - 30, "ring_position": place,
            })
        })
        .collect();
    fs::write(folder.join("config.json"), serde_json::json!({ "servers": servers }).to_string()).unwrap();
    listeners
}

#[test]
fn links_come_up_carry_messages_and_snapshots_and_are_seen_to_die() {
    let folder = tempfile::tempdir().unwrap();
    let [low, high] = ends(folder.path());
    let (to_high, to_low) = (low.up(), high.up());
    let doubt = PeerMessage::Doubt { node_id: NodeId(1), reason: "a message".into() };
    assert!(to_high.send(doubt.clone()));
    to_high.write_now();
    assert_eq!(high.message(), doubt);
    let content = vec![9u8; 1_000_000];
    let head = SnapshotHead {
        cluster_id: 1,
        term: 1,
        index: 1,
        index_term: 1,
        conf: ConfState::default(),
        rules: RulesVersion::FIRST,
    };
    snapshot::send(head.clone(), &*content, to_low.bulk()).unwrap();
    let PeerEvent::Snapshot { head: got, content: mut file, .. } = low.event() else {
        panic!("a snapshot is due")
    };
    let mut read = Vec::new();
    file.read_to_end(&mut read).unwrap();
    assert!(got == head && read == content);
    // A link that is cut is made again.
    low.links.hang_up();
    low.wait_for(LinkEvent::Lost);
    low.wait_for(LinkEvent::Up);
    // The one that dials sees the other's end.
    high.stop();
    low.wait_for(LinkEvent::Lost);
    low.wait_for(LinkEvent::Refused);
    low.stop();
}

#[test]
fn who_sends_never_waits_and_all_arrives_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let [low, high] = ends(folder.path());
    let (to_high, _to_low) = (low.up(), high.up());
    // The large ones are left to the writing thread, the small ones behind them are not.
    let reason = |number: usize| {
        format!("{number} {}", "x".repeat(if number.is_multiple_of(20) { 70_000 } else { 9 }))
    };
    let message = |number| PeerMessage::Doubt { node_id: NodeId(1), reason: reason(number) };
    const COUNT: usize = 400;
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..COUNT {
                assert!(to_high.send(message(number)), "message {number} is dropped");
                to_high.write_now();
            }
        });
        for number in 0..COUNT {
            assert!(high.message() == message(number), "message {number}");
        }
    });
    // Not before: the next link, which is made at once, ends this one with what is still on its way.
    to_high.close();
    high.wait_for(LinkEvent::Lost);
    high.stop();
    low.stop();
}

/// A server that is to join and stands below all that it was told of makes no link before it knows the
/// servers. The others wait for it, if they know of it.
#[test]
fn who_is_to_join_hears_of_the_servers_from_one_that_waits_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = listeners(folder.path());
    let high = end(folder.path(), "s1", second);
    let path = folder.path().join("config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["join"] = true.into();
    fs::write(&path, config.to_string()).unwrap();
    let low = end(folder.path(), "s0", first);
    let servers = PeerMessage::Servers { cluster_id: Some(1), servers: Directory::default() };
    let until = Instant::now() + PATIENCE;
    let heard = loop {
        assert!(Instant::now() < until, "it never hears of them");
        // As the replica greets on each link: something else first.
        if let Some(PeerEvent::Up { outgoing, .. }) = high.event_within(POLL) {
            outgoing.send(PeerMessage::Doubt { node_id: NodeId(1), reason: "something else".into() });
            outgoing.send(servers.clone());
            outgoing.write_now();
        }
        if let Some(PeerEvent::Message { message, .. }) = low.event_within(POLL) {
            break message;
        }
    };
    assert_eq!(heard, servers);
    high.stop();
    low.stop();
}

#[test]
fn the_end_that_is_dialled_sees_the_dialler_die() {
    let folder = tempfile::tempdir().unwrap();
    let [low, high] = ends(folder.path());
    high.up();
    low.stop();
    high.wait_for(LinkEvent::Lost);
    high.wait_for(LinkEvent::Refused);
    high.stop();
}
