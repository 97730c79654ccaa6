//! The server over real sockets: clusters of one and of three servers, and the program itself.

mod backup;
#[path = "../support/client_frame.rs"]
mod client_frame;
mod dashboard;
mod dialects;
mod files;
mod http;
mod http_client;
mod limits;
mod membership;
mod metrics;
mod one_server;
mod program;
mod reload;
#[path = "../support/metrics.rs"]
mod support_metrics;
mod three_servers;
mod transfer;
mod web_socket;
