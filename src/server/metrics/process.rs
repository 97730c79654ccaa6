//! The usual series about the process, under the names that all exporters use.

use std::sync::atomic::AtomicU64;
#[cfg(unix)]
use std::sync::atomic::Ordering;

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};

use super::table::Table;

/// The series of the process. They stay 0 if the system does not tell.
#[derive(Debug)]
pub struct Process {
    cpu_s: Counter<f64, AtomicU64>,
    resident_bytes: Gauge,
    open_files: Gauge,
    open_files_max: Gauge,
}

impl Process {
    pub fn declare(table: &mut Table) -> Process {
        let started: Gauge<f64, AtomicU64> = Gauge::default();
        let since_epoch = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        started.set(since_epoch.as_secs_f64().round());
        table.register(
            "process_start_time_seconds",
            "When the process started, since the Unix epoch",
            started,
        );
        Process {
            cpu_s: table.register(
                "process_cpu_seconds",
                "Time of processors that was used",
                Counter::default(),
            ),
            resident_bytes: table.gauge("process_resident_memory_bytes", "Memory that is resident"),
            open_files: table.gauge("process_open_fds", "Open files and sockets"),
            open_files_max: table.gauge("process_max_fds", "How many files and sockets may be open"),
        }
    }

    /// Reads how much memory is resident.
    pub fn read_memory(&self) -> u64 {
        #[cfg(target_os = "linux")]
        if let Ok(text) = std::fs::read_to_string("/proc/self/status") {
            let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<i64>().ok());
            self.resident_bytes.set(kib.unwrap_or(0) * 1024);
        }
        u64::try_from(self.resident_bytes.get()).unwrap_or(0)
    }

    pub fn read(&self) {
        #[cfg(unix)]
        self.read_usage();
        #[cfg(target_os = "linux")]
        if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
            self.open_files.set(files.count() as i64);
        }
        self.read_memory();
    }

    #[cfg(unix)]
    fn read_usage(&self) {
        use nix::sys::{
            resource::{Resource, UsageWho, getrlimit, getrusage},
            time::TimeValLike,
        };
        if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
            let us = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
            let seconds = us as f64 / 1_000_000.0;
            self.cpu_s.inner().store(seconds.to_bits(), Ordering::Relaxed);
        }
        if let Ok((soft, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
            self.open_files_max.set(i64::try_from(soft).unwrap_or(i64::MAX));
        }
    }
}
