//! SQLite's VFS interface, passed on to [`Disk`](super::disk::Disk).
//!
//! <https://sqlite.org/c3ref/vfs.html> and <https://sqlite.org/c3ref/io_methods.html> say what each of
//! these functions must do. Time, sleep and randomness come from the machine's own VFS.

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    ptr, slice,
    sync::{Arc, Once},
};

use parking_lot::Mutex;
use rusqlite::ffi;

use super::{
    disk::{Disk, Fault, Handle},
    find,
};

const NAME: &CStr = c"power";
const PATH_BYTES_MAX: c_int = 256;

/// What SQLite keeps for an open file: its own part first, then ours.
#[repr(C)]
struct OpenFile {
    base: ffi::sqlite3_file,
    /// Made by `open`, taken back by `close`.
    ours: *mut Ours,
}

struct Ours {
    disk: Arc<Mutex<Disk>>,
    handle: Handle,
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// Makes the VFS known to SQLite, once.
pub fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: finding the default VFS has no preconditions; it lives as long as the process.
        let machine = unsafe { ffi::sqlite3_vfs_find(ptr::null()) };
        assert!(!machine.is_null(), "SQLite has no VFS of its own");
        // SAFETY: it is not null, and SQLite only changes its list pointers, under its own lock.
        let machine = unsafe { &*machine };
        let vfs = ffi::sqlite3_vfs {
            iVersion: 2,
            szOsFile: size_of::<OpenFile>() as c_int,
            mxPathname: PATH_BYTES_MAX,
            pNext: ptr::null_mut(),
            zName: NAME.as_ptr(),
            pAppData: ptr::null_mut(),
            xOpen: Some(open),
            xDelete: Some(delete),
            xAccess: Some(access),
            xFullPathname: Some(full_pathname),
            xDlOpen: None,
            xDlError: None,
            xDlSym: None,
            xDlClose: None,
            xRandomness: machine.xRandomness,
            xSleep: machine.xSleep,
            xCurrentTime: machine.xCurrentTime,
            xGetLastError: None,
            xCurrentTimeInt64: machine.xCurrentTimeInt64,
            xSetSystemCall: None,
            xGetSystemCall: None,
            xNextSystemCall: None,
        };
        // SAFETY: the structure is leaked, so it stays valid, and every function in it follows SQLite's
        // interface.
        let result = unsafe { ffi::sqlite3_vfs_register(Box::into_raw(Box::new(vfs)), 0) };
        assert_eq!(result, ffi::SQLITE_OK, "SQLite refused the VFS");
    });
}

/// The answer to SQLite; `io` is its number for what was tried.
fn answer(result: Result<(), Fault>, io: c_int) -> c_int {
    match result {
        Ok(()) => ffi::SQLITE_OK,
        Err(Fault::Busy) => ffi::SQLITE_BUSY,
        Err(Fault::Missing) => ffi::SQLITE_IOERR_DELETE_NOENT,
        Err(Fault::Full) => ffi::SQLITE_FULL,
        Err(Fault::Io) => io,
    }
}

/// The text of a path.
///
/// # Safety
/// `path` must be a C string that stays as it is meanwhile, or null.
unsafe fn text<'a>(path: *const c_char) -> Option<&'a str> {
    if path.is_null() {
        return None;
    }
    // SAFETY: it is not null, and the caller vouches for the rest.
    unsafe { CStr::from_ptr(path) }.to_str().ok()
}

