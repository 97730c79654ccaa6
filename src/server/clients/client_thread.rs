//! The thread of one client connection: it finds out which dialect the client speaks, and reads what it says.
//! The fan-out writes the answers, so this thread sleeps unless its client speaks.
//!
//! After a request that logs in or carries a password, it reads nothing until that is answered. Meanwhile it
//! hashes what the replica tells it to (`server/credentials`).

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::protocol::{
    limits::{FIRST_LINE_MS, RESERVED_MS},
    refusal::{Code, Refusal},
};

use super::{
    Client, Speaks,
    conversation::Conversation,
    dialect::{self, Dialect},
    json_lines, proxies,
    stream::Stream,
};
use crate::server::{http, server_handle::ServerHandle};

/// The stack of a client thread. The deepest thing on it is the JSON parser at its greatest nesting, which
/// `tests/server` sends it, unoptimised.
pub const STACK_BYTES: usize = 128 * 1024;
/// Serves a connection until it ends. It is forgotten afterwards in any case, even after a panic.
pub fn serve(server: &ServerHandle, client: Arc<Client>, stream: Arc<Stream>) {
    let patience_ms = if client.is_reserved() { RESERVED_MS } else { FIRST_LINE_MS };
    let deadline = Instant::now() + Duration::from_millis(patience_ms);
    let mut conversation = Conversation::new(server, client, stream, deadline);
    if let Err(error) = run(&mut conversation) {
        log::debug!("connection {} ended: {error}", conversation.client.conn.0);
    }
}

fn run(conversation: &mut Conversation<'_>) -> io::Result<()> {
    let deadline = conversation.deadline;
    let mut head = Vec::new();
    if !hear_proxy(conversation, &mut head)? {
        return Ok(());
    }
    let dialect = loop {
        match dialect::recognise(&head) {
            Some(Dialect::Tls) if begin_tls(conversation, &head)? => head.clear(),
            Some(dialect) => break dialect,
            None => {}
        }
        if head.iter().all(u8::is_ascii_whitespace) {
            // Blank lines are skipped, however many there are.
            head.clear();
        }
        if conversation.stream.read_until(deadline, &mut head)? == 0 {
            if head.is_empty() {
                return Ok(());
            }
            // No further byte can make it one of the others.
            break Dialect::Unknown;
        }
    };
    let must_encrypt =
        conversation.server.context.config().tls_required && !conversation.stream.is_encrypted();
    match dialect {
        Dialect::Http => {
            conversation.client.speak(Speaks::Http);
            http::serve(conversation, deadline, head)
        }
        _ if must_encrypt => {
            refuse_all(conversation, Code::Forbidden, "this server speaks TLS only; connect with --tls")
        }
        Dialect::JsonLines => {
            conversation.client.speak(Speaks::JsonLines);
            json_lines::talk(conversation, deadline, &head)
        }
        Dialect::StatusProbe => match conversation.server.context.shared.status() {
            Some(status) => conversation.stream.say_and_close(status.line().as_bytes()),
            None => conversation.stream.say_and_close(b"STARTING\n"),
        },
        Dialect::Tls => refuse_all(conversation, Code::BadJson, "this port does not speak TLS"),
        Dialect::Unknown => {
            refuse_all(conversation, Code::BadJson, "this port speaks JSON, one object a line")
        }
    }
}

/// Says why nothing is accepted here, and ends the connection.
fn refuse_all(conversation: &Conversation<'_>, code: Code, reason: &str) -> io::Result<()> {
    conversation.stream.say_and_close(&conversation.server.context.turn_away(Refusal::new(code, reason)))
}

/// Goes on inside TLS, which the client begins with `head`. `false` if it cannot: there is no
/// certificate, or the connection is encrypted already.
fn begin_tls(conversation: &Conversation<'_>, head: &[u8]) -> io::Result<bool> {
    let config = conversation.server.context.config();
    let Some(certificates) = &config.certificates else { return Ok(false) };
    if conversation.stream.is_encrypted() {
        return Ok(false);
    }
    let refused = &conversation.server.context.metrics.certificates_refused;
    let connection = certificates.connection(refused).map_err(io::Error::other)?;
    conversation.stream.speak_tls(connection, head)?;
    Ok(true)
}

/// Lets a trusted proxy say for whom it speaks. Returns whether the connection goes on.
fn hear_proxy(conversation: &mut Conversation<'_>, head: &mut Vec<u8>) -> io::Result<bool> {
    let is_trusted = |addr| conversation.server.context.config().trusted_proxies.contains(addr);
    if !conversation.addr.is_some_and(is_trusted) {
        return Ok(true);
    }
    loop {
        match proxies::read(head) {
            proxies::ProxyHeader::Nothing => return Ok(true),
            proxies::ProxyHeader::Incomplete => {
                if conversation.stream.read_until(conversation.deadline, head)? == 0 {
                    return Ok(false);
                }
            }
            proxies::ProxyHeader::Client(addr, length) => {
                head.drain(..length);
                let Some(refusal) = addr.and_then(|addr| conversation.comes_from(addr).err()) else {
                    return Ok(true);
                };
                conversation.stream.say_and_close(&conversation.server.context.turn_away(refusal))?;
                return Ok(false);
            }
            proxies::ProxyHeader::Malformed => {
                let refusal = Refusal::new(Code::BadJson, "the header of the PROXY protocol is malformed");
                conversation.stream.say_and_close(&conversation.server.context.turn_away(refusal))?;
                return Ok(false);
            }
        }
    }
}
