//! The failure detector: which servers are believed alive, from their heartbeats and the peer links.
//!
//! A server is believed dead
//! - at once, when its link was lost *and* its peer port then refuses: its process is gone. Either alone
//!   may be a fault of the network;
//! - otherwise when nothing was heard of it for `Timing::failure_detection_ms`.
//!
//! It is believed alive from its first heartbeat on. After a refused link that must be a heartbeat of a
//! new run: one of the old run may have been under way while its process died. If the process has not died
//! after all (a firewall can refuse, too), its link comes up again or its heartbeats go on; then it is
//! believed alive, too.
//!
//! **A pause of this server proves nothing about the others.** A server that was stopped for a second has
//! heard no other for a second, but they may be alive. So the detector watches how regularly it is called,
//! and after a pause of its own it gives all servers time to be heard again.

use std::collections::BTreeMap;

use crate::{
    config::ReplicaConfig,
    protocol::{
        datagram::{Announce, Heartbeat, Run},
        name::ServerId,
        peer::DataMark,
    },
};

/// [`Membership::tick`] must be called at least so often.
pub const PULSE_MS: u64 = 25;
/// A longer time without a call counts as a pause of this server itself.
const PAUSE_MS: u64 = 100;

/// What this server believes of the others, and a copy of their last heartbeats.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct View {
    /// All configured servers but this one.
    pub peers: BTreeMap<ServerId, PeerView>,
}

/// What this server believes of another.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PeerView {
    /// Whether it is believed alive.
    pub alive: bool,
    /// Since when without a break or a restart, on the monotonic clock.
    pub alive_since_ms: Option<u64>,
    /// When its last heartbeat came.
    pub last_heartbeat_ms: Option<u64>,
    /// Whether its process is known to be gone: its link was lost and its port refused, and it has not
    /// been heard since. Never together with `alive`.
    pub gone: bool,
    /// Whether a peer link to it stands.
    pub linked: bool,
    /// The term it leads in, if it is alive and claims to lead.
    pub leads_term: Option<u64>,
    /// Whether it takes part in elections, as it last said.
    pub votes: bool,
    pub clients: u64,
    pub data: Option<DataMark>,
    /// What its wall clock showed in its last heartbeat, milliseconds since the Unix epoch.
    pub wall_ms: Option<u64>,
    /// The ring position it claims; if it differs from the configured one, an operator has made a mistake.
    pub ring_position: Option<u32>,
}

/// What happened to the link to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkEvent {
    /// A link stands, authenticated at both ends.
    Up,
    /// The link was reset or closed.
    Lost,
    /// Connecting to the peer's port was refused: no process listens there. A timeout does not count.
    Refused,
}

/// The failure detector of one server.
#[derive(Debug)]
pub struct Membership {
    failure_detection_ms: u64,
    heartbeat_ms: u64,
    last_call_ms: Option<u64>,
    peers: BTreeMap<ServerId, Peer>,
    changed: bool,
}

#[derive(Debug, Default)]
struct Peer {
    view: PeerView,
    /// When a silent server is believed dead; meaningless unless it is believed alive.
    suspect_at_ms: u64,
    /// Whether time was added to `suspect_at_ms` since the last heartbeat. It is added once only, or a server
    /// that is always late would never suspect any other.
    excused: bool,
    /// Whether the link was lost and has not come up again or been followed by a death.
    link_lost: bool,
    /// The run that ended when the port refused, and when that was.
    ended: Option<(Run, u64)>,
    /// Since when heartbeats are missing, and how many.
    awaited_ms: Option<u64>,
    missed: u64,
    /// How many of them were not reported yet.
    untold: u64,
}

impl Membership {
    /// Believes no server alive yet. Listens to the configured servers only.
    pub fn new(config: &ReplicaConfig) -> Self {
        let others = config.servers.iter().filter(|server| server.server_id != config.server_id);
        Membership {
            failure_detection_ms: config.timing.failure_detection_ms,
            heartbeat_ms: config.timing.heartbeat_ms,
            last_call_ms: None,
            peers: others.map(|server| (server.server_id.clone(), Peer::default())).collect(),
            changed: false,
        }
    }

    /// The servers are those of `config` from now on. Those that stay are believed to be what they were.
    pub fn follow(&mut self, config: &ReplicaConfig) {
        let is_other = |id: &ServerId| *id != config.server_id;
        self.peers.retain(|id, _| is_other(id) && config.servers.entry(id).is_some());
        for server in config.servers.iter().filter(|server| is_other(&server.server_id)) {
            self.peers.entry(server.server_id.clone()).or_default();
        }
        self.changed = true;
    }

