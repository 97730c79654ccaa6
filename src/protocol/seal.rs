//! Sealed datagrams: bytes that prove who sent them, to whom, and that they were not said before.
//!
//! A datagram is one version byte, an HMAC-SHA-256 over all else, and the sealed content: sender and its run,
//! a counter, the receivers, and what is said. Nothing is decoded before the HMAC was found right.
//!
//! **Replays within a run.** Each sender counts its datagrams; the receiver remembers the highest count
//! and which of the 64 up to it came, so that datagrams may overtake each other but none counts twice.
//!
//! **Replays to a receiver that forgot.** A receiver that restarts has lost these windows, and clocks can
//! not replace them, because they jump. So each datagram names, for each receiver, *the run in which that
//! receiver is to get it*. A run (incarnation and boot counter) never comes twice, so what was recorded
//! before a restart names a run that is over. Two servers that do not know each other's run yet learn it
//! from each other: a datagram that does not name the receiver's current run is only an introduction. It
//! is refused ([`Rejected::NotMet`]), but what the receiver sends from then on names the run it claimed,
//! beside the one proven before, so that a replayed introduction achieves nothing. One exchange of
//! heartbeats later both are proven. A peer link proves a run at once ([`Sealer::met`]).
//!
//! **What remains.** A program that has the secret counts as a server. An attacker on the network can drop
//! datagrams, and delay one until 64 later ones of its sender came. If the attacker recorded introductions of
//! two incarnations of a server, it can replay them to keep a third from being met by datagram; a peer link
//! meets it. A server whose folder was put back to an old copy repeats its run; what then could be replayed
//! starts at most a rate-limited campaign, and the server goes into quarantine under a new incarnation.

use std::{collections::BTreeMap, fmt};

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::{
    binary,
    datagram::{Datagram, Run},
    directory::SERVERS_MAX,
    name::ServerId,
    secret::{ClusterSecret, DATAGRAM_LABEL},
};

/// The version of the encoding, the first byte of each datagram.
pub const DATAGRAM_VERSION: u8 = 1;
/// Largest sealed datagram: it passes every usual link in one piece.
pub const DATAGRAM_BYTES: usize = 1_200;

const MAC_BYTES: usize = 32;
const HEAD_BYTES: usize = 1 + MAC_BYTES;
/// Runs that are remembered of one server. If it loses its data more often than this during one run of this
/// server, datagrams of its oldest incarnation could pass again.
const RUNS_REMEMBERED: usize = 8;

/// Why a datagram was refused. Each of these only counts in a metric: a network may do all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rejected {
    /// It is longer than [`DATAGRAM_BYTES`].
    TooLong,
    /// It is too short to be one, or of another version.
    Unknown,
    /// Its HMAC is wrong: another secret, another cluster, or forged.
    Forged,
    /// It is authentic but does not decode: the sender runs another version.
    Malformed,
    /// It is this server's own, come back. Broadcasts do that.
    Reflected,
    /// Its sender is not configured here.
    UnknownSender,
    /// It is for others.
    WrongReceiver,
    /// It does not name this server's current run: an introduction, or recorded before a restart.
    NotMet,
    /// It is of an earlier run of its sender.
    OldRun,
    /// It came before, or is more than 64 datagrams late.
    Replayed,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rejected::TooLong => "too long",
            Rejected::Unknown => "not a datagram of this version",
            Rejected::Forged => "wrong authentication code (another secret or cluster?)",
            Rejected::Malformed => "authentic, but not understood (another version?)",
            Rejected::Reflected => "sent by this server itself",
            Rejected::UnknownSender => "sender is not configured",
            Rejected::WrongReceiver => "meant for others",
            Rejected::NotMet => "sender does not know this server's current run yet",
            Rejected::OldRun => "of an earlier run of its sender",
            Rejected::Replayed => "received before, or too late",
        })
    }
}

#[derive(Serialize, Deserialize)]
struct Sealed<D> {
    sender: ServerId,
    run: Run,
    counter: u64,
    /// Who it is for, and in which run; twice if two runs are possible.
    receivers: Vec<(ServerId, Option<Run>)>,
    datagram: D,
}

