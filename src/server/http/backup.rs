//! `/backup`: all that the cluster holds, for its operators.

use std::{
    io::Read,
    thread,
    time::{Duration, Instant},
};

use super::{
    exchange::{Abort, Done, Exchange},
    failures::with_retry,
    method::Method,
    operators::check_operator,
    response::Response,
};
use crate::{
    backup::{BackupHead, Sealing},
    protocol::request::AskStatus,
    server::{
        clients::local_session::{ANSWER_WITHIN, LocalSession, ask},
        data::readers::Copy,
    },
};

/// Bytes that are read and written at a time.
const PIECE_BYTES: usize = 64 * 1024;
/// How long a backup waits until all that is applied now is written to the database, and how often it looks.
const WRITTEN_WITHIN: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Sends a backup to a client that has answered a challenge, and a challenge to any other.
pub fn send(exchange: &mut Exchange<'_>, _: &str) -> Result<Done, Abort> {
    check_operator(exchange)?;
    let server = exchange.server;
    let response = Response::bytes("application/octet-stream", Vec::new());
    if exchange.head.method == Method::Head {
        return Ok(Done::Answer(response));
    }
    let busy = |reason| Abort::Answer(with_retry(Response::error(503, "overloaded", reason), None));
    let place = server.backups.begin().ok_or_else(|| busy("this server makes a backup already"))?;
    let mut session = LocalSession::open(server, exchange.info, ANSWER_WITHIN)?;
    let applied = ask(&mut session, AskStatus {})?.applied_index;
    let deadline = Instant::now() + WRITTEN_WITHIN;
    let copy = loop {
        match server.backups.readers.snapshot() {
            Some(Ok(copy)) if copy.head.index >= applied => break copy,
            // Applied entries are written to the database a moment later.
            Some(Ok(_)) if Instant::now() < deadline => thread::sleep(LOOK_EVERY),
            Some(Ok(_)) => return Err(busy("this server's disk is too slow now; ask another one")),
            Some(Err(error)) => {
                log::warn!("a backup was asked for and cannot be made: {error}");
                return Err(busy("this server can make no backup now; ask another one"));
            }
            None => return Err(busy("this server's data is being replaced")),
        }
    };
    let Copy { head: snapshot, content, life } = copy;
    let index = snapshot.index;
    let config = server.context.config();
    let head = BackupHead {
        made_at_ms: server.context.clock.now().wall_ms,
        cluster_name: config.cluster_name.clone(),
        server_id: config.server_id().clone(),
        program: env!("CARGO_PKG_VERSION").into(),
        snapshot,
    };
    exchange.begin_endless(&response)?;
    let mut backup = Sealing::new(&head, content);
    let mut piece = vec![0; PIECE_BYTES];
    let mut bytes = 0;
    loop {
        let count = backup.read(&mut piece)?;
        // The data was set aside meanwhile because it was in doubt: the end must not be sent.
        if !server.backups.readers.is_same(life) {
            log::warn!("a backup was broken off: this server's data was replaced");
            return Err(Abort::Gone(std::io::ErrorKind::Interrupted.into()));
        }
        if count == 0 {
            break;
        }
        exchange.write_on(&piece[..count])?;
        bytes += count as u64;
    }
    drop(place);
    log::info!("a backup of {bytes} bytes was sent, up to entry {index}");
    Ok(Done::Sent)
}
