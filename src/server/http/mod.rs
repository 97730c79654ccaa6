//! HTTP/1.1 on the client port: one request after the other, answered by the connection's own thread.
//!
//! [`head`] reads requests strictly, [`wire`] holds the unread bytes and the deadlines, [`routes`] maps paths
//! to the functions that answer them, and [`exchange`] is what such a function works with. A function that
//! needs the chat opens a local session and sends ordinary requests on it: HTTP only translates. A WebSocket
//! begins here too; after its handshake it is a connection like one of JSON lines ([`web_socket`]).
//!
//! Until then no other thread writes to the connection, so answers are written here, with deadlines.

pub mod access;
pub mod assets;
mod backup;
pub mod chunked;
pub mod cors;
pub mod dashboard;
pub mod date;
pub mod exchange;
pub mod failures;
pub mod file_name;
pub mod files;
pub mod form_file;
pub mod frames;
pub mod head;
pub mod health;
pub mod hook;
pub mod method;
pub mod metrics;
pub mod multipart;
mod operators;
pub mod origin;
pub mod pages;
pub mod range;
pub mod request_error;
pub mod response;
pub mod routes;
pub mod target;
pub mod web_socket;
pub mod wire;

use std::{
    io,
    time::{Duration, Instant},
};

use self::{
    exchange::{Abort, Done, Exchange},
    head::HeadLimits,
    response::Response,
    wire::{Next, Wire},
};

use super::clients::{connection_info::ConnectionInfo, conversation::Conversation};

/// Answers the requests of a connection until it ends. The first is complete by `deadline`; `bytes` are the
/// first of it.
pub fn serve(conversation: &mut Conversation<'_>, deadline: Instant, bytes: Vec<u8>) -> io::Result<()> {
    let config = conversation.server.context.config();
    let settings = &config.http;
    let limits = HeadLimits { bytes: settings.head_bytes, headers: settings.headers };
    let mut wire = Wire::new(conversation.stream.clone(), bytes);
    let mut deadline = Some(deadline);
    for served in 1.. {
        let head = match deadline.take() {
            Some(deadline) => wire.head(limits, deadline),
            None => wire.next_head(
                limits,
                Duration::from_millis(settings.keep_alive_ms),
                Duration::from_millis(settings.head_ms),
            ),
        };
        let (server, info) = (conversation.server, conversation.info());
        match head? {
            Next::Gone => return Ok(()),
            Next::Malformed(bad) => {
                Exchange::refuse(server, info, &mut wire, &Response::from(bad))?;
                break;
            }
            Next::Head(head) => {
                let config = server.context.config();
                let trusted = &config.trusted_proxies;
                let addr = info
                    .addr
                    .map(|peer| trusted.client(peer, head.all("x-forwarded-for"), head.all("forwarded")));
                let info = ConnectionInfo { addr, ..info };
                // A reserved place is soon given back.
                let is_last = served >= settings.requests_per_connection || info.reserved_until.is_some();
                let mut exchange = Exchange::new(server, info, &mut wire, head, is_last);
                match routes::answer(&mut exchange) {
                    Ok(Done::Answer(response)) | Err(Abort::Answer(response)) => {
                        exchange.respond(&response)?
                    }
                    Ok(Done::Sent) => {}
                    Ok(Done::WebSocket(agreed)) => {
                        // This must be said before the WebSocket begins: inside it the client, or a proxy,
                        // would go on waiting.
                        if let Some(refusal) = addr.and_then(|addr| conversation.comes_from(addr).err()) {
                            server.context.metrics.refused(refusal.code);
                            exchange.close();
                            exchange.respond(&failures::refused(&refusal))?;
                            break;
                        }
                        exchange.respond(&agreed)?;
                        return web_socket::talk(conversation, &wire.take_rest());
                    }
                    Err(Abort::Failed(failure)) => {
                        let response = failures::response(&failure, &exchange.head, info.is_encrypted);
                        exchange.respond(&response)?;
                    }
                    Err(Abort::Gone(error)) => return Err(error),
                }
                if exchange.closes() {
                    break;
                }
            }
        }
    }
    conversation.stream.linger()
}
