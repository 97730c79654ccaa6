//! Whether this server's wall clock may be trusted with what cannot be undone.
//!
//! What is forgotten for its age does not come back when a clock is set right. So one clock alone must not
//! destroy anything:
//!
//! - After a start or a jump, a clock is not believed for [`DISTRUST_MS`]: it may be set again.
//! - It is believed only if all servers that are heard have shown the same time in their heartbeats for so
//!   long, within [`APART_MS`], and only while these are a majority.
//!
//! Messages need a right time, too: a leader whose clock is off uses that of the others, if a majority of
//! them agrees. Otherwise its messages would be old, or from the future, for ever.

use crate::{
    election::membership::{PeerView, View},
    protocol::name::ServerId,
};

use super::io::Now;

/// If the two clocks measure times that differ by more, one has jumped. Less is drift.
const JUMP_MS: u64 = 60_000;
/// How long a clock that has jumped, or has just been begun with, is not believed.
pub const DISTRUST_MS: u64 = 60 * 60 * 1_000;
/// Clocks of servers that differ by more do not show the same time.
const APART_MS: u64 = 60_000;

/// Whether the wall clock goes as the other clock does, and as those of the other servers do.
#[derive(Debug, Default)]
pub struct Clocks {
    last: Option<Now>,
    distrusted_until_ms: u64,
}

impl Clocks {
    /// Compares both clocks. Every server does it, so that a new leader knows whether its clock has just
    /// jumped.
    pub fn watch(&mut self, now: Now, view: &View) {
        let jumped = self.last.replace(now).is_none_or(|last| {
            let passed_ms = now.mono_ms.saturating_sub(last.mono_ms);
            now.wall_ms.abs_diff(last.wall_ms.saturating_add(passed_ms)) > JUMP_MS
        });
        if jumped || !are_together(now, view) {
            self.distrusted_until_ms = now.mono_ms.saturating_add(DISTRUST_MS);
        }
    }

    /// Whether the wall clock may be trusted with what cannot be undone.
    pub fn are_believed(&self, now: Now, view: &View) -> bool {
        let heard = 1 + view.peers.values().filter(|peer| offset_ms(now, peer).is_some()).count();
        now.mono_ms >= self.distrusted_until_ms && are_together(now, view) && 2 * heard > view.peers.len() + 1
    }
}

/// Whether all servers that are heard show the same time as this one.
fn are_together(now: Now, view: &View) -> bool {
    let mut offsets = view.peers.values().filter_map(|peer| offset_ms(now, peer));
    offsets.all(|offset_ms| offset_ms.unsigned_abs() <= APART_MS)
}

/// The time that the leader gives what is proposed: its own, unless a majority of the servers agrees on
/// another.
pub fn agreed_ms(now: Now, view: &View) -> u64 {
    let mut offsets: Vec<i64> = view.peers.values().filter_map(|peer| offset_ms(now, peer)).collect();
    offsets.push(0);
    offsets.sort_unstable();
    let middle_ms = offsets[(offsets.len() - 1) / 2];
    let agreeing = offsets.iter().filter(|offset_ms| offset_ms.abs_diff(middle_ms) <= APART_MS).count();
    let is_off = middle_ms.unsigned_abs() > APART_MS && 2 * agreeing > view.peers.len() + 1;
    if is_off { now.wall_ms.saturating_add_signed(middle_ms) } else { now.wall_ms }
}

/// How far the clock of a living peer is ahead of this server's.
pub fn offset_ms(now: Now, peer: &PeerView) -> Option<i64> {
    let (heard_ms, wall_ms) = (peer.last_heartbeat_ms.filter(|_| peer.alive)?, peer.wall_ms?);
    let there_ms = wall_ms.saturating_add(now.mono_ms.saturating_sub(heard_ms));
    Some(i64::try_from(i128::from(there_ms) - i128::from(now.wall_ms)).unwrap_or(i64::MAX))
}

