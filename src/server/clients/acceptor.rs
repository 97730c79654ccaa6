//! The acceptor: one thread that takes client connections and gives each a thread of its own.

use std::{
    io,
    net::{IpAddr, TcpListener},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use thiserror::Error;

use crate::protocol::refusal::{Code, Refusal};

use super::{
    client_thread::{STACK_BYTES, serve},
    stream::Stream,
};
use crate::server::{machine::threads::Stop, server_handle::ServerHandle};

/// Pause after a failed accept; most likely the descriptors are used up, and that takes a moment.
const PAUSE: Duration = Duration::from_millis(20);
/// How often it is said that clients are turned away.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// Accepts until it is stopped. To wake it up then, connect to it.
pub fn accept_all(listener: &TcpListener, server: &Arc<ServerHandle>, stop: &Stop) {
    let mut complained: Option<Instant> = None;
    let mut complain = |what: &TurnedAway| {
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
            Ok((stream, from)) => admit(Stream::new(stream), from.ip(), server),
            Err(error) => {
                stop.wait(PAUSE);
                Err(TurnedAway::NotAccepted(error))
            }
        };
        if let Err(reason) = result {
            complain(&reason);
        }
    }
}

/// Why a connection was not let in.
#[derive(Debug, Error)]
enum TurnedAway {
    #[error("there are as many connections, or as many from one address, as the limits allow")]
    Full,
    #[error("there is no thread for another client: {0}")]
    NoThread(#[source] io::Error),
    #[error("accepting failed: {0}")]
    NotAccepted(#[source] io::Error),
}

/// Gives a connection a thread, or a nack if there is no room.
fn admit(stream: Stream, addr: IpAddr, server: &Arc<ServerHandle>) -> Result<(), TurnedAway> {
    let is_proxy = server.context.config().trusted_proxies.contains(addr);
    let (client, stream) = match server.context.clients.add(stream, addr, is_proxy) {
        Ok(added) => added,
        Err(stream) => {
            turn_away(&stream, server);
            return Err(TurnedAway::Full);
        }
    };
    let (server_of_client, client_of_thread, stream_of_thread) =
        (server.clone(), client.clone(), stream.clone());
    let thread = thread::Builder::new()
        .name(format!("client-{}", client.conn.0))
        .stack_size(STACK_BYTES)
        .spawn(move || serve(&server_of_client, client_of_thread, stream_of_thread));
    thread.map(drop).map_err(|error| {
        turn_away(&stream, server);
        client.cut();
        server.context.clients.remove(client.conn);
        TurnedAway::NoThread(error)
    })
}

/// Says that there is no room. A fresh socket takes one line without waiting.
fn turn_away(stream: &Stream, server: &ServerHandle) {
    server.context.metrics.turned_away.inc();
    let refusal = Refusal::new(Code::Overloaded, "this server has no room for another connection");
    let line = server.context.turn_away(refusal);
    // The client may be gone already.
    let _ = stream.write_until(Instant::now() + PAUSE, &line);
}
