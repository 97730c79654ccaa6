//! Data that must not be used any more.

use std::sync::Arc;

use crate::{
    disk::StorageError,
    fanout::Instruction,
    protocol::datagram::Run,
    replica::Replica,
    server::{context::Context, data},
    storage::SqliteStorage,
};

use super::outlets::Outlets;

/// Why the data is in doubt. If the disk failed, the process ends instead.
pub fn doubt(error: StorageError) -> String {
    error.doubt().unwrap_or_else(|| data::end_process(&error))
}

/// Sets the data aside and begins without any, under a new incarnation. Clients and peers are cut off. What
/// they were told is in the log of a majority, of which this server is no longer a part.
pub fn begin_anew(
    context: &Arc<Context>,
    replica: Replica<SqliteStorage>,
    outlets: &Outlets,
    reason: &str,
) -> Replica<SqliteStorage> {
    context.metrics.quarantines.inc();
    log::error!("this server goes into quarantine and is rebuilt from the others: {reason}");
    let clients = context.clients.all();
    clients.iter().for_each(|client| client.cut());
    let forgotten = clients.iter().map(|client| Instruction::Forget { conn: client.conn });
    outlets.fan_outs.hand_over(forgotten.collect());
    outlets.links.hang_up();
    outlets.readers.set(Vec::new());
    let servers = replica.servers().clone();
    drop(replica);
    // The new replica ignores what the old connections still send: it knows none of them, and no number is
    // used twice.
    let opened = data::set_aside(&context.config())
        .and_then(|()| data::open(&context.config(), &servers, context.clock, &context.metrics));
    let readers = opened.and_then(|replica| {
        let readers = data::readers(&replica, context.config().threads.query)?;
        Ok((replica, readers))
    });
    let (replica, readers) = readers.unwrap_or_else(|error| data::end_process(&error));
    let run = Run::from(&replica.node().data_mark());
    outlets.datagrams.restart(run);
    outlets.links.restart(run);
    outlets.readers.set(readers);
    replica
}
