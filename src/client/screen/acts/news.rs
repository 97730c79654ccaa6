//! The effects of the client's news on a [`Model`].

use std::collections::BTreeSet;

use super::super::{
    model::{
        Leader, Link, Model,
        overlay::{Overlay, Results},
        preferences::Notify,
        room::{Item, Joining, Outgoing, Room, ScrollPosition, State, is_anothers, names},
        secret_box::SecretBox,
    },
    news::{News, Wish},
};
use crate::{
    client::{renamed::Renamed, terminal::show::RESTORED},
    protocol::{
        Event, EventKind, RoomKey, RoomName, RoomSummary, UserName, answer::PresenceState,
        request::HistoryRange,
    },
};

/// How long a user is shown to be typing after the last sign of it.
const TYPING_MS: u64 = 6_000;
/// How long to wait for the events that come with a join, before asking for them.
const EVENTS_MS: u64 = 300;

impl Model {
    pub(super) fn news(&mut self, news: News) {
        match news {
            News::Online { server, text, again } => {
                let was_away = !self.is_online();
                if again {
                    self.was_cut();
                }
                self.link = Link::Online(server);
                self.retry_at_ms = None;
                if again || was_away {
                    self.say(text);
                }
                self.ask_rooms(true);
            }
            News::Offline { reason, no_majority } => {
                if self.is_online() {
                    self.was_cut();
                }
                self.link = Link::Offline { reason, no_majority };
            }
            News::Retry { in_ms } => self.retry_at_ms = Some(self.now_ms + in_ms),
            News::Leader(leader) => self.leader = leader.map_or(Leader::None, Leader::Known),
            News::LoggedIn { user, administrator } => {
                (self.me, self.user, self.is_administrator) = (user.key(), user, administrator);
            }
            News::LoginNeeded { reason, wanted } => {
                self.link = Link::LoggedOut;
                let hint = "/login goes on, /register makes an account";
                if wanted {
                    self.say(format!("{reason}: {hint}"))
                } else {
                    self.complain(format!("{reason}: {hint}"))
                }
            }
            News::Restarted(user) => self.restart(user),
            News::Joined { room, topic, last_seq, pins, resumed } => {
                self.joined(&room, topic, last_seq, resumed);
                self.room_of(&room).pins = pins.into_iter().collect();
            }
            News::Left(room) => self.left(&room),
            News::Renamed(renamed) => self.rename(&renamed),
            News::RoomRefused { room, reason } => {
                // A room that was given up meanwhile stays away.
                let (me, reason_told) = (self.me.clone(), reason.clone());
                if let Some(room) = self.rooms.get_mut(&room.key()) {
                    room.joining = Joining::Refused(reason);
                    room.asked.clear();
                }
                self.complain(format!("{}: {reason_told}", Room::new(room, &me).title()));
            }
            News::RoomRestarted(name) => {
                self.room_of(&name).begin_anew();
                self.complain(format!("{name} was set up anew on the servers; it is shown from there"));
            }
            News::Restored => {
                self.rooms.values_mut().for_each(Room::begin_anew);
                self.complain(RESTORED);
            }
            News::Event { event, past } => self.event(*event, past),
            News::Unreadable { room, seq } => self.room_of(&room).pass(seq),
            News::Queued { room, client_msg_id, body, reply_to } => {
                let at_ms = self.now_ms;
                let state = State::Pending;
                let outgoing = Outgoing { client_msg_id, body, reply_to, at_ms, state, again: false };
                self.room_of(&room).queue(outgoing);
            }
            News::Acked { room, client_msg_id, seq } => {
                let room = self.room_of(&room);
                if room.events.contains_key(&seq) {
                    room.arrived(&client_msg_id, seq);
                } else if let Some(outgoing) = room.outgoing_mut(&client_msg_id) {
                    outgoing.state = State::Committed;
                }
            }
            News::Refused { room, client_msg_id, body, reason } => {
                self.refused(&room, client_msg_id, body, reason)
            }
            News::Typing { room, user } => {
                let (key, until_ms) = (room.key(), self.now_ms + TYPING_MS);
                self.typing.retain(|(room, other, _)| !(*room == key && other.key() == user.key()));
                self.typing.push((key, user, until_ms));
            }
            News::ReadElsewhere { room, seq, unread, mentions } => {
                self.read_elsewhere(&room, seq, unread, mentions);
            }
            News::Presence { user, state } => self.presence(user, state),
            News::Invitation { room, by, invited: true } => {
                self.say(format!("{by} invites you to {room}: /join {room} enters it"));
                self.ask_rooms(false);
            }
            News::Invitation { room, by, invited: false } => {
                self.say(format!("{by} took your invitation to {room} back"));
            }
            News::History { room, range, events, last_seq, more } => {
                self.page(&room, range, events, last_seq, more);
            }
            News::Rooms { rooms, joined: true } => rooms.iter().for_each(|summary| self.summary(summary)),
            News::Rooms { rooms, joined: false } => self.known_rooms = rooms,
            News::Members { room, members, first } => {
                for member in &members {
                    let state = match (member.online, member.away) {
                        (true, true) => PresenceState::Away,
                        (true, false) => PresenceState::Online,
                        (false, _) => PresenceState::Offline,
                    };
                    let known = (member.username.clone(), state);
                    self.presence.insert(member.username.key(), known);
                }
                let room = self.room_of(&room);
                if first {
                    room.members.clear();
                }
                room.members.extend(members);
                room.member_count = room.member_count.max(room.members.len() as u64);
            }
            News::HistoryRefused { room, reason } => {
                if let Some(room) = self.rooms.get_mut(&room.key()) {
                    room.joining = Joining::Refused(reason);
                    room.asked.clear();
                }
            }
            News::Found { search, hits, span } => self.searched(search, Results::Found(hits, span)),
            News::SearchFailed { search, reason } => self.searched(search, Results::Failed(reason)),
            News::Paths { start, candidates } => self.offered(start, candidates),
            News::Said { title, lines } => self.said(title, lines),
            News::Asked => {
                if !self.is_online() {
                    self.say("no server for now: this is done once there is one");
                }
            }
            News::SecretNeeded { line, secrets, wanted } => {
                self.overlay = Some(Overlay::Secret(SecretBox::new(line, secrets, wanted)));
            }
            News::Search(text) => self.search(&text),
            News::GoTo(room) => {
                // Its join is on its way already.
                self.room_of(&room).joining = Joining::Asked;
                self.open(&room);
            }
            News::ReadAll(room) => {
                if self.current.as_ref() == Some(&room.key()) {
                    self.mark_all_read();
                }
            }
            News::Help => self.overlay = Some(Overlay::help()),
            News::Quit => self.wish(Wish::Quit),
            News::Stopped { reason } => {
                self.link = Link::Stopped;
                self.overlay = Some(Overlay::text("The client has stopped".into(), vec![reason]));
            }
        }
    }

