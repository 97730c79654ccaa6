//! Who may see what is meant for operators: the state of the cluster, and the metrics.
//!
//! Programs on this machine may, without a token. Requests through a proxy on this machine do not count as
//! such, although they come from here: a trusted proxy (`http.trusted_proxies`) gives the client's address,
//! and any other is recognised by its headers. Nor does a stranger's page whose name leads here (DNS
//! rebinding). All other clients need an administrator's token.

use super::{
    exchange::{Abort, Exchange},
    failures::refused,
    origin,
};
use crate::{
    protocol::{
        Code, Refusal,
        checked::Limit,
        credential::Token,
        request::{Login, Users},
    },
    server::{
        clients::{
            connection_info::ConnectionInfo,
            local_session::{ANSWER_WITHIN, Failure, LocalSession, ask},
        },
        server_handle::ServerHandle,
    },
};

/// Headers that proxies add.
const OF_PROXIES: [&str; 6] =
    ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"];

/// Whether a request comes from a program on this machine, and through no proxy.
pub fn is_local(exchange: &Exchange<'_>) -> bool {
    let head = &exchange.head;
    exchange.info.addr.is_some_and(|addr| addr.to_canonical().is_loopback())
        && OF_PROXIES.iter().all(|name| head.all(name).next().is_none())
        && origin::is_home(&head.host, &exchange.server.context.shared.servers())
}

/// Refuses a request for the metrics unless it comes from this machine, or with the token of the
/// configuration or of an administrator.
pub fn may_read_metrics(exchange: &Exchange<'_>) -> Result<(), Abort> {
    if is_local(exchange) {
        return Ok(());
    }
    let Some(token) = exchange.head.bearer().map(Token::given) else {
        let reason = "from here this needs a token: Authorization: Bearer TOKEN, that of metrics.token_file or an \
                      administrator's";
        return Err(refused(&Refusal::new(Code::NotAuthenticated, reason)).into());
    };
    if exchange.server.context.config().metrics.token == Some(token.hash()) {
        return Ok(());
    }
    Ok(check_administrator(exchange.server, exchange.info, token)?)
}

/// Refuses a token that is not an administrator's.
pub fn check_administrator(server: &ServerHandle, info: ConnectionInfo, token: Token) -> Result<(), Failure> {
    let mut session = LocalSession::open(server, info, ANSWER_WITHIN)?;
    ask(&mut session, Login::Token(token))?;
    // Only an administrator is answered this.
    match ask(&mut session, Users { after: None, limit: Some(Limit::clamped(1)) }) {
        Ok(_) => Ok(()),
        Err(Failure::Refused(refusal)) if refusal.code == Code::Forbidden => {
            Err(Refusal::new(Code::Forbidden, "only an administrator may see this").into())
        }
        Err(failure) => Err(failure),
    }
}
