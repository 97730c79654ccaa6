//! The data folder: who may open it, and what happens to data that must not be used.

use std::{fs, path::Path};

use rusqlite::Connection;
use syncnet::{
    disk::{Storage, StorageError},
    protocol::{name::ServerId, peer::NodeId},
    storage::{OpenError, SqliteStorage, folder::set_aside},
};

use crate::generator::{cluster, put_meta, server_id};

const NODE: NodeId = NodeId(5);
/// The first file of a log.
const SEGMENT: &str = "log-0000000000000001";

fn open(dir: &Path) -> Result<SqliteStorage, OpenError> {
    SqliteStorage::open(dir, &server_id(), NODE)
}

/// The sentence with which a folder is refused.
fn refusal(result: Result<SqliteStorage, OpenError>) -> String {
    match result.expect_err("it must be refused") {
        OpenError::Refused(why) => why,
        other => panic!("not a refusal: {other}"),
    }
}

fn doubt(result: Result<SqliteStorage, OpenError>) -> String {
    match result.expect_err("it must be doubted") {
        OpenError::Storage(StorageError::Doubtful(why)) => why,
        other => panic!("not a doubt: {other}"),
    }
}

#[test]
fn a_folder_is_made_and_its_openings_are_counted() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("data").join("server1");
    let mut boot = 0;
    for number in 1..4 {
        let fresh = NodeId(100 + number);
        // The step between two runs comes from the random number that was passed in.
        boot += 1 + fresh.0;
        let storage = SqliteStorage::open(&dir, &server_id(), fresh).unwrap();
        let identity = storage.load().unwrap().identity;
        assert_eq!((identity.node_id, identity.boot), (NodeId(101), boot));
        assert_eq!(identity.cluster, None);
    }
}

#[cfg(unix)]
#[test]
fn a_folder_that_is_removed_or_replaced_under_its_user_is_noticed() {
    let copy_over = |file: &Path| {
        let aside = file.with_extension("aside");
        fs::rename(file, &aside).unwrap();
        fs::copy(&aside, file).unwrap();
    };
    type Harm<'a> = &'a dyn Fn(&Path);
    let harms: [(&str, Harm<'_>); 8] = [
        ("the folder is removed", &|dir| fs::remove_dir_all(dir).unwrap()),
        ("the folder is moved", &|dir| fs::rename(dir, dir.with_extension("moved")).unwrap()),
        ("the database is removed", &|dir| fs::remove_file(dir.join("syncnet.db")).unwrap()),
        ("the database is replaced", &|dir| copy_over(&dir.join("syncnet.db"))),
        ("the WAL is removed", &|dir| fs::remove_file(dir.join("syncnet.db-wal")).unwrap()),
        ("the log is removed", &|dir| fs::remove_file(dir.join(SEGMENT)).unwrap()),
        ("the log is replaced", &|dir| copy_over(&dir.join(SEGMENT))),
        ("the lock is replaced", &|dir| copy_over(&dir.join("lock"))),
    ];
    for (what, harm) in harms {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("data");
        let storage = open(&dir).unwrap();
        storage.check_in_place().unwrap();
        storage.check_in_place().unwrap();
        harm(&dir);
        let error = storage.check_in_place().expect_err(what);
        assert!(
            matches!(&error, StorageError::Failed(why) if why.contains("removed or replaced")),
            "{error}"
        );
    }
}

#[test]
fn a_folder_in_use_is_refused_by_name_and_process() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path()).unwrap();
    let why = refusal(open(dir.path()));
    assert!(why.contains(&dir.path().display().to_string()), "{why}");
    assert!(why.contains(&format!("process {}", std::process::id())), "{why}");
    drop(first);
    open(dir.path()).unwrap();
}

#[test]
fn another_servers_folder_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let other = ServerId::new("server2").unwrap();
    let why = refusal(SqliteStorage::open(dir.path(), &other, NODE));
    assert!(why.contains("server1") && why.contains("server2"), "{why}");
    assert_eq!(open(dir.path()).unwrap().load().unwrap().identity.boot, 2 * (1 + NODE.0));
}

