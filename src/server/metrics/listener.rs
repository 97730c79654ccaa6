//! `/metrics` on a port of its own (`metrics.listen`), for a network that only monitoring reaches. It needs
//! no token, and nothing else can be asked for there.

use std::{
    net::{Shutdown, TcpListener},
    sync::{Arc, Weak},
    thread,
    time::{Duration, Instant},
};

use crate::server::{
    clients::{client_thread::STACK_BYTES, connection_info::ConnectionInfo, stream::Stream},
    http::{
        exchange::Exchange,
        head::HeadLimits,
        method::Method,
        metrics::page,
        response::Response,
        wire::{Next, Wire},
    },
    machine::threads::Stop,
    server_handle::ServerHandle,
};

/// The path, here and on the port for clients.
pub const PATH: &str = "/metrics";
/// Scrapes at once. One more is closed without an answer; monitoring tries again.
const AT_ONCE: usize = 8;
/// How long a request may take to arrive.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause after a failed accept.
const PAUSE: Duration = Duration::from_millis(50);

/// Answers until it is stopped, and cuts off what is under way then. To wake it up, connect to it.
pub fn serve(listener: &TcpListener, server: &Arc<ServerHandle>, stop: &Stop) {
    let mut under_way: Vec<Weak<Stream>> = Vec::new();
    while !stop.is_set() {
        let socket = match listener.accept() {
            Ok((socket, _)) => socket,
            Err(error) => {
                log::warn!("accepting on the port of the metrics failed: {error}");
                stop.wait(PAUSE);
                continue;
            }
        };
        under_way.retain(|stream| stream.strong_count() > 0);
        if under_way.len() >= AT_ONCE {
            continue;
        }
        let stream = Arc::new(Stream::new(socket));
        under_way.push(Arc::downgrade(&stream));
        let server = server.clone();
        let answer = move || {
            if let Err(error) = answer(&server, &stream) {
                log::debug!("a scrape of the metrics ended: {error}");
            }
        };
        let thread = thread::Builder::new().name("metrics-scrape".into()).stack_size(STACK_BYTES);
        if let Err(error) = thread.spawn(answer) {
            log::warn!("there is no thread to answer for the metrics: {error}");
        }
    }
    for stream in under_way.iter().filter_map(Weak::upgrade) {
        // An error means that the other end is gone already.
        let _ = stream.shutdown(Shutdown::Both);
    }
}

/// Answers one request and closes.
fn answer(server: &ServerHandle, stream: &Arc<Stream>) -> std::io::Result<()> {
    let config = server.context.config();
    let settings = &config.http;
    let limits = HeadLimits { bytes: settings.head_bytes, headers: settings.headers };
    let mut wire = Wire::new(stream.clone(), Vec::new());
    let info = ConnectionInfo { addr: stream.peer(), ..ConnectionInfo::default() };
    match wire.head(limits, Instant::now() + PATIENCE)? {
        Next::Gone => return Ok(()),
        Next::Malformed(bad) => Exchange::refuse(server, info, &mut wire, &bad.into())?,
        Next::Head(head) => {
            let response = match (head.target.path.as_str(), head.method) {
                (PATH, Method::Get | Method::Head) => page(&server.context),
                (PATH, _) => Response::error(405, "method_not_allowed", "this can only be read")
                    .with("Allow", "GET, HEAD"),
                _ => Response::error(404, "not_found", "there is /metrics here and nothing else"),
            };
            Exchange::new(server, info, &mut wire, head, true).respond(&response)?;
        }
    }
    stream.linger()
}
