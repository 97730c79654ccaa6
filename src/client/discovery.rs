//! Looking for servers on the network: a broadcast, of which the first answer counts.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use crate::{
    json::{Heard, read_server_line},
    protocol::{Answer, Push, ServerList},
};

use super::{directory::Address, limits::LOCAL_PORTS};

/// How far above its client port a server listens for discovery.
const DISCOVERY_OFFSET: u16 = 10;
/// How long answers are waited for.
const ANSWERS_MS: u64 = 300;
/// Broadcast on this machine, and on the local network.
const EVERYBODY: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 255, 255, 255), Ipv4Addr::BROADCAST];

/// The servers that the first answer lists, those believed alive first; none if no server answers or there is
/// no network.
pub fn discover() -> Vec<Address> {
    let targets = EVERYBODY
        .iter()
        .flat_map(|&host| LOCAL_PORTS.map(|tcp_port| SocketAddr::from((host, tcp_port + DISCOVERY_OFFSET))));
    ask(targets).unwrap_or_default()
}

/// Asks `targets`.
fn ask(targets: impl Iterator<Item = SocketAddr>) -> io::Result<Vec<Address>> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_broadcast(true)?;
    for target in targets {
        // Without a network the wider broadcast fails; the answer from this machine is still worth it.
        let _ = socket.send_to(b"{\"msg_type\":\"client_discovery\"}\n", target);
    }
    let deadline = Instant::now() + Duration::from_millis(ANSWERS_MS);
    let mut datagram = vec![0; 64 * 1024];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(vec![]);
        }
        socket.set_read_timeout(Some(left))?;
        let Ok((length, from)) = socket.recv_from(&mut datagram) else { continue };
        let servers = listed(datagram[..length].trim_ascii(), from);
        if !servers.is_empty() {
            return Ok(servers);
        }
    }
}

/// The servers in an answer that came `from` there; none if it is not an answer.
fn listed(answer: &[u8], from: SocketAddr) -> Vec<Address> {
    let Ok(line) = read_server_line(answer) else { return vec![] };
    let mut list: ServerList = match line.heard {
        Heard::Answer(_, Answer::ServerList(list)) | Heard::Push(Push::ServerList(list)) => list,
        _ => return vec![],
    };
    list.servers.sort_by_key(|server| !server.alive);
    let through = Address::new(from.ip().to_string(), from.port());
    list.servers
        .into_iter()
        .filter(|server| server.tcp_port != 0)
        .map(|server| Address::new(server.host, server.tcp_port).seen_through(&through))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_list_counts_and_noise_does_not() {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let target = server.local_addr().unwrap();
        let answering = std::thread::spawn(move || {
            let mut question = [0; 100];
            let (length, from) = server.recv_from(&mut question).unwrap();
            assert_eq!(&question[..length], b"{\"msg_type\":\"client_discovery\"}\n");
            let answer = br#"{"msg_type":"server_list","data":{"servers":[
                {"server_id":"a","host":"0.0.0.0","tcp_port":1,"ring_position":0,"alive":false,"is_leader":false,"clients":0},
                {"server_id":"b","host":"10.0.0.2","tcp_port":2,"ring_position":1,"alive":true,"is_leader":true,"clients":0}],
                "leader_id":"b","term":1}}"#;
            server.send_to(b"noise", from).unwrap();
            server.send_to(answer, from).unwrap();
        });
        let found = ask([target].into_iter()).unwrap();
        assert_eq!(found, [Address::new("10.0.0.2", 2), Address::new("127.0.0.1", 1)]);
        answering.join().unwrap();
    }
}
