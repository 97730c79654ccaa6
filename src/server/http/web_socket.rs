//! WebSocket (RFC 6455): the handshake, and the conversation that follows.
//!
//! From the handshake on the connection is like one of JSON lines: what is read here goes to the replica, and
//! the fan-out writes. It writes pongs and closes too, so that frames never mix (`server::outgoing`).

use std::{io, time::Duration};

use data_encoding::BASE64;
use tungstenite::handshake::derive_accept_key;

use super::{
    exchange::{Abort, Done, Exchange},
    frames::{ClientFrame, Fault, Frames},
    head::Head,
    method::Method,
    origin::may_open,
    response::Response,
    wire::is_timeout,
};
use crate::{
    protocol::{Code, Refusal},
    server::clients::{conversation::Conversation, stream::READ_BYTES},
};

pub fn open(exchange: &mut Exchange<'_>, _: &str) -> Result<Done, Abort> {
    let accept = accept_key(&exchange.head)?;
    let config = exchange.server.context.config();
    let servers = exchange.server.context.shared.servers();
    if !may_open(&exchange.head, &config.allowed_origins, &servers) {
        let reason = "pages of other origins may not connect here; see http.allowed_origins";
        return Err(Response::error(403, "forbidden", reason).into());
    }
    if exchange.body_bytes() > 0 || exchange.head.is_chunked {
        return Err(Response::error(400, "bad_request", "a handshake has no body").into());
    }
    Ok(Done::WebSocket(
        Response::empty(101)
            .with("Upgrade", "websocket")
            .with("Connection", "Upgrade")
            .with("Sec-WebSocket-Accept", accept),
    ))
}

/// The answer to the key of a handshake, or the refusal of the handshake.
fn accept_key(head: &Head) -> Result<String, Response> {
    let needed = |reason: &str| {
        Response::error(426, "upgrade_required", reason)
            .with("Upgrade", "websocket")
            .with("Connection", "Upgrade")
            .with("Sec-WebSocket-Version", "13")
    };
    // A head alone opens nothing.
    let is_handshake = head.method == Method::Get && head.is_1_1;
    if !is_handshake || !head.lists("connection", "upgrade") || !head.lists("upgrade", "websocket") {
        return Err(needed("this is a WebSocket; connect with a client for those"));
    }
    if head.once("sec-websocket-version")? != Some("13") {
        return Err(needed("WebSocket has version 13 here"));
    }
    let key = head.once("sec-websocket-key")?.unwrap_or_default();
    match BASE64.decode(key.as_bytes()) {
        Ok(bytes) if bytes.len() == 16 => Ok(derive_accept_key(key.as_bytes())),
        _ => Err(Response::error(400, "bad_request", "Sec-WebSocket-Key must be 16 bytes in base64")),
    }
}

/// The conversation; `bytes` are the first of it.
pub fn talk(conversation: &mut Conversation<'_>, bytes: &[u8]) -> io::Result<()> {
    let stream = conversation.stream.clone();
    stream.write_without_waiting()?;
    stream.read_with_patience(Duration::from_millis(conversation.server.context.config().http.ping_ms))?;
    conversation.client.speak_web_socket();
    conversation.open()?;
    let mut frames = Frames::new(conversation.server.context.config().replica.limits.line_bytes);
    frames.push(bytes);
    let mut buffer = [0; READ_BYTES];
    let mut was_asked = false;
    loop {
        if take(conversation, &mut frames)? {
            return conversation.drain();
        }
        let length = match stream.read(&mut buffer) {
            Err(error) if is_timeout(&error) && !was_asked => {
                ask_whether_it_lives(conversation);
                was_asked = true;
                continue;
            }
            // It did not answer the ping, so the client or the network is dead.
            result => result?,
        };
        was_asked = false;
        if length == 0 {
            // The client has left without a close, and cannot read an answer.
            return Ok(());
        }
        frames.push(&buffer[..length]);
    }
}

/// Handles what the client has sent so far. Returns whether nothing more is to be read from it.
fn take(conversation: &mut Conversation<'_>, frames: &mut Frames) -> io::Result<bool> {
    loop {
        if conversation.client.is_closing() {
            return Ok(true);
        }
        match frames.next_said() {
            Ok(None) => return Ok(false),
            Ok(Some(ClientFrame::Text(text))) => conversation.hand_over(text.as_bytes())?,
            Ok(Some(ClientFrame::Ping(payload))) => pong(conversation, payload),
            Ok(Some(ClientFrame::Close(code))) => {
                close(conversation, (code, ""));
                return Ok(true);
            }
            Err(Fault::TooLong) => {
                // The replica answers in its turn, and closes.
                if let Some(control) = conversation.client.control() {
                    control.lock().last_words = Some(Fault::TooLong.close());
                }
                let limit = conversation.server.context.config().replica.limits.line_bytes;
                let reason = format!("a message is longer than {limit} bytes");
                conversation.refuse(Refusal::new(Code::TooLarge, reason))?;
                return Ok(true);
            }
            Err(fault) => {
                close(conversation, fault.close());
                return Ok(true);
            }
        }
    }
}

/// Queues the answer to a ping. It replaces an answer that still waits, so that no client can pile them up.
fn pong(conversation: &Conversation<'_>, payload: Vec<u8>) {
    let Some(control) = conversation.client.control() else { return };
    if control.lock().pong.replace(payload).is_none() {
        conversation.server.fan_outs.control(conversation.client.conn);
    }
}

/// Queues a ping to a silent client. Anything that it sends next shows that it lives.
fn ask_whether_it_lives(conversation: &Conversation<'_>) {
    let Some(control) = conversation.client.control() else { return };
    control.lock().ping = true;
    conversation.server.fan_outs.control(conversation.client.conn);
}

/// Queues a close, ahead of everything that waits.
fn close(conversation: &Conversation<'_>, words: (u16, &'static str)) {
    let Some(control) = conversation.client.control() else { return };
    control.lock().close = Some(words);
    conversation.server.fan_outs.control(conversation.client.conn);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::http::head::{HeadLimits, parse};

    fn handshake(headers: &[&str]) -> Result<String, u16> {
        let text = format!("GET /ws HTTP/1.1\r\nHost: a\r\n{}\r\n\r\n", headers.join("\r\n"));
        let head = parse(text.as_bytes(), HeadLimits { bytes: 1_000, headers: 9 }).unwrap().unwrap().0;
        accept_key(&head).map_err(|response| response.status)
    }

    #[test]
    fn the_handshake_of_the_standard_is_accepted_and_no_other() {
        let good = [
            "Upgrade: WebSocket",
            "Connection: keep-alive, Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ];
        assert_eq!(handshake(&good).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        for (place, instead, status) in [
            (0, "Upgrade: h2c", 426),
            (1, "Connection: keep-alive", 426),
            (2, "Sec-WebSocket-Version: 8", 426),
            (2, "X: y", 426),
            (3, "X: y", 400),
            (3, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ", 400),
            (3, "Sec-WebSocket-Key: c2hvcnQ=", 400),
            (3, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key: eA==", 400),
        ] {
            let mut headers = good;
            headers[place] = instead;
            assert_eq!(handshake(&headers), Err(status), "{instead}");
        }
    }
}
