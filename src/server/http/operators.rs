//! Requests over HTTP that only operators may make: the check, and `/reload`.

use data_encoding::HEXLOWER;
use serde_json::json;

use super::{
    exchange::{Abort, Done, Exchange},
    response::Response,
};
use crate::protocol::operator::{OPERATOR_SCHEME, PROOF_BYTES};

/// Lets a client pass that has answered a challenge for this path, and gives a challenge to any other.
pub fn check_operator(exchange: &Exchange<'_>) -> Result<(), Abort> {
    let server = exchange.server;
    let Some(key) = server.context.config().operator_key() else {
        let reason = "this cluster has no secret, so nobody can prove to be its operator";
        return Err(Response::error(403, "forbidden", reason).into());
    };
    let (now_ms, path) = (server.context.clock.now().mono_ms, &exchange.head.target.path);
    let answered = exchange.head.credentials(OPERATOR_SCHEME).and_then(|text| {
        let (challenge, proof) = text.split_once(':')?;
        Some((digest(challenge)?, digest(proof)?))
    });
    if let Some((challenge, proof)) = &answered {
        if server.challenges.accepts(now_ms, path, &key, (challenge, proof)) {
            return Ok(());
        }
        log::warn!("a client asked for {path} and is no operator of this cluster");
    }
    let challenge = HEXLOWER.encode(&server.challenges.make(now_ms, path));
    let reason = "answer the challenge with the cluster's secret, as syncnet-admin does";
    let refusal = Response::error(401, "not_authenticated", reason);
    Err(refusal.with("WWW-Authenticate", format!("{OPERATOR_SCHEME} {challenge}")).into())
}

fn digest(text: &str) -> Option<[u8; PROOF_BYTES]> {
    HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()
}

/// Reloads the configuration.
pub fn reload(exchange: &mut Exchange<'_>, _: &str) -> Result<Done, Abort> {
    check_operator(exchange)?;
    let server = exchange.server;
    let response = match server.reloader.reload() {
        Ok(changes) => {
            let config = server.context.config();
            Response::json(200, &json!({"server_id": config.server_id(), "changes": changes}))
        }
        Err(error) => Response::error(422, "bad_configuration", &error.to_string()),
    };
    Ok(Done::Answer(response))
}
