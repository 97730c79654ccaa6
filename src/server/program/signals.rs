//! Signals of the system: SIGTERM and SIGINT end the server, SIGHUP reloads its configuration.

use std::io;

use crossbeam_channel::{Receiver, bounded};
use thiserror::Error;

/// Exit status where a second signal ends the process before it has stopped in order.
const EXIT_INTERRUPTED: i32 = 130;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// To stop in order. The second time, the process ends at once.
    Stop,
    /// To reload the configuration.
    #[cfg(unix)]
    Reload,
}

/// The system does not let signals be handled.
#[derive(Debug, Error)]
#[error("signals cannot be handled: {0}")]
pub struct SignalError(#[source] io::Error);

/// Signals from now on. Of several reloads that were not yet taken in, one counts.
///
/// To be called while this is the only thread: those that it starts later leave the signals to the one that
/// waits for them here.
///
/// # Errors
/// The system does not do it.
#[cfg(unix)]
pub fn receive() -> Result<Receiver<Signal>, SignalError> {
    use nix::sys::signal::{self, SigSet};

    let known = [signal::SIGTERM, signal::SIGINT, signal::SIGHUP];
    let signals: SigSet = known.into_iter().collect();
    signals.thread_block().map_err(|errno| SignalError(errno.into()))?;
    let (sender, receiver) = bounded(2);
    let wait = move || {
        let mut is_stopping = false;
        loop {
            match signals.wait() {
                // One that waits already says the same. At the end there is nothing to reload.
                Ok(signal::SIGHUP) if !is_stopping && sender.is_empty() => {
                    let _ = sender.try_send(Signal::Reload);
                }
                Ok(signal::SIGHUP) => {}
                Ok(_) if is_stopping => std::process::exit(EXIT_INTERRUPTED),
                // There is room: at most one reload waits.
                Ok(_) => {
                    is_stopping = true;
                    let _ = sender.try_send(Signal::Stop);
                }
                // It was interrupted by what is not waited for.
                Err(_) => {}
            }
        }
    };
    let thread = std::thread::Builder::new().name("signals".into()).spawn(wait);
    thread.map(|_| receiver).map_err(SignalError)
}

/// Ctrl-C from now on.
///
/// # Errors
/// The system does not do it.
#[cfg(not(unix))]
pub fn receive() -> Result<Receiver<Signal>, SignalError> {
    let (sender, receiver) = bounded(1);
    let mut is_second = false;
    let handle = move || {
        if is_second {
            std::process::exit(EXIT_INTERRUPTED);
        }
        is_second = true;
        // There is room for the first.
        let _ = sender.try_send(Signal::Stop);
    };
    ctrlc::set_handler(handle).map_err(|error| SignalError(io::Error::other(error)))?;
    Ok(receiver)
}
