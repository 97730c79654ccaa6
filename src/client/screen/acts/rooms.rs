//! Going from room to room.

use super::super::{
    model::{
        Model,
        room::{Joining, Room, ScrollPosition},
    },
    news::Wish,
};
use crate::protocol::RoomName;

impl Model {
    /// Shows a room, and joins it if the user is not in it.
    pub(super) fn open(&mut self, name: &RoomName) {
        let key = name.key();
        if self.current.as_ref() == Some(&key) && self.rooms.contains_key(&key) {
            return;
        }
        if let Some(room) = self.current_room_mut() {
            room.leave_screen();
        }
        if !self.rooms.contains_key(&key) {
            self.wish(Wish::Join(name.clone()));
        }
        let room = self.room_of(name);
        if matches!(room.joining, Joining::Refused(_)) {
            room.joining = Joining::Asked;
            self.wish(Wish::Join(name.clone()));
        }
        let room = self.room_of(name);
        room.at = ScrollPosition::FirstUnread;
        room.unread_from = room.last_read.filter(|_| room.unread > 0);
        room.asked.clear();
        self.current = Some(key);
    }

    /// Goes up or down the list of rooms.
    pub(super) fn step(&mut self, by: isize) {
        let order = self.order();
        let at = order.iter().position(|room| Some(room.name.key()) == self.current);
        let count = isize::try_from(order.len()).unwrap_or(isize::MAX).max(1);
        let next = at.map_or(0, |at| (isize::try_from(at).unwrap_or(0) + by).rem_euclid(count));
        let name = usize::try_from(next).ok().and_then(|at| order.get(at)).map(|room| room.name.clone());
        name.iter().for_each(|name| self.open(name));
    }

    /// Goes on to the next room: mentions first, then direct messages, then the rest.
    pub(super) fn next_unread(&mut self) {
        let order = self.order();
        let here = order.iter().position(|room| Some(room.name.key()) == self.current).unwrap_or(0);
        let rank = |room: &Room| match room {
            room if room.mentions > 0 => Some(0),
            room if room.unread == 0 || self.is_silent(room) => None,
            room if room.other.is_some() => Some(1),
            _ => Some(2),
        };
        let others = order.iter().enumerate().filter(|&(at, _)| at != here);
        let ranked = others.filter_map(|(at, room)| {
            let steps = (at + order.len() - here) % order.len();
            rank(room).map(|rank| (rank, steps, room.name.clone()))
        });
        match ranked.min() {
            Some((_, _, name)) => self.open(&name),
            None => self.say("nothing is unread in another room"),
        }
    }
}
