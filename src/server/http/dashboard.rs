//! The dashboard: its page, what it shows, and the cookie of an administrator who looks at it from elsewhere.
//!
//! A browser asks for a page without a token, so here a cookie carries it: `HttpOnly`, so that no script
//! reads it, and `SameSite=Strict`, so that no other site can use it. The cookie lets its owner only read.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::{
    access, assets,
    exchange::{Abort, Done, Exchange},
    failures::refused,
    head::Head,
    origin,
    response::Response,
};
use crate::{
    config::ServerEntry,
    protocol::{
        Code, Refusal, UserName,
        credential::{Password, Token},
        request::{Login, Logout},
    },
    server::{
        board::Seen,
        clients::local_session::{ANSWER_WITHIN, Failure, LocalSession, ask},
    },
};

const COOKIE: &str = "syncnet-dashboard";
/// Longest body of a login.
const LOGIN_BYTES: usize = 4 * 1024;
/// How long a token counts as an administrator's before it is checked again.
const BELIEVED: Duration = Duration::from_secs(60);
/// For clients that may not see the dashboard: the sentence of the page, and the reason of a refusal.
const CLOSED_PAGE: &str = "From here only administrators may see the cluster.";
const CLOSED: &str = "only administrators may see the cluster from here";
/// The page asks this server only, and runs its files only.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

/// The page: the dashboard, or the form that opens it.
pub fn page(exchange: &mut Exchange<'_>, _: &str) -> Result<Done, Abort> {
    let (status, state, sentence) = match may_look(exchange) {
        Ok(()) if access::is_local(exchange) => (200, "here", ""),
        Ok(()) => (200, "entered", ""),
        Err(Failure::Refused(refusal)) if is_about_them(&refusal) => (403, "closed", CLOSED_PAGE),
        Err(failure) => return Err(failure.into()),
    };
    let root = format!("{}{}", assets::PREFIX, assets::version());
    let text = assets::DASHBOARD
        .replace("%ROOT%", &root)
        .replace("%STATE%", state)
        .replace("%SENTENCE%", sentence)
        .replace("%VERSION%", assets::version());
    let mut page = Response::bytes("text/html; charset=utf-8", text.into_bytes())
        .with("Content-Security-Policy", POLICY)
        .with("Cross-Origin-Opener-Policy", "same-origin");
    page.status = status;
    Ok(Done::Answer(page))
}

/// The data of the page: the present, and the samples since the time in the field `since`.
pub fn data(exchange: &mut Exchange<'_>, _: &str) -> Result<Done, Abort> {
    match may_look(exchange) {
        Ok(()) => {}
        Err(Failure::Refused(refusal)) if is_about_them(&refusal) => return Err(closed().into()),
        Err(failure) => return Err(failure.into()),
    }
    let since_ms = exchange.head.target.field("since").and_then(|text| text.parse().ok()).unwrap_or(0);
    let context = &exchange.server.context;
    let Some(status) = context.shared.status() else {
        return Err(Response::error(503, "unavailable", "this server is starting").into());
    };
    // One that is to join does not count yet.
    let servers: Vec<ServerEntry> = context.shared.servers().voting().cloned().collect();
    let (now, config) = (context.clock.now(), context.config());
    let seen = Seen { now, cluster_name: &config.cluster_name, status: &status, servers: &servers };
    let view = context.board.view(seen, since_ms);
    let view = serde_json::to_value(view).expect("plain data always encodes");
    Ok(Done::Answer(Response::json(200, &view)))
}

#[derive(Deserialize)]
struct Form {
    username: UserName,
    password: Password,
}

