//! Reading the configuration again while the server runs: by `syncnet-admin reload`, or by SIGHUP. A
//! configuration with which a server would not start changes nothing.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{
    config::{changes::Changes, error::ConfigError},
    context::Context,
    inboxes::Control,
    machine::{descriptors, mailbox::Sender},
    program::logging,
};

/// Reloads the configuration of a running server.
pub struct Reloader {
    context: Arc<Context>,
    control: Sender<Control>,
    one_at_a_time: Mutex<()>,
}

impl Reloader {
    /// For the server whose threads share `context` and whose replica hears `control`.
    pub fn new(context: Arc<Context>, control: Sender<Control>) -> Reloader {
        Reloader { context, control, one_at_a_time: Mutex::default() }
    }

    /// Reads the configuration again and uses the changes that need no restart. All changes are logged.
    ///
    /// # Errors
    /// The new configuration cannot be used. The old one stays in use.
    pub fn reload(&self) -> Result<Changes, ConfigError> {
        let _held = self.one_at_a_time.lock();
        let (config, changes) = self.context.config().reload().inspect_err(|error| {
            log::error!("the configuration was not reloaded, and the one from before stays in use: {error}");
        })?;
        descriptors::make_room_or_warn(config.room().total());
        // The lines below are logged at the new level.
        logging::set_level(config.log.level);
        let config = Arc::new(config);
        self.context.reconfigure(Arc::clone(&config));
        // If the replica is gone, it needs no configuration.
        let _ = self.control.send(Control::Reconfigured(Arc::new(config.replica.clone())));
        log::info!(
            "the configuration was reloaded; {} in use now",
            match changes.changed.len() {
                0 => "nothing new is".into(),
                1 => "1 change is".into(),
                count => format!("{count} changes are"),
            }
        );
        changes.changed.iter().for_each(|change| log::info!("reloaded: {change}"));
        let waiting = changes.needs_restart.iter();
        waiting.for_each(|change| log::warn!("{change}; restart the server to use that"));
        Ok(changes)
    }
}
