//! The thread that looks at this server for the board.

use std::time::Duration;

use crate::server::{
    context::Context,
    inboxes::Control,
    machine::{mailbox::Sender, threads::Stop},
};

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Looks at this server once a second until it is stopped, and has the other servers told.
pub fn watch(context: &Context, control: &Sender<Control>, stop: &Stop) {
    while !stop.wait(LOOK_EVERY) {
        let Some(status) = context.shared.status() else { continue };
        let config = context.config();
        let report = context.metrics.report(&status, &config.data_dir);
        context.board.look(context.clock.now(), config.server_id(), &status, report.clone());
        // If the replica thread is behind, it sends the next one.
        let _ = control.try_send(Control::Report(Box::new(report)));
    }
}
