//! The storage of a simulated disk: the memory twin, or the real SQLite storage on a VFS that loses what was
//! not synced. Both have the same faults, as far as the twin has them: a twin's commit is one step, but
//! SQLite can die between any two of its writes.

use syncnet::{
    disk::{Reader, Storage, StorageError},
    protocol::{name::ServerId, peer::NodeId},
    storage::{
        CommitFault, Kept, MemoryDisk, MemoryImage, MemoryReader, OpenError, SqliteReader, SqliteStorage,
    },
};

use crate::{
    power::{PowerDisk, PowerImage, VFS},
    random::Random,
};

/// SQLite's first page: what kind of database it is, and its tables. With damage there a server refuses to
/// start instead of going into quarantine, and the simulation has no operator to decide.
const FIRST_PAGE_BYTES: usize = 4_096;
/// The most writes and syncs of a commit that succeed before the process dies in it. Most commits have fewer.
const WRITES_MAX: u64 = 24;

/// Where a disk keeps its data.
pub enum Medium {
    Twin { disk: MemoryDisk, reader: MemoryReader },
    Sqlite(Sqlite),
}

/// The power-loss disk, and what belongs to the process that runs on it.
pub struct Sqlite {
    power: PowerDisk,
    reader: Option<SqliteReader>,
    /// Syncs that had failed when its data was last made anew. On a real disk the product leaves a note in
    /// the data folder; on a VFS there is no folder.
    forgiven: u64,
}

/// A copy of what a medium holds.
#[derive(Clone)]
pub enum Image {
    Twin(MemoryImage),
    Sqlite(PowerImage),
}

impl Medium {
    /// An empty one. A twin writes its state behind, for so many calls of [`Storage::saved`].
    pub fn new(is_sqlite: bool, writes_behind: u32) -> Medium {
        if is_sqlite {
            return Medium::Sqlite(Sqlite { power: PowerDisk::new(), reader: None, forgiven: 0 });
        }
        let disk = MemoryDisk::new();
        disk.write_behind(writes_behind);
        Medium::Twin { reader: disk.reader(), disk }
    }

    /// From now on nothing is written behind.
    pub fn write_at_once(&self) {
        if let Medium::Twin { disk, .. } = self {
            disk.write_behind(0);
        }
    }

    /// A process opens it; one that had it before is gone.
    pub fn open(
        &mut self,
        server_id: &ServerId,
        fresh_node_id: NodeId,
    ) -> Result<Box<dyn Storage>, OpenError> {
        match self {
            Medium::Twin { disk, .. } => Ok(Box::new(disk.open(server_id, fresh_node_id)?)),
            Medium::Sqlite(sqlite) => {
                if sqlite.power.failed_syncs() > sqlite.forgiven {
                    let why = "an earlier process could not sync it".to_owned();
                    return Err(StorageError::Doubtful(why).into());
                }
                let database = sqlite.power.database();
                let log = sqlite.power.log();
                let storage = SqliteStorage::open_on_vfs(VFS, &database, log, server_id, fresh_node_id)?;
                sqlite.reader = Some(storage.reader()?);
                Ok(Box::new(storage))
            }
        }
    }

    /// Reads beside the writer.
    pub fn reader(&self) -> Result<&dyn Reader, StorageError> {
        match self {
            Medium::Twin { reader, .. } => Ok(reader),
            Medium::Sqlite(Sqlite { reader: Some(reader), .. }) => Ok(reader),
            Medium::Sqlite(_) => Err(StorageError::Failed("no process has it open".into())),
        }
    }

    /// The process is about to close it in order.
    pub fn close(&mut self) {
        if let Medium::Sqlite(sqlite) = self {
            sqlite.reader = None;
        }
    }

    /// The process is killed; its storage may be dropped now, and does nothing more.
    pub fn kill(&mut self) {
        if let Medium::Sqlite(sqlite) = self {
            sqlite.power.kill();
            sqlite.power.limit(None);
            sqlite.reader = None;
        }
    }

