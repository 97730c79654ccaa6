//! One word for a whole cluster, from what each of its servers says. Pure.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::probe::Observation;
use crate::protocol::{Status, status::Role, text::counted};

/// The state of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Every server answers, one leads, all others follow it.
    Healthy,
    /// Messages are taken, but something is missing: see the notes.
    Degraded,
    /// Servers answer and none of them leads: no message is taken.
    NoLeader,
    /// The cluster waits for the first meeting of all its servers.
    Forming,
    /// Two servers claim to lead in the same term. This must never happen: keep the logs and report it.
    Split,
    Down,
}

impl Verdict {
    /// The exit status of `syncnet-admin status`: 0 healthy, 1 degraded, 3 no message can be taken.
    /// (2 is kept for a wrong command line.)
    pub fn exit_status(self) -> u8 {
        match self {
            Verdict::Healthy => 0,
            Verdict::Degraded => 1,
            Verdict::NoLeader | Verdict::Forming | Verdict::Split | Verdict::Down => 3,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Healthy => "HEALTHY",
            Verdict::Degraded => "DEGRADED",
            Verdict::NoLeader => "NO LEADER",
            Verdict::Forming => "FORMING",
            Verdict::Split => "SPLIT",
            Verdict::Down => "DOWN",
        })
    }
}

/// A verdict with its reasons.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnosis {
    pub verdict: Verdict,
    /// The one leader, if there is one: its id and its term.
    pub leader: Option<(String, u64)>,
    /// What keeps the cluster from being healthy, and what servers say of themselves; one sentence each.
    pub notes: Vec<String>,
}

/// What was committed a while before the observations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The last committed entry.
    pub index: u64,
    pub ago: Duration,
}

/// The last committed entry, as far as the servers know.
pub fn committed(observations: &[Observation]) -> u64 {
    let answers = observations.iter().filter_map(|seen| seen.outcome.as_ref().ok());
    answers.map(|status| status.commit_index).max().unwrap_or(0)
}

/// Whether a server that takes part has not applied the entry `index`.
pub fn lacks(observations: &[Observation], index: u64) -> bool {
    let mut answers = observations.iter().filter_map(|seen| seen.outcome.as_ref().ok());
    answers.any(|status| status.role == Role::Follower && status.applied_index < index)
}

/// Judges what was observed of all servers. One that lacks what was committed `before` does not keep up.
pub fn diagnose(observations: &[Observation], before: Option<Committed>) -> Diagnosis {
    let answers: Vec<&Status> = observations.iter().filter_map(|seen| seen.outcome.as_ref().ok()).collect();
    let mut notes: Vec<String> = observations.iter().filter_map(note).collect();
    let mut leaders: BTreeMap<u64, Vec<&Status>> = BTreeMap::new();
    for status in answers.iter().filter(|status| status.role == Role::Leader) {
        leaders.entry(status.term).or_default().push(status);
    }
    // A leader of an older term has not heard of its successor yet; the newest is the one that counts.
    let newest = leaders.last_key_value().and_then(|(_, leaders)| leaders.first()).copied();
    let leader = newest.map(|status| (status.server_id.to_string(), status.term));

    let split = leaders.values().find(|leaders| leaders.len() > 1);
    if let Some(both) = split {
        let names: Vec<_> = both.iter().map(|status| status.server_id.to_string()).collect();
        notes.push(format!("{} all claim to lead term {}", names.join(" and "), both[0].term));
    }
    if let Some(newest) = newest {
        notes.extend(answers.iter().filter_map(|status| disagreement(status, newest)));
        let follows = |status: &&&Status| status.leader_id.as_ref() == Some(&newest.server_id);
        let followers = answers.iter().filter(follows);
        notes.extend(followers.filter_map(|status| lateness(status, before?)));
    }

    let verdict = if answers.is_empty() {
        Verdict::Down
    } else if split.is_some() {
        Verdict::Split
    } else if newest.is_none() {
        let forming = answers.iter().any(|status| status.role == Role::Forming);
        if forming { Verdict::Forming } else { Verdict::NoLeader }
    } else if notes.is_empty() {
        Verdict::Healthy
    } else {
        // Each reason why a cluster is not healthy has a note.
        Verdict::Degraded
    };
    Diagnosis { verdict, leader, notes }
}

