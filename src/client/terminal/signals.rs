//! Signals that ask the client to end: the terminal is restored, even in the middle of a password, and
//! nothing that was typed is lost silently.

use std::{
    io::{self, IsTerminal, Write},
    process,
    sync::Arc,
};

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

use super::exit_status::NOT_DONE;

/// What is said of a signal.
pub const ENDED: &str = "ended by a signal";

/// Ctrl-C (if the program does not read it as a key), SIGTERM and SIGHUP, from the start of the program on.
#[derive(Clone)]
pub struct Signals(Arc<Mutex<OnSignal>>);

enum OnSignal {
    /// The terminal is restored, this is called, and the process ends with [`NOT_DONE`].
    End(Box<dyn FnMut() + Send>),
    /// A thread waits for it, and ends the program in order.
    Tell(Sender<()>),
}

impl Signals {
    /// Remembers the present mode of the terminal. Until another action is set, a signal ends the process.
    pub fn watch() -> Signals {
        let terminal = TerminalMode::now();
        // Either may have no reader any more.
        let end_line = || match io::stdin().is_terminal() {
            // What is printed next begins a new line.
            true => drop(writeln!(io::stdout())),
            false => {
                drop(writeln!(io::stderr(), "syncnet-client: {ENDED}; nothing of the input was carried out"))
            }
        };
        let signals = Signals(Arc::new(Mutex::new(OnSignal::End(Box::new(end_line)))));
        let on_signal = signals.0.clone();
        // It fails if a handler was set before; then signals end the program at once, as they do by default.
        let _ = ctrlc::set_handler(move || match &mut *on_signal.lock() {
            // One that waits already says the same.
            OnSignal::Tell(ends) => drop(ends.try_send(())),
            OnSignal::End(last) => {
                terminal.restore();
                last();
                process::exit(NOT_DONE.into());
            }
        });
        signals
    }

    /// From now on a signal is sent to this channel, and does nothing else.
    pub fn told(&self) -> Receiver<()> {
        let (ends, end) = bounded(1);
        *self.0.lock() = OnSignal::Tell(ends);
        end
    }

    /// From now on a signal restores the terminal, calls `last`, and ends the process.
    pub fn end_with(&self, last: impl FnMut() + Send + 'static) {
        *self.0.lock() = OnSignal::End(Box::new(last));
    }
}

/// The mode of the terminal: whether it shows typed letters, and whether it gives lines or keys.
struct TerminalMode {
    #[cfg(unix)]
    mode: Option<nix::sys::termios::Termios>,
}

#[cfg(unix)]
impl TerminalMode {
    /// Of standard input, if that is a terminal.
    fn now() -> TerminalMode {
        TerminalMode { mode: nix::sys::termios::tcgetattr(io::stdin()).ok() }
    }

    fn restore(&self) {
        if let Some(mode) = &self.mode {
            // It fails if the terminal is gone; then there is nothing to restore.
            let _ = nix::sys::termios::tcsetattr(io::stdin(), nix::sys::termios::SetArg::TCSANOW, mode);
        }
    }
}

/// The console of Windows restores the mode itself.
#[cfg(not(unix))]
impl TerminalMode {
    fn now() -> TerminalMode {
        TerminalMode {}
    }

    fn restore(&self) {}
}