    /// Believes servers dead that were silent for too long. Due every [`PULSE_MS`].
    pub fn tick(&mut self, now_ms: u64) {
        self.excuse_own_pause(now_ms);
        for peer in self.peers.values_mut() {
            if peer.view.alive && now_ms >= peer.suspect_at_ms {
                peer.die();
                self.changed = true;
            }
            peer.miss(now_ms, self.heartbeat_ms);
        }
    }

    /// A heartbeat was received and found authentic.
    pub fn on_heartbeat(&mut self, now_ms: u64, from: &ServerId, beat: &Heartbeat) {
        self.excuse_own_pause(now_ms);
        let failure_detection_ms = self.failure_detection_ms;
        let Some(peer) = self.peers.get_mut(from) else { return };
        let run = Run::from(&beat.data);
        if peer.ended.is_some_and(|(ended, at_ms)| ended == run && now_ms < at_ms + failure_detection_ms) {
            return;
        }
        let before = peer.essence();
        peer.ended = None;
        peer.excused = false;
        peer.suspect_at_ms = now_ms + failure_detection_ms;
        let was_in_this_run = peer.view.data.as_ref().map(Run::from) == Some(run);
        if !peer.view.alive || !was_in_this_run {
            peer.view.alive = true;
            peer.view.alive_since_ms = Some(now_ms);
        }
        peer.view.gone = false;
        peer.view.last_heartbeat_ms = Some(now_ms);
        peer.wait_from(now_ms);
        peer.view.leads_term = beat.leads_term;
        peer.view.votes = beat.votes;
        peer.view.clients = beat.clients;
        peer.view.data = Some(beat.data.clone());
        peer.view.wall_ms = Some(beat.wall_ms);
        peer.view.ring_position = Some(beat.ring_position);
        self.changed |= before != peer.essence();
    }

    /// A leader announced itself, as its next heartbeat will. Ignored unless it is believed alive.
    pub fn on_announce(&mut self, now_ms: u64, from: &ServerId, announce: &Announce) {
        self.excuse_own_pause(now_ms);
        let Some(peer) = self.peers.get_mut(from) else { return };
        if peer.view.alive && peer.view.leads_term < Some(announce.term) {
            peer.view.leads_term = Some(announce.term);
            self.changed = true;
        }
    }

    /// Something happened to the link to `peer`.
    pub fn on_link(&mut self, now_ms: u64, peer: &ServerId, event: LinkEvent) {
        self.excuse_own_pause(now_ms);
        let Some(peer) = self.peers.get_mut(peer) else { return };
        let before = peer.essence();
        match event {
            LinkEvent::Up => {
                peer.view.linked = true;
                peer.link_lost = false;
                peer.ended = None;
            }
            LinkEvent::Lost => {
                peer.link_lost = true;
                peer.view.linked = false;
            }
            // Once for each lost link: a port that goes on refusing says nothing about a server that is
            // heard again.
            LinkEvent::Refused if peer.link_lost => {
                peer.link_lost = false;
                peer.die();
                peer.view.gone = true;
                peer.ended = peer.view.data.as_ref().map(|data| (Run::from(data), now_ms));
            }
            LinkEvent::Refused => {}
        }
        self.changed |= before != peer.essence();
    }

    /// What is believed now.
    pub fn view(&self) -> View {
        View { peers: self.peers.iter().map(|(id, peer)| (id.clone(), peer.view.clone())).collect() }
    }

    /// How many heartbeats of each server did not come in time since the last call. One is late when the next
    /// is due; late and lost ones count alike, and those of a server that is down go on counting.
    pub fn take_missed(&mut self) -> Vec<(ServerId, u64)> {
        let missed = self.peers.iter_mut().filter(|(_, peer)| peer.untold > 0);
        missed.map(|(id, peer)| (id.clone(), std::mem::take(&mut peer.untold))).collect()
    }

    /// Whether something has changed since the last call that the replica and the election should be told at
    /// once: who is alive, linked, leads or votes, or a server's run.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Whether [`Membership::take_changed`] would return true.
    pub fn has_changed(&self) -> bool {
        self.changed
    }

    /// After a pause of this server itself, gives the silent servers the time of three heartbeats to be
    /// heard.
    fn excuse_own_pause(&mut self, now_ms: u64) {
        let last_ms = self.last_call_ms.replace(now_ms).unwrap_or(now_ms);
        if now_ms.saturating_sub(last_ms) <= PAUSE_MS {
            return;
        }
        // Heartbeats that came meanwhile may still be in the socket.
        self.peers.values_mut().for_each(|peer| peer.wait_from(now_ms));
        for peer in self.peers.values_mut().filter(|peer| !peer.excused) {
            peer.excused = true;
            peer.suspect_at_ms = peer.suspect_at_ms.max(now_ms + 3 * self.heartbeat_ms);
        }
    }
}

