//! Webhooks: addresses at which tools post into a room without logging in.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{account::Holder, effects::Effects, room::Role, rows, state::State, user::UserId};
use crate::{
    disk::RoomId,
    protocol::{checked::HookId, credential::TokenHash, event::EventKind},
};

/// A webhook, by the hash of its token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// The room that it posts into.
    pub room: RoomId,
    /// Who its messages are from: a bot of its own.
    pub user: UserId,
    pub made_by: UserId,
}

/// What people call a webhook by: the beginning of its token's hash, which opens nothing.
pub fn hook_id(token: &TokenHash) -> HookId {
    let [a, b, c, d, e, f, g, h, ..] = token.0;
    HookId([a, b, c, d, e, f, g, h])
}

impl State {
    /// Whether a bot was made by a user, or by one of their bots.
    pub(super) fn is_bot_of(&self, bot: UserId, maker: UserId) -> bool {
        self.makers(bot).any(|it| it == maker)
    }

    /// Who made a bot, who made that one if it is a bot itself, and so on; empty for a person. A bot's maker
    /// exists before it, so there is no circle.
    pub(super) fn makers(&self, bot: UserId) -> impl Iterator<Item = UserId> {
        let maker = |id: &UserId| match self.users.get(id)?.account.holder {
            Holder::Bot { made_by } => Some(made_by),
            _ => None,
        };
        std::iter::successors(maker(&bot), maker)
    }

    /// The person who made a bot; for a person, that person.
    pub(super) fn person_of(&self, user: UserId) -> UserId {
        self.makers(user).last().unwrap_or(user)
    }

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
