//! What a browser finds here as long as there is no web client.

use super::{
    exchange::{Done, Exchange, Stop},
    response::Response,
};

/// A few lines that say what runs here and how to connect.
pub fn home(exchange: &mut Exchange<'_>, _: &str) -> Result<Done, Stop> {
    let config = &exchange.desk.context.config;
    let (host, port) = (&config.me().host, config.me().port);
    let (server_id, version) = (config.server_id(), env!("CARGO_PKG_VERSION"));
    let text = format!(
        "SyncNet {version}, a chat cluster. This is {server_id}; any of its servers will do.\n\
         \n\
         The client:  syncnet-client --server-host {host} --server-port {port} --user NAME --room lobby\n\
         Netcat:      nc {host} {port}\n\
         \x20            {{\"msg_type\":\"create_join\",\"sender_id\":\"NAME\",\"data\":{{\"room\":\"lobby\"}}}}\n\
         WebSocket:   ws://{host}:{port}/ws, the same objects, one a text message\n\
         Status:      /api/status, /readyz, /healthz\n"
    );
    Ok(Done::Answer(Response::text(200, text)))
}
