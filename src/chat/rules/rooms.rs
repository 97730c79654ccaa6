//! Rules of rooms: entering, keeping order, settings, retention, import.

use std::collections::BTreeMap;

use super::{
    super::{
        State,
        account::Until,
        dedup::Digest,
        rights::{self, ClusterDeed, Deed, Rank},
        room::{BANNED_MAX, INVITED_BY_ONE_MAX, INVITED_MAX, MUTED_MAX, Role, Room},
        user::UserId,
    },
    Asking, Verdict, forbidden, no_room,
};
use crate::{
    planted::{Bug, planted},
    protocol::{
        credential::Verifier,
        export::{Imported, ImportedRoom},
        limits::LAMPORT_END,
        moderation::{Moderation, Retention},
        name::{RoomName, UserName},
        refusal::{Code, Refusal},
    },
    replica::storage::RoomId,
};

/// Events that one `Expire` may forget: more would hold the disk for too long at once.
pub const EXPIRE_MAX: u64 = 5_000;

impl State {
    /// `unlocked` names the password that was shown; `new` is what the room is to be where it is created.
    pub(super) fn decide_join<'a>(
        &self,
        asking: &Asking<'_>,
        name: &'a RoomName,
        unlocked: Option<u64>,
        (private, password): (bool, Option<&'a Verifier>),
    ) -> Result<Verdict<'a>, Refusal> {
        let Some((id, room)) = self.room_named(name) else {
            return match name.direct_pair() {
                None => Ok(Verdict::Create { room: name, private, password }),
                Some((one, other)) if other_of_two(asking.user, name).is_some() => {
                    self.must_be_open(&one)?;
                    self.must_be_open(&other)?;
                    Ok(Verdict::Create { room: name, private: true, password: None })
                }
                Some(_) => Err(no_room(name)),
            };
        };
        if asking.id.is_some_and(|user| room.members.contains_key(&user)) {
            return Ok(Verdict::Stay(id));
        }
        let mut circumstances = self.circumstances(room, asking.id, asking.now_ms);
        if planted(Bug::BannedEnters) && circumstances.rank == Rank::Banned {
            circumstances.rank = Rank::Stranger;
        }
        let settings = &room.settings;
        let is_unlocked = settings.password.is_some() && unlocked == Some(settings.password_rev);
        match circumstances.rank {
            Rank::Stranger if is_unlocked => circumstances.rank = Rank::Invited,
            // A password is asked of everybody who was not let in by name.
            Rank::Stranger if settings.password.is_some() => {
                return Err(match room.private {
                    true => no_room(name),
                    false => {
                        let reason = format!("{} is entered with its password", room.name);
                        Refusal::new(Code::Forbidden, reason)
                    }
                });
            }
            _ => {}
        }
        match rights::allows(Deed::Join, circumstances) {
            true => Ok(Verdict::Enter(id)),
            false if circumstances.rank == Rank::Banned && !room.private => {
                Err(forbidden(asking.user, Deed::Join, &room.name, circumstances))
            }
            false => Err(no_room(name)),
        }
    }

    pub(super) fn decide_moderate<'a>(
        &self,
        asking: &Asking<'a>,
        name: &'a RoomName,
        what: &'a Moderation,
    ) -> Result<Verdict<'a>, Refusal> {
        let (id, room) = self.may(asking, deed(what), name)?;
        let verdict = Verdict::Moderate { room: id, what };
        let already = Verdict::Already { room: id, seq: room.last_seq };
        let Some(target) = what.target() else {
            let is_so = matches!(what, Moderation::Topic { topic } if *topic == room.topic);
            return Ok(if is_so { already } else { verdict });
        };
        let key = target.key();
        let target_id = self.user_id(&key);
        let rank = self.circumstances(room, target_id, asking.now_ms).rank;
        let doer = self.circumstances(room, asking.id, asking.now_ms);
        let keeps_order = rights::allows(Deed::Kick, doer);
        let is_self = key == asking.user.key();
        let is_member = target_id.is_some_and(|id| room.members.contains_key(&id));
        let must_outrank = || match !is_self && rights::outranks(doer, rank) {
            true => Ok(()),
            false => {
                let reason = format!("{} has no right over {target} in {}", asking.user, room.name);
                Err(Refusal::new(Code::Forbidden, reason))
            }
        };
        let must_be_member = || match is_member {
            true => Ok(()),
            false => Err(Refusal::new(Code::NotFound, format!("{target} is not a member of {}", room.name))),
        };
        let is_so = match what {
            Moderation::Topic { .. } | Moderation::Configure(_) => false,
            Moderation::Invite { .. } => {
                if rank == Rank::Banned {
                    let reason = format!("{target} is banned from {}; unban them first", room.name);
                    return Err(Refusal::new(Code::Forbidden, reason));
                }
                self.must_be_open(target)?;
                let is_in = is_member || rank == Rank::Invited;
                full(!is_in && room.invited.len() >= INVITED_MAX, "invitations", room)?;
                let mine = || room.invited.values().filter(|by| by.is_some() && **by == asking.id).count();
                if !is_in && !keeps_order && mine() >= INVITED_BY_ONE_MAX {
                    let reason = format!(
                        "{INVITED_BY_ONE_MAX} of those invited to {} wait for an answer to you",
                        room.name
                    );
                    return Err(Refusal::new(Code::Forbidden, reason));
                }
                is_in
            }
            Moderation::Uninvite { .. } => match target_id.and_then(|id| room.invited.get(&id)) {
                None => true,
                Some(by) if keeps_order || (by.is_some() && *by == asking.id) => false,
                Some(_) => {
                    let reason =
                        format!("it was not {} who has invited {target} to {}", asking.user, room.name);
                    return Err(Refusal::new(Code::Forbidden, reason));
                }
            },
            Moderation::Kick { .. } => {
                must_be_member()?;
                must_outrank()?;
                false
            }
            Moderation::Ban { seconds, .. } => {
                must_outrank()?;
                full(is_full(&room.banned, target_id, asking.now_ms, BANNED_MAX), "bans", room)?;
                let until = target_id.and_then(|id| room.banned.get(&id));
                seconds.is_none() && until == Some(&Until::Ended)
            }
            Moderation::Unban { .. } => !target_id.is_some_and(|id| room.banned.contains_key(&id)),
            Moderation::Mute { seconds, .. } => {
                must_be_member()?;
                must_outrank()?;
                full(is_full(&room.muted, target_id, asking.now_ms, MUTED_MAX), "mutes", room)?;
                let until = target_id.and_then(|id| room.muted.get(&id));
                seconds.is_none() && until == Some(&Until::Ended)
            }
            Moderation::Unmute { .. } => {
                must_be_member()?;
                !target_id.is_some_and(|id| room.muted.contains_key(&id))
            }
            Moderation::SetRole { role, .. } => {
                must_be_member()?;
                let now = target_id.and_then(|id| room.members.get(&id));
                // Whoever is muted becomes what they are to be, and is heard again.
                if now == Some(role) && rank != Rank::Muted {
                    true
                } else {
                    // An owner hands the room over by naming another one, and in no other way.
                    must_outrank()?;
                    false
                }
            }
        };
        Ok(if is_so { already } else { verdict })
    }

    /// Nobody is let in under a name that was given up.
    pub(super) fn must_be_open(&self, user: &UserName) -> Result<(), Refusal> {
        match self.user(&user.key()) {
            Some(user) if user.account.holder == super::Holder::Closed => {
                Err(Refusal::new(Code::NotFound, format!("there is no user {}", user.name)))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn decide_expire<'a>(
        &self,
        name: &RoomName,
        before_seq: u64,
        retention: Option<Retention>,
    ) -> Result<Verdict<'a>, Refusal> {
        let (id, room) = self.room_named(name).ok_or_else(|| no_room(name))?;
        // What was proposed long ago must not undo what the room's people have said since: neither where they
        // keep their events in another way now, nor where the same way keeps more than was thought.
        if retention.is_some_and(|retention| retention != room.settings.retention) {
            return Ok(Verdict::Nothing);
        }
        let settled = match room.settings.retention {
            Retention { days: Some(_), .. } => u64::MAX,
            Retention { days: None, events: Some(events) } => (room.last_seq + 1).saturating_sub(events),
            Retention { days: None, events: None } => 0,
        };
        // The newest event stays, so that a room never looks as if it had none.
        let before_seq = before_seq.min(settled).min(room.last_seq).min(room.first_seq() + EXPIRE_MAX);
        Ok(match before_seq > room.first_seq() {
            true => Verdict::Expire { room: id, before_seq },
            false => Verdict::Nothing,
        })
    }

    pub(super) fn decide_import<'a>(
        &self,
        asking: &Asking<'_>,
        name: &'a RoomName,
        first_seq: u64,
        events: &'a [Imported],
    ) -> Result<Verdict<'a>, Refusal> {
        let room = self.may_import(asking, name)?;
        // Below this, numbers in JSON are exact.
        let end = first_seq.checked_add(events.len() as u64).filter(|end| *end < LAMPORT_END);
        let Some(end) = end.filter(|_| first_seq > 0) else {
            return Err(Refusal::bad_request("first_seq is no place in a room"));
        };
        // What a room had forgotten it does not get back, so a new one begins where its events do.
        let next = room.map_or(first_seq, |(_, room)| room.last_seq + 1);
        if first_seq != next {
            // An answer that was lost is given again; anything else would make two histories one.
            let is_again = |room: &Room| {
                let batch = Digest::of_events(events);
                end == next
                    && room.import.is_some_and(|last| last.first_seq == first_seq && last.batch == batch)
            };
            return match room {
                Some((id, room)) if is_again(room) => Ok(Verdict::Already { room: id, seq: room.last_seq }),
                _ => Err(Refusal::bad_request(format!("first_seq must be {next}, the next place in {name}"))),
            };
        }
        let read = |event: &'a Imported| match event.event_kind() {
            Ok(kind) => Ok((event, kind)),
            Err(error) => Err(Refusal::bad_request(format!("events: {error}"))),
        };
        let batch = Digest::of_events(events);
        let events = events.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Verdict::Import { room: room.map(|(id, _)| id), name, first_seq, events, batch })
    }

    pub(super) fn decide_import_room<'a>(
        &self,
        asking: &Asking<'_>,
        name: &RoomName,
        info: &'a ImportedRoom,
    ) -> Result<Verdict<'a>, Refusal> {
        let (room, _) = self.may_import(asking, name)?.ok_or_else(|| no_room(name))?;
        Ok(Verdict::ImportRoom { room, info })
    }

    /// The room, where it exists and the asker may import into it: those who may not import anywhere do so into
    /// public ones and into those that an import has made and nobody has belonged to since.
    fn may_import(&self, asking: &Asking<'_>, name: &RoomName) -> Result<Option<(RoomId, &Room)>, Refusal> {
        let room = self.room_named(name);
        if self.may_in_cluster(asking, ClusterDeed::ImportAnywhere).is_ok() {
            return Ok(room);
        }
        if name.direct_pair().is_some() {
            return Err(Refusal::bad_request("direct conversations are not imported"));
        }
        match room {
            Some((_, room)) if room.private && !room.import.is_some_and(|import| import.unopened) => {
                Err(no_room(name))
            }
            room => Ok(room),
        }
    }
}

