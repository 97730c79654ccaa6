//! Reads all data again and again, slowly, so that damage is found before it matters.

use std::{sync::Arc, time::Duration};

use crate::{
    disk::{Scrubbed, StorageError},
    protocol::{peer::RowKey, status::ScrubProgress},
    storage::check_log_segment,
};

use super::{context::Context, inboxes::Control, mailbox::Sender, readers::Readers, threads::Stop};

/// What is read at a time, and the pause behind it: 2.5 MiB a second, which is little for any disk and keeps
/// no query waiting for long.
const SLICE_BYTES: usize = 256 * 1024;
const SLICE_PAUSE: Duration = Duration::from_millis(100);
/// The same for a segment of the log, which is read at once.
const SEGMENT_PAUSE: Duration = Duration::from_millis(1_600);
/// After a start there is more to do than this.
const FIRST_PAUSE: Duration = Duration::from_secs(60);

pub struct Scrubber {
    pub context: Arc<Context>,
    pub readers: Arc<Readers>,
    /// For the replica thread, which has damage repaired.
    pub control: Sender<Control>,
}

impl Scrubber {
    /// Works until it is stopped.
    pub fn run(&self, stop: &Stop) {
        let (mut pause, mut ended) = (FIRST_PAUSE, None);
        while !stop.wait(pause.min(self.context.config().scrub_pause)) {
            let mut progress = ScrubProgress { ended, ..ScrubProgress::default() };
            if !self.read_all(&mut progress, stop) {
                return;
            }
            ended = Some(self.context.clock.now().wall_ms as f64 / 1_000.0);
            self.tell(Control::Scrubbed(ScrubProgress { ended, ..progress }));
            pause = Duration::MAX;
        }
    }

    /// Reads the state, and then what is not written to of the log. Returns whether there was time for that.
    fn read_all(&self, progress: &mut ScrubProgress, stop: &Stop) -> bool {
        let mut above = None;
        while let Some(last) = self.read_state(above.as_ref(), progress) {
            above = Some(last);
            if stop.wait(SLICE_PAUSE) {
                return false;
            }
        }
        let mut segment = 0;
        while let Some(last) = self.read_log(segment, progress) {
            segment = last;
            if stop.wait(SEGMENT_PAUSE) {
                return false;
            }
        }
        true
    }

    /// Reads a slice of the state. Returns where the next one begins, if there is one.
    fn read_state(&self, above: Option<&RowKey>, progress: &mut ScrubProgress) -> Option<RowKey> {
        // While the data is being replaced there is nothing to read.
        match self.readers.scrub(above, SLICE_BYTES)? {
            Ok(Scrubbed { rows, damaged, last }) => {
                damaged.into_iter().for_each(|row| self.tell(Control::Broken(StorageError::Damaged(row))));
                progress.rows += rows;
                self.tell(Control::Scrubbed(*progress));
                last
            }
            Err(error) => {
                self.tell(Control::Broken(error));
                None
            }
        }
    }

    /// Reads the segment of the log behind this one, if nothing is written to it. Returns its number.
    fn read_log(&self, above: u64, progress: &mut ScrubProgress) -> Option<u64> {
        match check_log_segment(&self.context.config().data_dir, above) {
            Ok(read) => {
                progress.segments += u64::from(read.is_some());
                self.tell(Control::Scrubbed(*progress));
                read
            }
            Err(error) => {
                self.tell(Control::Broken(error));
                None
            }
        }
    }

    fn tell(&self, control: Control) {
        // If the replica thread is gone the process is ending.
        let _ = self.control.send(control);
    }
}
