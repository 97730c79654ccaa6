//! Answers to requests about accounts.

use serde::{Deserialize, Serialize};

use crate::protocol::{
    checked::Digest,
    credential::Token,
    name::{ServerId, UserName},
    request::Presence,
};

/// The answer to `login`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoggedIn {
    /// Whether the name is registered.
    #[serde(default)]
    pub account: bool,
    /// Whether the account administers the cluster.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub administrator: bool,
    /// The life of the cluster's data, as in its status, so that a client knows before it asks for anything
    /// else. 0 if the server does not tell.
    #[serde(default)]
    pub epoch: u64,
    /// The server that leads, if one is known.
    pub leader_id: Option<ServerId>,
    pub server_id: ServerId,
    /// What logs in the next time; a guest has none.
    pub token: Option<Token>,
    /// The name the connection now goes by.
    pub username: UserName,
    /// Whether this server has lost the majority, so that it may not know who has the name by now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
}

/// The answer to what changes an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountName {
    /// Its name, in the case it was created with.
    pub username: UserName,
}

/// The answer to `create_bot`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BotCreated {
    /// What logs the bot in. It is told only here.
    pub token: Token,
    pub username: UserName,
}

/// The answer to `change_password`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PasswordChanged {
    /// What logs in from now on: every token of before has ended, that of this connection too.
    pub token: Token,
    pub username: UserName,
}

/// The answer to `operator_challenge`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// Good for one answer, on the same connection.
    pub challenge: Digest,
}

/// An answer that only says that it is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {}

/// The answer to `users`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserList {
    /// Whether there are more behind the last of them.
    #[serde(default)]
    pub more: bool,
    /// The users, by name.
    pub users: Vec<Account>,
}

/// A line of `users`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Whether the name is registered.
    pub account: bool,
    /// Whether they administer the cluster.
    pub admin: bool,
    /// Whether they are banned from the cluster.
    pub banned: bool,
    /// Whether it is a program.
    pub bot: bool,
    /// Whether a connection of the user is open on any server.
    pub online: bool,
    pub username: UserName,
}

/// The answer to `set_presence`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresenceSet {
    /// What the user is seen as now.
    pub state: Presence,
}