    /// In the room that is shown, the line above unread messages stays: nothing moves while it is read.
    fn read_elsewhere(&mut self, name: &RoomName, seq: u64, unread: u64, mentions: u64) {
        let (key, me) = (name.key(), self.me.clone());
        let is_current = self.current.as_ref() == Some(&key);
        let Some(room) = self.rooms.get_mut(&key) else { return };
        if room.last_read.is_some_and(|last_read| last_read >= seq) {
            return;
        }
        (room.last_read, room.unread, room.mentions) = (Some(seq), unread, mentions);
        if !is_current {
            room.unread_from = room.last_read.filter(|_| unread > 0);
        }
        room.recount(&me);
    }

    /// Takes in the outcome of a search, unless the user has begun another one.
    fn searched(&mut self, search: u64, results: Results) {
        if let Some(Overlay::Search(overlay)) =
            self.overlay.as_mut().filter(|overlay| overlay.is_search(search))
        {
            (overlay.at, overlay.results) = (0, results);
        }
    }

    /// The connection is gone: messages on their way will be sent again.
    fn was_cut(&mut self) {
        for room in self.rooms.values_mut() {
            for outgoing in room.outgoing.values_mut().filter(|outgoing| outgoing.state == State::Pending) {
                outgoing.again = true;
            }
        }
    }

