//! HTTP/1.1 on the client port: one request after the other, answered by the connection's own thread.
//!
//! [`head`] reads requests strictly, [`wire`] holds what was read and when it is too late for more,
//! [`routes`] is the one place that says who answers what, and [`exchange`] is what an answering function has
//! in its hands. Whoever needs the chat opens a local session and speaks ordinary requests on it: this door
//! only translates. A WebSocket begins here too, and from its handshake on is a connection like one of JSON
//! lines ([`web_socket`]).
//!
//! Until then nobody else writes to the connection, so answers are written here, and waited for within
//! deadlines.

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
pub mod metrics;
pub mod multipart;
pub mod origin;
pub mod pages;
pub mod range;
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
    exchange::{Done, Exchange, Stop},
    head::HeadLimits,
    response::Response,
    wire::{Next, Wire},
};

use super::client_thread::{Conversation, Visitor};

/// Answers the requests of a connection until it ends. The first is complete by `deadline`; `bytes` are the
/// first of it.
pub fn serve(conversation: &mut Conversation<'_>, deadline: Instant, bytes: Vec<u8>) -> io::Result<()> {
    let settings = &conversation.server.context.config.http;
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
        let (server, visitor) = (conversation.server, conversation.visitor());
        match head? {
            Next::Gone => return Ok(()),
            Next::Bad(bad) => {
                Exchange::refuse(server, visitor, &mut wire, &Response::from(bad))?;
                break;
            }
            Next::Head(head) => {
                let trusted = &server.context.config.trusted_proxies;
                let addr = visitor
                    .addr
                    .map(|peer| trusted.client(peer, head.all("x-forwarded-for"), head.all("forwarded")));
                let visitor = Visitor { addr, ..visitor };
                // A place that is kept for others is not kept busy.
                let is_last = served >= settings.requests_per_connection || visitor.reserved_until.is_some();
                let mut exchange = Exchange::new(server, visitor, &mut wire, head, is_last);
                match routes::answer(&mut exchange) {
                    Ok(Done::Answer(response)) | Err(Stop::Answer(response)) => {
                        exchange.respond(&response)?
                    }
                    Ok(Done::Sent) => {}
                    Ok(Done::WebSocket(agreed)) => {
                        // Said while this is HTTP still: inside a WebSocket the client, or a proxy, would wait on.
                        if let Some(refusal) = addr.and_then(|addr| conversation.comes_from(addr).err()) {
                            server.context.metrics.refused(refusal.code);
                            exchange.close();
                            exchange.respond(&failures::refused(&refusal))?;
                            break;
                        }
                        exchange.respond(&agreed)?;
                        return web_socket::talk(conversation, &wire.take_rest());
                    }
                    Err(Stop::Failed(failure)) => {
                        let response = failures::response(&failure, &exchange.head, visitor.is_encrypted);
                        exchange.respond(&response)?;
                    }
                    Err(Stop::Gone(error)) => return Err(error),
                }
                if exchange.closes() {
                    break;
                }
            }
        }
    }
    conversation.stream.linger()
}
