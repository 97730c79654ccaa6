//! `syncnet-admin`: the operator's tools. All of it is in [`syncnet::admin`].

use std::process::ExitCode;

fn main() -> ExitCode {
    syncnet::admin::command::run()
}