    fn restart(&mut self, user: UserName) {
        self.say(format!("you are {user} now"));
        (self.me, self.user) = (user.key(), user);
        self.link = Link::Connecting;
        let current = self.current_room().filter(|room| room.other.is_none()).map(|room| room.name.clone());
        self.preferences = self.preferences_at_end();
        self.rooms.clear();
        (self.presence, self.typing) = (Default::default(), vec![]);
        self.current = None;
        if let Some(name) = current {
            self.room_of(&name);
            self.current = Some(name.key());
        }
    }

    fn joined(&mut self, name: &RoomName, topic: String, last_seq: u64, resumed: bool) {
        let events_until_ms = self.now_ms + EVENTS_MS;
        let room = self.room_of(name);
        room.name = name.clone();
        room.joining = Joining::Joined;
        room.events_until_ms = events_until_ms;
        room.topic = topic;
        room.last_seq = room.last_seq.max(last_seq);
        if resumed {
            // Members come and go unseen while there is no connection.
            room.members_asked = false;
        }
        // The room's summary tells how far it was read.
        if room.last_read.is_none() && self.is_online() {
            self.ask_rooms(true);
        }
        if self.current.is_none() {
            self.open(name);
        }
    }

    pub(super) fn left(&mut self, name: &RoomName) {
        let Some(room) = self.rooms.remove(&name.key()) else { return };
        if self.current.as_ref() == Some(&name.key()) {
            self.current = None;
            if let Some(next) = self.order().first().map(|room| room.name.clone()) {
                self.open(&next);
            }
        }
        self.say(format!("you left {}", room.title()));
    }

    fn summary(&mut self, summary: &RoomSummary) {
        if !summary.joined {
            return;
        }
        let (me, key) = (self.me.clone(), summary.room.key());
        let before = summary.room_id.and_then(|id| self.preferences.follow(id, &key));
        if let Some(before) = before {
            // A room of the old name may have been opened with the draft already.
            let other = self.rooms.get_mut(&before).filter(|room| room.composer.draft().is_some());
            if let Some(draft) = other.map(|room| std::mem::take(&mut room.composer)) {
                self.room_of(&summary.room).composer = draft;
            }
            self.keep();
        }
        let is_new = !self.rooms.contains_key(&key);
        let is_current = self.current.as_ref() == Some(&summary.room.key());
        let room = self.room_of(&summary.room);
        let first_time = room.last_read.is_none();
        room.member_count = summary.members;
        room.is_public = !summary.private;
        room.last_seq = room.last_seq.max(summary.last_seq);
        if room.topic.is_empty() {
            room.topic.clone_from(&summary.topic);
        }
        room.last_read = Some(room.last_read.unwrap_or(0).max(summary.last_read));
        if room.last_read == Some(summary.last_read) {
            (room.unread, room.mentions) = (summary.unread_messages, summary.mentions);
        }
        room.recount(&me);
        if is_current && first_time && room.unread > 0 && room.at == ScrollPosition::FirstUnread {
            room.unread_from = room.last_read;
        }
        if is_new {
            self.wish(Wish::Join(summary.room.clone()));
        }
    }

    fn event(&mut self, event: Event, past: bool) {
        let me = self.me.clone();
        let is_current = self.current.as_ref() == Some(&event.room.key());
        let (name, seq, author) = (event.room.clone(), event.seq, event.author.clone());
        let is_news = !past && is_anothers(&event, &me);
        let is_mention = names(&event, &me);
        if let EventKind::Message(message) = &event.kind {
            self.typing.retain(|(room, user, _)| !(*room == name.key() && user.key() == author.key()));
            if author.key() == me {
                self.room_of(&name).arrived(&message.client_msg_id, seq);
            }
        }
        let text = match &event.kind {
            EventKind::Message(message) if is_news => message.body.clone(),
            _ => String::new(),
        };
        let sends_away = match &event.kind {
            EventKind::Kicked { username } | EventKind::Banned { username, .. } => username.key() == me,
            _ => false,
        };
        // What is unread may be less or more by this.
        let changed = match &event.kind {
            EventKind::Edited { target, .. } | EventKind::Deleted { target } if !past => Some(*target),
            _ => None,
        };
        let room = self.room_of(&name);
        room.take(event, !past);
        let counts = |target| room.last_read.is_some_and(|last_read| target > last_read);
        if changed.is_some_and(counts) && !room.recount(&me) {
            self.ask_rooms(true);
        }
        let room = self.room_of(&name);
        if sends_away {
            room.joining = Joining::Refused("you were sent out of the room".into());
        }
        // A direct conversation may begin with this event; then it is the first unread one.
        if room.last_read.is_none() && room.other.is_some() && !past {
            room.last_read = Some(seq.saturating_sub(1));
        }
        if is_news && room.last_read.is_none_or(|last_read| seq > last_read) {
            room.unread += 1;
            room.mentions += u64::from(is_mention);
            // Events that come while the user is elsewhere begin behind a line.
            if !is_current && room.unread_from.is_none() {
                room.unread_from = room.last_read;
            }
        }
        if past && seq == room.last_seq {
            room.recount(&me);
        }
        if !is_current && room.events.len() > 4_000 {
            room.trim();
        }
        let is_direct = room.other.is_some();
        if is_news && (is_mention || is_direct) && !(is_current && self.focused) {
            self.notify(&name, &author, &text);
        }
    }