/// Seals what this server says and opens what it hears. One for all threads of a run, behind a lock: what
/// is opened changes how is sealed.
pub struct Sealer {
    mac: Hmac<Sha256>,
    me: ServerId,
    run: Run,
    counter: u64,
    peers: BTreeMap<ServerId, Peer>,
}

impl Sealer {
    /// For this run of server `me`. `cluster` is the configured name of the cluster: clusters of different
    /// names do not hear each other, even with the same secret. Only `peers` are listened to; `me` among them
    /// is ignored.
    pub fn new(
        secret: &ClusterSecret,
        cluster: &str,
        me: ServerId,
        run: Run,
        peers: impl IntoIterator<Item = ServerId>,
    ) -> Self {
        let key = secret.derive(DATAGRAM_LABEL, cluster);
        let mac = Hmac::new_from_slice(&key).expect("HMAC takes keys of every length");
        let peers: BTreeMap<_, _> =
            peers.into_iter().filter(|peer| *peer != me).map(|peer| (peer, Peer::default())).collect();
        debug_assert!(peers.len() < SERVERS_MAX, "the configuration allows fewer servers");
        Sealer { mac, me, run, counter: 0, peers }
    }

    /// Only these are listened to from now on. Of those that stay, what is known of their runs stays as well.
    pub fn follow(&mut self, peers: impl IntoIterator<Item = ServerId>) {
        let mut known = std::mem::take(&mut self.peers);
        for peer in peers.into_iter().filter(|peer| *peer != self.me) {
            let of_peer = known.remove(&peer).unwrap_or_default();
            self.peers.insert(peer, of_peer);
        }
    }

    /// Notes that an authenticated peer link is open to `peer` in this run of it.
    pub fn met(&mut self, peer: &ServerId, run: Run) {
        if let Some(peer) = self.peers.get_mut(peer) {
            // The answer matters only to datagrams: an older run than known is not taken up.
            let _ = peer.enter(run);
        }
    }

    /// The bytes to send `datagram` as: to one server, or to all of them (broadcast, multicast, or the
    /// same bytes to each). Sending the same bytes twice is sending them once.
    pub fn seal(&mut self, to: Option<&ServerId>, datagram: &Datagram) -> Vec<u8> {
        self.counter += 1;
        let receivers = match to {
            Some(to) => receivers(to, self.peers.get(to)),
            None => self.peers.iter().flat_map(|(id, peer)| receivers(id, Some(peer))).collect(),
        };
        let sealed =
            Sealed { sender: self.me.clone(), run: self.run, counter: self.counter, receivers, datagram };
        let head = vec![DATAGRAM_VERSION; HEAD_BYTES];
        let mut bytes = postcard::to_extend(&sealed, head).expect("plain data always encodes");
        let code = self.code(&bytes).finalize().into_bytes();
        bytes[1..HEAD_BYTES].copy_from_slice(&code);
        debug_assert!(bytes.len() <= DATAGRAM_BYTES, "names and lists are bounded");
        bytes
    }

    /// Checks and takes apart what came from the network: who sent it and what it says. A refused datagram
    /// changes nothing, except that an introduction is answered.
    pub fn open(&mut self, bytes: &[u8]) -> Result<(ServerId, Datagram), Rejected> {
        let sealed = self.authentic(bytes)?;
        if sealed.sender == self.me {
            return Err(Rejected::Reflected);
        }
        let peer = self.peers.get_mut(&sealed.sender).ok_or(Rejected::UnknownSender)?;
        let mut runs =
            sealed.receivers.iter().filter(|(id, _)| *id == self.me).map(|(_, run)| *run).peekable();
        if runs.peek().is_none() {
            return Err(Rejected::WrongReceiver);
        }
        if !runs.any(|run| run == Some(self.run)) {
            peer.introduce(sealed.run);
            return Err(Rejected::NotMet);
        }
        if !peer.enter(sealed.run) {
            return Err(Rejected::OldRun);
        }
        if !peer.count(sealed.counter) {
            return Err(Rejected::Replayed);
        }
        Ok((sealed.sender, sealed.datagram))
    }

