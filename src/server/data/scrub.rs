//! Reads all data again and again, slowly, so that damage is found before it matters.

use std::{sync::Arc, time::Duration};

use crate::{
    disk::{Scrubbed, StorageError},
    protocol::{peer::RowKey, status::ScrubProgress},
    storage::check_log_segment,
};

use super::readers::Readers;
use crate::server::{
    context::Context,
    inboxes::Control,
    machine::{mailbox::Sender, threads::Stop},
};

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
        self.run_with(&mut |pause| stop.wait(pause));
    }

    /// Works until `wait`, which pauses for a time, says that it is to stop.
    fn run_with(&self, wait: &mut dyn FnMut(Duration) -> bool) {
        let (mut pause, mut ended) = (FIRST_PAUSE, None);
        while !wait(pause.min(self.context.config().scrub_pause)) {
            let mut progress = ScrubProgress { ended, ..ScrubProgress::default() };
            if !self.read_all(&mut progress, wait) {
                return;
            }
            ended = Some(self.context.clock.now().wall_ms as f64 / 1_000.0);
            self.tell(Control::Scrubbed(ScrubProgress { ended, ..progress }));
            pause = Duration::MAX;
        }
    }

    /// Reads the state, and then what is not written to of the log. Returns whether there was time for that.
    fn read_all(&self, progress: &mut ScrubProgress, wait: &mut dyn FnMut(Duration) -> bool) -> bool {
        let mut above = None;
        while let Some(last) = self.read_state(above.as_ref(), progress) {
            above = Some(last);
            if wait(SLICE_PAUSE) {
                return false;
            }
        }
        let mut segment = 0;
        while let Some(last) = self.read_log(segment, progress) {
            segment = last;
            if wait(SEGMENT_PAUSE) {
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

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use rusqlite::Connection;

    use super::*;
    use crate::{
        disk::{Batch, ChunkRow, Row, Storage},
        protocol::{
            file::FileId,
            peer::{LogEntry, LogEntryKind, NodeId},
        },
        server::machine::mailbox::{Bell, Receiver, mailbox},
        storage::SqliteStorage,
    };

    /// More than the scrubber says in one reading of the data here.
    const TOLD: usize = 1_000;

    struct World {
        folder: tempfile::TempDir,
        scrubber: Scrubber,
        told: Receiver<Control>,
        storage: SqliteStorage,
    }

    /// A server's data, without its threads.
    fn world() -> World {
        let folder = tempfile::tempdir().unwrap();
        let context = Context::alone(folder.path(), &["--server-id=server1"]);
        let config = context.config();
        let storage = SqliteStorage::open(&config.data_dir, config.server_id(), NodeId(5)).unwrap();
        let readers = Arc::new(Readers::default());
        readers.set(vec![storage.reader().unwrap()]);
        let (control, told) = mailbox(TOLD, &Bell::default());
        World { folder, scrubber: Scrubber { context, readers, control }, told, storage }
    }

    impl World {
        fn data_dir(&self) -> std::path::PathBuf {
            self.folder.path().join("server1")
        }

        /// Commits three pieces of a file of two slices together, and rows of state.
        fn write_state(&mut self) {
            let bytes = SLICE_BYTES / 2 + 1;
            let chunk = |number| ChunkRow { file: FileId([7; 16]), number, bytes: vec![3; bytes].into() };
            let row = |key| Row { key: vec![key], value: Some(vec![key; 9]) };
            let (chunks, rows) = ((0..3).map(chunk).collect(), (0..2).map(row).collect());
            self.storage.commit(Batch { chunks, rows, ..Batch::default() }).unwrap();
        }

        /// Fills some segments of the log.
        fn write_log(&mut self) {
            for index in 1..=4 {
                let data = vec![5; 3 * 1024 * 1024];
                let entry = LogEntry { term: 1, index, kind: LogEntryKind::Command, data, opaque: vec![] };
                self.storage.commit(Batch { entries: vec![entry], ..Batch::default() }).unwrap();
            }
        }

        /// Runs the scrubber until it begins for the second time. Gives its pauses, and what it said.
        fn read_once(&self) -> (Vec<Duration>, Vec<Control>) {
            let mut pauses = Vec::new();
            let scrub_pause = self.scrubber.context.config().scrub_pause;
            self.scrubber.run_with(&mut |pause| {
                pauses.push(pause);
                pause == scrub_pause
            });
            let mut told = Vec::new();
            self.told.take(TOLD, &mut told);
            (pauses, told)
        }
    }

    fn broken(told: &[Control]) -> Vec<&StorageError> {
        let broken = told.iter().map(|control| match control {
            Control::Broken(error) => Some(error),
            _ => None,
        });
        broken.flatten().collect()
    }

    fn progress(told: &[Control]) -> Vec<(u64, u64, bool)> {
        let progress = |control: &Control| match control {
            Control::Scrubbed(progress) => Some((progress.rows, progress.segments, progress.ended.is_some())),
            _ => None,
        };
        told.iter().filter_map(progress).collect()
    }

    /// Changes the database beside its open storage, as a faulty disk does.
    fn spoil(dir: &Path, sql: &str) {
        Connection::open(dir.join("syncnet.db")).unwrap().execute_batch(sql).unwrap();
    }

    #[test]
    fn whole_data_is_read_in_slices_with_pauses_and_the_progress_is_told() {
        let mut world = world();
        world.write_state();
        world.write_log();
        let (pauses, told) = world.read_once();
        assert!(broken(&told).is_empty());
        let told = progress(&told);
        assert_eq!(told[..2], [(4, 0, false), (5, 0, false)], "the rows in two slices");
        let &(rows, segments, has_ended) = told.last().unwrap();
        assert!(rows == 5 && segments >= 2 && has_ended, "{told:?}");
        let pause = world.scrubber.context.config().scrub_pause;
        assert!(FIRST_PAUSE < pause);
        let expected = [vec![FIRST_PAUSE, SLICE_PAUSE], vec![SEGMENT_PAUSE; segments as usize], vec![pause]];
        assert_eq!(pauses, expected.concat());
    }

    #[test]
    fn a_damaged_row_is_told_and_the_others_are_read_all_the_same() {
        let mut world = world();
        world.write_state();
        spoil(&world.data_dir(), "UPDATE chunk SET bytes = zeroblob(length(bytes)) WHERE number = 1");
        let (_, told) = world.read_once();
        let found = broken(&told);
        let [StorageError::Damaged(row)] = found[..] else { panic!("{found:?}") };
        assert_eq!(row.key, RowKey::Chunk { file: FileId([7; 16]), number: 1 });
        assert_eq!(progress(&told).last(), Some(&(5, 0, true)));
    }

    #[test]
    fn damage_in_a_closed_segment_of_the_log_is_told() {
        let mut world = world();
        world.write_log();
        let names = fs::read_dir(world.data_dir()).unwrap().map(|entry| entry.unwrap().path());
        let mut segments: Vec<_> =
            names.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("log-0")).collect();
        segments.sort();
        let mut bytes = fs::read(&segments[0]).unwrap();
        bytes[1024 * 1024] ^= 1;
        fs::write(&segments[0], bytes).unwrap();
        let (_, told) = world.read_once();
        let found = broken(&told);
        let [StorageError::Doubtful(reason)] = found[..] else { panic!("{found:?}") };
        assert!(reason.contains("log"), "{reason}");
    }

    #[test]
    fn a_stop_in_a_pause_ends_it() {
        let mut world = world();
        world.write_state();
        let mut pauses = 0;
        world.scrubber.run_with(&mut |_| {
            pauses += 1;
            pauses == 2
        });
        let mut told = Vec::new();
        world.told.take(TOLD, &mut told);
        assert_eq!((pauses, progress(&told)), (2, vec![(4, 0, false)]));
    }

    #[test]
    fn while_the_data_is_being_replaced_no_row_is_read() {
        let world = world();
        world.scrubber.readers.set(Vec::new());
        let (pauses, told) = world.read_once();
        assert_eq!((pauses.len(), progress(&told)), (2, vec![(0, 0, false), (0, 0, true)]));
    }
}
