//! `--test-mode`: does everything on this machine that a server needs work? No other server is needed.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use super::{ports::Port, run::Server};

/// How long any one answer may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Checks a server that was just started; says what was checked. The error is one sentence.
pub fn check(server: &Server) -> Result<Vec<String>, String> {
    let mut checked: Vec<_> = server.listening().iter().map(|place| format!("listens on {place}")).collect();
    check_replica(server)?;
    checked.push("the database opens and writes".into());
    checked.push(check_threads(server)?);
    let line = ask_for_status(server.client_address())?;
    checked.push(format!("a client is answered: {}", line.trim_end()));
    ask_for_servers(server)?;
    checked.push("discovery is answered".into());
    Ok(checked)
}

/// Opening the database wrote to it and synced: the run was counted. A turn of the replica on top of it
/// shows that the thread that owns it works.
fn check_replica(server: &Server) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    while server.context().shared.status().is_none() {
        if Instant::now() > deadline {
            return Err("the replica thread did not finish a turn in time".into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Every thread that was started runs until it is stopped.
fn check_threads(server: &Server) -> Result<String, String> {
    let running = server.threads();
    match server.ended_threads().first() {
        Some(ended) => Err(format!("the thread {ended} does not run")),
        None => Ok(format!("{} threads run: {}", running.len(), running.join(", "))),
    }
}

/// Checks what a server that was stopped has left behind: `late` are the threads that did not end in time. Says
/// what was checked; the error is one sentence.
pub fn check_stopped(late: &[String]) -> Result<String, String> {
    match late {
        [] => Ok("all threads have stopped".into()),
        late => Err(format!("these threads did not end in time: {}", late.join(", "))),
    }
}

fn ask_for_status(address: SocketAddr) -> Result<String, String> {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"STATUS_REQUEST\n")?;
        let mut line = String::new();
        stream.take(1_024).read_to_string(&mut line)?;
        Ok(line)
    };
    let line = ask().map_err(|error| format!("a client at {address} is not answered: {error}"))?;
    if line.is_empty() { Err(format!("a client at {address} gets no status")) } else { Ok(line) }
}

fn ask_for_servers(server: &Server) -> Result<(), String> {
    let port = Port::Discovery.of(server.context().config.me().port).expect("the configuration was checked");
    let ip = match server.client_address() {
        SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    };
    let address = SocketAddr::new(ip, port);
    let ask = || -> std::io::Result<usize> {
        let socket = UdpSocket::bind(SocketAddr::new(ip, 0))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.send_to(br#"{"msg_type":"client_discovery"}"#, address)?;
        let mut answer = [0; 16 * 1024];
        socket.recv(&mut answer)
    };
    ask().map(drop).map_err(|error| format!("discovery at {address} is not answered: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_does_not_end_is_a_failure() {
        assert!(check_stopped(&[]).is_ok());
        let error = check_stopped(&["peer-1-read".into(), "hash-0".into()]).unwrap_err();
        assert_eq!(error, "these threads did not end in time: peer-1-read, hash-0");
    }
}
