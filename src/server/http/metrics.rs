//! `/metrics`, on the port for clients.

use super::{
    access,
    exchange::{Abort, Done, Exchange},
    response::Response,
};
use crate::server::{context::Context, metrics::scrape};

/// All series, for those who may read them.
pub fn metrics(exchange: &mut Exchange<'_>, _: &str) -> Result<Done, Abort> {
    access::may_read_metrics(exchange)?;
    Ok(Done::Answer(page(&exchange.server.context)))
}

/// The answer to a client that may read the metrics.
pub fn page(context: &Context) -> Response {
    Response::bytes(scrape::CONTENT_TYPE, scrape::text(context).into_bytes())
}