/// Our part of an open file.
///
/// # Safety
/// `file` must have been filled by `open` and not yet been closed.
unsafe fn ours<'a>(file: *mut ffi::sqlite3_file) -> &'a Ours {
    // SAFETY: `open` made an `OpenFile` of it whose `ours` is valid until `close`.
    unsafe { &*(*file.cast::<OpenFile>()).ours }
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    path: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let file = file.cast::<OpenFile>();
    // SAFETY: SQLite gives `szOsFile` bytes for the file; without methods it will not call `close`.
    unsafe { (*file).base.pMethods = ptr::null() };
    // SAFETY: SQLite gives a C string that lives as long as the file, or null for a temporary one.
    let Some((disk, name)) = unsafe { text(path) }.and_then(find) else { return ffi::SQLITE_CANTOPEN };
    let opened = disk.lock().open(name, flags & ffi::SQLITE_OPEN_CREATE != 0);
    let Ok(handle) = opened else { return ffi::SQLITE_CANTOPEN };
    let ours = Box::into_raw(Box::new(Ours { disk, handle }));
    // SAFETY: as above; `out_flags` is valid or null.
    unsafe {
        (*file).ours = ours;
        (*file).base.pMethods = &METHODS;
        if !out_flags.is_null() {
            *out_flags = flags;
        }
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn delete(_: *mut ffi::sqlite3_vfs, path: *const c_char, _: c_int) -> c_int {
    // SAFETY: SQLite gives a C string.
    match unsafe { text(path) }.and_then(find) {
        Some((disk, name)) => answer(disk.lock().delete(name), ffi::SQLITE_IOERR_DELETE),
        None => ffi::SQLITE_IOERR_DELETE,
    }
}

unsafe extern "C" fn access(
    _: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    _: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: SQLite gives a C string.
    let exists = unsafe { text(path) }.and_then(find).is_some_and(|(disk, name)| disk.lock().exists(name));
    // SAFETY: SQLite gives a place for the answer.
    unsafe { *out = c_int::from(exists) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn full_pathname(
    _: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    size: c_int,
    out: *mut c_char,
) -> c_int {
    // SAFETY: SQLite gives a C string.
    let bytes = unsafe { CStr::from_ptr(path) }.to_bytes_with_nul();
    if bytes.len() > size as usize {
        return ffi::SQLITE_CANTOPEN;
    }
    // SAFETY: `out` has room for `size` bytes and is SQLite's own.
    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr().cast(), out, bytes.len()) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite closes a file that `open` filled once; nothing uses `ours` after it.
    let ours = unsafe { Box::from_raw((*file.cast::<OpenFile>()).ours) };
    ours.disk.lock().close(&ours.handle);
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    into: *mut c_void,
    count: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite calls this with an open file.
    let ours = unsafe { ours(file) };
    // SAFETY: SQLite gives a buffer of `count` bytes that nothing else uses; they may be uninitialised, so
    // they are written before they are read.
    let into = unsafe {
        ptr::write_bytes(into.cast::<u8>(), 0, count as usize);
        slice::from_raw_parts_mut(into.cast::<u8>(), count as usize)
    };
    let result = ours.disk.lock().read(&ours.handle, offset as usize, into);
    match result {
        Ok(found) if found == into.len() => ffi::SQLITE_OK,
        // SQLite wants the rest filled with zeros, which it is.
        Ok(_) => ffi::SQLITE_IOERR_SHORT_READ,
        Err(_) => ffi::SQLITE_IOERR_READ,
    }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    from: *const c_void,
    count: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite calls this with an open file.
    let ours = unsafe { ours(file) };
    // SAFETY: SQLite gives `count` bytes that do not change meanwhile.
    let bytes = unsafe { slice::from_raw_parts(from.cast::<u8>(), count as usize) };
    answer(ours.disk.lock().write(&ours.handle, offset as usize, bytes), ffi::SQLITE_IOERR_WRITE)
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: ffi::sqlite3_int64) -> c_int {
    // SAFETY: SQLite calls this with an open file.
    let ours = unsafe { ours(file) };
    answer(ours.disk.lock().truncate(&ours.handle, size as usize), ffi::SQLITE_IOERR_TRUNCATE)
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    // SAFETY: SQLite calls this with an open file.
    let ours = unsafe { ours(file) };
    answer(ours.disk.lock().sync(&ours.handle), ffi::SQLITE_IOERR_FSYNC)
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, out: *mut ffi::sqlite3_int64) -> c_int {
    // SAFETY: SQLite calls this with an open file.
    let ours = unsafe { ours(file) };
    let size = ours.disk.lock().size(&ours.handle);
    match size {
        Ok(size) => {
            // SAFETY: SQLite gives a place for the answer.
            unsafe { *out = size as ffi::sqlite3_int64 };
            ffi::SQLITE_OK
        }
        Err(_) => ffi::SQLITE_IOERR_FSTAT,
    }
}

unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: SQLite calls this with an open file.
    let ours = unsafe { ours(file) };
    answer(ours.disk.lock().lock(&ours.handle, level), ffi::SQLITE_IOERR_LOCK)
}

unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: SQLite calls this with an open file.
    let ours = unsafe { ours(file) };
    answer(ours.disk.lock().unlock(&ours.handle, level), ffi::SQLITE_IOERR_UNLOCK)
}

unsafe extern "C" fn check_reserved_lock(file: *mut ffi::sqlite3_file, out: *mut c_int) -> c_int {
    // SAFETY: SQLite calls this with an open file.
    let ours = unsafe { ours(file) };
    let reserved = ours.disk.lock().is_reserved(&ours.handle);
    // SAFETY: SQLite gives a place for the answer.
    unsafe { *out = c_int::from(reserved.unwrap_or(false)) };
    answer(reserved.map(drop), ffi::SQLITE_IOERR_CHECKRESERVEDLOCK)
}

unsafe extern "C" fn file_control(_: *mut ffi::sqlite3_file, _: c_int, _: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_: *mut ffi::sqlite3_file) -> c_int {
    4096
}

/// A cut while writing changes no byte beside what was written, as SQLite assumes of every real disk.
unsafe extern "C" fn device_characteristics(_: *mut ffi::sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

unsafe extern "C" fn shm_map(
    file: *mut ffi::sqlite3_file,
    number: c_int,
    bytes: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    // SAFETY: SQLite calls this with an open file.
    let ours = unsafe { ours(file) };
    let region = ours.disk.lock().region(&ours.handle, number as usize, bytes as usize, extend != 0);
    let pointer = region.map(|region| region.unwrap_or(ptr::null_mut()));
    // SAFETY: SQLite gives a place for the answer. A region stays where it is as long as the disk, which
    // `ours` keeps alive.
    unsafe { *out = pointer.unwrap_or(ptr::null_mut()).cast() };
    answer(pointer.map(drop), ffi::SQLITE_IOERR_SHMMAP)
}

unsafe extern "C" fn shm_lock(
    file: *mut ffi::sqlite3_file,
    first: c_int,
    count: c_int,
    flags: c_int,
) -> c_int {
    // SAFETY: SQLite calls this with an open file.
    let ours = unsafe { ours(file) };
    let slots = first as usize..(first + count) as usize;
    let mut disk = ours.disk.lock();
    let result = if flags & ffi::SQLITE_SHM_UNLOCK != 0 {
        disk.unlock_shared(&ours.handle, slots)
    } else {
        disk.lock_shared(&ours.handle, slots, flags & ffi::SQLITE_SHM_EXCLUSIVE != 0)
    };
    answer(result, ffi::SQLITE_IOERR_SHMLOCK)
}

unsafe extern "C" fn shm_barrier(_: *mut ffi::sqlite3_file) {
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
}

unsafe extern "C" fn shm_unmap(_: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    ffi::SQLITE_OK
}