/// Logs an administrator in, for as long as the browser is open.
pub fn log_in(exchange: &mut Exchange<'_>, _: &str) -> Result<Done, Abort> {
    check_origin(exchange)?;
    let body = exchange.whole_body(LOGIN_BYTES)?;
    let Form { username, password } = serde_json::from_slice(&body).map_err(|_| {
        Response::error(400, "bad_request", "a login needs a username and a password, as JSON")
    })?;
    let (server, info) = (exchange.server, exchange.info);
    let mut session = LocalSession::open(server, info, ANSWER_WITHIN)?;
    let logged_in = ask(&mut session, Login::Password(username, password))?;
    let Some(token) = logged_in.token else { return Err(closed().into()) };
    if let Err(failure) = access::check_administrator(server, info, token.clone()) {
        // A session that may see nothing here is not left open.
        let _ = ask(&mut session, Logout { everywhere: false });
        return Err(failure.into());
    }
    server.context.board.believe(token.hash(), BELIEVED);
    let cookie = format!("{COOKIE}={}; Path=/dashboard; HttpOnly; SameSite=Strict", token.expose());
    Ok(Done::Answer(Response::json(200, &json!({})).with("Set-Cookie", cookie)))
}

/// Ends the session of the cookie, and the cookie.
pub fn log_out(exchange: &mut Exchange<'_>, _: &str) -> Result<Done, Abort> {
    check_origin(exchange)?;
    if let Some(token) = cookie(&exchange.head) {
        let (server, info) = (exchange.server, exchange.info);
        server.context.board.doubt(&token.hash());
        let mut session = LocalSession::open(server, info, ANSWER_WITHIN)?;
        if ask(&mut session, Login::Token(token)).is_ok() {
            ask(&mut session, Logout { everywhere: false })?;
        }
    }
    let cookie = format!("{COOKIE}=; Path=/dashboard; HttpOnly; SameSite=Strict; Max-Age=0");
    Ok(Done::Answer(Response::json(200, &json!({})).with("Set-Cookie", cookie)))
}

/// Whether the client may see the dashboard: from this machine, or with an administrator's token.
fn may_look(exchange: &Exchange<'_>) -> Result<(), Failure> {
    if access::is_local(exchange) {
        return Ok(());
    }
    let head = &exchange.head;
    let Some(token) = cookie(head).or_else(|| head.bearer().map(Token::given)) else {
        return Err(Refusal::new(Code::NotAuthenticated, CLOSED).into());
    };
    let board = &exchange.server.context.board;
    let hash = token.hash();
    if board.is_believed(&hash) {
        return Ok(());
    }
    access::check_administrator(exchange.server, exchange.info, token)?;
    board.believe(hash, BELIEVED);
    Ok(())
}

/// Whether the refusal is about the user, not about the state of the server.
fn is_about_them(refusal: &Refusal) -> bool {
    matches!(refusal.code, Code::NotAuthenticated | Code::BadCredentials | Code::Forbidden)
}

fn closed() -> Response {
    refused(&Refusal::new(Code::Forbidden, CLOSED))
}

/// A page of another site must not log users in or out.
fn check_origin(exchange: &Exchange<'_>) -> Result<(), Response> {
    let config = exchange.server.context.config();
    let servers = exchange.server.context.shared.servers();
    if origin::may_open(&exchange.head, &config.allowed_origins, &servers) {
        return Ok(());
    }
    Err(Response::error(403, "forbidden", "pages of another origin may not do this"))
}

fn cookie(head: &Head) -> Option<Token> {
    let pairs = head.all("cookie").flat_map(|value| value.split(';'));
    let mut named = pairs.filter_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='));
    named.next().map(Token::given)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::http::head::{HeadLimits, parse};

    #[test]
    fn the_cookie_is_found_among_others() {
        let found = |header: &str| {
            let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{header}\r\n");
            let limits = HeadLimits { bytes: 1_000, headers: 9 };
            let (head, _) = parse(text.as_bytes(), limits).unwrap().unwrap();
            cookie(&head).map(|token| token.expose().to_owned())
        };
        assert_eq!(found(""), None);
        assert_eq!(found("Cookie: a=b; syncnet-dashboard-2=x\r\n"), None);
        assert_eq!(found("Cookie: a=b; syncnet-dashboard=snt_1; c=d\r\n").as_deref(), Some("snt_1"));
    }
}
