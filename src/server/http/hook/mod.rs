//! Incoming webhooks: tools that can post to Slack can post here.
//!
//! | module | concept |
//! |---|---|
//! | `body` | the body of a request as JSON, in whatever wrapping it came, or as a form |
//! | `values` | what JSON values of undocumented types mean |
//! | `message` | a payload as text, and a long text in pieces |
//! | `blocks`, `attachments` | Slack's ways to say more than a text |
//! | `mrkdwn` | Slack's markup as plain text |
//! | `alerts`, `discord`, `teams`, `adaptive_card` | the forms of other senders |
//! | `bare` | text without markup, as these senders write it |
//! | `fields` | a payload of which nothing is known, or only its text |
//!
//! Senders do not try again after a refusal, so as much as possible is accepted: an alert must not be lost
//! for its form. After a lost answer they do try again, and must not post twice. So each message has an id
//! that is made of what the sender sent (`RetryKey`), and the replicated log recognises a repeat, whichever
//! server gets it.

mod adaptive_card;
mod alerts;
mod attachments;
mod bare;
mod blocks;
pub mod body;
mod discord;
mod fields;
pub mod message;
mod mrkdwn;
mod teams;
mod values;

use self::{
    body::{Unreadable, Wrapping},
    message::Message,
};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::{
    exchange::{Abort, Done, Exchange},
    failures::with_retry,
    response::Response,
};
use crate::{
    protocol::{
        Code, Refusal,
        checked::{Body, ClientMsgId, DisplayName},
        credential::Token,
        request::HookPost,
    },
    server::clients::local_session::{ANSWER_WITHIN, Failure, LocalSession, ask},
};

/// Takes a message in.
pub fn post(exchange: &mut Exchange<'_>, token: &str) -> Result<Done, Abort> {
    if exchange.info.reserved_until.is_some() {
        // No webhook is an administrator. It would be refused in any case, but only after its body.
        return Ok(Done::Answer(refused(&Refusal::new(
            Code::Overloaded,
            "this server has no room for another connection",
        ))));
    }
    let most = exchange.server.context.config().http.hook_bytes;
    if exchange.body_bytes() > most as u64 {
        return Ok(Done::Answer(Response::text(413, "payload_too_large")));
    }
    let body = exchange.whole_body(most)?;
    let header = |name| exchange.head.all(name).next().unwrap_or_default();
    let wrapping = Wrapping { content_type: header("content-type"), encoding: header("content-encoding") };
    let payload = match body::payload(wrapping, &body, most) {
        Ok(payload) => payload,
        Err(unreadable) => return Ok(Done::Answer(answer_to(unreadable))),
    };
    let Some(message) = message::read(&payload) else {
        return Ok(Done::Answer(Response::text(400, "no_text")));
    };
    let key = exchange.head.all("idempotency-key").next().unwrap_or_default();
    // The same payload may be wrapped in another way when it is sent again.
    let sent = payload.to_string();
    let again = RetryKey::of(key, sent.as_bytes());
    let said = say_all(exchange, token, &message, again);
    if let (RetryKey::Key(_), Err(Failure::Refused(Refusal { code: Code::BadRequest, .. }))) = (again, &said)
    {
        // The only check that can still fail: the key was used for another message.
        return Ok(Done::Answer(Response::text(422, "idempotency_key_reused")));
    }
    say(said)
}

