//! The login: who the user is, and what to try if a server refuses it.
//!
//! A password is used once: its login gives a token, and every later connection logs in by that, after a
//! failover, too. A token that is refused is forgotten. All steps that are possible are tried in turn on a
//! connection. When none is left, the user is asked, and no connection is opened before the answer.

use std::fmt;

use crate::protocol::{
    Code, Refusal, UserName,
    checked::Invalid,
    credential::{ChosenPassword, Password, Token},
    request::{self, Register, Request},
};

/// A password or a token in memory. `Debug` never shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The text itself, for the code that sends or stores it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// How to log in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Login {
    /// The token of an earlier login, or of a bot. It is tried first.
    pub token: Option<Secret>,
    pub password: Option<Secret>,
    /// What to do without a token.
    pub first: First,
}

impl Login {
    pub fn by_token(token: Secret) -> Self {
        Login { token: Some(token), ..Login::default() }
    }

    pub fn by_password(password: Secret) -> Self {
        Login { password: Some(password), first: First::Password, token: None }
    }

    /// With a new account of this password.
    pub fn by_registering(password: Secret) -> Self {
        Login { password: Some(password), first: First::Register, token: None }
    }
}

/// The first step without a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum First {
    /// To be a guest; if the name is registered or guests are not allowed, the password, if there is one.
    #[default]
    Guest,
    Password,
    /// To register the name, and then the password.
    Register,
}

/// One attempt to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Guest,
    Token,
    Password,
    /// First of all make the account.
    Register,
}

/// What follows a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Try this on the same connection.
    Try(Step),
    AskUser,
}

/// The state of the login, over all connections.
#[derive(Debug)]
pub struct Access {
    login: Login,
    /// A `register` was sent and never answered: if the name is taken, it may be by that request.
    maybe_registered: bool,
    /// The user has been told who they are.
    pub told: bool,
}

impl Access {
    /// Nothing was tried yet.
    pub fn new(login: Login) -> Self {
        Access { login, maybe_registered: false, told: false }
    }

    /// The first step on a new connection.
    pub fn begin(&self) -> Step {
        match (&self.login.token, &self.login.password, self.login.first) {
            (Some(_), ..) => Step::Token,
            (None, Some(_), First::Register) => Step::Register,
            (None, Some(_), First::Password) => Step::Password,
            (None, None, _) | (None, Some(_), First::Guest) => Step::Guest,
        }
    }

    /// The request of a step.
    ///
    /// # Errors
    /// No server would take it.
    pub fn request(&self, step: Step, user: &UserName) -> Result<Request, Refusal> {
        let username = user.clone();
        let text = |secret: &Option<Secret>| secret.as_ref().map_or("", Secret::expose).to_owned();
        let password = text(&self.login.password);
        let wrong = |invalid: Invalid| invalid.of("password");
        Ok(match step {
            Step::Guest => request::Login::Guest(username).into(),
            Step::Token => request::Login::Token(Token::given(text(&self.login.token))).into(),
            Step::Password => {
                request::Login::Password(username, Password::new(&password).map_err(wrong)?).into()
            }
            Step::Register => {
                let password = ChosenPassword::new(&password).map_err(wrong)?;
                Register { username, password, admin: false }.into()
            }
        })
    }

    /// A step was refused for good.
    pub fn refused(&mut self, step: Step, refusal: &Refusal) -> Next {
        let has_password = self.login.password.is_some();
        match (step, refusal.code) {
            (Step::Token, Code::BadCredentials) => {
                if has_password {
                    Next::Try(Step::Password)
                } else {
                    Next::AskUser
                }
            }
            (Step::Guest, Code::NameTaken | Code::NotAuthenticated) if has_password => {
                Next::Try(Step::Password)
            }
            (Step::Register, Code::NameTaken) if std::mem::take(&mut self.maybe_registered) => {
                Next::Try(Step::Password)
            }
            (Step::Password | Step::Register, _) => {
                self.login.password = None;
                Next::AskUser
            }
            (Step::Token | Step::Guest, _) => Next::AskUser,
        }
    }

    /// A connection was lost while a `register` was unanswered.
    pub fn register_is_uncertain(&mut self) {
        self.maybe_registered = true;
    }

    /// The account is made; a new connection need not make it again.
    pub fn registered(&mut self) {
        self.login.first = First::Password;
    }

    /// A login has succeeded. Gives the token if it is another one than before.
    pub fn succeeded(&mut self, token: Option<&str>) -> Option<Secret> {
        let token = Secret::new(token?);
        self.login.password = None;
        let is_new = self.login.token.as_ref() != Some(&token);
        self.login.token = Some(token.clone());
        is_new.then_some(token)
    }

    /// The token is no longer valid; gives it, to be forgotten.
    pub fn take_token(&mut self) -> Option<Secret> {
        self.login.token.take()
    }

    /// The session has ended; gives the token to forget.
    pub fn ended(&mut self) -> Option<Secret> {
        self.login.password = None;
        self.take_token()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no(code: Code) -> Refusal {
        Refusal::new(code, "no")
    }

    #[test]
    fn a_password_is_used_once_and_then_its_token() {
        let mut access = Access::new(Login::by_password(Secret::new("secret")));
        assert_eq!(access.begin(), Step::Password);
        assert_eq!(access.succeeded(Some("snt_1")), Some(Secret::new("snt_1")));
        assert_eq!(access.begin(), Step::Token);
        assert_eq!(access.succeeded(Some("snt_1")), None, "the same is not kept again");
        assert_eq!(access.refused(Step::Token, &no(Code::BadCredentials)), Next::AskUser);
        assert!(!format!("{access:?}").contains("secret"));
    }

    #[test]
    fn a_token_that_is_refused_gives_way_to_the_password() {
        let mut login = Login::by_token(Secret::new("snt_1"));
        login.password = Some(Secret::new("secret"));
        let mut access = Access::new(login);
        assert_eq!(access.refused(Step::Token, &no(Code::BadCredentials)), Next::Try(Step::Password));
        assert_eq!(access.refused(Step::Password, &no(Code::BadCredentials)), Next::AskUser);
    }

    #[test]
    fn a_lost_answer_to_register_is_no_reason_to_give_up() {
        let mut access = Access::new(Login::by_registering(Secret::new("secret")));
        assert_eq!(access.begin(), Step::Register);
        access.register_is_uncertain();
        assert_eq!(access.refused(Step::Register, &no(Code::NameTaken)), Next::Try(Step::Password));
        let mut access = Access::new(Login::by_registering(Secret::new("secret")));
        assert_eq!(access.refused(Step::Register, &no(Code::NameTaken)), Next::AskUser);
    }

    #[test]
    fn a_guest_with_a_password_logs_in_where_the_name_is_registered() {
        let mut access = Access::new(Login { password: Some(Secret::new("secret")), ..Login::default() });
        assert_eq!(access.begin(), Step::Guest);
        assert_eq!(access.refused(Step::Guest, &no(Code::NameTaken)), Next::Try(Step::Password));
    }
}
