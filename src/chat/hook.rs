//! Bots and webhooks go with the users who made them.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    effects::Effects,
    entities::{account::Holder, room::Role, user_id::UserId},
    rows,
    state::State,
};
use crate::{disk::RoomId, protocol::event::EventKind};

impl State {
    /// A user who is removed from a room loses the bots and webhooks that they made there. A bot that owns
    /// the room stays its owner.
    pub(super) fn send_bots_out(&mut self, effects: &mut Effects, id: RoomId, by: UserId, maker: UserId) {
        let members = self.room_mut(id).members.clone();
        let owned = members.iter().filter(|(_, role)| **role != Role::Owner).map(|(member, _)| *member);
        let bots: Vec<UserId> = owned.filter(|member| self.is_bot_of(*member, maker)).collect();
        for bot in &bots {
            let username = self.user_name(*bot);
            self.publish(effects, id, by, EventKind::Kicked { username });
            self.end_membership(effects, *bot, id);
        }
        let hooks = self.hooks.iter().filter(|(_, hook)| hook.room == id);
        let is_theirs = |user: UserId| user == maker || self.is_bot_of(user, maker);
        let hooks = hooks.filter(|(_, hook)| is_theirs(hook.made_by) || is_theirs(hook.user));
        for token in hooks.map(|(token, _)| *token).collect::<Vec<_>>() {
            self.hooks.remove(&token);
            effects.rows.push(rows::hook(token, None));
        }
    }

    /// Ends the webhooks that post for a user or for one of their bots, and those that they have made. Gives
    /// their bots: those that they have made, and those that these have made.
    pub(super) fn end_hooks(&mut self, effects: &mut Effects, id: UserId) -> BTreeSet<UserId> {
        let mut made: BTreeMap<UserId, Vec<UserId>> = BTreeMap::new();
        for (bot, user) in &self.users {
            if let Holder::Bot { made_by } = user.account.holder {
                made.entry(made_by).or_default().push(*bot);
            }
        }
        let mut bots = BTreeSet::new();
        let mut makers = vec![id];
        while let Some(maker) = makers.pop() {
            makers.extend(made.remove(&maker).unwrap_or_default().into_iter().filter(|it| bots.insert(*it)));
        }
        let is_theirs = |user: &UserId| *user == id || bots.contains(user);
        self.hooks.retain(|token, hook| {
            let goes = is_theirs(&hook.user) || is_theirs(&hook.made_by);
            if goes {
                effects.rows.push(rows::hook(*token, None));
            }
            !goes
        });
        bots
    }
}
