//! The terminal client. All of it is in the library, see `src/client/terminal/`.

use std::process::ExitCode;

fn main() -> ExitCode {
    syncnet::client::terminal::main()
}