/// Which server's clock is off, in words; `None` if all that are heard show the same time.
pub fn wrong_clock(now: Now, me: &ServerId, view: &View) -> Option<String> {
    let mut clocks: Vec<(i64, &ServerId)> =
        view.peers.iter().filter_map(|(id, peer)| Some((offset_ms(now, peer)?, id))).collect();
    clocks.push((0, me));
    clocks.sort_unstable();
    let (middle_ms, _) = clocks[(clocks.len() - 1) / 2];
    let is_off = |offset_ms: &i64| offset_ms.abs_diff(middle_ms) > APART_MS;
    let off: Vec<_> = clocks.iter().filter(|(offset_ms, _)| is_off(offset_ms)).collect();
    let (first_ms, id) = off.first()?;
    let agreeing = clocks.len() - off.len();
    let what = if 2 * agreeing > clocks.len() {
        let seconds = first_ms.abs_diff(middle_ms) / 1_000;
        let side = if *first_ms > middle_ms { "ahead of" } else { "behind" };
        let names: Vec<&str> = off.iter().map(|(_, id)| id.as_str()).collect();
        match &names[..] {
            [_] => format!("the clock of {id} is {seconds} s {side} those of the others"),
            names => format!("the clocks of {} are off", names.join(" and ")),
        }
    } else {
        let names: Vec<&str> = clocks.iter().map(|(_, id)| id.as_str()).collect();
        format!("the clocks of {} do not show the same time", names.join(", "))
    };
    Some(format!("{what}; nothing is forgotten for its age until that is set right"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

    fn at(mono_ms: u64) -> Now {
        Now { mono_ms, wall_ms: 1_000_000_000_000 + mono_ms }
    }

    fn id(number: usize) -> ServerId {
        ServerId::new(&format!("server{number}")).unwrap()
    }

    /// The view of server 1, with the others' clocks so far ahead; `None` for a server that is not heard.
    fn view(offsets_ms: &[Option<i64>]) -> View {
        let peer = |offset_ms: &Option<i64>| PeerView {
            alive: offset_ms.is_some(),
            last_heartbeat_ms: Some(500),
            wall_ms: offset_ms.map(|offset_ms| at(500).wall_ms.saturating_add_signed(offset_ms)),
            ..PeerView::default()
        };
        View {
            peers: (2..).zip(offsets_ms).map(|(number, offset_ms)| (id(number), peer(offset_ms))).collect(),
        }
    }

    #[test]
    fn a_clock_that_begins_or_jumps_is_not_believed_for_a_while() {
        let mut clocks = Clocks::default();
        let mut believes = |mono_ms: u64, jumped_ms: u64| {
            let now = Now { mono_ms, wall_ms: at(mono_ms).wall_ms + jumped_ms };
            clocks.watch(now, &View::default());
            clocks.are_believed(now, &View::default())
        };
        assert!(!believes(0, 0) && !believes(DISTRUST_MS - 1, 0));
        assert!(believes(DISTRUST_MS, 0));
        // Half a minute of drift, and a step of a server that slept, are no jumps.
        assert!(believes(2 * DISTRUST_MS, 31_000) && believes(5 * DISTRUST_MS, 62_000));
        assert!(!believes(5 * DISTRUST_MS + 20, DAY_MS as u64));
        assert!(!believes(6 * DISTRUST_MS - 20, 62_000), "the step back is one, too");
        assert!(!believes(7 * DISTRUST_MS - 21, 62_000) && believes(7 * DISTRUST_MS - 20, 62_000));
    }

    #[test]
    fn a_clock_is_believed_while_a_majority_is_heard_and_shows_the_same_time() {
        let mut clocks = Clocks::default();
        clocks.watch(at(0), &View::default());
        clocks.watch(at(DISTRUST_MS), &View::default());
        let now = at(DISTRUST_MS);
        for (offsets_ms, believed) in [
            (&[Some(0), Some(59_000)][..], true),
            (&[Some(-59_000), None], true),
            (&[None, None], false),
            (&[Some(0), Some(61_000)], false),
            (&[Some(-DAY_MS), Some(0)], false),
            (&[Some(-DAY_MS), Some(-DAY_MS)], false),
            (&[Some(0), None, None, None], false),
            (&[], true),
        ] {
            assert_eq!(clocks.are_believed(now, &view(offsets_ms)), believed, "{offsets_ms:?}");
        }
        // A server that has shown another time a moment ago may have been right.
        clocks.watch(now, &view(&[Some(0), Some(DAY_MS)]));
        assert!(!clocks.are_believed(now, &view(&[Some(0), Some(0)])));
    }

    #[test]
    fn what_is_said_gets_the_time_on_which_a_majority_agrees() {
        let now = at(800);
        for (offsets_ms, ahead_ms) in [
            (&[Some(0), Some(DAY_MS)][..], 0),
            (&[Some(DAY_MS), Some(DAY_MS + 5)], DAY_MS),
            (&[Some(-DAY_MS), Some(-DAY_MS)], -DAY_MS),
            (&[Some(30_000), Some(40_000)], 0),
            (&[Some(DAY_MS), None], 0),
            (&[Some(DAY_MS), Some(-DAY_MS)], 0),
            (&[Some(DAY_MS), Some(DAY_MS), None, None], 0),
        ] {
            let agreed_ms = agreed_ms(now, &view(offsets_ms));
            assert_eq!(agreed_ms, now.wall_ms.saturating_add_signed(ahead_ms), "{offsets_ms:?}");
        }
    }

    #[test]
    fn the_clock_that_is_off_is_named() {
        let said = |offsets_ms: &[Option<i64>]| wrong_clock(at(800), &id(1), &view(offsets_ms));
        assert_eq!(said(&[Some(0), Some(30_000)]), None);
        assert_eq!(said(&[None, None]), None);
        for (offsets_ms, words) in [
            (&[Some(0), Some(DAY_MS)][..], "the clock of server3 is 86400 s ahead of those of the others;"),
            (&[Some(-DAY_MS), Some(0)], "the clock of server2 is 86400 s behind those of the others;"),
            (&[Some(DAY_MS), Some(DAY_MS)], "the clock of server1 is 86400 s behind those of the others;"),
            (&[Some(DAY_MS), None], "the clocks of server1, server2 do not show the same time;"),
            (&[Some(0), Some(0), Some(DAY_MS), Some(-DAY_MS)], "the clocks of server5 and server4 are off;"),
        ] {
            let said = said(offsets_ms).expect("one is off");
            assert!(said.starts_with(words), "{said}");
        }
    }
}
