//! The server's shell over real sockets: clusters of one and of three servers, and the program itself.

#[path = "../support/client_frame.rs"]
mod client_frame;
mod dialects;
mod files;
mod http;
mod http_client;
mod limits;
mod one_server;
mod program;
mod three_servers;
mod transfer;
mod web_socket;
