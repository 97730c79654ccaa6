//! `--test-mode`: does everything on this machine that a server needs work? No other server is needed.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use thiserror::Error;

use crate::server::{machine::ports::Port, run::Server};

/// How long any one answer may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What does not work.
#[derive(Debug, Error)]
pub enum Failure {
    /// The replica has not finished a turn.
    #[error("the replica thread did not finish a turn in time")]
    Replica,
    /// A thread has ended by itself.
    #[error("the thread {0} does not run")]
    Ended(String),
    /// Threads have not ended though they should.
    #[error("these threads did not end in time: {}", .0.join(", "))]
    Late(Vec<String>),
    /// A port does not answer.
    #[error("{what} at {address} is not answered: {source}")]
    Unanswered {
        /// The name of the port.
        what: &'static str,
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
}

/// Checks a server that was just started; says what was checked.
pub fn check(server: &Server) -> Result<Vec<String>, Failure> {
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

/// Opening the database has already written the new run to it and synced. A turn of the replica shows that
/// its thread works, too.
fn check_replica(server: &Server) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    while server.context().shared.status().is_none() {
        if Instant::now() > deadline {
            return Err(Failure::Replica);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Every thread that was started runs until it is stopped.
fn check_threads(server: &Server) -> Result<String, Failure> {
    let running = server.threads();
    match server.ended_threads().first() {
        Some(ended) => Err(Failure::Ended(ended.clone())),
        None => Ok(format!("{} threads run: {}", running.len(), running.join(", "))),
    }
}

/// Checks what a server that was stopped has left behind: `late` are the threads that did not end in time.
/// Says what was checked.
pub fn check_stopped(late: &[String]) -> Result<String, Failure> {
    match late {
        [] => Ok("all threads have stopped".into()),
        late => Err(Failure::Late(late.to_vec())),
    }
}

fn ask_for_status(address: SocketAddr) -> Result<String, Failure> {
    let ask = || -> io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"STATUS_REQUEST\n")?;
        let mut line = String::new();
        stream.take(1_024).read_to_string(&mut line)?;
        if line.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(line) }
    };
    ask().map_err(|source| Failure::Unanswered { what: "a client", address, source })
}

fn ask_for_servers(server: &Server) -> Result<(), Failure> {
    let port =
        Port::Discovery.of(server.context().config().me().port).expect("the configuration was checked");
    let ip = match server.client_address() {
        SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    };
    let address = SocketAddr::new(ip, port);
    let ask = || -> io::Result<usize> {
        let socket = UdpSocket::bind(SocketAddr::new(ip, 0))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.send_to(br#"{"msg_type":"client_discovery"}"#, address)?;
        let mut answer = [0; 16 * 1024];
        socket.recv(&mut answer)
    };
    ask().map(drop).map_err(|source| Failure::Unanswered { what: "discovery", address, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_does_not_end_is_a_failure() {
        assert!(check_stopped(&[]).is_ok());
        let error = check_stopped(&["peer-1-read".into(), "query-0".into()]).unwrap_err();
        assert_eq!(error.to_string(), "these threads did not end in time: peer-1-read, query-0");
    }
}
