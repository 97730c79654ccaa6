//! What is done with a message that is selected.

use super::super::{
    keys::Action,
    layout::text::one_line,
    model::{
        Model,
        composer::Aim,
        field::Field,
        overlay::{Overlay, Question},
        room::{Item, State, place},
    },
    news::Wish,
};
use crate::protocol::request::{Pin, Unpin};

impl Model {
    pub(super) fn edit_last(&mut self) {
        let me = self.me.clone();
        let Some(room) = self.current_room_mut() else { return };
        // The last one is not the last that the servers have.
        let last = room.outgoing.last_key_value();
        match last.map(|(&number, own)| (number, matches!(own.state, State::Failed(_)))) {
            Some((number, true)) => return self.take_back(number),
            Some((_, false)) => {
                let reason = "your last message is on its way: it can be edited once it has arrived";
                return self.complain(reason);
            }
            None => {}
        }
        match room.last_own(&me) {
            Some(seq) => {
                let body = room.message(seq).map(|(_, message)| message.body.clone()).unwrap_or_default();
                room.composer.edit(seq, &body);
            }
            None => self.say("you have said nothing here yet that could be edited"),
        }
    }

    pub(super) fn act_on_selected(&mut self, action: Action) {
        let me = self.me.clone();
        let Some(room) = self.current_room_mut() else { return };
        let Some(selected) = room.selected else { return };
        let seq = match selected {
            Item::Event(seq) => seq,
            Item::Outgoing(number) => {
                let failed =
                    room.outgoing.get(&number).is_some_and(|own| matches!(own.state, State::Failed(_)));
                return match action {
                    Action::SendAgain | Action::Delete if failed => self.give_up_failed(number, action),
                    Action::Edit if failed => self.take_back(number),
                    _ => self.complain("this message has no place yet"),
                };
            }
        };
        let Some((event, message)) = room.message(seq) else { return };
        let is_own = event.author.key() == me;
        let (body, file, reply_to, deleted) =
            (message.body.clone(), message.file.clone(), message.reply_to, message.deleted.is_some());
        match action {
            Action::Fetch => match file {
                Some(file) => {
                    let (line, room) = (format!("/get {}", file.file_id), Some(room.name.clone()));
                    self.wish(Wish::Command { line, room, secrets: vec![] });
                    self.say(format!("fetching {}", one_line(&file.name)));
                }
                None => self.complain("no file belongs to this message"),
            },
            Action::Follow => match reply_to {
                Some(target) => {
                    let name = room.name.clone();
                    self.jump_to(&name, target);
                }
                None => self.complain("this message answers no other"),
            },
            Action::SendAgain => self.complain("this message was sent"),
            _ if deleted => self.complain("this message was deleted"),
            Action::Reply => {
                (room.composer.aim, room.selected) = (Aim::Reply(seq), None);
            }
            Action::Edit if is_own => {
                room.composer.edit(seq, &body);
                room.selected = None;
            }
            Action::Edit => self.complain("only its author can edit a message"),
            Action::Pin => {
                let (name, seq) = (room.name.clone(), place(seq));
                let is_pinned = room.pins.contains(&seq.get());
                self.wish(Wish::Ask(if is_pinned {
                    Unpin { room: name, seq }.into()
                } else {
                    Pin { room: name, seq }.into()
                }));
            }
            Action::React => self.overlay = Some(Overlay::React { seq, field: Field::default() }),
            _ => self.overlay = Some(Overlay::Question(Question::Delete(seq))),
        }
    }

    /// Takes the text of a refused message into the input again, to be changed.
    fn take_back(&mut self, number: u64) {
        let Some(room) = self.current_room_mut() else { return };
        if !room.composer.is_empty() {
            return self.complain("send or empty first what you have written");
        }
        room.selected = None;
        let Some(own) = room.outgoing.remove(&number) else { return };
        room.composer.set(&own.body);
        room.composer.aim = own.reply_to.map_or(Aim::Say, Aim::Reply);
    }

    /// Removes a refused message, and sends it once more if that is wanted.
    pub(super) fn give_up_failed(&mut self, number: u64, action: Action) {
        let Some(room) = self.current_room_mut() else { return };
        room.selected = None;
        let Some(own) = room.outgoing.remove(&number) else { return };
        if action == Action::SendAgain {
            let room = room.name.clone();
            self.wish(Wish::Send { room, body: own.body, reply_to: own.reply_to });
        }
    }
}
