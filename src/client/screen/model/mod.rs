//! The screen's core: events go in, wishes come out, and it can be drawn at any time.
//!
//! # Contract
//! [`Model::handle`] takes what happened, with the time. Then [`Model::poll_wish`] gives what is to be done,
//! in order, until there is nothing. If nothing happens until [`Model::next_timeout_ms`], `Input::Tick` is
//! due. It uses no clock, terminal, thread or socket; the same inputs lead to the same screen.
//!
//! # Reading
//! A message counts as read when it has been on the screen and the user then does something in that room:
//! write, scroll, select, or go on with Alt-A. Opening a room or walking through the list does not count, and
//! while peeking nothing counts.

mod acts;
pub mod composer;
mod fuzzy;
mod news;
pub mod overlay;
mod overlay_acts;
pub mod preferences;
pub mod room;
pub mod secret_box;
mod spans;

use std::collections::{BTreeMap, VecDeque};

use jiff::tz::TimeZone;
use ratatui::{
    crossterm::event::{KeyEvent, MouseEvent},
    layout::Size,
};

use crate::protocol::{
    RoomKey, RoomName, RoomSummary, UserKey, UserName,
    answer::PresenceState,
    checked::Limit,
    request::{History, HistoryRange, Members, Rooms},
};

use self::{
    overlay::Overlay,
    preferences::Preferences,
    room::{Item, Joining, Room, ScrollPosition},
};
use super::{
    news::{News, Wish},
    view::{self, theme::Theme, window},
};

/// How long a notice is shown.
const NOTICE_MS: u64 = 6_000;
/// How long a user is shown to be typing after the last sign of it.
const TYPING_MS: u64 = 6_000;
/// How long to wait for the events that come with a join, before asking for them.
const EVENTS_MS: u64 = 300;
/// Events of one page of history.
const PAGE: usize = 100;
/// Items beyond the edge of the screen that are loaded ahead.
const AHEAD: usize = 40;

#[derive(Debug)]
pub enum Input {
    /// A key was pressed.
    Key(KeyEvent),
    /// A text was pasted.
    Paste(String),
    /// The mouse did something.
    Mouse(MouseEvent),
    /// The terminal has this size.
    Resize(Size),
    /// The terminal has got the focus, or lost it.
    Focus(bool),
    /// The client has something to tell.
    News(News),
    /// A text was written in the editor.
    Written(String),
    /// A wish has failed; why, for people.
    Failed(String),
    Tick,
}

/// How the connection is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// No server was found yet.
    Connecting,
    /// Logged in at this server.
    Online(String),
    /// The search goes on.
    Offline {
        /// Why the last attempt failed.
        reason: String,
        /// Servers answer, but have no majority.
        no_majority: bool,
    },
    /// The user has to log in.
    LoggedOut,
    /// Nothing more will happen.
    Stopped,
}

/// Who leads the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leader {
    /// No server has told.
    Unknown,
    /// There is no leader for the moment.
    None,
    Known(String),
}

/// A sentence at the bottom for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub text: String,
    /// Whether something went wrong.
    pub is_bad: bool,
    until_ms: u64,
}

/// The start values of a model.
#[derive(Debug)]
pub struct Start {
    pub user: UserName,
    /// The rooms that are joined already, the one to be shown first.
    pub rooms: Vec<RoomName>,
    /// How large the terminal is.
    pub size: Size,
    /// The user's time zone.
    pub zone: TimeZone,
    /// Whether there may be colours.
    pub colours: bool,
    /// The user's preferences.
    pub preferences: Preferences,
}

/// All that the screen shows; see the module's documentation.
#[derive(Debug)]
pub struct Model {
    /// Milliseconds since 1970.
    pub now_ms: u64,
    /// The size of the terminal.
    pub size: Size,
    /// The user's time zone.
    pub zone: TimeZone,
    pub theme: Theme,
    /// The user's preferences.
    pub preferences: Preferences,
    pub user: UserName,
    /// The same, to compare by.
    pub me: UserKey,
    /// How the connection is.
    pub link: Link,
    /// When the next attempt comes.
    pub retry_at_ms: Option<u64>,
    pub leader: Leader,
    pub rooms: BTreeMap<RoomKey, Room>,
    /// The room that is shown.
    pub current: Option<RoomKey>,
    /// All rooms that the user may enter, once they were asked for.
    pub known_rooms: Vec<RoomSummary>,
    /// `online`, `away` or `offline`, by user.
    pub presence: BTreeMap<UserKey, (UserName, PresenceState)>,
    /// The users who are typing: the room, the name, and until when that holds.
    pub typing: Vec<(RoomKey, UserName, u64)>,
    /// The open overlay.
    pub overlay: Option<Overlay>,
    /// A sentence at the bottom.
    pub notice: Option<Notice>,
    /// While peeking, nothing is marked as read.
    pub peek: bool,
    /// A message that is to be shown once its place in the room is known.
    jump: Option<(RoomKey, u64)>,
    focused: bool,
    interrupted: bool,
    told_typing_ms: u64,
    next_search: u64,
    wishes: VecDeque<Wish>,
}