/// What one observation says that an operator should read.
fn note(seen: &Observation) -> Option<String> {
    match &seen.outcome {
        Err(reason) => Some(format!("{} ({}): {reason}", seen.target.label(), seen.target)),
        Ok(status) if !status.note.is_empty() => Some(format!("{}: {}", status.server_id, status.note)),
        Ok(status) => match status.role {
            Role::Candidate => Some(format!("{}: it asks for votes", status.server_id)),
            Role::Learner => Some(format!("{}: its data is being rebuilt from the others", status.server_id)),
            Role::Forming => Some(format!("{}: it waits for all configured servers", status.server_id)),
            Role::Leader | Role::Follower => None,
        },
    }
}

/// How a server that takes part disagrees with the leader of the newest term about who leads.
fn disagreement(status: &Status, leader: &Status) -> Option<String> {
    match (status.role, &status.leader_id) {
        (Role::Leader, _) if status.term < leader.term => {
            Some(format!("{}: it still believes that it leads term {}", status.server_id, status.term))
        }
        (Role::Follower, None) => Some(format!("{}: it knows no leader", status.server_id)),
        (Role::Follower, Some(other)) if *other != leader.server_id => {
            Some(format!("{}: it follows {other}, not {}", status.server_id, leader.server_id))
        }
        _ => None,
    }
}

