//! Whether this server lives (`/healthz`), whether it can serve clients (`/readyz`), and its status.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{
    exchange::{Abort, Done, Exchange},
    response::Response,
};
use crate::{
    protocol::{
        request::Ping,
        status::{Role, Status},
    },
    server::{
        clients::{
            connection_info::ConnectionInfo,
            local_session::{LocalSession, ask},
        },
        server_handle::ServerHandle,
    },
};

/// A replica thread that has not ended a turn for so long does not work.
const TURN_MS: u64 = 3_000;
/// How long the proof that this server is caught up may take.
const PROOF: Duration = Duration::from_secs(2);

/// The process is up and its replica does not hang. Whether there is a majority changes nothing.
pub fn healthz(exchange: &mut Exchange<'_>, _: &str) -> Result<Done, Abort> {
    if exchange.server.context.shared.hangs() {
        return Ok(Done::Answer(Response::error(503, "unavailable", "the replica hangs")));
    }
    Ok(Done::Answer(Response::text(200, "ok\n")))
}

/// The whole status of this server.
pub fn status(exchange: &mut Exchange<'_>, _: &str) -> Result<Done, Abort> {
    let Some(status) = exchange.server.context.shared.status() else {
        return Ok(Done::Answer(Response::error(503, "unavailable", "this server is starting")));
    };
    let status = serde_json::to_value(status).expect("plain data always encodes");
    Ok(Done::Answer(Response::json(200, &status)))
}

/// Whether clients can be sent here. It is checked in layers, each of which needs the one before. The answer
/// names the first that fails, and why.
pub fn readyz(exchange: &mut Exchange<'_>, _: &str) -> Result<Done, Abort> {
    let shared = &exchange.server.context.shared;
    if shared.is_leaving() {
        let leaving = (Layer::Started, "this server is stopping; ask another one".to_owned());
        return Ok(Done::Answer(ready_answer(Err(leaving))));
    }
    if !shared.servers().is_for_clients(exchange.server.context.config().server_id()) {
        let drained = (Layer::Started, "this server gives its clients away; ask another one".to_owned());
        return Ok(Done::Answer(ready_answer(Err(drained))));
    }
    let state = judge(shared.status().as_ref(), shared.idle_ms())
        .and_then(|()| prove(exchange.server, exchange.info));
    Ok(Done::Answer(ready_answer(state)))
}

type Failing = (Layer, String);

/// The layers, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Layer {
    /// It has data, and its replica works.
    Started,
    /// A server leads, and is heard here.
    Leader,
    /// It has applied all that is committed.
    CaughtUp,
}

impl Layer {
    const ALL: [Layer; 3] = [Layer::Started, Layer::Leader, Layer::CaughtUp];

    fn name(self) -> &'static str {
        match self {
            Layer::Started => "started",
            Layer::Leader => "leader",
            Layer::CaughtUp => "caught_up",
        }
    }
}

/// Judges the first two layers by the replica's latest status.
fn judge(status: Option<&Status>, idle_ms: u64) -> Result<(), Failing> {
    let failing = |layer, reason: &str| Err((layer, reason.to_owned()));
    let Some(status) = status else { return failing(Layer::Started, "the replica has not begun") };
    if idle_ms > TURN_MS {
        return failing(Layer::Started, "the replica does not get on; its disk may be slow");
    }
    if matches!(status.role, Role::Forming | Role::Learner) {
        return failing(Layer::Started, &status.note);
    }
    let Some(leader_id) = &status.leader_id else { return failing(Layer::Leader, "nobody leads") };
    if !status.hears_leader() {
        return Err((Layer::Leader, format!("{leader_id} leads and cannot be heard")));
    }
    Ok(())
}

/// A ping with a barrier is answered once this server has applied what was committed before.
fn prove(server: &ServerHandle, info: ConnectionInfo) -> Result<(), Failing> {
    let session = LocalSession::open(server, info, PROOF);
    match session.and_then(|mut session| ask(&mut session, Ping::with_barrier())) {
        Ok(_) => Ok(()),
        Err(_) => Err((Layer::CaughtUp, "what is committed was not applied here in time".into())),
    }
}

fn ready_answer(state: Result<(), Failing>) -> Response {
    let failed = state.as_ref().err().map(|(layer, _)| *layer);
    let mut layers = Map::new();
    for layer in Layer::ALL {
        let value = match failed {
            Some(failed) if layer > failed => Value::Null,
            Some(failed) => (layer != failed).into(),
            None => true.into(),
        };
        layers.insert(layer.name().into(), value);
    }
    let mut answer = json!({ "ready": failed.is_none(), "layers": layers });
    if let Err((layer, reason)) = state {
        answer["failed"] = layer.name().into();
        answer["reason"] = reason.into();
        return Response::json(503, &answer).with("Retry-After", "1");
    }
    Response::json(200, &answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{ServerId, status::PeerStatus};

    fn status(role: Role, leader: Option<&str>, alive: bool) -> Status {
        let id = |text: &str| ServerId::new(text).unwrap();
        Status {
            leader_id: leader.map(id),
            peers: vec![PeerStatus { alive, ..PeerStatus::unheard(id("b"), "b", 8000) }],
            note: "being rebuilt".into(),
            ..Status::empty(id("a"), role)
        }
    }

    #[test]
    fn the_first_layer_that_fails_is_named() {
        let failed = |status: Option<Status>, idle_ms| judge(status.as_ref(), idle_ms).err().map(|(l, _)| l);
        assert_eq!(failed(None, 0), Some(Layer::Started));
        assert_eq!(failed(Some(status(Role::Leader, Some("a"), false)), 60_000), Some(Layer::Started));
        assert_eq!(failed(Some(status(Role::Learner, Some("b"), true)), 0), Some(Layer::Started));
        assert_eq!(failed(Some(status(Role::Candidate, None, true)), 0), Some(Layer::Leader));
        assert_eq!(failed(Some(status(Role::Follower, Some("b"), false)), 0), Some(Layer::Leader));
        assert_eq!(failed(Some(status(Role::Follower, Some("b"), true)), 0), None);
        assert_eq!(failed(Some(status(Role::Leader, Some("a"), false)), 0), None);
    }

    #[test]
    fn the_answer_says_which_layers_hold() {
        let response = ready_answer(Err((Layer::Leader, "nobody leads".into())));
        assert_eq!(response.status, 503);
        let answer: Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!(answer["layers"], json!({"started": true, "leader": false, "caught_up": null}));
        assert_eq!(answer["failed"], "leader");
        assert_eq!(ready_answer(Ok(())).status, 200);
    }
}
