//! Incoming webhooks: tools that can post to Slack can post here.

use serde_json::{Map, Value};

use super::{
    exchange::{Done, Exchange, Stop},
    failures::with_retry,
    hook_message,
    response::Response,
};
use crate::{
    protocol::{Code, Refusal},
    server::local_session::{ANSWER_WITHIN, Ask, Failure, LocalSession},
};

/// Takes a message in.
pub fn post(exchange: &mut Exchange<'_>, token: &str) -> Result<Done, Stop> {
    if exchange.visitor.reserved_until.is_some() {
        // No webhook is an administrator. It would be refused in any case, but only behind its body.
        return Ok(Done::Answer(refused(&Refusal::new(Code::Overloaded, "no room for another connection"))));
    }
    let most = exchange.desk.context.config.http.hook_bytes;
    if exchange.body_bytes() > most as u64 {
        return Ok(Done::Answer(Response::text(413, "payload_too_large")));
    }
    let body = exchange.whole_body(most)?;
    let content_type = exchange.head.once("content-type")?.unwrap_or_default();
    let message = match hook_message::read(content_type, &body) {
        Ok(message) => message,
        Err(word) => return Ok(Done::Answer(Response::text(400, word))),
    };
    let mut fields = Map::new();
    fields.insert("token".into(), token.into());
    fields.insert("body".into(), message.body.into());
    if let Some(name) = message.display_name {
        fields.insert("display_name".into(), name.into());
    }
    let session = LocalSession::open(exchange.desk, exchange.visitor, ANSWER_WITHIN);
    say(session.and_then(|mut session| session.ask("hook_post", fields)))
}

/// The answer as tools of Slack know it.
fn say(answer: Result<Map<String, Value>, Failure>) -> Result<Done, Stop> {
    let refusal = match answer {
        Ok(_) => return Ok(Done::Answer(Response::text(200, "ok"))),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_those_of_slack() {
        let said = |answer| match say(answer) {
            Ok(Done::Answer(response)) => (response.status, String::from_utf8(response.body).unwrap()),
            other => panic!("{other:?}"),
        };
        assert_eq!(said(Ok(Map::new())), (200, "ok".into()));
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
