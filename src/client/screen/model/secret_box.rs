//! The box in which a password is typed. It stays open until there is a password that can be one: what is
//! typed behind a mistake must not end in the room.

use crate::{client::terminal::secrets::PasswordKind, protocol::credential::ChosenPassword};

use super::field::Field;

/// A password that a command asks for.
#[derive(Debug)]
pub struct SecretBox {
    /// The command that needs it.
    pub line: String,
    /// Passwords that were typed for it before.
    pub secrets: Vec<String>,
    wanted: PasswordKind,
    /// The password that was typed the first time, of one that is asked for twice.
    first: Option<String>,
    /// What was wrong with the last one.
    pub wrong: Option<String>,
    pub field: Field,
}

impl SecretBox {
    pub fn new(line: String, secrets: Vec<String>, wanted: PasswordKind) -> SecretBox {
        SecretBox { line, secrets, wanted, first: None, wrong: None, field: Field::default() }
    }

    /// What is asked for.
    pub fn title(&self) -> &'static str {
        match self.wanted {
            _ if self.first.is_some() => "The same once more",
            PasswordKind::Own | PasswordKind::Login => "Your password",
            PasswordKind::Chosen | PasswordKind::Next => "A new password",
            PasswordKind::Room => "The password of the room",
            PasswordKind::RoomChosen => "A new password of the room",
        }
    }

    /// Which keys there are.
    pub fn keys(&self) -> &'static str {
        match self.wanted {
            PasswordKind::Login => "Enter · nothing for a guest · Esc gives up",
            _ => "Enter · Esc gives up",
        }
    }

    /// Takes what was typed; whether the password is complete and the last of `secrets`.
    pub fn accept(&mut self) -> bool {
        let typed = std::mem::take(&mut self.field).text();
        self.wrong = None;
        let is_new =
            matches!(self.wanted, PasswordKind::Chosen | PasswordKind::Next | PasswordKind::RoomChosen);
        if typed.is_empty() && self.wanted != PasswordKind::Login {
            self.wrong = Some("no password was typed".into());
        } else if let Some(first) = self.first.take() {
            if first == typed {
                self.secrets.push(typed);
                return true;
            }
            self.wrong = Some("the two were not the same".into());
        } else if !is_new {
            self.secrets.push(typed);
            return true;
        } else {
            match ChosenPassword::new(&typed) {
                Ok(_) => self.first = Some(typed),
                Err(invalid) => self.wrong = Some(invalid.of("the password").reason),
            }
        }
        false
    }
}
