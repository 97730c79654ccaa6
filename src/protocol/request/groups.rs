//! Requests that come in groups: about accounts, about files, and about the people of a room. Each reads those of
//! its group, and leaves the others.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    Administration, Login, Request,
    fields::{Fields, missing},
};
use crate::protocol::{
    credential::{Password, Token},
    file::{FILE_CHUNK_BYTES, FILE_NAME_BYTES, NewFile, is_content_type, is_file_name},
    limits::{HISTORY_MAX, LIST_MAX, TOPIC_BYTES},
    moderation::{Moderation, Retention, Role, RoomSettings},
    name::UserName,
    refusal::Refusal,
};

impl Fields<'_> {
    /// Requests about accounts.
    pub(super) fn account_request(&self, msg_type: &str) -> Result<Option<Request>, Refusal> {
        let username = || self.user("username");
        Ok(Some(match msg_type {
            "register" => Request::Register {
                username: username()?,
                password: Password::chosen(self.text("password")?)?,
                admin: self.flag("admin")?,
            },
            "login" => Request::Login(match (self.optional_text("token")?, self.get("password")) {
                (Some(token), None) => Login::Token(Token::parse(token)?),
                (None, Some(_)) => Login::Password(username()?, self.password("password")?),
                (None, None) => Login::Guest(username()?),
                (Some(_), Some(_)) => return Err(Refusal::bad_request("give token or password, not both")),
            }),
            "logout" => Request::Logout { everywhere: self.flag("everywhere")? },
            "change_password" => Request::ChangePassword {
                old: self.password("old")?,
                new: Password::chosen(self.text("new")?)?,
            },
            "close_account" => Request::CloseAccount { password: self.password("password")? },
            "operator_challenge" => Request::OperatorChallenge,
            "operator_login" => Request::OperatorLogin { proof: self.digest("proof")? },
            "set_admin" => Request::Administer(Administration::SetAdmin {
                username: username()?,
                // Left out it would make somebody an administrator no more.
                admin: self.optional_flag("admin")?.ok_or_else(|| missing("admin"))?,
            }),
            "set_password" => Request::Administer(Administration::SetPassword {
                username: username()?,
                password: Password::chosen(self.text("password")?)?,
            }),
            // Without a room it is the whole cluster that somebody is shut out of.
            "ban" if self.get("room").is_none() => {
                Request::Administer(Administration::Ban { username: username()?, seconds: self.seconds()? })
            }
            "unban" if self.get("room").is_none() => {
                Request::Administer(Administration::Unban { username: username()? })
            }
            "delete_account" => Request::Administer(Administration::DeleteAccount { username: username()? }),
            "users" => Request::Users {
                after: self.optional_name("after", UserName::new)?,
                limit: self.count("limit", HISTORY_MAX, 1..=LIST_MAX)?,
            },
            "create_bot" => Request::CreateBot { username: username()? },
            _ => return Ok(None),
        }))
    }

    /// Requests about files.
    pub(super) fn file_request(&self, msg_type: &str) -> Result<Option<Request>, Refusal> {
        Ok(Some(match msg_type {
            "file_begin" => Request::FileBegin(NewFile {
                room: self.room()?,
                name: self.file_name()?,
                size: self.integer("size")?,
                content_type: self.content_type()?,
            }),
            "file_chunk" => Request::FileChunk {
                file_id: self.file_id()?,
                offset: self.integer("offset")?,
                bytes: self.chunk()?,
            },
            "file_end" => Request::FileEnd { file_id: self.file_id()?, sha256: self.digest("sha256")? },
            "file_read" => Request::FileRead {
                file_id: self.file_id()?,
                offset: self.optional_integer("offset")?.unwrap_or(0),
            },
            "file_delete" => Request::FileDelete { file_id: self.file_id()? },
            _ => return Ok(None),
        }))
    }

    fn file_name(&self) -> Result<String, Refusal> {
        let name = self.text("name")?;
        if !is_file_name(name) {
            return Err(Refusal::bad_request(format!(
                "name must be a file name of 1 to {FILE_NAME_BYTES} bytes, without slashes and control characters"
            )));
        }
        Ok(name.to_owned())
    }

    fn content_type(&self) -> Result<String, Refusal> {
        let text = self.optional_text("content_type")?.unwrap_or("application/octet-stream");
        if !is_content_type(text) {
            return Err(Refusal::bad_request("content_type must be like text/plain"));
        }
        Ok(text.to_owned())
    }

    fn chunk(&self) -> Result<Vec<u8>, Refusal> {
        let bytes = STANDARD.decode(self.text("bytes")?);
        let bytes = bytes.map_err(|_| Refusal::bad_request("bytes must be base64 with its padding"))?;
        if bytes.is_empty() || bytes.len() > FILE_CHUNK_BYTES {
            return Err(Refusal::bad_request(format!("bytes must hold 1 to {FILE_CHUNK_BYTES} bytes")));
        }
        Ok(bytes)
    }

    /// What is done to a room or to one of its people.
    pub(super) fn moderation(&self, msg_type: &str) -> Result<Option<Moderation>, Refusal> {
        let username = || self.user("username");
        Ok(Some(match msg_type {
            "topic" => {
                self.text("topic")?;
                let topic = self.short_text("topic", TOPIC_BYTES)?.unwrap_or_default();
                Moderation::Topic { topic }
            }
            "invite" => Moderation::Invite { username: username()? },
            "uninvite" => Moderation::Uninvite { username: username()? },
            "kick" => Moderation::Kick { username: username()? },
            "ban" => Moderation::Ban { username: username()?, seconds: self.seconds()? },
            "unban" => Moderation::Unban { username: username()? },
            "mute" => Moderation::Mute { username: username()?, seconds: self.seconds()? },
            "unmute" => Moderation::Unmute { username: username()? },
            "set_role" => match self.text("role")? {
                "muted" => Moderation::Mute { username: username()?, seconds: None },
                word => {
                    let role = Role::parse(word);
                    let role = role.ok_or_else(|| {
                        Refusal::bad_request("role must be owner, moderator, member or muted")
                    })?;
                    Moderation::SetRole { username: username()?, role }
                }
            },
            "room_settings" => Moderation::Configure(self.room_settings()?),
            _ => return Ok(None),
        }))
    }

    fn room_settings(&self) -> Result<RoomSettings, Refusal> {
        let settings = RoomSettings {
            private: self.optional_flag("private")?,
            archived: self.optional_flag("archived")?,
            slow_s: self.small("slow_s", 0)?,
            // Both at once: what is left out beside the other is kept without limit.
            retention: match (self.small("keep_days", 0)?, self.optional_integer("keep_events")?) {
                (None, None) => None,
                (days, events) => Some(Retention::new(days, events)),
            },
        };
        match settings == RoomSettings::default() {
            true => Err(Refusal::bad_request(
                "give at least one of private, archived, slow_s, keep_days, keep_events",
            )),
            false => Ok(settings),
        }
    }
}