/// How a message is known when its sender sends it again.
#[derive(Debug, Clone, Copy)]
enum RetryKey<'a> {
    /// By the key in the header `Idempotency-Key`, for ever.
    Key(&'a str),
    /// By the payload of its request, for a minute: a tool without keys may later send the same text as a new
    /// message.
    Body(&'a [u8]),
}

impl<'a> RetryKey<'a> {
    fn of(key: &'a str, body: &'a [u8]) -> Self {
        // The draft of the header quotes the key, most tools do not.
        let bare = key.strip_prefix('"').and_then(|key| key.strip_suffix('"')).unwrap_or(key);
        if bare.is_empty() { RetryKey::Body(body) } else { RetryKey::Key(bare) }
    }

    /// The name of a piece of the message.
    fn name(self, token: &str, piece: usize) -> Result<ClientMsgId, Refusal> {
        let (kind, sent) = match self {
            RetryKey::Key(key) => ("key", key.as_bytes()),
            RetryKey::Body(body) => ("body", body),
        };
        let mut hash = Sha256::new_with_prefix(token);
        hash.update((piece as u64).to_be_bytes());
        hash.update(sent);
        let name = format!("{kind}-{}", HEXLOWER.encode(&hash.finalize()[..16]));
        ClientMsgId::new(name).map_err(|invalid| invalid.of("client_msg_id"))
    }
}

/// Posts a message, in pieces if it is too long for one.
fn say_all(
    exchange: &Exchange<'_>,
    token: &str,
    message: &Message,
    again: RetryKey<'_>,
) -> Result<(), Failure> {
    let most = exchange.server.context.config().replica.limits.body_bytes;
    let pieces = message::split(&message.body, most);
    let requests = pieces.into_iter().enumerate().map(|(number, piece)| {
        let name = again.name(token, number)?;
        let post = request(token, piece, message.display_name.clone(), (again, name))?;
        Ok(HookPost { goes_on: number > 0, ..post })
    });
    let requests = requests.collect::<Result<Vec<_>, Refusal>>()?;
    let mut session = LocalSession::open(exchange.server, exchange.info, ANSWER_WITHIN)?;
    for request in requests {
        ask(&mut session, request)?;
    }
    Ok(())
}

fn request(
    token: &str,
    body: &str,
    display_name: Option<String>,
    (again, name): (RetryKey<'_>, ClientMsgId),
) -> Result<HookPost, Refusal> {
    let token = Token::given(token);
    token.check()?;
    let body = Body::new(body.to_owned()).map_err(|invalid| invalid.of("body"))?;
    let display_name = display_name.map(DisplayName::new).transpose();
    let display_name = display_name.map_err(|invalid| invalid.of("display_name"))?;
    let (client_msg_id, repeat_id) = match again {
        RetryKey::Key(_) => (Some(name), None),
        RetryKey::Body(_) => (None, Some(name)),
    };
    Ok(HookPost { token, body, display_name, client_msg_id, repeat_id, goes_on: false })
}

fn answer_to(unreadable: Unreadable) -> Response {
    match unreadable {
        Unreadable::Encoding => {
            Response::text(415, "unsupported_encoding").with("Accept-Encoding", "gzip, deflate")
        }
        Unreadable::TooLong => Response::text(413, "payload_too_large"),
        Unreadable::Form => Response::text(400, "invalid_payload"),
    }
}

/// The answer as Slack gives it.
fn say(answer: Result<(), Failure>) -> Result<Done, Abort> {
    let refusal = match answer {
        Ok(()) => return Ok(Done::Answer(Response::text(200, "ok"))),
        Err(Failure::Refused(refusal)) => refusal,
        Err(moved @ Failure::Moved { .. }) => return Err(moved.into()),
    };
    Ok(Done::Answer(refused(&refusal)))
}

fn refused(refusal: &Refusal) -> Response {
    let (status, word) = match refusal.code {
        Code::BadJson | Code::BadRequest => (400, "invalid_payload"),
        Code::TooLarge => (400, "msg_too_long"),
        Code::NotAuthenticated | Code::BadCredentials => (403, "invalid_token"),
        Code::Forbidden | Code::NameTaken => (403, "action_prohibited"),
        Code::NotFound => (404, "no_service"),
        Code::UnknownType => (501, "not_implemented"),
        Code::RateLimited => (429, "rate_limited"),
        Code::Unavailable | Code::Overloaded => (503, "service_unavailable"),
    };
    let response = Response::text(status, word);
    match status {
        429 | 503 => with_retry(response, refusal.retry_after_ms),
        _ => response,
    }
}

/// The lines that `render` makes of a value, as one text.
#[cfg(test)]
fn rendered(render: fn(&serde_json::Value, &mut Vec<String>), value: &serde_json::Value) -> String {
    let mut lines = Vec::new();
    render(value, &mut lines);
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_again_has_the_same_name_and_nothing_else_has() {
        let name = |token: &str, key: &'static str, body: &'static str, piece| {
            String::from(RetryKey::of(key, body.as_bytes()).name(token, piece).unwrap())
        };
        assert_eq!(name("t", "k", "a", 0), name("t", "\"k\"", "another body", 0));
        assert_eq!(name("t", "", "a", 0), name("t", "\"\"", "a", 0));
        let all = [
            name("t", "k", "a", 0),
            name("t", "k", "a", 1),
            name("t", "k2", "a", 0),
            name("t2", "k", "a", 0),
            name("t", "", "a", 0),
            name("t", "", "a", 1),
            name("t", "", "b", 0),
            name("t2", "", "a", 0),
            name("t", "", "k", 0),
        ];
        let different: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len(), "{all:?}");
    }

    #[test]
    fn answers_are_those_of_slack() {
        let said = |answer| match say(answer) {
            Ok(Done::Answer(response)) => (response.status, String::from_utf8(response.body).unwrap()),
            other => panic!("{other:?}"),
        };
        assert_eq!(said(Ok(())), (200, "ok".into()));
        for (code, status, word) in [
            (Code::BadCredentials, 403, "invalid_token"),
            (Code::Forbidden, 403, "action_prohibited"),
            (Code::NotFound, 404, "no_service"),
            (Code::TooLarge, 400, "msg_too_long"),
            (Code::RateLimited, 429, "rate_limited"),
        ] {
            assert_eq!(said(Err(Refusal::new(code, "why").into())), (status, word.into()));
        }
        let limited = refused(&Refusal::new(Code::RateLimited, "why").retry_after(1_500));
        assert!(String::from_utf8(limited.head(0, 0, false)).unwrap().contains("Retry-After: 2\r\n"));
    }
}
