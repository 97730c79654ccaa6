//! What a signal does that asks the client to end: the terminal is given back as it was, also from the middle of a
//! password, and nothing that was typed is lost unseen.

use std::{
    io::{self, IsTerminal, Write},
    process,
    sync::Arc,
};

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

use super::NOT_DONE;

/// Ctrl-C where it is no key, SIGTERM and SIGHUP, from the start of the program on.
#[derive(Clone)]
pub struct Signals(Arc<Mutex<OnSignal>>);

enum OnSignal {
    /// The terminal is given back, this is done, and the process ends with [`NOT_DONE`].
    End(Box<dyn FnMut() + Send>),
    /// Somebody waits for it, and ends the program in order.
    Tell(Sender<()>),
}

impl Signals {
    /// Remembers how the terminal is now. Until another wish is told, a signal ends the process.
    pub fn watch() -> Signals {
        let terminal = TerminalMode::now();
        let end_line = || {
            if io::stdin().is_terminal() {
                // What comes next begins a line of its own. Nobody may be there to read it.
                let _ = writeln!(io::stdout());
            }
        };
        let signals = Signals(Arc::new(Mutex::new(OnSignal::End(Box::new(end_line)))));
        let on_signal = signals.0.clone();
        // It fails if the program has done so before; then signals end it at once, as they do by default.
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

    /// From now on a signal is told here, and does nothing else.
    pub fn told(&self) -> Receiver<()> {
        let (ends, end) = bounded(1);
        *self.0.lock() = OnSignal::Tell(ends);
        end
    }

    /// From now on a signal gives the terminal back, does `last`, and ends the process.
    pub fn end_with(&self, last: impl FnMut() + Send + 'static) {
        *self.0.lock() = OnSignal::End(Box::new(last));
    }
}

/// How the terminal treats what is typed: whether it shows it, and whether it hands on lines or keys.
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
            // It fails if the terminal is gone, and then there is nothing to give back.
            let _ = nix::sys::termios::tcsetattr(io::stdin(), nix::sys::termios::SetArg::TCSANOW, mode);
        }
    }
}

/// The console of Windows forgets the mode with the program.
#[cfg(not(unix))]
impl TerminalMode {
    fn now() -> TerminalMode {
        TerminalMode {}
    }

    fn restore(&self) {}
}
