//! `syncnet-admin`: looks at a cluster and measures it. All of it is in [`syncnet::admin`].

use std::process::ExitCode;

fn main() -> ExitCode {
    syncnet::admin::command::run()
}