impl Peer {
    /// The next heartbeat is due one interval after this.
    fn wait_from(&mut self, now_ms: u64) {
        self.awaited_ms = Some(now_ms);
        self.missed = 0;
    }

    /// Counts the heartbeats that should have come by now.
    fn miss(&mut self, now_ms: u64, heartbeat_ms: u64) {
        let waited_ms = now_ms.saturating_sub(*self.awaited_ms.get_or_insert(now_ms));
        let missed = (waited_ms / heartbeat_ms.max(1)).saturating_sub(1);
        self.untold += missed.saturating_sub(self.missed);
        self.missed = self.missed.max(missed);
    }

    fn die(&mut self) {
        self.view.alive = false;
        self.view.alive_since_ms = None;
        self.view.leads_term = None;
    }

    /// The part of the view whose changes are told at once.
    fn essence(&self) -> (bool, bool, bool, bool, Option<u64>, Option<Run>) {
        let view = &self.view;
        (view.alive, view.gone, view.linked, view.votes, view.leads_term, view.data.as_ref().map(Run::from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Followers, ServerEntry, Timing},
        protocol::{
            Limits,
            peer::{LogMark, NodeId},
        },
    };

    fn id(number: u32) -> ServerId {
        ServerId::new(&format!("server{number}")).unwrap()
    }

    fn membership() -> Membership {
        let server = |number: u32| ServerEntry::new(id(number), "localhost", 8000, number);
        Membership::new(&ReplicaConfig {
            server_id: id(1),
            servers: (1..=3).map(server).collect(),
            joins: false,
            timing: Timing::default(),
            limits: Limits::default(),
            auth: Default::default(),
            followers: Followers::Forward,
            keep_entries: 0,
            rules: Default::default(),
        })
    }

    fn beat(boot: u64, leads_term: Option<u64>) -> Heartbeat {
        let log = LogMark::default();
        let data = DataMark { cluster_id: None, node_id: NodeId(2), boot, term: 1, log };
        Heartbeat { ring_position: 2, data, leads_term, votes: true, clients: 0, tcp_port: 8001, wall_ms: 0 }
    }

    fn peer(membership: &Membership) -> PeerView {
        membership.view().peers[&id(2)].clone()
    }

    /// Calls the detector as often as it must be called.
    fn run(membership: &mut Membership, from_ms: u64, to_ms: u64) {
        (from_ms..=to_ms).step_by(PULSE_MS as usize).for_each(|now_ms| membership.tick(now_ms));
    }

    #[test]
    fn silence_is_death_after_the_detection_time_and_a_heartbeat_is_life() {
        let mut membership = membership();
        assert!(!peer(&membership).alive);
        membership.on_heartbeat(1_000, &id(2), &beat(1, Some(4)));
        assert!(membership.take_changed());
        assert_eq!(peer(&membership).alive_since_ms, Some(1_000));
        run(&mut membership, 1_000, 1_319);
        assert!(peer(&membership).alive && !membership.take_changed());
        membership.tick(1_320);
        assert!(membership.take_changed());
        let dead = peer(&membership);
        assert!(!dead.alive && !dead.gone && dead.leads_term.is_none());
        membership.on_heartbeat(1_330, &id(2), &beat(1, None));
        assert_eq!(peer(&membership).alive_since_ms, Some(1_330));
    }

    #[test]
    fn heartbeats_that_do_not_come_in_time_are_counted_once() {
        let interval_ms = Timing::default().heartbeat_ms;
        let mut membership = membership();
        let of = |membership: &mut Membership, server: u32| {
            let missed = membership.take_missed();
            missed.into_iter().find(|(id, _)| *id == self::id(server)).map_or(0, |(_, count)| count)
        };
        membership.tick(1_000);
        for heard_ms in [1_000, 1_070, 1_150] {
            membership.on_heartbeat(heard_ms, &id(2), &beat(1, None));
            run(&mut membership, heard_ms, heard_ms + interval_ms);
        }
        assert_eq!(of(&mut membership, 2), 0, "a little late is in time");
        let silent_ms = 1_150 + 5 * interval_ms;
        run(&mut membership, 1_200, silent_ms);
        membership.tick(silent_ms);
        assert_eq!(of(&mut membership, 2), 4, "the fifth is not late yet");
        membership.tick(silent_ms + PULSE_MS);
        assert_eq!(of(&mut membership, 2), 0);
        // After a pause of this server no other is suspected for it.
        membership.on_heartbeat(silent_ms + PULSE_MS, &id(2), &beat(1, None));
        membership.tick(silent_ms + 10_000);
        assert_eq!(of(&mut membership, 2), 0);
    }

    #[test]
    fn a_lost_link_alone_or_a_refusal_alone_is_no_death() {
        let mut membership = membership();
        membership.on_link(1_000, &id(2), LinkEvent::Refused);
        membership.on_heartbeat(1_000, &id(2), &beat(1, None));
        membership.on_link(1_001, &id(2), LinkEvent::Refused);
        assert!(peer(&membership).alive);
        membership.on_link(1_002, &id(2), LinkEvent::Up);
        membership.on_link(1_003, &id(2), LinkEvent::Lost);
        assert!(peer(&membership).alive && !peer(&membership).linked);
        membership.on_link(1_004, &id(2), LinkEvent::Up);
        membership.on_link(1_005, &id(2), LinkEvent::Refused);
        assert!(peer(&membership).alive);
    }

    #[test]
    fn both_are_death_at_once_which_a_late_heartbeat_does_not_undo() {
        let mut membership = membership();
        membership.on_link(1_000, &id(2), LinkEvent::Up);
        membership.on_heartbeat(1_000, &id(2), &beat(1, Some(4)));
        membership.on_link(1_010, &id(2), LinkEvent::Lost);
        membership.take_changed();
        membership.on_link(1_011, &id(2), LinkEvent::Refused);
        assert!(membership.take_changed());
        assert!(peer(&membership).gone && !peer(&membership).alive);
        membership.on_heartbeat(1_012, &id(2), &beat(1, Some(4)));
        assert!(peer(&membership).gone && !peer(&membership).alive);
        // The next run is another process.
        membership.on_heartbeat(1_020, &id(2), &beat(2, None));
        assert!(!peer(&membership).gone && peer(&membership).alive);
    }

    #[test]
    fn a_server_whose_port_only_seemed_to_refuse_comes_back() {
        for by_link in [false, true] {
            let mut membership = membership();
            membership.on_heartbeat(1_000, &id(2), &beat(1, None));
            membership.on_link(1_010, &id(2), LinkEvent::Lost);
            membership.on_link(1_011, &id(2), LinkEvent::Refused);
            let back_ms = if by_link { 1_020 } else { 1_011 + 320 };
            run(&mut membership, 1_011, back_ms);
            if by_link {
                membership.on_link(back_ms, &id(2), LinkEvent::Up);
            }
            membership.on_heartbeat(back_ms, &id(2), &beat(1, None));
            assert!(peer(&membership).alive);
            // The port goes on refusing, but that has been said already.
            membership.on_link(back_ms + 1, &id(2), LinkEvent::Refused);
            assert!(peer(&membership).alive);
        }
    }

    #[test]
    fn a_restart_begins_a_new_life_even_if_nobody_saw_the_death() {
        let mut membership = membership();
        membership.on_heartbeat(1_000, &id(2), &beat(1, Some(4)));
        membership.take_changed();
        membership.on_heartbeat(1_050, &id(2), &beat(2, Some(4)));
        assert!(membership.take_changed());
        assert_eq!(peer(&membership).alive_since_ms, Some(1_050));
    }

    #[test]
    fn a_pause_of_its_own_is_not_the_death_of_others_unless_they_stay_silent() {
        let mut membership = membership();
        membership.on_heartbeat(1_000, &id(2), &beat(1, None));
        run(&mut membership, 1_000, 1_100);
        membership.tick(2_000);
        assert!(peer(&membership).alive);
        run(&mut membership, 2_000, 2_179);
        assert!(peer(&membership).alive);
        membership.tick(2_180);
        assert!(!peer(&membership).alive);
        // A server that is always late is excused once only, or it would never suspect any other.
        membership.on_heartbeat(3_000, &id(2), &beat(1, None));
        for now_ms in [3_150, 3_300, 3_450] {
            membership.tick(now_ms);
        }
        assert!(!peer(&membership).alive);
    }

    #[test]
    fn an_announcement_is_an_early_heartbeat_of_the_living() {
        let mut membership = membership();
        membership.on_announce(900, &id(2), &Announce { term: 7 });
        assert_eq!(peer(&membership).leads_term, None);
        membership.on_heartbeat(1_000, &id(2), &beat(1, None));
        membership.on_announce(1_001, &id(2), &Announce { term: 7 });
        assert_eq!(peer(&membership).leads_term, Some(7));
        membership.on_announce(1_002, &id(2), &Announce { term: 6 });
        assert_eq!(peer(&membership).leads_term, Some(7));
        membership.on_heartbeat(1_003, &id(9), &beat(1, None));
    }
}