    /// Decodes after, and only after, the authentication code was found right (in constant time).
    fn authentic(&self, bytes: &[u8]) -> Result<Sealed<Datagram>, Rejected> {
        if bytes.len() > DATAGRAM_BYTES {
            return Err(Rejected::TooLong);
        }
        if bytes.len() < HEAD_BYTES || bytes[0] != DATAGRAM_VERSION {
            return Err(Rejected::Unknown);
        }
        self.code(bytes).verify_slice(&bytes[1..HEAD_BYTES]).map_err(|_| Rejected::Forged)?;
        binary::decode(&bytes[HEAD_BYTES..]).map_err(|_| Rejected::Malformed)
    }

    /// The authentication code over all of `bytes` but the place of the code itself.
    fn code(&self, bytes: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(&bytes[..1]);
        mac.update(&bytes[HEAD_BYTES..]);
        mac
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("me", &self.me).field("run", &self.run).finish_non_exhaustive()
    }
}

/// The runs in which `id` may be: the proven one and a claimed one.
fn receivers(id: &ServerId, peer: Option<&Peer>) -> Vec<(ServerId, Option<Run>)> {
    let runs = peer.into_iter().flat_map(|peer| [peer.runs.last().map(|known| known.run), peer.claimed]);
    let known: Vec<_> = runs.flatten().map(|run| (id.clone(), Some(run))).collect();
    if known.is_empty() { vec![(id.clone(), None)] } else { known }
}

/// What is known of another server's runs.
#[derive(Debug, Default)]
struct Peer {
    /// The proven runs, at most one of each incarnation, the current one last; at most [`RUNS_REMEMBERED`].
    runs: Vec<KnownRun>,
    /// A run that it claimed in an introduction and has not proven.
    claimed: Option<Run>,
}

#[derive(Debug)]
struct KnownRun {
    run: Run,
    window: Window,
}

impl Peer {
    /// Makes the proven `run` the current one; `false` if it is an earlier one.
    fn enter(&mut self, run: Run) -> bool {
        if self.runs.last().is_some_and(|current| current.run == run) {
            return true;
        }
        if let Some(place) = self.runs.iter().position(|known| known.run.node_id == run.node_id) {
            if run.boot <= self.runs[place].run.boot {
                return false;
            }
            self.runs.remove(place);
        }
        if self.runs.len() == RUNS_REMEMBERED {
            self.runs.remove(0);
        }
        self.runs.push(KnownRun { run, window: Window::default() });
        if self.claimed == Some(run) {
            self.claimed = None;
        }
        true
    }

    /// Takes note of a run that is claimed but not proven. Within one incarnation, a later run replaces an
    /// earlier one and never the other way round.
    fn introduce(&mut self, run: Run) {
        let known = self.runs.iter().map(|known| known.run).chain(self.claimed);
        let is_old = known.into_iter().any(|known| known.node_id == run.node_id && run.boot <= known.boot);
        if !is_old {
            self.claimed = Some(run);
        }
    }

    /// Counts a datagram of the current run; `false` if it was counted before or is too late.
    fn count(&mut self, counter: u64) -> bool {
        self.runs.last_mut().is_some_and(|current| current.window.count(counter))
    }
}

/// Which counters came (RFC 4303, section 3.4.3, "anti-replay window").
#[derive(Debug, Default)]
struct Window {
    highest: u64,
    /// Bit `n`: whether `highest - n` came.
    seen: u64,
}