    /// A room has another name; its draft and reading place stay.
    fn rename(&mut self, renamed: &Renamed) {
        renamed.move_in(&mut self.rooms);
        for room in self.rooms.values_mut() {
            if let Some(name) = renamed.of(&room.name) {
                room.name = name.clone();
            }
        }
        let now = |key: &RoomKey| renamed.of_key(key).unwrap_or_else(|| key.clone());
        self.current = self.current.as_ref().map(now);
        self.typing.iter_mut().for_each(|(room, ..)| *room = now(room));
        if let Some((room, _)) = &mut self.jump {
            *room = now(room);
        }
        renamed.move_in(&mut self.preferences.numbers);
        let silent: BTreeSet<RoomKey> = self.preferences.silent.iter().map(now).collect();
        if silent != self.preferences.silent {
            self.preferences.silent = silent;
            self.wish(Wish::Keep(self.preferences.clone()));
        }
    }

    fn notify(&mut self, room: &RoomName, author: &UserName, text: &str) {
        if self.preferences.silent.contains(&room.key()) {
            return;
        }
        match self.preferences.notify {
            Notify::Off => {}
            Notify::Bell => self.wish(Wish::Bell),
            Notify::Desktop => {
                let title = if room.direct_pair().is_some() {
                    author.to_string()
                } else {
                    format!("{author} in {room}")
                };
                self.wish(Wish::Notify { title, text: text.to_owned() });
            }
        }
    }

    fn refused(&mut self, name: &RoomName, client_msg_id: String, body: String, reason: String) {
        let at_ms = self.now_ms;
        let room = self.room_of(name);
        match room.outgoing_mut(&client_msg_id) {
            Some(outgoing) => outgoing.state = State::Failed(reason),
            // It was refused before it was kept.
            None => {
                let state = State::Failed(reason);
                room.queue(Outgoing { client_msg_id, body, reply_to: None, at_ms, state, again: false });
            }
        }
    }

    fn presence(&mut self, user: UserName, state: PresenceState) {
        let key = user.key();
        for room in self.rooms.values_mut() {
            for member in room.members.iter_mut().filter(|member| member.username.key() == key) {
                (member.online, member.away) =
                    (state != PresenceState::Offline, state == PresenceState::Away);
            }
        }
        self.presence.insert(key, (user, state));
    }

    fn page(&mut self, name: &RoomName, range: HistoryRange, events: Vec<Event>, last_seq: u64, more: bool) {
        let me = self.me.clone();
        let is_current = self.current.as_ref() == Some(&name.key());
        let target = self
            .jump
            .take_if(|(room, seq)| *room == name.key() && events.iter().any(|event| event.seq == *seq));
        let room = self.room_of(name);
        room.take_page(range, events, last_seq, more);
        room.recount(&me);
        if let Some((_, seq)) = target.filter(|_| is_current) {
            self.centre(Item::Event(seq));
        }
    }

    /// One line is shown at the bottom; more are shown as a page.
    fn said(&mut self, title: String, lines: Vec<String>) {
        match lines.as_slice() {
            [] => {}
            [line] => match line.strip_prefix("! ") {
                Some(reason) => self.complain(reason),
                None => self.say(line.strip_prefix("* ").unwrap_or(line)),
            },
            _ => self.overlay = Some(Overlay::text(title, lines)),
        }
    }
}
