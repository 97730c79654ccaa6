//! The server's shell over real sockets: a cluster of one server, and the program itself.

mod dialects;
mod one_server;
mod program;
