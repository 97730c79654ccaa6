//! The acceptor: one thread that takes client connections and gives each a thread of its own.

use std::{
    io::Write,
    net::{IpAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crate::protocol::refusal::{Code, Refusal};

use super::{
    client_thread::{Desk, STACK_BYTES, serve},
    threads::Stop,
};

/// Pause after a failed accept; most likely the descriptors are used up, and that takes a moment.
const PAUSE: Duration = Duration::from_millis(20);
/// How often it is said that clients are turned away.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// Accepts until it is stopped. To wake it up then, connect to it.
pub fn accept_all(listener: &TcpListener, desk: &Arc<Desk>, stop: &Stop) {
    let mut complained: Option<Instant> = None;
    let mut complain = |what: &str| {
        if complained.is_none_or(|complained| complained.elapsed() >= COMPLAIN_EVERY) {
            complained = Some(Instant::now());
            log::warn!("clients are turned away: {what}");
        }
    };
    loop {
        let accepted = listener.accept();
        if stop.is_set() {
            return;
        }
        let result = match accepted {
            Ok((stream, from)) => admit(stream, from.ip(), desk),
            Err(error) => {
                stop.wait(PAUSE);
                Err(format!("accepting failed: {error}"))
            }
        };
        if let Err(reason) = result {
            complain(&reason);
        }
    }
}

/// Gives a connection a thread, or a nack where there is no room. The error is one sentence.
fn admit(stream: TcpStream, addr: IpAddr, desk: &Arc<Desk>) -> Result<(), String> {
    let (client, stream) = match desk.context.clients.add(stream, addr) {
        Ok(added) => added,
        Err(stream) => {
            turn_away(&stream, desk);
            let reason = "there are as many connections, or as many from one address, as the limits allow";
            return Err(reason.into());
        }
    };
    let (desk_of_client, client_of_thread, stream_of_thread) = (desk.clone(), client.clone(), stream.clone());
    let thread = thread::Builder::new()
        .name(format!("client-{}", client.conn.0))
        .stack_size(STACK_BYTES)
        .spawn(move || serve(&desk_of_client, client_of_thread, stream_of_thread));
    thread.map(drop).map_err(|error| {
        turn_away(&stream, desk);
        client.cut();
        desk.context.clients.remove(client.conn);
        format!("there is no thread for another client: {error}")
    })
}

/// Says that there is no room. A fresh socket takes one line without waiting.
fn turn_away(mut stream: &TcpStream, desk: &Desk) {
    let refusal = Refusal::new(Code::Overloaded, "this server has no room for another connection");
    let line = desk.context.shared.nack_line(refusal);
    // Who is turned away may be gone already.
    let _ = stream.set_write_timeout(Some(PAUSE));
    let _ = stream.write_all(&line);
}
