//! The command line, and the checked settings it amounts to.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Parser;
use thiserror::Error;

use crate::{
    client::{
        directory::Address,
        limits::LOCAL_PORTS,
        login::{First, Login, Secret},
    },
    protocol::{RoomName, UserName, limits::HISTORY_MAX},
    tls::client::{Trust, TrustError},
};

/// Past events that a person is shown when joining a room.
const HISTORY_FOR_PEOPLE: usize = 20;

/// Chat from a terminal or a script.
///
/// On a terminal it fills the screen; ? shows the keys. With --plain, or where TERM is "dumb", it reads and
/// prints lines instead. What is typed is a message; what begins with / is a command (/help lists them), and
/// //text sends /text. When standard input or output is no terminal, the client prints one event a line,
/// waits after the end of the input until everything is acknowledged, and exits with 0 if it was, else with
/// 1. Messages that are not acknowledged yet are kept on disk and sent by the next run.
///
/// A registered user logs in once by password; the token that this gives is kept beside the outbox for the
/// next runs, until /logout. Scripts give the password in a file or in $SYNCNET_PASSWORD (one that is to be
/// chosen in $SYNCNET_NEW_PASSWORD, that of a room in $SYNCNET_ROOM_PASSWORD); a name that is not registered
/// is a guest's all the same.
#[derive(Debug, Parser)]
#[command(name = "syncnet-client", version)]
pub struct Options {
    /// A server's host; without host and port, servers are looked for on the network, then on this machine
    #[arg(long, value_name = "HOST")]
    server_host: Option<String>,
    /// A server's client port [default: 8000, 8001 and 8002 in turn]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    server_port: Option<u16>,
    /// Encrypt, and believe the authorities that this machine knows
    #[arg(long)]
    tls: bool,
    /// Encrypt, and believe the authorities in this file [default: $SYNCNET_CA]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The name to go by [default: $USER, else guest-xxxx]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Log in by password, also where the name could be a guest's
    #[arg(long, conflicts_with = "register")]
    login: bool,
    /// Make an account of this name first
    #[arg(long)]
    register: bool,
    /// A file whose first line is the password [default: $SYNCNET_PASSWORD]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// A file with a token to log in by, a bot's for example
    #[arg(long, value_name = "FILE", conflicts_with_all = ["register", "login"])]
    token_file: Option<PathBuf>,
    /// A room to join; may be given more than once, messages go to the first
    #[arg(long, value_name = "ROOM", default_value = "lobby")]
    room: Vec<String>,
    /// Read and print lines, also on a terminal that could show a whole screen
    #[arg(long)]
    pub plain: bool,
    /// Print every event, acknowledgement and notice as one JSON object a line
    #[arg(long)]
    pub json: bool,
    /// Where messages are kept until they are acknowledged
    /// [default: $XDG_STATE_HOME/syncnet, else ~/.local/state/syncnet]
    #[arg(long, value_name = "DIR")]
    outbox_dir: Option<PathBuf>,
    /// Past events to show when joining a room [default: 20 for people, 0 for pipes]
    #[arg(long, value_name = "N", value_parser = parse_history)]
    history: Option<usize>,
    /// Open the web client of a server in the browser, and do nothing else
    #[arg(long)]
    pub gui: bool,
    /// How long to wait for acknowledgements after the end of the input
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    wait_s: u32,
}

/// Mistakes in a command line that clap has accepted.
#[derive(Debug, Error)]
pub enum OptionError {
    /// It cannot name a room.
    #[error("{0:?} is not a name of a room: use 1 to 32 of A-Z a-z 0-9 _ . -")]
    RoomName(String),
    /// It cannot name a user.
    #[error("{0:?} is not a name of a user: use 1 to 32 of A-Z a-z 0-9 _ . -")]
    UserName(String),
    /// It cannot be a number of past events.
    #[error("must be a number from 0 to {HISTORY_MAX}")]
    History,
    /// A script must give a password beforehand.
    #[error("give the password with --password-file or in $SYNCNET_PASSWORD")]
    NoPassword,
    /// A file with a secret cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// There is no secret in a file.
    #[error("{} is empty", .0.display())]
    Empty(PathBuf),
    /// No name for a guest can be drawn.
    #[error("the system gives no random numbers: {0}")]
    NoChance(getrandom::Error),
    /// Messages have no place to be kept.
    #[error("there is no home folder: name a folder with --outbox-dir")]
    NoHome,
    /// The trusted certificates cannot be read.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

/// The checked settings of the client.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to look first; empty: by discovery.
    pub servers: Vec<Address>,
    /// Whose certificates are believed; nothing is encrypted without.
    pub trust: Option<Trust>,
    /// The name to go by.
    pub user: UserName,
    /// How to log in.
    pub login: Login,
    /// The user's password, if a script has given it.
    pub password: Option<Secret>,
    /// The password that the user chooses instead, if a script has given it.
    pub next_password: Option<Secret>,
    /// That of a room.
    pub room_password: Option<Secret>,
    /// The rooms to join, at least one.
    pub rooms: Vec<RoomName>,
    /// Whether output is JSON.
    pub json: bool,
    /// Where the outbox is.
    pub outbox_folder: PathBuf,
    /// Past events to show.
    pub history: usize,
    /// How long to wait after the end of the input.
    pub wait: Duration,
}