impl Window {
    fn count(&mut self, counter: u64) -> bool {
        if counter > self.highest {
            let ahead = counter - self.highest;
            self.seen = if ahead < 64 { self.seen << ahead | 1 } else { 1 };
            self.highest = counter;
            return true;
        }
        let behind = self.highest - counter;
        if counter == 0 || behind >= 64 || self.seen & (1 << behind) != 0 {
            return false;
        }
        self.seen |= 1 << behind;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{
        datagram::{Announce, Heartbeat, Rank, Token},
        peer::{DataMark, LogMark, NodeId},
    };

    fn id(number: usize) -> ServerId {
        ServerId::new(&format!("server{number}")).unwrap()
    }

    fn run(node: u64, boot: u64) -> Run {
        Run { node_id: NodeId(node), boot }
    }

    fn sealer(number: usize, run: Run) -> Sealer {
        let secret = ClusterSecret::from_bytes([3; 32]);
        Sealer::new(&secret, "test", id(number), run, (1..=3).map(id))
    }

    fn said(term: u64) -> Datagram {
        Datagram::Announce(Announce { term })
    }

    /// Two servers that know each other's run.
    fn pair() -> (Sealer, Sealer) {
        let (mut one, mut two) = (sealer(1, run(1, 1)), sealer(2, run(2, 1)));
        one.met(&id(2), two.run);
        two.met(&id(1), one.run);
        (one, two)
    }

    #[test]
    fn strangers_are_met_within_one_exchange() {
        let (mut one, mut two) = (sealer(1, run(1, 1)), sealer(2, run(2, 1)));
        assert_eq!(two.open(&one.seal(None, &said(1))), Err(Rejected::NotMet));
        assert_eq!(one.open(&two.seal(None, &said(2))), Ok((id(2), said(2))));
        assert_eq!(two.open(&one.seal(Some(&id(2)), &said(3))), Ok((id(1), said(3))));
    }

    #[test]
    fn a_peer_link_introduces_at_once() {
        let (mut one, mut two) = pair();
        assert_eq!(two.open(&one.seal(None, &said(1))), Ok((id(1), said(1))));
    }

    #[test]
    fn datagrams_may_overtake_but_count_once() {
        let (mut one, mut two) = pair();
        let sent: Vec<_> = (0..100).map(|term| one.seal(None, &said(term))).collect();
        for place in [50, 3, 20, 99, 98] {
            two.open(&sent[place]).unwrap();
        }
        for place in [50, 3, 20, 99, 98, 35] {
            // 35 did not come before, but is 64 behind 99.
            assert_eq!(two.open(&sent[place]), Err(Rejected::Replayed), "{place}");
        }
        two.open(&sent[36]).unwrap();
    }

    #[test]
    fn what_is_not_for_us_or_not_from_others_is_refused() {
        let (mut one, mut two) = pair();
        let bytes = one.seal(Some(&id(3)), &said(1));
        assert_eq!(two.open(&bytes), Err(Rejected::WrongReceiver));
        let bytes = one.seal(None, &said(1));
        assert_eq!(one.open(&bytes), Err(Rejected::Reflected));
        let mut stranger = sealer(7, run(7, 1));
        stranger.met(&id(2), two.run);
        assert_eq!(two.open(&stranger.seal(None, &said(1))), Err(Rejected::UnknownSender));
        let other = ClusterSecret::from_bytes([3; 32]);
        let mut other = Sealer::new(&other, "other", id(1), run(1, 1), [id(2)]);
        assert_eq!(two.open(&other.seal(None, &said(1))), Err(Rejected::Forged));
        assert_eq!(two.open(&[]), Err(Rejected::Unknown));
        assert_eq!(two.open(&[1; HEAD_BYTES]), Err(Rejected::Forged));
        assert_eq!(two.open(&[1; DATAGRAM_BYTES + 1]), Err(Rejected::TooLong));
        // Authentic and yet nothing that this version says.
        let mut bytes = vec![DATAGRAM_VERSION; HEAD_BYTES + 3];
        let code = two.code(&bytes).finalize().into_bytes();
        bytes[1..HEAD_BYTES].copy_from_slice(&code);
        assert_eq!(two.open(&bytes), Err(Rejected::Malformed));
    }

    #[test]
    fn every_changed_bit_is_noticed() {
        let (mut one, mut two) = pair();
        let bytes = one.seal(None, &said(1));
        for bit in 0..8 * bytes.len() {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(two.open(&changed), Err(Rejected::Forged | Rejected::Unknown)), "bit {bit}");
        }
        two.open(&bytes).unwrap();
    }

    #[test]
    fn a_restarted_sender_is_met_anew_and_its_old_run_is_over() {
        let (mut one, mut two) = pair();
        let old = one.seal(None, &said(1));
        let mut one = sealer(1, run(1, 2));
        assert_eq!(two.open(&one.seal(None, &said(2))), Err(Rejected::NotMet));
        one.open(&two.seal(None, &said(0))).unwrap();
        two.open(&one.seal(None, &said(3))).unwrap();
        assert_eq!(two.open(&old), Err(Rejected::OldRun));
        // The same for a new incarnation: the boot counter starts again, the old one stays over.
        let late = one.seal(None, &said(4));
        let mut one = sealer(1, run(11, 1));
        one.met(&id(2), two.run);
        two.open(&one.seal(None, &said(5))).unwrap();
        assert_eq!(two.open(&late), Err(Rejected::OldRun));
        two.met(&id(1), run(1, 2));
        two.open(&one.seal(None, &said(6))).unwrap();
    }