impl Model {
    /// A screen that knows nothing yet.
    pub fn new(now_ms: u64, start: Start) -> Model {
        let mut model = Model {
            now_ms,
            size: start.size,
            zone: start.zone,
            theme: Theme::new(start.colours),
            preferences: start.preferences,
            me: start.user.key(),
            user: start.user,
            link: Link::Connecting,
            retry_at_ms: None,
            leader: Leader::Unknown,
            rooms: BTreeMap::new(),
            current: start.rooms.first().map(RoomName::key),
            known_rooms: vec![],
            presence: BTreeMap::new(),
            typing: vec![],
            overlay: None,
            notice: None,
            peek: false,
            jump: None,
            focused: true,
            interrupted: false,
            told_typing_ms: 0,
            next_search: 1,
            wishes: VecDeque::new(),
        };
        for room in &start.rooms {
            model.room_of(room);
        }
        model
    }

    /// Takes in what happened at `now_ms`, milliseconds since 1970.
    pub fn handle(&mut self, now_ms: u64, input: Input) {
        self.now_ms = now_ms;
        match input {
            Input::Key(event) => self.key(event),
            Input::Paste(text) => self.paste(&text),
            Input::Mouse(event) => self.mouse(event),
            Input::Resize(size) => self.size = size,
            Input::Focus(focused) => self.focused = focused,
            Input::News(news) => self.news(news),
            Input::Written(text) => {
                if let Some(room) = self.current_room_mut() {
                    room.composer.set(text.trim_end_matches('\n'));
                }
            }
            Input::Failed(reason) => self.complain(reason),
            Input::Tick => {}
        }
        self.typing.retain(|(_, _, until_ms)| *until_ms > now_ms);
        if self.notice.as_ref().is_some_and(|notice| notice.until_ms <= now_ms) {
            self.notice = None;
        }
        self.ask_for_what_is_missing();
    }

    /// The next thing to be done.
    pub fn poll_wish(&mut self) -> Option<Wish> {
        self.wishes.pop_front()
    }

    /// When `Input::Tick` is due, if nothing else happens before.
    pub fn next_timeout_ms(&self) -> Option<u64> {
        let notice_ms = self.notice.as_ref().map(|notice| notice.until_ms);
        let typing_ms = self.typing.iter().map(|(_, _, until_ms)| *until_ms).min();
        // A countdown goes by seconds.
        let retry_ms = self.retry_at_ms.filter(|&at_ms| at_ms > self.now_ms).map(|_| self.now_ms + 1_000);
        let waits = self.current_room().filter(|room| room.spans.newest().is_none());
        let events_ms = waits.map(|room| room.events_until_ms).filter(|&until_ms| until_ms > self.now_ms);
        [notice_ms, typing_ms, retry_ms, events_ms].into_iter().flatten().min()
    }

    /// Whether a server is there.
    pub fn is_online(&self) -> bool {
        matches!(self.link, Link::Online(_))
    }

    /// The room that is shown.
    pub fn current_room(&self) -> Option<&Room> {
        self.rooms.get(self.current.as_ref()?)
    }

    fn current_room_mut(&mut self) -> Option<&mut Room> {
        self.rooms.get_mut(self.current.as_ref()?)
    }

    /// The rooms in the order of the list: rooms first, then conversations of two.
    pub fn order(&self) -> Vec<&Room> {
        let mut rooms: Vec<&Room> = self.rooms.values().collect();
        rooms.sort_by_key(|room| (room.other.is_some(), room.title().to_ascii_lowercase()));
        rooms
    }

    /// Whether the user gets no notifications of a room.
    pub fn is_silent(&self, room: &Room) -> bool {
        self.preferences.silent.contains(&room.name.key())
    }

    /// The users who are typing in the room that is shown.
    pub fn typists(&self) -> Vec<&UserName> {
        let here = self.typing.iter().filter(|(room, ..)| Some(room) == self.current.as_ref());
        here.map(|(_, user, _)| user).collect()
    }

    /// The room of this name, which is added if there is none.
    fn room_of(&mut self, name: &RoomName) -> &mut Room {
        let (me, drafts) = (self.me.clone(), &mut self.preferences.drafts);
        self.rooms.entry(name.key()).or_insert_with(|| {
            let mut room = Room::new(name.clone(), &me);
            if let Some(draft) = drafts.remove(&name.key()) {
                room.composer.set(&draft);
            }
            room
        })
    }

