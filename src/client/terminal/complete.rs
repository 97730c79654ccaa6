//! The Tab key: candidates for a word that is typed.

use crate::protocol::{RoomName, UserName};

use super::commands::{ArgumentKind, COMMANDS};
use ArgumentKind::{Any, File, Of, Room, Search, User};

/// What limits a search.
const FILTERS: [&str; 4] = ["in:", "by:", "since:", "until:"];

/// What completion knows.
#[derive(Debug)]
pub struct Known<'a> {
    pub user: &'a UserName,
    /// The rooms that were seen.
    pub rooms: &'a [String],
    /// The users that were seen.
    pub users: &'a [String],
}

impl Known<'_> {
    fn rooms(&self, word: &str) -> Vec<String> {
        let mut found: Vec<String> = matching(self.rooms, word).cloned().collect();
        // A conversation of two is found by the name of the other user.
        if let Some(name) = word.strip_prefix('@') {
            let others = matching(self.users, name).filter_map(|user| UserName::new(user));
            let others = others.filter(|other| other.key() != self.user.key());
            found.extend(others.map(|other| RoomName::direct(self.user, &other).to_string()));
            found.sort();
            found.dedup_by_key(|room| room.to_ascii_lowercase());
        }
        found
    }

    /// Users, with the `@` that was typed before them.
    fn users(&self, word: &str) -> Vec<String> {
        let (at, name) = word.strip_prefix('@').map_or(("", word), |name| ("@", name));
        matching(self.users, name).map(|user| format!("{at}{user}")).collect()
    }
}

/// The `names` that begin with `word`; case does not count.
fn matching<'a>(names: &'a [String], word: &str) -> impl Iterator<Item = &'a String> {
    names.iter().filter(move |name| {
        name.get(..word.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(word))
    })
}

/// The candidates of the Tab key for the last word of `line`, and where that word begins.
pub fn complete(line: &str, known: &Known<'_>) -> (usize, Vec<String>) {
    let start = line
        .rfind(char::is_whitespace)
        .map_or(0, |at| at + line[at..].chars().next().map_or(1, char::len_utf8));
    let word = &line[start..];
    let candidates = match kind(&line[..start]) {
        None if start == 0 && word.starts_with('/') => {
            let names = COMMANDS.iter().map(|command| format!("/{}", command.name));
            names.filter(|name| name.starts_with(word)).collect()
        }
        Some(Room) => known.rooms(word),
        Some(User) => known.users(word),
        Some(Of(words)) => {
            words.iter().filter(|known| known.starts_with(word)).map(|&known| known.to_owned()).collect()
        }
        Some(Search) => match word.split_once(':') {
            Some(("in", room)) => known.rooms(room).into_iter().map(|room| format!("in:{room}")).collect(),
            Some(("by", user)) => known.users(user).into_iter().map(|user| format!("by:{user}")).collect(),
            _ if word.is_empty() => vec![],
            _ => FILTERS.iter().filter(|name| name.starts_with(word)).map(|&name| name.to_owned()).collect(),
        },
        Some(File | Any) | None if word.starts_with('@') => known.users(word),
        Some(File | Any) | None => vec![],
    };
    // Another word may follow, unless a value does.
    let end = |candidate: &String| if candidate.ends_with(['=', ':']) { "" } else { " " };
    (start, candidates.into_iter().map(|candidate| format!("{candidate}{}", end(&candidate))).collect())
}

/// What comes next behind `words`, if they begin with a command.
fn kind(words: &str) -> Option<ArgumentKind> {
    let mut before = words.split_whitespace();
    let name = before.next()?.strip_prefix('/')?;
    let command = COMMANDS.iter().find(|command| command.name == name)?;
    command.kinds.get(before.count()).or(command.kinds.last()).copied()
}

/// Where the path at the end of `line` begins, if there is one: it goes on to the end, with its spaces.
pub fn path_at(line: &str) -> Option<usize> {
    let name = line.strip_prefix('/')?.split(char::is_whitespace).next()?;
    let command = COMMANDS.iter().find(|command| command.name == name)?;
    let words_before = 1 + command.kinds.iter().position(|kind| *kind == File)?;
    let mut rest = line;
    for _ in 0..words_before {
        rest = rest[rest.find(char::is_whitespace)?..].trim_start();
    }
    Some(line.len() - rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tab_completes_commands_rooms_names_and_words() {
        let rooms = ["den", "lobby", "@alice,carol"].map(str::to_owned);
        let users = ["Alice", "bob"].map(str::to_owned);
        let user = UserName::new("alice").unwrap();
        let known = Known { user: &user, rooms: &rooms, users: &users };
        for (line, start, candidates) in [
            ("/jo", 0, vec!["/join "]),
            ("/join d", 6, vec!["den "]),
            ("/join ", 6, vec!["den ", "lobby ", "@alice,carol "]),
            ("/join @al", 6, vec!["@alice,carol "]),
            ("/join @B", 6, vec!["@alice,bob "]),
            ("/who @alice,c", 5, vec!["@alice,carol "]),
            ("/kick @a", 6, vec!["@Alice "]),
            ("/search tea in:d", 12, vec!["in:den "]),
            ("/search by:B", 8, vec!["by:bob "]),
            ("/search i", 8, vec!["in:"]),
            ("/kick a", 6, vec!["Alice "]),
            ("hello @B", 6, vec!["@bob "]),
            ("/role bob mo", 10, vec!["moderator "]),
            ("/room-settings private=yes sl", 27, vec!["slow="]),
            ("hello d", 6, vec![]),
            ("/edit 1 d", 8, vec![]),
            ("é @", 3, vec!["@Alice ", "@bob "]),
        ] {
            assert_eq!(
                complete(line, &known),
                (start, candidates.iter().map(|c| (*c).to_owned()).collect()),
                "{line}"
            );
        }
        for (line, at) in [
            ("/send ./a", Some(6)),
            ("/send ", Some(6)),
            ("/send my file", Some(6)),
            ("/get 00 my f", Some(8)),
            ("/get 00", None),
            ("/send", None),
            ("hi /send x", None),
        ] {
            assert_eq!(path_at(line), at, "{line}");
        }
    }
}
