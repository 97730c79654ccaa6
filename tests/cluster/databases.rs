//! The content of a stopped server's database file, read with nothing but SQLite and a JSON parser.

use std::{collections::BTreeMap, path::Path};

use rusqlite::{Connection, OpenFlags, OptionalExtension};
use serde_json::Value;
use syncnet::protocol::peer::LogMark;

/// Keys of state rows that begin with less are the consensus's own, and differ between servers.
const CHAT_ROWS: u8 = 16;

/// The content of a database.
pub struct Database {
    /// By room: its events, in the order of `seq`.
    pub rooms: BTreeMap<String, Vec<Value>>,
    /// The replicated state.
    pub state: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Reads the database in a server's data folder. SQLite must find it intact.
pub fn read(data: &Path) -> Database {
    let connection = open(data);
    let found: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("SQLite can check its own database");
    assert_eq!(found, "ok", "the database in {} is damaged", data.display());
    Database { rooms: rooms(&connection), state: state(&connection) }
}

/// The lowest index that is still needed of the log in a server's data folder, once it was cut. The server
/// may be running.
pub fn first_log_index(data: &Path) -> Option<u64> {
    let truncated: Option<Vec<u8>> = open(data)
        .query_row("SELECT value FROM meta WHERE name = 'truncated'", [], |row| row.get(0))
        .optional()
        .expect("the database can be read");
    truncated.map(|mark| {
        let mark: LogMark = postcard::from_bytes(&mark).expect("it says where the log was cut");
        mark.last_log_index + 1
    })
}

/// Opens the database in a server's data folder for reading only.
fn open(data: &Path) -> Connection {
    let path = data.join("syncnet.db");
    Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn rooms(connection: &Connection) -> BTreeMap<String, Vec<Value>> {
    let mut rooms: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let mut events =
        connection.prepare("SELECT json FROM event ORDER BY room, seq").expect("the table is there");
    let rows = events.query_map([], |row| row.get::<_, String>(0)).expect("events can be read");
    for json in rows {
        let json = json.expect("an event is text");
        let event: Value = serde_json::from_str(&json).expect("an event is JSON");
        let room = event["room"].as_str().expect("an event names its room").to_ascii_lowercase();
        rooms.entry(room).or_default().push(event);
    }
    rooms
}

fn state(connection: &Connection) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut rows = connection.prepare("SELECT key, value FROM state").expect("the table is there");
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("the state can be read");
    let rows = rows.map(|row| row.expect("a row has a key and a value"));
    rows.filter(|(key, _): &(Vec<u8>, Vec<u8>)| key.first().is_some_and(|&first| first >= CHAT_ROWS))
        .collect()
}

/// The identity in a server's data folder. The server may be running.
pub fn identity(data: &Path) -> Vec<u8> {
    open(data)
        .query_row("SELECT value FROM meta WHERE name = 'identity'", [], |row| row.get(0))
        .expect("data says whose it is")
}