#[test]
fn foreign_and_newer_databases_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("syncnet.db");
    Connection::open(&database).unwrap().execute_batch("CREATE TABLE theirs (n INTEGER)").unwrap();
    let why = refusal(open(dir.path()));
    assert!(why.contains("another program"), "{why}");

    fs::remove_file(&database).unwrap();
    drop(open(dir.path()).unwrap());
    let newer = Connection::open(&database).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    put_meta(&newer, "schema", &99_i32);
    drop(newer);
    let before = fs::read(&database).unwrap();
    let why = refusal(open(dir.path()));
    assert!(why.contains("another version") && why.contains("99"), "{why}");
    assert!(fs::read(&database).unwrap() == before, "it was not left alone");
}

/// The mode of a file, without its kind.
#[cfg(unix)]
fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[cfg(unix)]
#[test]
fn only_the_owner_may_look_into_a_folder() {
    use std::os::unix::fs::PermissionsExt;
    let files = ["syncnet.db", "syncnet.db-wal", "syncnet.db-shm", "lock", SEGMENT];
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("server1");
    let mut storage = open(&dir).unwrap();
    storage.commit(cluster()).unwrap();
    assert_eq!(mode(&dir), 0o700);
    for name in files {
        assert_eq!(mode(&dir.join(name)), 0o600, "{name}");
    }
    drop(storage);
    // One that an earlier version has made.
    for name in ["syncnet.db", "lock"] {
        fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o644)).unwrap();
    }
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    let mut storage = open(&dir).unwrap();
    storage.commit(cluster()).unwrap();
    assert_eq!(mode(&dir), 0o700);
    for name in files {
        assert_eq!(mode(&dir.join(name)), 0o600, "{name}");
    }
    // Narrower permissions of an owner stay.
    drop(storage);
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o500)).unwrap();
    let _ = open(&dir);
    assert_eq!(mode(&dir), 0o500);
}

#[test]
fn a_folder_that_cannot_be_written_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(refusal(open(&file.join("data"))).contains("cannot be made"));
    // No user can write there, not even root.
    #[cfg(target_os = "linux")]
    assert!(refusal(open(Path::new("/proc/self"))).contains("cannot be used"));
}

#[test]
fn what_is_no_database_is_doubted() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("syncnet.db"), "no database at all, but long enough to look at".repeat(200))
        .unwrap();
    doubt(open(dir.path()));
}

#[test]
fn doubtful_data_is_set_aside_and_the_next_start_is_a_new_incarnation() {
    let dir = tempfile::tempdir().unwrap();
    let mut storage = open(dir.path()).unwrap();
    storage.commit(cluster()).unwrap();
    set_aside(dir.path()).expect_err("the folder is in use");
    drop(storage);
    // The note of a process whose sync failed.
    fs::write(dir.path().join("doubt"), "disk I/O error").unwrap();
    assert!(doubt(open(dir.path())).contains("disk I/O error"));

    for number in 1..=5 {
        let aside = set_aside(dir.path()).unwrap();
        assert_eq!(aside, dir.path().join(format!("quarantine-{number}")));
        assert!(aside.join("syncnet.db").exists() && aside.join(SEGMENT).exists());
        let fresh = NodeId(1_000 + number);
        let storage = SqliteStorage::open(dir.path(), &server_id(), fresh).unwrap();
        let identity = storage.load().unwrap().identity;
        assert_eq!((identity.node_id, identity.boot, identity.cluster), (fresh, 1 + fresh.0, None));
    }
    let kept = (1..=5).filter(|number| dir.path().join(format!("quarantine-{number}")).exists());
    assert_eq!(kept.collect::<Vec<_>>(), [3, 4, 5]);
}

#[test]
fn a_wal_without_its_database_is_not_taken_for_a_part_of_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let mut storage = open(dir.path()).unwrap();
    storage.commit(cluster()).unwrap();
    let wal = fs::read(dir.path().join("syncnet.db-wal")).unwrap();
    drop(storage);
    fs::remove_file(dir.path().join("syncnet.db")).unwrap();
    fs::write(dir.path().join("syncnet.db-wal"), wal).unwrap();
    // Nor is the log: it is set aside.
    assert!(doubt(open(dir.path())).contains("the database is gone"));
    fs::remove_file(dir.path().join(SEGMENT)).unwrap();
    let identity = open(dir.path()).unwrap().load().unwrap().identity;
    assert_eq!((identity.boot, identity.cluster), (1 + NODE.0, None));
}
