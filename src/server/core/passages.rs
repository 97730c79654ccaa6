//! The way of a request through this server, for the log.

use crate::replica::passages::{Passage, Step};

/// The id is a field of its own in logs of JSON (`logging`).
pub fn log_passage(passage: &Passage) {
    let Passage { request, step } = passage;
    match step {
        Step::Taken { conn, operation } => {
            log::debug!(request:% = request; "request {request} is {operation}, of connection {}", conn.0);
        }
        Step::Proposed => log::debug!(request:% = request; "request {request} is on its way into the log"),
        Step::Applied { index, outcome } => {
            let outcome = outcome.word();
            log::debug!(request:% = request; "request {request} is entry {index} of the log: {outcome}");
        }
    }
}
