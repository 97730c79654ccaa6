//! Load on a cluster of real servers: how much it does a second, and how long clients wait.
//!
//! ```console
//! $ cargo bench --bench load -- writers --servers localhost:8000,localhost:8001,localhost:8002 --levels 64
//! $ cargo bench --bench load -- failover --rounds 20
//! ```
//!
//! `--help` lists the measurements and their options. It needs Unix.

#[cfg(unix)]
mod command;
#[cfg(unix)]
mod measure;

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    command::run()
}

#[cfg(not(unix))]
fn main() {
    eprintln!("load: this needs Unix: it sends signals to servers and polls sockets");
    std::process::exit(2);
}
