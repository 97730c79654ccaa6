//! Reads a server's metrics as monitoring does.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

/// Every series with its labels, as it is written, and its value.
pub type Series = BTreeMap<String, f64>;

/// The text at `/metrics` of a port of this machine.
pub fn text(port: u16) -> Result<String, String> {
    let read = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = read().map_err(|error| error.to_string())?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200 ") => Ok(body.into()),
        _ => Err(answer),
    }
}

/// The series in a text.
pub fn parse(text: &str) -> Series {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line:?}"));
        (series.to_owned(), value.parse().unwrap_or_else(|_| panic!("no number: {line:?}")))
    };
    samples.map(sample).collect()
}
