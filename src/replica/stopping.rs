//! An orderly stop: this server hands over, sends its clients elsewhere and gives the answers that are due.

use crate::disk::{Storage, StorageError};

use super::{
    clients::Clients,
    io::{Now, Output},
    replica::Replica,
    stop_state::StopState,
};

impl<S: Storage> Replica<S> {
    pub(super) fn stop(&mut self, now: Now) {
        if self.stopping.is_some() {
            return;
        }
        self.stopping = Some(StopState::begin(now));
        if let Some(successor) = self.node.best_successor() {
            self.node.consensus.transfer(successor);
            self.counts.handovers += 1;
        }
        self.with_clients(now, Clients::send_away);
    }

    pub(super) fn finish_stop(&mut self, now: Now) -> Result<(), StorageError> {
        let Some(StopState::UnderWay { deadline_ms }) = self.stopping else { return Ok(()) };
        let waits = self.node.best_successor().is_some() || self.clients.have_writes();
        if waits && now.mono_ms < deadline_ms {
            return Ok(());
        }
        // So the next start has nothing to apply again.
        self.flush(now, false)?;
        self.clients.close_all(&mut self.outputs);
        self.stopping = Some(StopState::Done);
        self.outputs.push(Output::Stopped);
        Ok(())
    }
}
