//! Discovery: a client that knows no server asks the network, by broadcast and by multicast, and each server
//! that hears it answers with all of them.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, UdpSocket},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    json, lan,
    protocol::{Limits, said::Said},
};

use super::{machine::threads::Stop, shared::Shared};

const QUESTION_BYTES: usize = 2_048;
/// How often new network interfaces are looked for.
const JOIN_EVERY: Duration = Duration::from_secs(10);
/// How often a stop is looked for.
const WAKE: Duration = Duration::from_millis(100);
/// Answers to one address within [`WINDOW`]. An answer is longer than its question, so without a limit
/// questions with a forged address could flood its owner.
const ANSWERS_PER_ADDRESS: u32 = 10;
/// Answers to all addresses within [`WINDOW`]; also bounds what is remembered.
const ANSWERS: u32 = 200;
const WINDOW: Duration = Duration::from_secs(1);

/// Answers questions until it is stopped.
pub fn answer_all(socket: &UdpSocket, loopback_only: bool, shared: &Shared, stop: &Stop) -> io::Result<()> {
    socket.set_read_timeout(Some(WAKE))?;
    let mut allowance = Allowance::new();
    let mut question = [0; QUESTION_BYTES];
    let mut joins_at = Instant::now();
    while !stop.is_set() {
        if !loopback_only && Instant::now() >= joins_at {
            joins_at = Instant::now() + JOIN_EVERY;
            join(socket);
        }
        // Errors of a UDP socket are about what was sent earlier or pass; a timeout is the usual one.
        let Ok((length, from)) = socket.recv_from(&mut question) else { continue };
        if loopback_only && !from.ip().is_loopback() {
            continue;
        }
        if let Some(answer) = answer(&question[..length], shared)
            && allowance.grant(from.ip())
        {
            // The client will ask again.
            let _ = socket.send_to(&answer, from);
        }
    }
    Ok(())
}

/// Joins the groups in which clients ask. On a socket for IPv6 those of both kinds: it hears IPv4 as well.
fn join(socket: &UdpSocket) {
    lan::join_everywhere(socket, lan::DISCOVERY_V4.into());
    if socket.local_addr().is_ok_and(|address| address.is_ipv6()) {
        lan::join_everywhere(socket, lan::DISCOVERY_V6.into());
    }
}

/// The answer; `None` if this is no question.
fn answer(question: &[u8], shared: &Shared) -> Option<Arc<[u8]>> {
    let (head, request) = json::read_request(question.trim_ascii(), &Limits::default());
    if request.is_err() || head.msg_type != "client_discovery" {
        return None;
    }
    Some(Said::answer(head.answer_to(), shared.server_list()?, shared.signature()).json())
}

/// How many answers may still be given.
struct Allowance {
    began: Instant,
    total: u32,
    given: BTreeMap<IpAddr, u32>,
}

impl Allowance {
    fn new() -> Self {
        Allowance { began: Instant::now(), total: 0, given: BTreeMap::new() }
    }

    fn grant(&mut self, to: IpAddr) -> bool {
        if self.began.elapsed() >= WINDOW {
            *self = Allowance::new();
        }
        if self.total >= ANSWERS {
            return false;
        }
        let given = self.given.entry(to).or_default();
        if *given >= ANSWERS_PER_ADDRESS {
            return false;
        }
        *given += 1;
        self.total += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_rationed_by_address_and_altogether() {
        let mut allowance = Allowance::new();
        let grants = |allowance: &mut Allowance, address: [u8; 4], count: usize| {
            (0..count).filter(|_| allowance.grant(address.into())).count()
        };
        assert_eq!(grants(&mut allowance, [10, 0, 0, 1], 100), 10);
        let others: usize = (2..=250).map(|last| grants(&mut allowance, [10, 0, 0, last], 10)).sum();
        assert_eq!(others, 190);
        assert!(allowance.given.len() <= ANSWERS as usize);
    }
}
