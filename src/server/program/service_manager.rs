//! Tells systemd (sd_notify(3)) that the server has started, that it works, and that it stops. Without
//! such a manager nothing is said.
//!
//! The watchdog is fed by turns of the replica and by nothing else. A process whose replica thread or disk
//! hangs is restarted. One that waits for a majority is not, because its replica goes on taking turns.

use std::{
    io,
    sync::Arc,
    thread::{Builder, JoinHandle},
    time::Duration,
};

use crate::server::{
    context::Context,
    machine::threads::{Stop, Stopper},
};

/// How often the watchdog is fed in the time that it grants.
const FEEDS: u32 = 4;

#[derive(Debug)]
pub struct Managed {
    watchdog: Option<(Stopper, JoinHandle<()>)>,
}

impl Managed {
    /// Tells the manager that the server has started, and from now on that it works.
    ///
    /// # Errors
    /// The manager cannot be told, or there is no thread for the watchdog. Systemd will then end this process
    /// in its own time.
    pub fn started(context: &Arc<Context>) -> io::Result<Managed> {
        tell(News::Started)?;
        let Some(granted) = granted_by_watchdog() else { return Ok(Managed { watchdog: None }) };
        let (stopper, stop) = Stopper::new();
        let context = context.clone();
        let feed = move || feed_watchdog(&context, granted / FEEDS, &stop);
        let thread = Builder::new().name("watchdog".into()).spawn(feed)?;
        Ok(Managed { watchdog: Some((stopper, thread)) })
    }

    /// Tells the manager that the server ends because it wants to.
    pub fn stopping(self) {
        if let Some((stopper, thread)) = self.watchdog {
            stopper.stop();
            // The thread has no result.
            let _ = thread.join();
        }
        // If the manager cannot be told, it sees the process end.
        let _ = tell(News::Stops);
    }
}

fn feed_watchdog(context: &Context, pause: Duration, stop: &Stop) {
    let mut fed_ms = None;
    while !stop.wait(pause) {
        let worked_ms = Some(context.shared.worked_ms());
        if worked_ms == fed_ms {
            log::warn!("the replica does not get on, so the watchdog of the service manager is not fed");
        } else if let Err(error) = tell(News::Works) {
            log::warn!("the watchdog of the service manager cannot be fed: {error}");
        }
        fed_ms = worked_ms;
    }
}

#[derive(Debug, Clone, Copy)]
enum News {
    Started,
    Works,
    Stops,
}

#[cfg(unix)]
fn tell(news: News) -> io::Result<()> {
    use sd_notify::NotifyState;
    sd_notify::notify(&[match news {
        News::Started => NotifyState::Ready,
        News::Works => NotifyState::Watchdog,
        News::Stops => NotifyState::Stopping,
    }])
}

#[cfg(unix)]
fn granted_by_watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// There is no such manager here.
#[cfg(not(unix))]
fn tell(_news: News) -> io::Result<()> {
    Ok(())
}

/// There is no such manager here.
#[cfg(not(unix))]
fn granted_by_watchdog() -> Option<Duration> {
    None
}
