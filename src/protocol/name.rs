//! Checked names. A value of these types was checked once, when it was made.
//!
//! Rooms and users keep the case they were created with and compare without it; the folded form is a
//! type of its own (`RoomKey`, `UserKey`), so that a lookup cannot use the wrong one.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{checked::Invalid, limits::NAME_BYTES, mentions::is_group};

/// Whether `text` is a well-formed name: `[A-Za-z0-9_.-]{1,32}`.
fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

/// The two names of a direct conversation `@a,b`; `None` if `text` is not one. Both names are well formed and
/// in the order of their folded forms, so that two people have one conversation.
fn direct_names(text: &str) -> Option<(&str, &str)> {
    let (first, second) = text.strip_prefix('@')?.split_once(',')?;
    let in_order = first.to_ascii_lowercase() <= second.to_ascii_lowercase();
    (is_name(first) && is_name(second) && in_order).then_some((first, second))
}

/// Whether `text` names a room: a well-formed name, or a direct conversation.
fn is_room_name(text: &str) -> bool {
    is_name(text) || direct_names(text).is_some()
}

/// Whether programs take the text for something else than a name: a folder (`..`), an option (`-x`), or what
/// every object of JavaScript has.
fn is_treacherous(text: &str) -> bool {
    const OF_OBJECTS: [&str; 14] = [
        "__definegetter__",
        "__definesetter__",
        "__lookupgetter__",
        "__lookupsetter__",
        "__proto__",
        "constructor",
        "hasownproperty",
        "isprototypeof",
        "propertyisenumerable",
        "prototype",
        "tolocalestring",
        "tosource",
        "tostring",
        "valueof",
    ];
    text.starts_with('-')
        || text.bytes().all(|byte| byte == b'.')
        || OF_OBJECTS.iter().any(|word| text.eq_ignore_ascii_case(word))
}

macro_rules! checked_name {
    ($name:ident, $key:ident, $what:literal, $check:path) => {
        #[doc = concat!("The name of a ", $what, " as it was first written.")]
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        #[doc = concat!("The name of a ", $what, " folded for comparison: equal keys name the same ", $what, ".")]
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $key(Arc<str>);

        impl $name {
            #[doc = concat!("Checks `text`; `None` where it is not a name of a ", $what, ".")]
            pub fn new(text: &str) -> Option<Self> {
                $check(text).then(|| $name(text.into()))
            }
            /// The form to compare and look up by.
            pub fn key(&self) -> $key {
                $key(self.0.to_ascii_lowercase().into())
            }
            /// The text as it was written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl $key {
            /// The folded text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Display for $key {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().into()
            }
        }
        impl From<$key> for String {
            fn from(key: $key) -> String {
                key.0.as_ref().into()
            }
        }
        impl TryFrom<String> for $name {
            type Error = Invalid;
            fn try_from(text: String) -> Result<Self, Invalid> {
                $name::new(&text).ok_or_else(|| "must be 1 to 32 of A-Z a-z 0-9 _ . -".into())
            }
        }
        impl TryFrom<String> for $key {
            type Error = Invalid;
            fn try_from(text: String) -> Result<Self, Invalid> {
                Ok($name::try_from(text)?.key())
            }
        }
    };
}

checked_name!(RoomName, RoomKey, "room", is_room_name);
checked_name!(UserName, UserKey, "user", is_name);

impl UserName {
    /// Whether no user may have this name: it is a word for all members, or programs may take it for
    /// something else. The ids of the servers are reserved, too, but not known here.
    pub fn is_reserved(&self) -> bool {
        is_group(&self.0)
            || ["all", "everyone"].iter().any(|word| self.0.eq_ignore_ascii_case(word))
            || is_treacherous(&self.0)
    }
}

impl RoomName {
    /// Whether no new room gets this name, because programs may take it for something else.
    pub fn is_reserved(&self) -> bool {
        is_treacherous(&self.0)
    }

    /// The room in which these two speak to each other: `@a,b`, sorted by their folded names.
    pub fn direct(one: &UserName, other: &UserName) -> RoomName {
        let (first, second) = if one.key() <= other.key() { (one, other) } else { (other, one) };
        RoomName(format!("@{first},{second}").into())
    }

    /// Whose direct conversation this is; `None` for a room with a name of its own.
    pub fn direct_pair(&self) -> Option<(UserName, UserName)> {
        let (first, second) = direct_names(&self.0)?;
        Some((UserName::new(first)?, UserName::new(second)?))
    }
}

/// A text that is not a server's id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is not a server id: use 1 to 32 of A-Z a-z 0-9 _ . -")]
pub struct NoServerId(String);

/// The configured id of a server, such as `server3`. Compared as written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServerId(Arc<str>);

impl ServerId {
    /// Checks `text`; `None` if it is not `[A-Za-z0-9_.-]{1,32}`.
    pub fn new(text: &str) -> Option<Self> {
        is_name(text).then(|| ServerId(text.into()))
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl From<ServerId> for String {
    fn from(id: ServerId) -> String {
        id.0.as_ref().into()
    }
}
impl TryFrom<String> for ServerId {
    type Error = NoServerId;
    fn try_from(text: String) -> Result<Self, NoServerId> {
        // It may come from anywhere, and be of any length.
        ServerId::new(&text).ok_or_else(|| NoServerId(text.chars().take(40).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_and_fold() {
        for good in ["a", "Lobby", "a.b-c_9", &"x".repeat(32)] {
            assert!(RoomName::new(good).is_some(), "{good}");
        }
        for bad in ["", " ", "a b", "é", "a/b", "@a", "@b,a", "@a,b,c", "@a,", "a\0", &"x".repeat(33)] {
            assert!(RoomName::new(bad).is_none(), "{bad}");
        }
        assert_eq!(UserName::new("Alice").unwrap().key(), UserName::new("aLICE").unwrap().key());
        assert_eq!(UserName::new("Alice").unwrap().to_string(), "Alice");
        assert!(UserName::new("@a,b").is_none());
    }

    #[test]
    fn some_names_are_reserved() {
        let user = |text| UserName::new(text).unwrap().is_reserved();
        let room = |text| RoomName::new(text).unwrap().is_reserved();
        for name in ["here", "Channel", "ALL", "everyone"] {
            assert!(user(name) && !room(name), "{name}");
        }
        for name in [
            "-",
            "-rf",
            "--help",
            ".",
            "..",
            "....",
            "__proto__",
            "__PROTO__",
            "constructor",
            "hasOwnProperty",
        ] {
            assert!(user(name) && room(name), "{name}");
        }
        for name in ["a-", "_", "__", "a.", ".a", "here1", "proto", "hereby", "construct0r"] {
            assert!(!user(name) && !room(name), "{name}");
        }
        assert!(!room("@-a,-b"), "it is no name of its own");
    }

    #[test]
    fn two_people_have_one_direct_conversation() {
        let name = |text| UserName::new(text).unwrap();
        let room = RoomName::direct(&name("bob"), &name("Alice"));
        assert_eq!(room.as_str(), "@Alice,bob");
        assert_eq!(room, RoomName::direct(&name("Alice"), &name("bob")));
        assert_eq!(RoomName::new("@Alice,bob").unwrap().direct_pair(), Some((name("Alice"), name("bob"))));
        assert_eq!(RoomName::new("lobby").unwrap().direct_pair(), None);
    }
}
