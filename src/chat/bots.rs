//! Who is a person, and who made a bot.

use super::{
    entities::{
        account::Holder,
        room::{Role, Room},
        user_id::UserId,
    },
    state::State,
};

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

    /// Whether an owner or another person belongs to the room.
    pub(super) fn is_kept(&self, room: &Room) -> bool {
        room.members.iter().any(|(id, role)| *role == Role::Owner || self.is_person(*id))
    }

    pub(super) fn is_person(&self, user: UserId) -> bool {
        self.users.get(&user).is_some_and(|user| !matches!(user.account.holder, Holder::Bot { .. }))
    }
}
