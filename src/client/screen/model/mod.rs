//! All that the screen shows, and what is to be done next. [`acts`](super::acts) changes it, `view` draws it.

pub mod composer;
pub mod field;
mod fuzzy;
pub mod overlay;
pub mod preferences;
pub mod room;
pub mod secret_box;
mod spans;
pub mod switcher;
pub mod theme;

use std::collections::{BTreeMap, VecDeque};

use jiff::tz::TimeZone;
use ratatui::layout::Size;

use crate::protocol::{
    RoomKey, RoomName, RoomSummary, UserKey, UserName,
    answer::PresenceState,
    checked::Limit,
    request::{History, HistoryRange, Rooms},
};

use self::{overlay::Overlay, preferences::Preferences, room::Room, theme::Theme};
use super::news::Wish;

/// How long a notice is shown.
const NOTICE_MS: u64 = 6_000;
/// Events of one page of history.
pub(super) const PAGE: usize = 100;
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
    pub(super) until_ms: u64,
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

/// The state of the screen.
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
    /// Whether the user administers the cluster.
    pub is_administrator: bool,
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
    pub(super) jump: Option<(RoomKey, u64)>,
    pub(super) focused: bool,
    pub(super) interrupted: bool,
    pub(super) told_typing_ms: u64,
    pub(super) next_search: u64,
    pub(super) wishes: VecDeque<Wish>,
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
            is_administrator: false,
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

    /// Whether a server is there.
    pub fn is_online(&self) -> bool {
        matches!(self.link, Link::Online(_))
    }

    /// The room that is shown.
    pub fn current_room(&self) -> Option<&Room> {
        self.rooms.get(self.current.as_ref()?)
    }

    pub(super) fn current_room_mut(&mut self) -> Option<&mut Room> {
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
    pub(super) fn room_of(&mut self, name: &RoomName) -> &mut Room {
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
        let Preferences { drafts, silent, numbers, .. } = &mut preferences;
        numbers.retain(|room, _| drafts.contains_key(room) || silent.contains(room));
        preferences
    }

    pub(super) fn wish(&mut self, wish: Wish) {
        self.wishes.push_back(wish);
    }

    /// Asks for all rooms that the user may see, or for those that they are in.
    pub(super) fn ask_rooms(&mut self, joined: bool) {
        self.wish(Wish::Ask(Rooms { after: None, limit: None, joined }.into()));
    }

    pub(super) fn ask_history(&mut self, room: &RoomName, range: HistoryRange) {
        let limit = Some(Limit::clamped(PAGE as u64));
        self.wish(Wish::Ask(History { room: room.clone(), range, limit }.into()));
    }

    pub(super) fn say(&mut self, text: impl Into<String>) {
        let (text, until_ms) = (text.into(), self.now_ms + NOTICE_MS);
        self.notice = Some(Notice { text, is_bad: false, until_ms });
    }

    pub(super) fn complain(&mut self, text: impl Into<String>) {
        // Longer: it may have to be acted on.
        let (text, until_ms) = (text.into(), self.now_ms + 2 * NOTICE_MS);
        self.notice = Some(Notice { text, is_bad: true, until_ms });
    }
}
