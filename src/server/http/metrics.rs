//! `/metrics` on the port for clients.

use super::{
    access,
    exchange::{Abort, Done, Exchange},
};
use crate::server::metrics::listener;

/// All series, for those who may read them.
pub fn metrics(exchange: &mut Exchange<'_>, _: &str) -> Result<Done, Abort> {
    access::may_read_metrics(exchange)?;
    Ok(Done::Answer(listener::page(exchange.server)))
}
