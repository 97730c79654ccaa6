//! The web client instead of the terminal: finds a server and opens its page in the browser.

use std::{
    net::{TcpStream, ToSocketAddrs},
    process::{Command, Stdio},
    time::Duration,
};

use thiserror::Error;

use crate::client::{directory::Address, limits::LOCAL_PORTS};

/// A server that takes a connection within this time is the one that serves the page.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// What opens a page in the browser that the user has chosen.
#[cfg(target_os = "macos")]
const OPENERS: [&[&str]; 1] = [&["open"]];
/// What opens a page in the browser that the user has chosen.
#[cfg(windows)]
const OPENERS: [&[&str]; 1] = [&["rundll32", "url.dll,FileProtocolHandler"]];
/// What opens a page in the browser that the user has chosen; the first that is installed counts.
#[cfg(not(any(target_os = "macos", windows)))]
const OPENERS: [&[&str]; 4] = [&["xdg-open"], &["x-www-browser"], &["www-browser"], &["chromium"]];

/// Why no page was opened.
#[derive(Debug, Error)]
pub enum BrowserError {
    /// No server takes connections at these addresses.
    #[error("no server answers at {}; name one with --server-host", list(.0))]
    NoServer(Vec<Address>),
    /// No program opens this page.
    #[error("no browser was found; open {0} in yours")]
    NoBrowser(String),
}

fn list(tried: &[Address]) -> String {
    tried.iter().map(Address::to_string).collect::<Vec<_>>().join(", ")
}

/// Opens the page of the first of `servers` that takes a connection; of this machine's if none is given.
///
/// # Errors
/// If no server takes a connection, or no program is installed that opens a page.
pub fn open(servers: &[Address], is_encrypted: bool) -> Result<(), BrowserError> {
    let local = || LOCAL_PORTS.map(|port| Address::new("localhost", port)).to_vec();
    let servers = if servers.is_empty() { local() } else { servers.to_vec() };
    let Some(server) = servers.iter().find(|server| answers(server)) else {
        return Err(BrowserError::NoServer(servers));
    };
    let page = page_of(server, is_encrypted);
    // Printed before, because a browser may write over the line for as long as it runs.
    println!("{page}");
    let opened = OPENERS.iter().any(|opener| {
        let (program, arguments) = (opener[0], &opener[1..]);
        let mut command = Command::new(program);
        command.args(arguments).arg(&page).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().is_ok()
    });
    if opened { Ok(()) } else { Err(BrowserError::NoBrowser(page)) }
}

fn page_of(server: &Address, is_encrypted: bool) -> String {
    let scheme = if is_encrypted { "https" } else { "http" };
    format!("{scheme}://{server}/")
}

fn answers(server: &Address) -> bool {
    let found = (server.host.as_str(), server.tcp_port).to_socket_addrs();
    found.is_ok_and(|mut all| all.any(|address| TcpStream::connect_timeout(&address, CONNECT_WITHIN).is_ok()))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_page_is_that_of_a_server_that_answers() {
        assert_eq!(page_of(&Address::new("::1", 8001), false), "http://[::1]:8001/");
        assert_eq!(page_of(&Address::new("::1", 8001), true), "https://[::1]:8001/");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(answers(&Address::new("127.0.0.1", port)));
        drop(listener);
        let error = open(&[Address::new("127.0.0.1", port)], false).unwrap_err().to_string();
        assert!(error.contains(&format!("127.0.0.1:{port}")) && error.contains("--server-host"), "{error}");
    }
}
