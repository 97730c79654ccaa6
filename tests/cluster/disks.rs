//! Disks of a story's own, mounted at the data folders of servers. Only root may do that, and only on Linux.

use std::{
    ffi::OsStr,
    fs::{self, File},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    process::Command,
};

pub const MIB: usize = 1024 * 1024;
/// A disk whose power is cut: far more than a story writes, but its file has holes.
const POWER_DISK_BYTES: u64 = 2 * 1024 * MIB as u64;
/// Stop at once, and write nothing any more, not even the journal.
const NO_LOG_FLUSH: u32 = 2;

/// A file system that is mounted until this is dropped.
struct Mount(PathBuf);

impl Mount {
    fn new(folder: &Path, words: &[&OsStr]) -> Mount {
        run("mount", &[words, &[folder.as_os_str()]].concat());
        Mount(folder.to_owned())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let gone = Command::new("umount").arg("--lazy").arg(&self.0).status();
        if !gone.is_ok_and(|status| status.success()) {
            eprintln!("{} is still mounted", self.0.display());
        }
    }
}

fn run(program: &str, words: &[&OsStr]) {
    let done = Command::new(program).args(words).output();
    let done = done.unwrap_or_else(|error| panic!("{program} cannot be run: {error}"));
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{program} {words:?}: {said}; this story mounts disks: run it as root");
}

/// A small disk in memory.
pub struct SmallDisk(Mount);

impl SmallDisk {
    pub fn mount(folder: &Path) -> SmallDisk {
        fs::create_dir(folder).expect("the folder is not there yet");
        SmallDisk(Mount::new(folder, &["-t", "tmpfs", "-o", "size=64m", "tmpfs"].map(OsStr::new)))
    }

    /// Fills it, and leaves so many bytes.
    pub fn fill(&self, left: usize) {
        let free = syncnet::storage::folder::sizes(&self.0.0).disk_free as usize;
        fs::write(self.ballast(), vec![1; free - left]).expect("there is room for it");
    }

    pub fn clear(&self) {
        fs::remove_file(self.ballast()).expect("it is there");
    }

    fn ballast(&self) -> PathBuf {
        self.0.0.join("ballast")
    }
}

/// A disk of the machine's own file system, whose power can be cut: then it has what was synced, and of the
/// rest what the system happened to have written.
pub struct PowerDisk {
    folder: PathBuf,
    image: PathBuf,
    mount: Option<Mount>,
}

impl PowerDisk {
    /// With its content in the file `image`.
    pub fn mount(folder: &Path, image: &Path) -> PowerDisk {
        fs::create_dir(folder).expect("the folder is not there yet");
        let file = File::create_new(image).expect("the file is not there yet");
        file.set_len(POWER_DISK_BYTES).expect("a file may have holes");
        run("mkfs.ext4", &["-q".as_ref(), "-F".as_ref(), image.as_os_str()]);
        let mut disk = PowerDisk { folder: folder.to_owned(), image: image.to_owned(), mount: None };
        disk.turn_on();
        fs::remove_dir(folder.join("lost+found")).expect("it is empty");
        disk
    }

    fn turn_on(&mut self) {
        let words = ["-o".as_ref(), "loop".as_ref(), self.image.as_os_str()];
        self.mount = Some(Mount::new(&self.folder, &words));
    }

    /// The power fails and comes back. No process may use the disk.
    pub fn cut(&mut self) {
        let folder = File::open(&self.folder).expect("it is mounted");
        stop_writing(&folder);
        drop(folder);
        self.mount = None;
        self.turn_on();
    }
}

nix::ioctl_read!(
    /// `FS_IOC_SHUTDOWN` of ext4, which its developers' tests cut the power with.
    fs_shutdown,
    b'X',
    125,
    u32
);

fn stop_writing(folder: &File) {
    let mut how = NO_LOG_FLUSH;
    // SAFETY: the request reads one `u32` at the address, which is there during the call.
    unsafe { fs_shutdown(folder.as_raw_fd(), &raw mut how) }
        .expect("the file system is ext4, and this is root");
}
