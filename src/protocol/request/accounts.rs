//! Requests about accounts: the user's own, and those of others for administrators.

use serde::{Deserialize, Serialize};

use crate::protocol::{
    answer::UserList,
    checked::{Digest, Limit, Seconds},
    credential::{ChosenPassword, Password, Token},
    limits::{HISTORY_MAX, LIST_MAX},
    name::{RoomName, UserName},
};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Register {
    /// The name of the account, which is not registered yet.
    pub username: UserName,
    /// The password that opens it.
    pub password: ChosenPassword,
    /// Whether it administers the cluster: only an operator may ask for that.
    #[serde(default)]
    pub admin: bool,
}

/// Logs this connection in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "LoginFields", into = "LoginFields")]
pub enum Login {
    /// By a name that is not registered, if guests are allowed.
    Guest(UserName),
    Password(UserName, Password),
    /// By a token of an earlier login, or of a bot.
    Token(Token),
}

#[derive(Serialize, Deserialize)]
struct LoginFields {
    username: Option<UserName>,
    password: Option<Password>,
    token: Option<Token>,
}

impl TryFrom<LoginFields> for Login {
    type Error = &'static str;

    fn try_from(fields: LoginFields) -> Result<Login, &'static str> {
        let LoginFields { username, password, token } = fields;
        match (token, password) {
            (Some(_), Some(_)) => Err("give token or password, not both"),
            (Some(token), None) => Ok(Login::Token(token)),
            (None, password) => {
                let username = username.ok_or("username is missing")?;
                Ok(match password {
                    Some(password) => Login::Password(username, password),
                    None => Login::Guest(username),
                })
            }
        }
    }
}

impl From<Login> for LoginFields {
    fn from(login: Login) -> LoginFields {
        let (username, password, token) = match login {
            Login::Guest(username) => (Some(username), None, None),
            Login::Password(username, password) => (Some(username), Some(password), None),
            Login::Token(token) => (None, None, Some(token)),
        };
        LoginFields { username, password, token }
    }
}

/// Ends the session of this connection, and its token with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logout {
    /// All other sessions of the account end, too.
    #[serde(default)]
    pub everywhere: bool,
}

/// Takes no direct messages from a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    pub username: UserName,
}

/// Takes direct messages from a user again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unblock {
    pub username: UserName,
}

/// Gives the own account another password. Its sessions end, and this connection gets a new one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChangePassword {
    /// The password that the account has.
    pub old: Password,
    pub new: ChosenPassword,
}

/// Closes the own account for good.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CloseAccount {
    /// The account's password, so that an open session alone cannot do it.
    pub password: Password,
}

/// Asks for a challenge, to prove that this connection is an operator's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperatorChallenge {}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperatorLogin {
    /// See [`crate::protocol::operator`].
    pub proof: Digest,
}

/// Makes an account an administrator's, or takes that back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAdmin {
    pub username: UserName,
    /// Without a default: a request that forgets it must not take an administrator's rights away.
    pub admin: bool,
}

/// Gives an account another password. Its sessions end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetPassword {
    pub username: UserName,
    pub password: ChosenPassword,
}

/// Keeps a user out of a room, or out of the whole cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ban {
    /// `None`: the whole cluster.
    pub room: Option<RoomName>,
    pub username: UserName,
    /// `None`: until the user is unbanned.
    pub seconds: Option<Seconds>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unban {
    /// `None`: the ban from the whole cluster.
    pub room: Option<RoomName>,
    pub username: UserName,
}

/// Closes another user's account for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteAccount {
    pub username: UserName,
}

/// Lists the users of the cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Users {
    /// Those whose folded names come after this.
    pub after: Option<UserName>,
    /// [`HISTORY_MAX`] if it is left out.
    pub limit: Option<Limit<{ LIST_MAX as u64 }>>,
}

impl Users {
    /// How many are asked for.
    pub fn limit(&self) -> usize {
        self.limit.map_or(HISTORY_MAX, |limit| limit.get() as usize)
    }

    pub(super) fn next(&self, page: &UserList) -> Option<Users> {
        let last = page.users.last().filter(|_| page.more)?;
        Some(Users { after: Some(last.username.clone()), ..self.clone() })
    }
}

/// Makes an account for a program, with a token in the place of a password.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CreateBot {
    /// The name of the account.
    pub username: UserName,
}
