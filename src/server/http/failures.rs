//! Refusals of the chat as answers of HTTP.

use serde_json::json;

use super::{head::Head, method::Method, response::Response};
use crate::{
    protocol::{Code, Refusal},
    server::clients::local_session::Failure,
};

/// When to come back if nothing better is known, in milliseconds.
const RETRY_MS: u64 = 1_000;

/// The answer if the chat has not done what a request with this head asked for.
pub fn response(failure: &Failure, head: &Head, is_encrypted: bool) -> Response {
    match failure {
        Failure::Refused(refusal) => refused(refusal),
        Failure::Moved { host, port } => {
            let reason = format!("ask the server at {host}:{port}");
            let scheme = if is_encrypted { "https" } else { "http" };
            let location = format!("{scheme}://{host}:{port}{}", head.target.raw);
            Response::error(307, "redirect", &reason).with("Location", location)
        }
    }
}

/// The answer to a request that had to be encrypted. A browser that asks for a page is redirected. Any other
/// request has already been sent in clear, and its sender should know.
pub fn unencrypted(head: &Head) -> Response {
    let reason = "this server speaks TLS only: https";
    if head.method == Method::Get && head.bearer().is_none() && !head.host.is_empty() {
        let location = format!("https://{}{}", head.host, head.target.raw);
        return Response::error(308, "redirect", reason).with("Location", location);
    }
    refused(&Refusal::new(Code::Forbidden, reason))
}

pub fn status(code: Code) -> u16 {
    match code {
        Code::BadJson | Code::BadRequest => 400,
        Code::NotAuthenticated | Code::BadCredentials => 401,
        Code::Forbidden => 403,
        Code::NotFound => 404,
        Code::NameTaken => 409,
        Code::TooLarge => 413,
        Code::RateLimited => 429,
        Code::UnknownType => 501,
        Code::Unavailable | Code::Overloaded => 503,
    }
}

/// The answer to what was refused: the `data` of the nack.
pub fn refused(refusal: &Refusal) -> Response {
    let Refusal { code, reason, retry_after_ms } = refusal;
    let mut error = json!({"code": code, "reason": reason, "retryable": code.retryable()});
    if let Some(retry_after_ms) = retry_after_ms {
        error["retry_after_ms"] = (*retry_after_ms).into();
    }
    let response = Response::json(status(*code), &json!({ "error": error }));
    match response.status {
        401 => response.with("WWW-Authenticate", "Bearer realm=\"syncnet\""),
        429 | 503 => with_retry(response, *retry_after_ms),
        _ => response,
    }
}

/// With the time to come back at, in whole seconds.
pub fn with_retry(response: Response, retry_after_ms: Option<u64>) -> Response {
    let seconds = retry_after_ms.unwrap_or(RETRY_MS).div_ceil(1_000).max(1);
    response.with("Retry-After", seconds.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::http::head::{HeadLimits, parse};

    fn head(failure: &Failure) -> (u16, String) {
        let request = b"POST /files?room=a%20b HTTP/1.1\r\nHost: a\r\n\r\n";
        let head = parse(request, HeadLimits { bytes: 999, headers: 9 }).unwrap().unwrap().0;
        let response = response(failure, &head, false);
        (response.status, String::from_utf8(response.head(0, 0, false)).unwrap())
    }

    #[test]
    fn refusals_say_what_to_do() {
        let refuse = |code| Failure::Refused(Refusal::new(code, "why"));
        assert!(head(&refuse(Code::NotAuthenticated)).1.contains("WWW-Authenticate: Bearer"));
        assert!(head(&refuse(Code::Unavailable)).1.contains("Retry-After: 1\r\n"));
        let limited = Refusal::new(Code::RateLimited, "slowly").retry_after(2_001);
        let (status, text) = head(&Failure::Refused(limited.clone()));
        assert!(status == 429 && text.contains("Retry-After: 3\r\n"), "{text}");
        let body: serde_json::Value = serde_json::from_slice(&refused(&limited).body).unwrap();
        assert_eq!(
            body["error"],
            json!({"code": "rate_limited", "reason": "slowly", "retryable": true, "retry_after_ms": 2_001})
        );
    }

    #[test]
    fn a_request_follows_the_leader_as_it_is() {
        let (status, text) = head(&Failure::Moved { host: "b".into(), port: 8001 });
        assert!(status == 307 && text.contains("Location: http://b:8001/files?room=a%20b\r\n"), "{text}");
    }
}
