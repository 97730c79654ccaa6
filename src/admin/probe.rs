//! Asking servers for their status, all at once.

use std::{collections::BTreeSet, io, iter, thread, time::Duration};

use super::{
    line_client::{CallError, LineClient},
    target::Target,
};
use crate::protocol::{Status, request::AskStatus, status::PeerStatus};

/// The result of asking one server.
#[derive(Debug)]
pub struct Observation {
    /// The server that was asked.
    pub target: Target,
    /// Its status, or why there is none.
    pub outcome: Result<Status, CallError>,
}

impl Observation {
    /// The server's own id if it answered, else the target's label.
    pub fn name(&self) -> String {
        match &self.outcome {
            Ok(status) => status.server_id.to_string(),
            Err(_) => self.target.label(),
        }
    }
}

/// Asks the servers of the cluster that `targets` lead to; takes little longer than twice `timeout` in all.
///
/// As soon as one answers, the servers are those that the cluster's log names: one that was added is asked as
/// well, and one that was removed is left out, unless it answers. Of those that answer, the one that has
/// applied most knows them best. If none answers, all targets are missing.
pub fn ask_cluster(targets: &[Target], timeout: Duration) -> Vec<Observation> {
    let mut seen = ask_all(targets, timeout);
    let answers = || seen.iter().filter_map(|seen| Some((&seen.target, seen.outcome.as_ref().ok()?)));
    let Some((by, newest)) = answers().max_by_key(|(_, status)| status.applied_index) else { return seen };
    let answering: BTreeSet<_> = answers().map(|(_, status)| &status.server_id).collect();
    let missing = newest.peers.iter().filter(|peer| !answering.contains(&peer.server_id));
    let missing: Vec<PeerStatus> = missing.cloned().collect();
    let trust = by.trust.clone();

    let mut silent = BTreeSet::new();
    seen.retain_mut(|seen| {
        if seen.outcome.is_ok() {
            return true;
        }
        let Some(peer) = missing.iter().find(|peer| is_meant(&seen.target, peer)) else { return false };
        seen.target.server_id = Some(peer.server_id.to_string());
        silent.insert(peer.server_id.clone())
    });
    let further = missing.iter().flat_map(|peer| {
        let place = |(host, port): (&str, u16)| Target {
            server_id: Some(peer.server_id.to_string()),
            host: host.into(),
            port,
            trust: trust.clone(),
        };
        addresses(peer).map(place)
    });
    let further: Vec<Target> = further.filter(|new| seen.iter().all(|seen| seen.target != *new)).collect();
    for mut found in ask_all(&further, timeout) {
        let name = found.target.label();
        if let Ok(other) = &found.outcome
            && other.server_id.as_str() != name
        {
            found.outcome = Err(CallError::Unreadable(format!("it is {}", other.server_id)));
        }
        match seen.iter_mut().find(|seen| seen.name() == name) {
            Some(known) if known.outcome.is_err() && found.outcome.is_ok() => *known = found,
            Some(_) => {}
            None => seen.push(found),
        }
    }
    seen
}

/// Whether a target is one of the ways to a server: by its id, or without one by its address.
fn is_meant(target: &Target, peer: &PeerStatus) -> bool {
    match &target.server_id {
        Some(name) => peer.server_id.as_str() == name,
        None => addresses(peer).any(|(host, port)| target.host == host && target.port == port),
    }
}

/// Where a server may be reached: as its peers do, and as clients are told, if that is elsewhere.
fn addresses(peer: &PeerStatus) -> impl Iterator<Item = (&str, u16)> {
    let (peers, clients) = ((peer.host.as_str(), peer.port), (peer.client_host.as_str(), peer.client_port));
    iter::once(peers).chain((clients != peers).then_some(clients))
}

/// Asks every target, each in a thread of its own; takes little longer than `timeout` in all.
///
/// The observations are in the order of the targets.
pub fn ask_all(targets: &[Target], timeout: Duration) -> Vec<Observation> {
    thread::scope(|scope| {
        let asked: Vec<_> =
            targets.iter().map(|target| (target, scope.spawn(move || ask(target, timeout)))).collect();
        asked
            .into_iter()
            .map(|(target, thread)| Observation {
                target: target.clone(),
                outcome: thread
                    .join()
                    .unwrap_or_else(|_| Err(CallError::Lost(io::Error::other("the asking thread failed")))),
            })
            .collect()
    })
}