    /// The preferences with what is written and not sent, to go on with in the next run.
    pub fn preferences_at_end(&self) -> Preferences {
        let mut preferences = self.preferences.clone();
        let drafts = self.rooms.iter().filter_map(|(key, room)| Some((key.clone(), room.composer.draft()?)));
        preferences.drafts.extend(drafts);
        preferences
    }

    fn wish(&mut self, wish: Wish) {
        self.wishes.push_back(wish);
    }

    /// Asks for all rooms that the user may see, or for those that they are in.
    fn ask_rooms(&mut self, joined: bool) {
        self.wish(Wish::Ask(Rooms { after: None, limit: None, joined }.into()));
    }

    fn ask_history(&mut self, room: &RoomName, range: HistoryRange) {
        let limit = Some(Limit::clamped(PAGE as u64));
        self.wish(Wish::Ask(History { room: room.clone(), range, limit }.into()));
    }

    fn say(&mut self, text: impl Into<String>) {
        let (text, until_ms) = (text.into(), self.now_ms + NOTICE_MS);
        self.notice = Some(Notice { text, is_bad: false, until_ms });
    }

    fn complain(&mut self, text: impl Into<String>) {
        // Longer: it may have to be acted on.
        let (text, until_ms) = (text.into(), self.now_ms + 2 * NOTICE_MS);
        self.notice = Some(Notice { text, is_bad: true, until_ms });
    }

    /// Shows a room, and joins it if the user is not in it.
    fn open(&mut self, name: &RoomName) {
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

    /// Marks what has been on the screen as read, unless the user only peeks.
    fn mark_seen(&mut self) {
        if self.peek {
            return;
        }
        let Some(room) = self.current_room() else { return };
        let area = view::messages_area(self);
        let shown = window::window(self, room, area.width.into(), area.height.into());
        if let Some(seq) = shown.last_seq() {
            // The newest events may have no rows.
            let seq = if shown.is_present { room.last_seq } else { seq };
            self.mark_read(seq);
        }
    }

    fn mark_read(&mut self, seq: u64) {
        let me = self.me.clone();
        let Some(room) = self.current_room_mut() else { return };
        // Before it is known how far it was read, nothing can be marked.
        let Some(last_read) = room.last_read.filter(|&last_read| last_read < seq) else { return };
        room.last_read = Some(seq);
        if seq >= room.last_seq {
            (room.unread, room.mentions) = (0, 0);
        } else {
            let passed = room.events.range(last_read + 1..=seq).map(|(_, event)| event);
            let passed: Vec<_> = passed.filter(|event| room::is_anothers(event, &me)).collect();
            let mentions = passed.iter().filter(|event| room::names(event, &me)).count() as u64;
            room.unread = room.unread.saturating_sub(passed.len() as u64);
            room.mentions = room.mentions.saturating_sub(mentions);
            room.recount(&me);
        }
        let name = room.name.clone();
        self.wish(Wish::Read { room: name, seq });
    }

    /// Asks for history and members that are about to be shown.
    fn ask_for_what_is_missing(&mut self) {
        let area = view::messages_area(self);
        let Some(room) = self.current_room().filter(|room| room.joining == Joining::Joined) else { return };
        let mut wanted = vec![];
        let newest = room.spans.newest();
        if let Some(from) = room.unread_from.filter(|_| room.at == ScrollPosition::FirstUnread)
            && from < room.last_seq
            && room.spans.around(from + 1).is_none()
        {
            wanted.push(HistoryRange::After(from));
        }
        if newest.is_none() && room.last_seq > 0 && self.now_ms >= room.events_until_ms {
            wanted.push(HistoryRange::Last);
        }
        let shown = window::window(self, room, area.width.into(), area.height.into());
        if let Some(Item::Event(first)) = shown.first()
            && let Some((from, to)) = room.spans.around(first)
        {
            let far = (0..AHEAD).try_fold(Item::Event(first), |item, _| room.before(item));
            if far.is_none() && room.begins.is_none_or(|begins| from > begins) && from > 1 {
                wanted.push(HistoryRange::Before(from));
            }
            let last = shown.last().unwrap_or(Item::Event(first));
            let far = (0..AHEAD).try_fold(last, |item, _| room.after(item));
            if far.is_none() && to < room.last_seq {
                wanted.push(HistoryRange::After(to));
            }
        }
        wanted.retain(|range| !room.asked.contains(range));
        let (name, asks_members) = (room.name.clone(), !room.members_asked);
        if let Some(room) = self.current_room_mut() {
            room.asked.extend(wanted.iter().copied());
            room.members_asked = true;
        }
        if asks_members {
            self.wish(Wish::Ask(Members { room: name.clone(), after: None, limit: None }.into()));
        }
        for range in wanted {
            self.ask_history(&name, range);
        }
    }
}
