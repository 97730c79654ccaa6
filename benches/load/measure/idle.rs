//! What a connection that says nothing costs a server in memory.

use std::{fs, net::TcpStream, num::NonZeroUsize, thread, time::Duration};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::{
    Run,
    connection::Connection,
    failure::{During, Failure},
    report::{Cell, Report},
};

const TIMEOUT: Duration = Duration::from_secs(10);
/// Descriptors beside the connections: standard streams, libraries, the status probe.
const OTHER_DESCRIPTORS: u64 = 64;
/// Threads that open connections: fast enough, and no flood.
const OPENERS: usize = 8;

/// Opens the given numbers of connections to the first server, whose process is `server_pid`, and reads how
/// its resident memory grew. The connections are logged in as guests and members of no room.
pub fn measure(run: &Run, levels: &[NonZeroUsize], server_pid: u32) -> Result<Report, Failure> {
    raise_descriptor_limit(levels.iter().max().map_or(0, |level| level.get()))?;
    let mut connections: Vec<TcpStream> = Vec::new();
    let before = resident_bytes(server_pid)?;
    let mut rows = vec![row(0, before, before)];
    for level in levels.iter().map(|level| level.get()) {
        open_up_to(run, level, &mut connections)?;
        let resident = resident_bytes(server_pid)?;
        rows.push(row(level, before, resident));
    }
    Ok(Report {
        title: format!("Idle connections: resident memory of {} (process {server_pid})", run.target(0)),
        columns: vec!["connections", "resident_mib", "per_connection_kib"],
        rows,
        notes: vec!["the socket buffers in the kernel are not part of a process's resident memory".into()],
    })
}

fn row(connections: usize, before: u64, resident: u64) -> Vec<Cell> {
    let grown_kib = resident.saturating_sub(before) as f64 / 1024.0;
    let per_connection = match connections {
        0 => Cell::Nothing,
        _ => Cell::Number(grown_kib / connections as f64),
    };
    vec![Cell::Count(connections as u64), Cell::Number(resident as f64 / (1024.0 * 1024.0)), per_connection]
}

fn open_up_to(run: &Run, level: usize, connections: &mut Vec<TcpStream>) -> Result<(), Failure> {
    let (first, target) = (connections.len(), run.target(0));
    let opened: Vec<Result<Vec<TcpStream>, Failure>> = thread::scope(|scope| {
        let open = |opener: usize| {
            let numbers = (first + opener..level).step_by(OPENERS);
            numbers
                .map(|number| {
                    let connection = Connection::open(target, &format!("{}.i{number}", run.name), TIMEOUT);
                    let connection =
                        connection.during(format!("idle connection {number} cannot be opened"))?;
                    Ok(connection.into_stream())
                })
                .collect()
        };
        let threads: Vec<_> = (0..OPENERS).map(|opener| scope.spawn(move || open(opener))).collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined
            .map(|outcome| outcome.unwrap_or_else(|_| Err(Failure::new("a connecting thread panicked"))))
            .collect()
    });
    for streams in opened {
        connections.extend(streams?);
    }
    Ok(())
}

/// The resident memory of a process in bytes, as Linux tells it.
pub fn resident_bytes(pid: u32) -> Result<u64, Failure> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path)
        .during(format!("{path} (is --server-pid the server's process, on this machine?)"))?;
    let field = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = field.and_then(|field| field.trim().strip_suffix("kB")).and_then(|kib| kib.trim().parse().ok());
    kib.map(|kib: u64| kib * 1024).ok_or_else(|| Failure::new(format!("{path} has no VmRSS in kB")))
}

/// Raises this process's limit of open files as far as `connections` need.
pub fn raise_descriptor_limit(connections: usize) -> Result<(), Failure> {
    let needed = connections as u64 + OTHER_DESCRIPTORS;
    let what = "the limit of open files cannot be read or raised";
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).during(what)?;
    if soft >= needed {
        return Ok(());
    }
    if hard < needed {
        return Err(Failure::new(format!(
            "{connections} connections need {needed} open files and the hard limit is {hard}: \
             raise it with `ulimit -Hn {needed}` as root, for the server as well, or measure fewer with --levels"
        )));
    }
    setrlimit(Resource::RLIMIT_NOFILE, needed, hard).during(what)
}