/// Asks one server, waiting at most about `timeout` to connect and as long for the answer.
///
/// # Errors
/// It does not answer, or with something else.
pub fn ask(target: &Target, timeout: Duration) -> Result<Status, CallError> {
    LineClient::open(target, timeout)?.ask(AskStatus {}).map(|status| *status)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader, Write},
        net::TcpListener,
    };

    use serde_json::json;

    use super::*;
    use crate::{
        admin::verdict::tests::observed,
        protocol::{ServerId, status::Role},
    };

    const PATIENCE: Duration = Duration::from_secs(20);

    fn answering(lines: impl Into<Vec<u8>>) -> Target {
        let lines = lines.into();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = String::new();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut asked).unwrap();
            assert!(asked.contains("status_request"));
            stream.write_all(&lines).unwrap();
        });
        Target { server_id: None, host: "127.0.0.1".into(), port, trust: None }
    }

    #[test]
    fn pushes_before_the_answer_are_passed_over() {
        let target = answering(
            b"{\"msg_type\":\"server_list\",\"data\":{\"servers\":[],\"leader_id\":null,\"term\":1}}\n\
              {\"msg_type\":\"nack\",\"data\":{\"for\":\"status_request\",\"code\":\"overloaded\",\"reason\":\"busy\"}}\n",
        );
        let error = ask(&target, PATIENCE).unwrap_err();
        assert_eq!(error.to_string(), "it refuses: overloaded: busy");
    }

    #[test]
    fn what_is_not_an_answer_is_said() {
        let sentence = ask(&answering(b"HTTP/1.1 400\r\n"), PATIENCE).unwrap_err().to_string();
        assert!(sentence.contains("not JSON"), "{sentence}");
        let sentence = ask(&answering(b""), PATIENCE).unwrap_err().to_string();
        assert!(sentence.contains("without an answer"), "{sentence}");
    }

    #[test]
    fn all_are_asked_and_keep_their_order() {
        // Bound and never accepted from: the connection opens and stays silent.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = silent.local_addr().unwrap().port();
        let targets = [
            Target { server_id: Some("a".into()), host: "127.0.0.1".into(), port, trust: None },
            answering(b""),
        ];
        let seen = ask_all(&targets, Duration::from_millis(200));
        assert_eq!(seen[0].name(), "a");
        assert!(matches!(seen[0].outcome, Err(CallError::Silent | CallError::Lost(_))));
        assert_eq!(seen[1].target, targets[1]);
    }

    fn named(id: &str, target: Target) -> Target {
        Target { server_id: Some(id.into()), ..target }
    }

    /// An address at which nothing listens.
    fn nowhere() -> Target {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        Target { server_id: None, host: "127.0.0.1".into(), port, trust: None }
    }

    fn peer(id: &str, at: &Target) -> PeerStatus {
        PeerStatus {
            client_host: at.host.clone(),
            client_port: at.port,
            alive: true,
            ..PeerStatus::unheard(ServerId::new(id).unwrap(), "a.name.that.means.nothing.invalid", 1)
        }
    }

    /// `server<number>`, which has applied its log so far and knows these others.
    fn running(number: u16, applied_index: u64, peers: Vec<PeerStatus>) -> Target {
        let status = observed(1, Role::Follower, 4, Some(3)).outcome.unwrap();
        let server_id = ServerId::new(&format!("server{number}")).unwrap();
        let mut data = json!(Status { server_id, applied_index, peers, ..status });
        data["for"] = "status_request".into();
        answering(format!("{}\n", json!({"msg_type": "status", "data": data, "request_id": 1})))
    }

    fn names(seen: &[Observation]) -> Vec<(String, bool)> {
        seen.iter().map(|seen| (seen.name(), seen.outcome.is_ok())).collect()
    }

    #[test]
    fn the_servers_are_those_that_the_cluster_knows() {
        let (dead, removed, moved) = (nowhere(), nowhere(), running(3, 12, vec![]));
        let added = running(2, 12, vec![]);
        let peers = vec![peer("server2", &added), peer("server3", &moved), peer("server4", &dead)];
        // One that lags still counts the one that was removed.
        let behind = running(1, 3, vec![peer("removed", &removed)]);
        let newest = running(5, 12, peers);
        let targets = [named("removed", removed), behind, dead.clone(), named("server3", nowhere()), newest];
        let seen = ask_cluster(&targets, PATIENCE);
        let expected =
            [("server1", true), ("server4", false), ("server3", true), ("server5", true), ("server2", true)];
        assert_eq!(names(&seen), expected.map(|(name, answers)| (name.to_owned(), answers)));
        assert_eq!(seen[1].target, named("server4", dead));
    }

    #[test]
    fn another_server_at_the_address_of_one_is_not_it() {
        let peers = vec![peer("server2", &running(3, 12, vec![]))];
        let seen = ask_cluster(&[running(1, 12, peers)], PATIENCE);
        assert_eq!(names(&seen), [("server1".to_owned(), true), ("server2".to_owned(), false)]);
    }

    #[test]
    fn if_none_answers_all_are_missing() {
        let targets = [named("server1", nowhere()), nowhere()];
        let seen = ask_cluster(&targets, PATIENCE);
        assert_eq!(names(&seen), targets.map(|target| (target.label(), false)));
    }
}
