//! The cluster at a glance, for the dashboard: what each server says of itself, the last hour, and the last
//! elections.
//!
//! A thread of its own ([`watch`]) looks at this server once a second and tells the others what it
//! sees, over the links ([`Report`]). So every server knows the whole cluster, as far as it hears the others,
//! and a page asks one server only. Nothing here is replicated or kept on the disk.

mod content;
mod history;
mod row;
mod view;
mod warnings;
pub mod watch;

use std::{
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use lru::LruCache;
use parking_lot::Mutex;

pub use self::view::{Seen, View};

use self::content::Content;
use crate::{
    protocol::{credential::TokenHash, name::ServerId, report::Report, status::Status},
    replica::io::Now,
};

/// How many administrators' tokens are remembered.
const BELIEVED: NonZeroUsize = NonZeroUsize::new(64).expect("it is not 0");

/// Everything that the dashboard shows, and the tokens of those who may see it.
#[derive(Debug)]
pub struct Board {
    content: Mutex<Content>,
    /// The tokens of administrators, and until when each need not be checked again.
    believed: Mutex<LruCache<TokenHash, Instant>>,
}

impl Default for Board {
    fn default() -> Self {
        Board { content: Mutex::default(), believed: Mutex::new(LruCache::new(BELIEVED)) }
    }
}

impl Board {
    /// Remembers for `time` that a token is an administrator's.
    pub fn believe(&self, token: TokenHash, time: Duration) {
        self.believed.lock().put(token, Instant::now() + time);
    }

    pub fn doubt(&self, token: &TokenHash) {
        self.believed.lock().pop(token);
    }

    /// Whether a token is remembered to be an administrator's.
    pub fn is_believed(&self, token: &TokenHash) -> bool {
        self.believed.lock().get(token).is_some_and(|until| Instant::now() < *until)
    }

    /// Takes in the report of another server.
    pub fn hear(&self, now_ms: u64, from: ServerId, report: Report) {
        self.content.lock().hear(now_ms, from, report);
    }

    /// Takes in what this server, `me`, says of itself now.
    pub fn look(&self, now: Now, me: &ServerId, status: &Status, report: Report) {
        let mut content = self.content.lock();
        content.hear(now.mono_ms, me.clone(), report);
        content.note_leader(now.wall_ms, status);
        content.note_committed(now.mono_ms);
        content.sample(now);
    }

    /// What the page shows, with the samples that are newer than `since_ms`.
    pub fn view(&self, seen: Seen<'_>, since_ms: u64) -> View {
        View::of(&self.content.lock(), seen, since_ms)
    }
}
