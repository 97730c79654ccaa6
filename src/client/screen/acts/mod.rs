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
//!
//! | file | what it is |
//! |---|---|
//! | `mod.rs` | events in, wishes out |
//! | `keys.rs` | which key does what; preferences and the way out |
//! | `rooms.rs` | going from room to room |
//! | `looking.rs` | scrolling, selecting, jumping, the mouse |
//! | `selected.rs` | what is done with the selected message |
//! | `writing.rs` | typing, pasting, completing, sending |
//! | `over.rs` | keys in an overlay |
//! | `news.rs` | what the client tells |
//! | `reading.rs` | what counts as read |
//! | `loading.rs` | asking for what is about to be shown |

mod keys;
mod loading;
mod looking;
mod news;
mod over;
mod reading;
mod rooms;
mod selected;
mod writing;

use ratatui::{
    crossterm::event::{KeyEvent, MouseEvent},
    layout::Size,
};

use super::{
    model::Model,
    news::{News, Wish},
};

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

impl Model {
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
}
