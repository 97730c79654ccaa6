//! The links that stand: what comes over them, and what is sent.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    protocol::{directory::Directory, name::ServerId, peer::PeerMessage, report::Report},
    replica::io::Input,
    server::{
        context::Context,
        peer::link::{Outgoing, PeerEvent},
    },
};

use super::snapshots;

/// The sending ends of the links.
pub struct Peers {
    context: Arc<Context>,
    outgoing: BTreeMap<ServerId, Outgoing>,
    /// Messages that found their queue full, since [`Peers::take_dropped`].
    dropped: u64,
}

impl Peers {
    /// No link stands yet.
    pub fn new(context: Arc<Context>) -> Peers {
        Peers { context, outgoing: BTreeMap::new(), dropped: 0 }
    }

    /// What the replica is to know of an event; `None` if nothing.
    pub fn take_in(&mut self, event: PeerEvent) -> Option<Input> {
        Some(match event {
            PeerEvent::Up { peer, outgoing } => {
                self.outgoing.insert(peer.clone(), outgoing);
                Input::PeerUp(peer)
            }
            PeerEvent::Down { peer, link } if self.is_current(&peer, link) => {
                self.outgoing.remove(&peer);
                Input::PeerDown(peer)
            }
            PeerEvent::Message { peer, message: PeerMessage::Report(report), .. } => {
                self.context.board.hear(self.context.clock.mono_ms(), peer, *report);
                return None;
            }
            // It may be the answer to a question, which has no link.
            PeerEvent::Message { peer, message: message @ PeerMessage::Servers { .. }, .. } => {
                Input::Peer { from: peer, message }
            }
            PeerEvent::Message { peer, link, message } if self.is_current(&peer, link) => {
                Input::Peer { from: peer, message }
            }
            PeerEvent::Snapshot { peer, link, head, content } if self.is_current(&peer, link) => {
                let context = Arc::clone(&self.context);
                snapshots::arrived(peer, head, content, move || context.shared.worked())
            }
            // They are of a link that was replaced.
            PeerEvent::Down { .. } | PeerEvent::Message { .. } | PeerEvent::Snapshot { .. } => return None,
        })
    }

    fn is_current(&self, peer: &ServerId, link: u64) -> bool {
        self.outgoing.get(peer).is_some_and(|outgoing| outgoing.link() == link)
    }

    /// Sends a message with the next [`Peers::write_now`], if there is a link. If its queue is full the
    /// message is dropped and counted.
    pub fn send(&mut self, to: &ServerId, message: PeerMessage) {
        if let Some(outgoing) = self.outgoing.get(to)
            && !outgoing.send(message)
        {
            self.dropped += 1;
            self.context.metrics.peer_messages_dropped.inc();
        }
    }

    /// Sends this server's report to all. If a queue is full it is dropped: the next one comes soon.
    pub fn report(&self, report: &Report) {
        for outgoing in self.outgoing.values() {
            outgoing.send(PeerMessage::Report(Box::new(report.clone())));
        }
        self.write_now();
    }

    /// Lets what was sent leave.
    pub fn write_now(&self) {
        self.outgoing.values().for_each(Outgoing::write_now);
    }

    /// The sending end of the link to a server.
    pub fn outgoing(&self, to: &ServerId) -> Option<Outgoing> {
        self.outgoing.get(to).cloned()
    }

    /// Ends the links to servers that are no more among these, behind what is on its way to them: they were
    /// told why.
    pub fn end_others(&self, servers: &Directory) {
        let gone = self.outgoing.iter().filter(|(peer, _)| servers.entry(peer).is_none());
        gone.for_each(|(_, outgoing)| outgoing.close());
    }

    /// How many messages were dropped since the last call.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}
