//! `syncnet-server`: one server of a cluster.

use std::process::ExitCode;

use clap::Parser;
use crossbeam_channel::{Receiver, bounded};
use syncnet::server::{args::Args, config::Config, logging, run::Server, self_test};

/// Exit status where the command line, the configuration or the machine does not allow a start.
const EXIT_CANNOT_START: u8 = 2;
/// Exit status where something that was started does not work.
const EXIT_FAILED: u8 = 1;
/// Exit status where a second signal ends the process before it has stopped in order.
const EXIT_INTERRUPTED: i32 = 130;

fn main() -> ExitCode {
    let args = Args::parse();
    let config = match prepare(&args) {
        Ok(config) => config,
        Err(sentence) => {
            // There is no log yet.
            eprintln!("syncnet-server: {sentence}");
            return ExitCode::from(EXIT_CANNOT_START);
        }
    };
    match run(&args, config) {
        Ok(status) => status,
        Err(sentence) => {
            log::error!("{sentence}");
            log::logger().flush();
            ExitCode::from(EXIT_CANNOT_START)
        }
    }
}

fn prepare(args: &Args) -> Result<Config, String> {
    let config = Config::load(args)?;
    logging::start(args.log_level, &config.log_file, &config.log)?;
    Ok(config)
}

fn run(args: &Args, config: Config) -> Result<ExitCode, String> {
    let signals = signals()?;
    let (server_id, secret_is_public) = (config.server_id().clone(), config.secret_is_public);
    let server = Server::start(config)?;
    for place in server.listening() {
        log::info!("{server_id} listens on {place}");
    }
    if secret_is_public {
        log::warn!("there is no cluster secret: any process of this machine can pass for a server");
    }
    if args.test_mode {
        return Ok(test(server));
    }
    // Signals can only stop coming when the process ends.
    let _ = signals.recv();
    log::info!("{server_id} stops; a second signal ends it at once");
    if let Err(sentence) = self_test::check_stopped(&server.stop()) {
        log::warn!("{sentence}");
    }
    log::info!("{server_id} has stopped");
    log::logger().flush();
    Ok(ExitCode::SUCCESS)
}

/// Checks a server that was just started, stops it, and checks that too.
fn test(server: Server) -> ExitCode {
    let works = self_test::check(&server);
    let stops = self_test::check_stopped(&server.stop());
    let mut status = ExitCode::SUCCESS;
    for outcome in [works, stops.map(|what| vec![what])] {
        match outcome {
            Ok(checked) => checked.iter().for_each(|what| println!("ok: {what}")),
            Err(sentence) => {
                log::error!("{sentence}");
                status = ExitCode::from(EXIT_FAILED);
            }
        }
    }
    log::logger().flush();
    status
}

/// Ctrl-C and SIGTERM. The first is handed on, the second ends the process.
fn signals() -> Result<Receiver<()>, String> {
    let (sender, receiver) = bounded(1);
    let mut is_second = false;
    ctrlc::set_handler(move || {
        if is_second {
            std::process::exit(EXIT_INTERRUPTED);
        }
        is_second = true;
        // There is room for the first.
        let _ = sender.try_send(());
    })
    .map_err(|error| format!("signals cannot be handled: {error}"))?;
    Ok(receiver)
}