/// What a change of a room or its people is, in the table of rights.
fn deed(what: &Moderation) -> Deed {
    match what {
        Moderation::Topic { .. } => Deed::Topic,
        Moderation::Invite { .. } | Moderation::Uninvite { .. } => Deed::Invite,
        Moderation::Kick { .. } => Deed::Kick,
        Moderation::Ban { .. } | Moderation::Unban { .. } => Deed::Ban,
        Moderation::Mute { .. } | Moderation::Unmute { .. } => Deed::Mute,
        Moderation::SetRole { .. } => Deed::SetRole,
        Moderation::Configure(_) => Deed::Configure,
    }
}

/// Whether a list has no place for `user`. Those whose time is over make room, and whoever is in it already
/// takes no more.
fn is_full(list: &BTreeMap<UserId, Until>, user: Option<UserId>, now_ms: u64, most: usize) -> bool {
    let others = || list.iter().filter(|(id, until)| Some(**id) != user && until.lasts(now_ms));
    list.len() >= most && others().count() >= most
}

fn full(is_full: bool, what: &str, room: &Room) -> Result<(), Refusal> {
    match is_full {
        false => Ok(()),
        true => {
            Err(Refusal::new(Code::Forbidden, format!("{} has as many {what} as a room may have", room.name)))
        }
    }
}

/// The role that a former owner has.
pub(in super::super) const FORMER_OWNER: Role = Role::Moderator;

/// With whom `user` speaks in the direct conversation `room`; `None` where it is not one of theirs.
pub(super) fn other_of_two(user: &UserName, room: &RoomName) -> Option<UserName> {
    let (one, other) = room.direct_pair()?;
    if one.key() == user.key() {
        return Some(other);
    }
    (other.key() == user.key()).then_some(one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_list_has_a_place_where_somebodys_time_is_over() {
        let list: BTreeMap<UserId, Until> =
            [(UserId(1), Until::Ended), (UserId(2), Until::Ms(10)), (UserId(3), Until::Ended)].into();
        let is_full = |user, now_ms, most| is_full(&list, user, now_ms, most);
        assert!(is_full(Some(UserId(4)), 9, 3) && is_full(None, 9, 3));
        assert!(!is_full(Some(UserId(4)), 9, 4), "there is a place left");
        assert!(!is_full(Some(UserId(4)), 10, 3), "the second one's time is over");
        assert!(!is_full(Some(UserId(1)), 9, 3), "who is in it takes no further place");
    }
}
