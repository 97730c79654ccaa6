//! A request over HTTP that only an operator may make.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    time::{Duration, Instant},
};

use data_encoding::HEXLOWER;
use thiserror::Error;

use super::{line_client::connect, target::Target};
use crate::{
    network_error::in_words,
    protocol::operator::{OPERATOR_SCHEME, OperatorKey, PROOF_BYTES},
    tls::client::ClientStream,
};

/// Longest head of an answer, and longest body of a refusal.
const HEAD_BYTES: u64 = 16 * 1024;

/// Why a request was not carried out.
#[derive(Debug, Error)]
pub enum RequestError {
    #[error("{server}: {}", in_words(.source))]
    Lost { server: String, source: io::Error },
    #[error("{server} answers {status}: {reason}")]
    Refused { server: String, status: u16, reason: String },
    #[error("{server} gives no answer that can be understood")]
    NoAnswer { server: String },
}

/// The body of an answer, read as it comes.
pub type Body = BufReader<ClientStream>;

/// Asks for `what`, a method and a path, answers the server's challenge, and gives the body of its answer.
///
/// # Errors
/// The server is lost, or refuses.
pub fn ask(target: &Target, key: &OperatorKey, timeout: Duration, what: &str) -> Result<Body, RequestError> {
    let server = target.label();
    let first = send(target, timeout, what, None)?;
    let challenge = first.challenge.as_ref().and_then(|text| {
        let challenge = HEXLOWER.decode(text.as_bytes()).ok()?;
        <[u8; PROOF_BYTES]>::try_from(challenge).ok()
    });
    let Some(challenge) = challenge.filter(|_| first.status == 401) else {
        return Err(first.refused(server));
    };
    let (challenge, proof) = (HEXLOWER.encode(&challenge), HEXLOWER.encode(&key.proof(&challenge)));
    let answer = send(target, timeout, what, Some(&format!("{challenge}:{proof}")))?;
    match answer.status {
        200 => Ok(answer.body),
        0 => Err(RequestError::NoAnswer { server }),
        401 => {
            let reason = "this is not the cluster's secret".into();
            Err(RequestError::Refused { server, status: 401, reason })
        }
        _ => Err(answer.refused(server)),
    }
}

/// An answer whose head was read.
struct HttpAnswer {
    status: u16,
    /// The challenge that must be answered first.
    challenge: Option<String>,
    body: Body,
}

impl HttpAnswer {
    fn refused(mut self, server: String) -> RequestError {
        let mut text = String::new();
        // If the reason cannot be read, it is left out.
        let _ = self.body.by_ref().take(HEAD_BYTES).read_to_string(&mut text);
        let json: Option<serde_json::Value> = serde_json::from_str(&text).ok();
        let reason = json.and_then(|json| Some(json["error"]["reason"].as_str()?.to_owned()));
        let reason = reason.unwrap_or_else(|| "it is no server that does this".into());
        RequestError::Refused { server, status: self.status, reason }
    }
}

fn send(
    target: &Target,
    timeout: Duration,
    what: &str,
    credentials: Option<&str>,
) -> Result<HttpAnswer, RequestError> {
    let server = target.label();
    let lost = |source| RequestError::Lost { server: server.clone(), source };
    let no_answer = || RequestError::NoAnswer { server: server.clone() };
    let socket = connect(target, timeout).map_err(lost)?;
    let deadline = Instant::now() + timeout;
    let mut stream =
        ClientStream::open(socket, &target.host, target.trust.as_ref(), deadline).map_err(lost)?;
    stream.set_read_timeout(Some(timeout)).map_err(lost)?;
    stream.set_write_timeout(Some(timeout)).map_err(lost)?;
    let authorization =
        credentials.map_or_else(String::new, |text| format!("Authorization: {OPERATOR_SCHEME} {text}\r\n"));
    let length = if what.starts_with("POST ") { "Content-Length: 0\r\n" } else { "" };
    let request =
        format!("{what} HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n{length}{authorization}\r\n");
    stream.write_all(request.as_bytes()).map_err(lost)?;
    let mut body = BufReader::new(stream);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let room = HEAD_BYTES.saturating_sub(head.len() as u64);
        if body.by_ref().take(room).read_until(b'\n', &mut head).map_err(lost)? == 0 {
            return Err(no_answer());
        }
    }
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let status = match response.parse(&head) {
        Ok(httparse::Status::Complete(_)) => response.code.unwrap_or(0),
        _ => return Err(no_answer()),
    };
    let asked = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("www-authenticate"));
    let challenge = asked.and_then(|header| {
        let text = std::str::from_utf8(header.value).ok()?;
        Some(text.strip_prefix(OPERATOR_SCHEME)?.trim().to_owned())
    });
    Ok(HttpAnswer { status, challenge, body })
}
