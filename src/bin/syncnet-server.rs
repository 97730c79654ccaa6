//! `syncnet-server`: one server of a cluster.

use std::{error::Error, process::ExitCode};

use crossbeam_channel::Receiver;
use syncnet::server::{
    config::Config,
    program::{
        args::Args,
        environment,
        health_check::Question,
        logging, self_test,
        service_manager::Managed,
        signals::{self, Signal},
    },
    run::Server,
};

#[cfg(unix)]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The allocator's settings, which it looks for under this name: for each thread a cache of a few small
/// pieces. There is a thread for each connection, and the usual caches would cost an idle one as much as all
/// the rest of it; these cost it 5 KiB. Without any, the busy threads take a lock for each piece.
// Unsafe is the promise that no other symbol has this name; jemalloc's own one is weak, to be replaced.
#[cfg(unix)]
#[unsafe(export_name = "_rjem_malloc_conf")]
static ALLOCATOR_SETTINGS: &[u8; 82] =
    b"tcache:true,lg_tcache_max:10,tcache_nslots_small_max:16,tcache_nslots_small_min:4\0";

/// Exit status if the command line, the configuration or the machine does not allow a start.
const EXIT_CANNOT_START: u8 = 2;
/// Exit status if something that was started does not work.
const EXIT_FAILED: u8 = 1;

fn main() -> ExitCode {
    let args = environment::read_args();
    if let Some(question) = Question::of(&args) {
        return look(question, &args);
    }
    let (config, signals) = match prepare(&args) {
        Ok(prepared) => prepared,
        Err(error) => {
            // There is no log yet.
            eprintln!("syncnet-server: {error}");
            return ExitCode::from(EXIT_CANNOT_START);
        }
    };
    match run(&args, config, &signals) {
        Ok(status) => status,
        Err(error) => {
            log::error!("{error}");
            log::logger().flush();
            ExitCode::from(EXIT_CANNOT_START)
        }
    }
}

/// Asks the server that runs on this machine.
fn look(question: Question, args: &Args) -> ExitCode {
    match question.ask(args) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(unwell)) => {
            eprintln!("syncnet-server: {unwell}");
            ExitCode::from(EXIT_FAILED)
        }
        Err(error) => {
            eprintln!("syncnet-server: {error}");
            ExitCode::from(EXIT_CANNOT_START)
        }
    }
}

fn prepare(args: &Args) -> Result<(Config, Receiver<Signal>), Box<dyn Error>> {
    let config = Config::load(args)?;
    let signals = signals::receive()?;
    logging::start(args.log_format, config.server_id(), &config.log_file, &config.log)?;
    Ok((config, signals))
}

fn run(args: &Args, config: Config, signals: &Receiver<Signal>) -> Result<ExitCode, Box<dyn Error>> {
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
    let managed = Managed::started(server.context())
        .inspect_err(|error| log::warn!("the service manager cannot be told of the start: {error}"));
    // Signals can only stop coming when the process ends.
    while let Ok(Signal::Reload) = signals.recv() {
        // The result is in the log.
        let _ = server.reloader().reload();
    }
    if let Ok(managed) = managed {
        managed.stopping();
    }
    log::info!("{server_id} stops; a second signal ends it at once");
    if let Err(failure) = self_test::check_stopped(&server.stop()) {
        log::warn!("{failure}");
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
            Err(failure) => {
                log::error!("{failure}");
                status = ExitCode::from(EXIT_FAILED);
            }
        }
    }
    log::logger().flush();
    status
}