    /// The power is cut, and the process is gone: of what was not synced, nothing, some or most survives,
    /// sector by sector.
    pub fn cut_power(&mut self, random: &Random) {
        match self {
            Medium::Twin { disk, .. } => disk.crash(random.clone().fork().chance(0.5)),
            Medium::Sqlite(sqlite) => {
                // A stream of its own: how much there is to lose must not shift what is drawn after it.
                let mut random = random.clone().fork();
                let share = random.pick(&[0.0, 0.5, 0.95]);
                sqlite.power.cut(&mut || random.chance(share));
                self.kill();
            }
        }
    }

    /// Lets the process die somewhere in the next commit. Returns whether the commit has to be carried out
    /// for that; else nothing of it is left.
    pub fn die_in_commit(&mut self, random: &mut Random) -> bool {
        match self {
            Medium::Twin { .. } => false,
            Medium::Sqlite(sqlite) => {
                sqlite.power.fail_after(random.between_magnitudes(1, WRITES_MAX + 1) - 1);
                true
            }
        }
    }

    /// Makes the next write fail, as on a full disk.
    pub fn fail_write(&mut self) {
        match self {
            Medium::Twin { disk, .. } => disk.fail_next_commit(CommitFault::WriteError),
            Medium::Sqlite(sqlite) => sqlite.power.limit(Some(0)),
        }
    }

    /// Makes the next sync fail.
    pub fn fail_sync(&mut self) {
        match self {
            Medium::Twin { disk, .. } => disk.fail_next_commit(CommitFault::SyncError),
            Medium::Sqlite(sqlite) => sqlite.power.fail_next_sync(),
        }
    }

    /// From now on it reports every sync as done without doing it. A twin does not lie.
    pub fn lie(&mut self) {
        if let Medium::Sqlite(sqlite) = self {
            sqlite.power.lie();
        }
    }

    /// A bit flips somewhere; tells whether there was one. No process may have it open.
    pub fn damage(&mut self, random: &mut Random) -> bool {
        match self {
            Medium::Twin { disk, .. } => match random.pick(&[Some(Kept::Meta), None, Some(Kept::State)]) {
                Some(kind) => disk.corrupt(kind, random.word(), random.word()),
                None => disk.corrupt_log(random.word(), random.word()),
            },
            Medium::Sqlite(sqlite) if random.chance(0.5) => {
                sqlite.power.flip_log(random.index(8), random.index(1 << 20), random.below(8) as u8)
            }
            Medium::Sqlite(sqlite) => {
                let rest = sqlite.power.database_bytes().saturating_sub(FIRST_PAGE_BYTES);
                rest > 0 && sqlite.power.flip(FIRST_PAGE_BYTES + random.index(rest), random.below(8) as u8)
            }
        }
    }

    /// A bit of a row flips; tells whether there was one. A process may have it open.
    pub fn decay(&mut self, random: &mut Random) -> bool {
        match self {
            Medium::Twin { disk, .. } => {
                let kind = random.pick(&[Kept::State, Kept::Event, Kept::Event, Kept::Chunk]);
                disk.decay(kind, random.word(), random.word())
            }
            Medium::Sqlite(_) => false,
        }
    }

    /// A copy of what a power cut at this moment would leave.
    pub fn image(&self) -> Image {
        match self {
            Medium::Twin { disk, .. } => Image::Twin(disk.image()),
            Medium::Sqlite(sqlite) => Image::Sqlite(sqlite.power.image()),
        }
    }

    /// Replaces its content by a copy.
    pub fn restore(&mut self, image: &Image) {
        match (self, image) {
            (Medium::Twin { disk, .. }, Image::Twin(image)) => disk.restore(image),
            (Medium::Sqlite(sqlite), Image::Sqlite(image)) => sqlite.begin_anew(image),
            _ => unreachable!("a medium is of one kind for ever, and so are its copies"),
        }
    }

    /// Everything is gone.
    pub fn wipe(&mut self) {
        match self {
            Medium::Twin { disk, .. } => disk.wipe(),
            Medium::Sqlite(sqlite) => sqlite.begin_anew(&PowerImage::default()),
        }
    }
}

impl Sqlite {
    fn begin_anew(&mut self, image: &PowerImage) {
        self.reader = None;
        self.power.restore(image);
        self.forgiven = self.power.failed_syncs();
    }
}