    #[test]
    fn nothing_recorded_before_a_restart_of_the_receiver_passes() {
        let (mut one, two) = pair();
        let mut recorded: Vec<_> = (0..50).map(|term| one.seal(None, &said(term))).collect();
        // An introduction of an incarnation that is long gone.
        recorded.push(sealer(1, run(9, 1)).seal(None, &said(0)));
        drop(two);
        let mut two = sealer(2, run(2, 2));
        for bytes in &recorded {
            assert_eq!(two.open(bytes), Err(Rejected::NotMet));
        }
        // The replays do not keep the two apart, and still achieve nothing once they have met.
        assert_eq!(one.open(&two.seal(None, &said(1))), Err(Rejected::NotMet));
        assert_eq!(two.open(&one.seal(None, &said(2))), Ok((id(1), said(2))));
        assert_eq!(one.open(&two.seal(None, &said(3))), Ok((id(2), said(3))));
        for bytes in &recorded {
            assert_eq!(two.open(bytes), Err(Rejected::NotMet));
        }
        two.open(&one.seal(None, &said(4))).unwrap();
    }

    /// A million forged, replayed and reflected datagrams change nothing: afterwards the servers
    /// understand each other as if nothing had happened, and none of them was let through.
    #[test]
    fn a_million_attacks_change_nothing() {
        let (mut one, mut two) = pair();
        let mut recorded: Vec<_> = (0..8).map(|term| one.seal(None, &said(term))).collect();
        for bytes in &recorded {
            two.open(bytes).unwrap();
        }
        recorded.push(two.seal(None, &said(1)));
        recorded.push(one.seal(Some(&id(3)), &said(1)));
        recorded.push(sealer(1, run(1, 1)).seal(None, &said(1)));
        let before = format!("{:?} {}", two.peers, two.counter);
        for number in 0..1_000_000_usize {
            let mut bytes = recorded[number % recorded.len()].clone();
            if number % 2 == 0 {
                let place = number / 2 % bytes.len();
                bytes[place] ^= 1 << (number % 7);
            }
            assert!(two.open(&bytes).is_err());
        }
        assert_eq!(format!("{:?} {}", two.peers, two.counter), before);
        two.open(&one.seal(None, &said(9))).unwrap();
        one.open(&two.seal(None, &said(9))).unwrap();
    }

    #[test]
    fn the_largest_datagrams_fit() {
        let long = |number: usize| ServerId::new(&format!("{number:032}")).unwrap();
        let far = Run { node_id: NodeId(u64::MAX), boot: u64::MAX };
        let log = LogMark { last_log_term: u64::MAX, last_log_index: u64::MAX };
        let secret = ClusterSecret::from_bytes([3; 32]);
        let mut sealer = Sealer::new(&secret, "test", long(0), far, (0..SERVERS_MAX).map(long));
        for peer in sealer.peers.values_mut() {
            peer.enter(far);
            peer.claimed = Some(far);
        }
        sealer.counter = u64::MAX - 2;
        let data = DataMark {
            cluster_id: Some(u64::MAX),
            node_id: NodeId(u64::MAX),
            boot: u64::MAX,
            term: u64::MAX,
            log,
        };
        let beat = Datagram::Heartbeat(Heartbeat {
            ring_position: u32::MAX,
            data,
            leads_term: Some(u64::MAX),
            votes: true,
            clients: u64::MAX,
            tcp_port: u16::MAX,
            wall_ms: u64::MAX,
        });
        let token = Datagram::Token(Token {
            initiator: long(0),
            run: far,
            rank: Rank { log, ring_position: u32::MAX },
            round: u64::MAX,
            term: u64::MAX,
            visited: (0..SERVERS_MAX).map(long).collect(),
            returning: true,
        });
        assert!(sealer.seal(None, &beat).len() <= DATAGRAM_BYTES);
        assert!(sealer.seal(Some(&long(1)), &token).len() <= DATAGRAM_BYTES);
    }
}
