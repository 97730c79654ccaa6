//! A file is deleted.

use super::super::{
    access::Context,
    effects::Effects,
    entities::audit::{Audited, AuditedRoom},
    file::no_file,
    operation::{Checked, Operation},
    reply::Reply,
    rights::Permission,
    state::State,
};
use crate::protocol::{
    audit::Action,
    name::UserName,
    refusal::{Code, Refusal},
};

pub use crate::protocol::request::FileDelete;

impl Operation for FileDelete {
    /// The answer, which tells what the file was.
    type Plan = Reply;

    fn audited(&self, state: &State, context: &Context<'_>) -> Option<Audited> {
        let file = state.files.get(&self.file_id).filter(|file| Some(file.uploader) != context.id)?;
        let place =
            file.posted.keys().find_map(|room| Some(AuditedRoom::of(*room, state.room_by_id(*room)?)));
        Some(Audited { place, ..Audited::of(Action::FileDelete).to(&state.user_name(file.uploader)) })
    }

    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<Reply>, Refusal> {
        let file = state.files.get(&self.file_id).ok_or_else(no_file)?;
        if Some(file.uploader) != context.id {
            if !state.may_read_file(context.id, file, context.now_ms) {
                return Err(no_file());
            }
            // A user who may delete each message that shows it may delete it.
            let may_delete = |room| {
                state.room_by_id(room).is_some_and(|room| {
                    state.access(room, context.id, context.now_ms).allows(Permission::DeleteOthers)
                })
            };
            if !file.posted.keys().all(|room| may_delete(*room)) {
                return Err(Refusal::new(Code::Forbidden, "the file is somebody else's"));
            }
        }
        Ok(Checked::Change(file.reply(self.file_id)))
    }

    fn apply(&self, reply: Reply, state: &mut State, _: &UserName, effects: &mut Effects) -> Reply {
        state.remove_file(effects, self.file_id);
        reply
    }
}
