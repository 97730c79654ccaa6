//! A bot in fifty lines: it answers users who mention it, and does not notice a failover.
//!
//! Make its account with `/bot echo` in `syncnet-client`, put the token that is shown into a file, and run
//!
//! ```console
//! $ cargo run --example echo_bot -- echo lobby token-file [HOST:PORT]
//! ```
//!
//! The token is its login, also after a lost server. Answers stay in an outbox on disk until a server has
//! acknowledged them, so each is posted once, whatever happens meanwhile.

use std::{env, error::Error, fs, path::PathBuf};

use syncnet::{
    client::{
        Client, ClientConfig,
        directory::Address,
        login::{Login, Secret},
        update::Update,
    },
    protocol::{Event, EventKind, RoomName, UserName},
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [name, room, token_file, server @ ..] = arguments.as_slice() else {
        return Err("use it as: echo_bot NAME ROOM TOKEN_FILE [HOST:PORT]".into());
    };
    let name = UserName::new(name).ok_or("NAME must be 1 to 32 of A-Z a-z 0-9 _ . -")?;
    let room = RoomName::new(room).ok_or("ROOM must be 1 to 32 of A-Z a-z 0-9 _ . -")?;
    let token = fs::read_to_string(token_file)?;
    let mut config = ClientConfig::new(name.clone());
    config.login = Login::by_token(Secret::new(token.trim()));
    config.servers = servers(server)?;
    // It answers messages from now on.
    config.history = 0;
    config.outbox_folder = Some(PathBuf::from(format!("{token_file}.outbox")));
    let client = Client::connect(config)?;
    client.join(&room)?;
    for update in client.updates() {
        match update {
            Update::Event { event, past: false } => {
                if let Some(answer) = answer(&event, &name) {
                    client.reply(&event.room, event.seq, &answer)?;
                }
            }
            Update::Connection(connection) => println!("{connection}"),
            Update::RoomRefused { room, refusal } => return Err(format!("{room}: {refusal}").into()),
            Update::LoginNeeded { refusal, .. } => return Err(refusal.to_string().into()),
            Update::Stopped { reason } => return Err(reason.into()),
            _ => {}
        }
    }
    Ok(())
}

/// The bot's answer to an event: servers say who is mentioned in a message.
fn answer(event: &Event, name: &UserName) -> Option<String> {
    let EventKind::Message(message) = &event.kind else { return None };
    let is_named = message.mentions.iter().any(|named| named.key() == name.key());
    // Never to itself, nor to its own echo.
    (is_named && event.author.key() != name.key())
        .then(|| format!("{} said: {}", event.author, message.body.replace('@', "")))
}

fn servers(given: &[String]) -> Result<Vec<Address>, Box<dyn Error>> {
    let address = |text: &String| {
        let (host, port) = text.rsplit_once(':').ok_or("a server is HOST:PORT")?;
        Ok(Address::new(host, port.parse()?))
    };
    given.iter().map(address).collect()
}