/// How far a server is behind, if it takes too long.
fn lateness(status: &Status, before: Committed) -> Option<String> {
    let missing = before.index.checked_sub(status.applied_index).filter(|missing| *missing > 0)?;
    let entries = counted(missing, "entry");
    (status.role == Role::Follower && status.note.is_empty()).then(|| {
        format!(
            "{}: it does not keep up: it lacks {entries} committed {} s ago; look at its disk, its load and the \
            network to it",
            status.server_id,
            before.ago.as_secs(),
        )
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{
        admin::{line_client::CallError, target::Target},
        protocol::ServerId,
    };

    /// An observation of `server<number>`; `leader` is the number of the server it believes to lead.
    pub(crate) fn observed(number: u16, role: Role, term: u64, leader: Option<u16>) -> Observation {
        let server_id = |number: u16| ServerId::new(&format!("server{number}")).unwrap();
        Observation {
            target: Target::defaults()[usize::from(number) - 1].clone(),
            outcome: Ok(Status {
                leader_id: leader.map(server_id),
                term,
                ring_position: u32::from(number) - 1,
                last_index: 12,
                commit_index: 12,
                applied_index: 12,
                uptime: 41.8,
                clients: 2,
                messages: 1_503,
                tcp_port: 7999 + number,
                udp_port: 8019 + number,
                version: "5.0.0".into(),
                ..Status::empty(server_id(number), role)
            }),
        }
    }

    pub(crate) fn silent(number: u16) -> Observation {
        Observation {
            target: Target::defaults()[usize::from(number) - 1].clone(),
            outcome: Err(CallError::Lost(std::io::ErrorKind::ConnectionRefused.into())),
        }
    }

    fn verdict(observations: &[Observation]) -> Verdict {
        diagnose(observations, None).verdict
    }

    #[test]
    fn one_leader_that_all_follow_is_healthy() {
        let seen = [
            observed(1, Role::Follower, 4, Some(3)),
            observed(2, Role::Follower, 4, Some(3)),
            observed(3, Role::Leader, 4, Some(3)),
        ];
        let diagnosis = diagnose(&seen, None);
        assert_eq!(diagnosis.verdict, Verdict::Healthy);
        assert_eq!(diagnosis.leader, Some(("server3".into(), 4)));
        assert_eq!(diagnosis.notes, Vec::<String>::new());
    }

    #[test]
    fn a_leader_with_something_missing_is_degraded() {
        let leader = || observed(3, Role::Leader, 4, Some(3));
        let follower = || observed(2, Role::Follower, 4, Some(3));
        let mut noted = observed(1, Role::Follower, 4, Some(3));
        noted.outcome.as_mut().unwrap().note = "catching up".into();
        for third in [
            silent(1),
            noted,
            observed(1, Role::Candidate, 4, None),
            observed(1, Role::Learner, 4, Some(3)),
            observed(1, Role::Follower, 4, None),
            observed(1, Role::Follower, 3, Some(2)),
            // A former leader that was stopped and has not heard of its successor yet.
            observed(1, Role::Leader, 3, Some(1)),
        ] {
            let said = format!("{third:?}");
            let diagnosis = diagnose(&[third, follower(), leader()], None);
            assert_eq!(diagnosis.verdict, Verdict::Degraded, "{said}");
            assert_eq!(diagnosis.leader, Some(("server3".into(), 4)));
            assert_eq!(diagnosis.notes.len(), 1, "{:?}", diagnosis.notes);
            assert!(diagnosis.notes[0].starts_with("server1"), "{:?}", diagnosis.notes);
        }
    }

    #[test]
    fn a_server_that_does_not_keep_up_is_named() {
        let seen = |applied: u64| {
            let mut slow = observed(2, Role::Follower, 4, Some(3));
            slow.outcome.as_mut().unwrap().applied_index = applied;
            [observed(1, Role::Follower, 4, Some(3)), slow, observed(3, Role::Leader, 4, Some(3))]
        };
        let before = Some(Committed { index: 12, ago: Duration::from_secs(2) });
        assert_eq!(committed(&seen(3)), 12);
        assert!(lacks(&seen(11), 12) && !lacks(&seen(12), 12));
        assert_eq!(diagnose(&seen(12), before).verdict, Verdict::Healthy);
        let late = diagnose(&seen(3), before);
        assert_eq!(late.verdict, Verdict::Degraded);
        let said = "server2: it does not keep up: it lacks 9 entries committed 2 s ago; look at its disk, its load and \
            the network to it";
        assert_eq!(late.notes, [said]);
        assert_eq!(
            diagnose(&seen(3), None).verdict,
            Verdict::Healthy,
            "it may be in a moment what the others are"
        );
        // Under a note, or while it is rebuilt, it is said already why.
        let mut rebuilt = seen(3);
        rebuilt[1].outcome.as_mut().unwrap().role = Role::Learner;
        assert_eq!(diagnose(&rebuilt, before).notes.len(), 1);
    }

    #[test]
    fn without_a_leader_the_verdict_says_what_kind_of_nothing() {
        assert_eq!(verdict(&[silent(1), silent(2), silent(3)]), Verdict::Down);
        let candidate = observed(1, Role::Candidate, 4, None);
        assert_eq!(verdict(&[candidate, silent(2), silent(3)]), Verdict::NoLeader);
        assert_eq!(
            verdict(&[observed(1, Role::Follower, 4, Some(3)), silent(2), silent(3)]),
            Verdict::NoLeader
        );
        assert_eq!(verdict(&[observed(1, Role::Forming, 0, None), silent(2), silent(3)]), Verdict::Forming);
    }

    #[test]
    fn two_leaders_of_one_term_are_a_split() {
        let seen = [observed(1, Role::Leader, 4, Some(1)), observed(2, Role::Leader, 4, Some(2)), silent(3)];
        let diagnosis = diagnose(&seen, None);
        assert_eq!(diagnosis.verdict, Verdict::Split);
        assert!(diagnosis.notes.iter().any(|note| note.contains("server1 and server2")));
        assert_eq!(diagnosis.verdict.exit_status(), 3);
    }
}