impl Options {
    /// The servers that the command line names.
    pub fn servers(&self) -> Vec<Address> {
        servers(self.server_host.clone(), self.server_port)
    }

    /// Whether connections use TLS.
    pub fn is_encrypted(&self) -> bool {
        self.tls || self.ca.is_some() || env::var_os("SYNCNET_CA").is_some_and(|path| !path.is_empty())
    }

    /// Checks what clap could not. `person`: a user sits at a terminal.
    ///
    /// # Errors
    /// The command line asks for something impossible, or a file that it names cannot be read.
    pub fn check(self, person: bool) -> Result<Settings, OptionError> {
        let rooms = self
            .room
            .iter()
            .map(|name| RoomName::new(name).ok_or_else(|| OptionError::RoomName(name.clone())));
        let first = if self.login {
            First::Password
        } else if self.register {
            First::Register
        } else {
            First::Guest
        };
        let password = match &self.password_file {
            Some(path) => Some(first_line(path)?),
            None => secret_of("SYNCNET_PASSWORD"),
        };
        if first != First::Guest && password.is_none() && !person {
            return Err(OptionError::NoPassword);
        }
        let token = self.token_file.as_deref().map(first_line).transpose()?;
        Ok(Settings {
            servers: self.servers(),
            trust: Trust::wanted(self.tls, self.ca.as_deref())?,
            login: Login { token, password: password.clone(), first },
            password,
            next_password: secret_of("SYNCNET_NEW_PASSWORD"),
            room_password: secret_of("SYNCNET_ROOM_PASSWORD"),
            user: user(self.user)?,
            rooms: rooms.collect::<Result<_, _>>()?,
            json: self.json,
            outbox_folder: match self.outbox_dir {
                Some(folder) => folder,
                None => outbox_folder()?,
            },
            history: self.history.unwrap_or(if person { HISTORY_FOR_PEOPLE } else { 0 }),
            wait: Duration::from_secs(self.wait_s.into()),
        })
    }
}

fn secret_of(variable: &str) -> Option<Secret> {
    env::var(variable).ok().filter(|text| !text.is_empty()).map(Secret::new)
}

fn first_line(path: &Path) -> Result<Secret, OptionError> {
    let unreadable = |source| OptionError::Unreadable { path: path.to_owned(), source };
    let text = fs::read_to_string(path).map_err(unreadable)?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(Secret::new(line)),
        _ => Err(OptionError::Empty(path.to_owned())),
    }
}

fn servers(host: Option<String>, port: Option<u16>) -> Vec<Address> {
    match (host, port) {
        (None, None) => vec![],
        (host, Some(port)) => vec![Address::new(host.unwrap_or_else(|| "localhost".into()), port)],
        (Some(host), None) => LOCAL_PORTS.map(|port| Address::new(host.clone(), port)).into(),
    }
}

fn user(given: Option<String>) -> Result<UserName, OptionError> {
    if let Some(name) = given {
        return UserName::new(&name).ok_or(OptionError::UserName(name));
    }
    if let Some(user) = env::var("USER").ok().and_then(|name| UserName::new(&name)) {
        return Ok(user);
    }
    let mut random = [0; 2];
    getrandom::fill(&mut random).map_err(OptionError::NoChance)?;
    let name = format!("guest-{:04x}", u16::from_le_bytes(random));
    Ok(UserName::new(&name).expect("letters, digits and a hyphen make a name"))
}

fn outbox_folder() -> Result<PathBuf, OptionError> {
    let folder = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = folder("XDG_STATE_HOME").filter(|path| path.is_absolute());
    let home = || folder("HOME").or_else(|| folder("USERPROFILE")).map(|home| home.join(".local/state"));
    let state = state.or_else(home).ok_or(OptionError::NoHome)?;
    Ok(state.join("syncnet"))
}

fn parse_history(text: &str) -> Result<usize, OptionError> {
    text.parse().ok().filter(|&count| count <= HISTORY_MAX).ok_or(OptionError::History)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(arguments: &[&str]) -> Result<Settings, String> {
        let all = ["syncnet-client", "--user", "alice", "--outbox-dir", "/tmp"].iter().chain(arguments);
        let options = Options::try_parse_from(all).map_err(|error| error.to_string())?;
        options.check(false).map_err(|error| error.to_string())
    }

    #[test]
    fn servers_are_those_given_or_none() {
        assert_eq!(settings(&[]).unwrap().servers, []);
        let one = settings(&["--server-port", "8001"]).unwrap().servers;
        assert_eq!(one, [Address::new("localhost", 8001)]);
        assert_eq!(settings(&["--server-host", "box"]).unwrap().servers.len(), 3);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (arguments, named) in [
            (["--room", "a b"], "a b"),
            (["--user", ""], "user"),
            (["--history", "501"], "500"),
            (["--server-port", "0"], "server-port"),
        ] {
            let reason = settings(&arguments).unwrap_err();
            assert!(reason.contains(named), "{reason}");
        }
    }
}
