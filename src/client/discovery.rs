//! Looking for servers on the network, by broadcast and by multicast: the first answer counts.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use crate::{
    json::{Heard, read_server_line},
    lan,
    protocol::{Answer, Push, ServerList},
};

use super::{directory::Address, limits::LOCAL_PORTS};

/// How far above its client port a server listens for discovery.
const DISCOVERY_OFFSET: u16 = 10;
/// How long answers are waited for.
const ANSWERS_MS: u64 = 300;
/// How long one socket is listened to before it is the other's turn.
const LISTEN_MS: u64 = 5;
/// Broadcast on this machine, and on the local network.
const EVERYBODY: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 255, 255, 255), Ipv4Addr::BROADCAST];

/// The question. It ends as a line does.
const QUESTION: &[u8] = b"{\"msg_type\":\"client_discovery\"}\n";

/// The servers that the first answer lists, those believed alive first; none if no server answers or there is
/// no network.
pub fn discover() -> Vec<Address> {
    let ports = || LOCAL_PORTS.map(|tcp_port| tcp_port + DISCOVERY_OFFSET);
    let mut sockets = Vec::new();
    if let Ok(socket) = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)) {
        // Without a default route, the wider broadcast of all reaches no network.
        let networks = lan::interfaces().into_iter().filter_map(|interface| interface.broadcast);
        let hosts = EVERYBODY.into_iter().chain(networks);
        ask(&socket, hosts.flat_map(|host| ports().map(|port| SocketAddr::from((host, port)))));
        for port in ports() {
            lan::send_everywhere(&socket, lan::DISCOVERY_V4.into(), port, QUESTION);
        }
        sockets.push(socket);
    }
    // A machine may have no IPv6.
    if let Ok(socket) = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)) {
        ask(&socket, ports().map(|port| SocketAddr::from((Ipv6Addr::LOCALHOST, port))).into_iter());
        for port in ports() {
            lan::send_everywhere(&socket, lan::DISCOVERY_V6.into(), port, QUESTION);
        }
        sockets.push(socket);
    }
    first_list(&sockets).unwrap_or_default()
}

/// Asks `targets`.
fn ask(socket: &UdpSocket, targets: impl Iterator<Item = SocketAddr>) {
    // Without a network the wider broadcast fails; the answer from this machine is still worth it.
    let _ = socket.set_broadcast(true);
    for target in targets {
        let _ = socket.send_to(QUESTION, target);
    }
}

/// The first list that comes to one of the sockets.
fn first_list(sockets: &[UdpSocket]) -> io::Result<Vec<Address>> {
    let deadline = Instant::now() + Duration::from_millis(ANSWERS_MS);
    let mut datagram = vec![0; 64 * 1024];
    while Instant::now() < deadline {
        for socket in sockets {
            socket.set_read_timeout(Some(Duration::from_millis(LISTEN_MS)))?;
            let Ok((length, from)) = socket.recv_from(&mut datagram) else { continue };
            let servers = listed(datagram[..length].trim_ascii(), from);
            if !servers.is_empty() {
                return Ok(servers);
            }
        }
    }
    Ok(vec![])
}

/// The servers in an answer that came `from` there; none if it is not an answer.
fn listed(answer: &[u8], from: SocketAddr) -> Vec<Address> {
    let Ok(line) = read_server_line(answer) else { return vec![] };
    let mut list: ServerList = match line.heard {
        Heard::Answer(_, Answer::ServerList(list)) | Heard::Push(Push::ServerList(list)) => list,
        _ => return vec![],
    };
    list.servers.sort_by_key(|server| !server.alive);
    let through = Address::new(host(from), from.port());
    list.servers
        .into_iter()
        .filter(|server| server.tcp_port != 0)
        .map(|server| Address::new(server.host, server.tcp_port).seen_through(&through))
        .collect()
}

/// An address of the link alone means nothing without its interface (RFC 4007, section 11).
fn host(from: SocketAddr) -> String {
    match from {
        SocketAddr::V6(from) if from.scope_id() != 0 => format!("{}%{}", from.ip(), from.scope_id()),
        from => from.ip().to_string(),
    }
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
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        ask(&socket, [target].into_iter());
        let found = first_list(&[socket]).unwrap();
        assert_eq!(found, [Address::new("10.0.0.2", 2), Address::new("127.0.0.1", 1)]);
        answering.join().unwrap();
    }
}
