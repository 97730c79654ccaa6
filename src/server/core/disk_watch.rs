//! Looking at the data folder from time to time: whether it is still there, and has room.

use crate::{
    disk::StorageError,
    server::context::Context,
    storage::{SqliteStorage, folder},
};

/// Time between two looks.
const FOLDER_MS: u64 = 250;

pub struct DiskWatch {
    next_ms: u64,
    /// Whether there is room on the disk.
    has_room: bool,
}

impl DiskWatch {
    /// The first look is due at `now_ms`.
    pub fn new(now_ms: u64) -> DiskWatch {
        DiskWatch { next_ms: now_ms, has_room: true }
    }

    /// Looks, if it is time. Says whether there is room if that has changed.
    ///
    /// # Errors
    /// The folder is not the one that was opened.
    pub fn look(
        &mut self,
        now_ms: u64,
        context: &Context,
        storage: &SqliteStorage,
    ) -> Result<Option<bool>, StorageError> {
        if now_ms < self.next_ms {
            return Ok(None);
        }
        self.next_ms = now_ms + FOLDER_MS;
        storage.check_in_place()?;
        let data_dir = &context.config().data_dir;
        let has_room = folder::has_room(data_dir, self.has_room);
        if std::mem::replace(&mut self.has_room, has_room) == has_room {
            return Ok(None);
        }
        let shown = data_dir.display();
        if has_room {
            log::warn!("there is room again on the disk of {shown}: this server goes on");
        } else {
            log::error!("the disk of {shown} is full: this server takes no messages until there is room");
        }
        Ok(Some(has_room))
    }
}
