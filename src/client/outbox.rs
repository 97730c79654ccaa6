//! Messages that are not yet acknowledged, in the order they were typed.
//!
//! # How the order is kept
//! Messages are sent in order, and several may be on their way at once (the *window*). A message leaves the
//! outbox when it is acknowledged or finally refused. Three things could disturb the order:
//!
//! - **The connection is lost, or a server answers `unavailable`** (and closes, so that nothing later on that
//!   connection can overtake): all messages on their way have an unknown outcome. They are sent again on the
//!   next connection, first to last, under the same ids; servers recognise what had been committed. Since a
//!   connection commits in the order of sending, what had been committed is a prefix of what is sent again,
//!   so the order is kept.
//! - **A message is refused for load** (`overloaded`, `rate_limited`): it did not happen, but those behind it
//!   on the same connection may have. Each message therefore names the one before it while that is still
//!   unanswered (`follows`), and a server also refuses for load a message that follows one that it refused
//!   so. The outbox stops, waits until everything on its way is answered and the server's pause is over, and
//!   sends again from the refused message on. The window then starts at one.
//! - **A message is refused for good**: it is reported and taken out; those behind it do not depend on it.
//!
//! The window starts at one on every connection and grows by one with each acknowledgement, so the clients of
//! a lost server do not send everything that they hold to the next one at once.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::protocol::{RoomId, RoomName, file::FileId};

use super::{
    limits::{OUTBOX_MAX, WINDOW_MAX},
    own::Target,
    renamed::Renamed,
};

/// A message as the user gave it, with the id that all its sendings have. The outbox file stores its JSON
/// form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Together with the user's name it names this message for ever.
    pub client_msg_id: String,
    pub room: RoomName,
    /// The number of the room, once that is known: the message goes there, whatever the room is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_id: Option<RoomId>,
    pub body: String,
    /// The message it answers. One of the user's own that is still in the outbox is named by its id, and goes
    /// first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<Target>,
    /// The file that it shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_id: Option<FileId>,
}

/// What changes in the durable copy of the outbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutboxChange {
    /// Must be durable before anything after it is carried out: from now on the message may be sent.
    Added(Message),
    /// The message is done. May be lost in a power cut: the message is then sent again and recognised.
    Removed {
        client_msg_id: String,
        /// Its place, if it got one: messages that answer it name that from now on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
    },
    /// The cluster's data is in this life from now on. A reply to a place of another life becomes a plain
    /// message.
    Epoch(u64),
    /// A room has another name: its messages go there.
    Renamed(Renamed),
    /// The messages for the room of this name, whose number was not known, are for this one.
    Numbered { room: RoomName, room_id: RoomId },
}

impl Message {
    /// Its room may have another name.
    pub fn follow(&mut self, renamed: &Renamed) {
        if let Some(name) = renamed.of(&self.room) {
            self.room = name.clone();
        }
    }

    /// The room called `room` has this number.
    pub fn number(&mut self, room: &RoomName, room_id: RoomId) {
        if self.room.key() == room.key() {
            self.room_id.get_or_insert(room_id);
        }
    }

    /// Whether it answers the own message `client_msg_id`, whose place it does not know.
    pub fn answers(&self, client_msg_id: &str) -> bool {
        matches!(&self.reply_to, Some(Target::Own(id)) if id == client_msg_id)
    }

    /// The place that it answers may be another message's now, so it answers none.
    pub(super) fn forget_place(&mut self) {
        self.reply_to.take_if(|target| matches!(target, Target::Seq(_)));
    }
}

/// Makes ids of messages: an id of this run of the program, then a counter.
///
/// The id of the run must be new each time (64 random bits, say). So no counter has to survive, and a copied
/// or restored outbox cannot lead to two messages with one id. Messages restored from disk keep theirs.
#[derive(Debug, Clone)]
pub struct MessageIds {
    instance_id: String,
    next: u64,
}

impl MessageIds {
    /// Ids under `instance_id`, which has at most 32 bytes.
    pub fn new(instance_id: impl Into<String>) -> Self {
        MessageIds { instance_id: instance_id.into(), next: 1 }
    }

    /// An id that was not given before.
    pub fn next_id(&mut self) -> String {
        let number = self.next;
        self.next += 1;
        format!("{}-{number}", self.instance_id)
    }
}

#[derive(Debug)]
struct Entry {
    message: Message,
    /// The request that carries it on this connection.
    in_flight: Option<i64>,
    /// It was sent on an earlier connection or in an earlier run, and the outcome is unknown.
    uncertain: bool,
}

/// The outbox, and which of its messages are on their way on the current connection.
#[derive(Debug)]
pub struct Outbox {
    /// While not `recovering`, those in flight are exactly the first `in_flight`.
    entries: VecDeque<Entry>,
    in_flight: usize,
    window: usize,
    /// A message was refused for load: nothing is sent until everything on its way is answered.
    recovering: bool,
}

impl Outbox {
    /// An outbox with the messages of an earlier run, oldest first.
    pub fn new(restored: Vec<Message>) -> Self {
        let entry = |message| Entry { message, in_flight: None, uncertain: true };
        let entries = restored.into_iter().map(entry).collect();
        Outbox { entries, in_flight: 0, window: 1, recovering: false }
    }

    /// Messages that are not yet acknowledged.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether everything is acknowledged.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether no further message is taken.
    pub fn is_full(&self) -> bool {
        self.entries.len() >= OUTBOX_MAX
    }

    /// The messages, oldest first.
    pub fn messages(&self) -> impl Iterator<Item = &Message> {
        self.entries.iter().map(|entry| &entry.message)
    }

    /// Adds a message at the end.
    pub fn push(&mut self, message: Message) {
        self.entries.push_back(Entry { message, in_flight: None, uncertain: false });
    }

    /// The message to send next, if one may be sent now, and the unanswered one that goes before it.
    ///
    /// A reply to a message that is still on its way waits until that has its place.
    pub fn next_to_send(&self) -> Option<(&Message, Option<&Message>)> {
        if self.in_flight >= self.window || (self.recovering && self.in_flight > 0) {
            return None;
        }
        let next = self.entries.get(self.in_flight)?;
        if matches!(next.message.reply_to, Some(Target::Own(_))) {
            return None;
        }
        let before = self.in_flight.checked_sub(1).map(|at| &self.entries[at].message);
        Some((&next.message, before))
    }

    /// The message given by [`Outbox::next_to_send`] was written under `request_id`.
    pub fn sent(&mut self, request_id: i64) {
        debug_assert!(!self.recovering || self.in_flight == 0, "sent while answers were awaited");
        self.recovering = false;
        if let Some(entry) = self.entries.get_mut(self.in_flight) {
            entry.in_flight = Some(request_id);
            self.in_flight += 1;
        }
    }

    /// Takes out the message that `request_id` carried: it is acknowledged or finally refused.
    pub fn answered(&mut self, request_id: i64) -> Option<Message> {
        let at = self.position(request_id)?;
        self.in_flight -= 1;
        self.window = WINDOW_MAX.min(self.window + 1);
        self.entries.remove(at).map(|entry| entry.message)
    }

    /// The message `client_msg_id` got the place `seq`: replies to it can name that.
    pub fn placed(&mut self, client_msg_id: &str, seq: u64) {
        for entry in self.entries.iter_mut().filter(|entry| entry.message.answers(client_msg_id)) {
            entry.message.reply_to = Some(Target::Seq(seq));
        }
    }

    /// The message that `request_id` carried was refused for load and has to be sent again.
    pub fn refused_for_load(&mut self, request_id: i64) {
        if let Some(at) = self.position(request_id) {
            self.entries[at].in_flight = None;
            self.in_flight -= 1;
            self.recovering = true;
            self.window = 1;
        }
    }

    /// The connection is gone: everything on its way is to be sent again, in order, under the same ids.
    pub fn connection_lost(&mut self) {
        for entry in &mut self.entries {
            entry.uncertain |= entry.in_flight.take().is_some();
        }
        self.in_flight = 0;
        self.window = 1;
        self.recovering = false;
    }

    /// A room has another name: its messages go there. Servers recognise those that were committed under the
    /// old name; another room may have that by now. Gives what changes in the durable copy.
    pub fn rename(&mut self, renamed: &Renamed) -> Option<OutboxChange> {
        let concerned = self.messages().any(|message| renamed.of(&message.room).is_some());
        self.entries.iter_mut().for_each(|entry| entry.message.follow(renamed));
        concerned.then(|| OutboxChange::Renamed(renamed.clone()))
    }

    /// The room called `room` has this number: its messages go there, whatever it is called. Gives what
    /// changes in the durable copy.
    pub fn number(&mut self, room: &RoomName, room_id: RoomId) -> Option<OutboxChange> {
        let is_new = |message: &Message| message.room.key() == room.key() && message.room_id.is_none();
        let concerned = self.messages().any(is_new);
        self.entries.iter_mut().for_each(|entry| entry.message.number(room, room_id));
        concerned.then(|| OutboxChange::Numbered { room: room.clone(), room_id })
    }

    /// The places that replies name are no longer valid.
    pub fn forget_places(&mut self) {
        for entry in &mut self.entries {
            entry.message.forget_place();
        }
    }

    /// Takes out all messages that `goes` selects and that are not on their way, each with whether an earlier
    /// sending of it may have succeeded.
    pub fn take(&mut self, mut goes: impl FnMut(&Message) -> bool) -> Vec<(Message, bool)> {
        let (gone, kept): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut self.entries)
            .into_iter()
            .partition(|entry| entry.in_flight.is_none() && goes(&entry.message));
        self.entries = kept;
        gone.into_iter().map(|entry| (entry.message, entry.uncertain)).collect()
    }

    fn position(&self, request_id: i64) -> Option<usize> {
        self.entries.iter().position(|entry| entry.in_flight == Some(request_id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox(count: usize) -> Outbox {
        let mut ids = MessageIds::new("i");
        let message = |_| Message {
            client_msg_id: ids.next_id(),
            room: RoomName::new("lobby").unwrap(),
            room_id: None,
            body: "x".into(),
            reply_to: None,
            file_id: None,
        };
        Outbox::new((0..count).map(message).collect())
    }

    /// Sends as long as the window is open; the ids of what was sent.
    fn send_all(outbox: &mut Outbox, request_id: &mut i64) -> Vec<String> {
        let mut sent = vec![];
        while let Some((message, _)) = outbox.next_to_send() {
            sent.push(message.client_msg_id.clone());
            *request_id += 1;
            outbox.sent(*request_id);
        }
        sent
    }

    #[test]
    fn the_window_starts_at_one_and_grows_with_each_answer() {
        let mut outbox = outbox(10);
        let mut request_id = 0;
        assert_eq!(send_all(&mut outbox, &mut request_id), ["i-1"]);
        outbox.answered(1);
        assert_eq!(send_all(&mut outbox, &mut request_id), ["i-2", "i-3"]);
        outbox.answered(2);
        outbox.answered(3);
        assert_eq!(send_all(&mut outbox, &mut request_id), ["i-4", "i-5", "i-6", "i-7"]);
        assert_eq!(outbox.next_to_send(), None);
    }

    #[test]
    fn after_a_lost_connection_everything_unanswered_goes_again_in_order() {
        let mut outbox = outbox(5);
        let mut request_id = 0;
        send_all(&mut outbox, &mut request_id);
        outbox.answered(1);
        assert_eq!(send_all(&mut outbox, &mut request_id), ["i-2", "i-3"]);
        outbox.connection_lost();
        let mut again = vec![];
        while !outbox.is_empty() {
            let first = request_id + 1;
            again.extend(send_all(&mut outbox, &mut request_id));
            (first..=request_id).for_each(|answered| drop(outbox.answered(answered)));
        }
        assert_eq!(again, ["i-2", "i-3", "i-4", "i-5"]);
    }

    #[test]
    fn after_a_refusal_for_load_nothing_is_sent_until_all_answers_are_there() {
        let mut outbox = outbox(5);
        let mut request_id = 0;
        send_all(&mut outbox, &mut request_id);
        outbox.answered(1);
        send_all(&mut outbox, &mut request_id);
        outbox.refused_for_load(2);
        assert_eq!(outbox.next_to_send(), None, "i-3 is still on its way");
        outbox.refused_for_load(3);
        assert_eq!(send_all(&mut outbox, &mut request_id), ["i-2"], "one at first");
        outbox.answered(request_id);
        assert_eq!(send_all(&mut outbox, &mut request_id), ["i-3", "i-4"]);
    }

    #[test]
    fn each_message_names_the_unanswered_one_before_it() {
        let mut outbox = outbox(3);
        assert_eq!(outbox.next_to_send().unwrap().1, None);
        outbox.sent(1);
        outbox.answered(1);
        assert_eq!(outbox.next_to_send().unwrap().1, None);
        outbox.sent(2);
        let (next, before) = outbox.next_to_send().unwrap();
        assert_eq!((next.client_msg_id.as_str(), before.unwrap().client_msg_id.as_str()), ("i-3", "i-2"));
    }

    #[test]
    fn what_is_taken_out_is_not_on_its_way_and_says_whether_it_may_have_been_sent() {
        let mut outbox = outbox(3);
        let first = outbox.messages().next().unwrap().clone();
        outbox.push(Message { client_msg_id: "new".into(), ..first });
        outbox.sent(1);
        let gone = outbox.take(|message| message.client_msg_id != "i-2");
        let gone: Vec<_> =
            gone.iter().map(|(message, maybe)| (message.client_msg_id.as_str(), *maybe)).collect();
        assert_eq!(gone, [("i-3", true), ("new", false)]);
        assert_eq!(outbox.answered(1).unwrap().client_msg_id, "i-1");
        assert_eq!(outbox.next_to_send().unwrap().0.client_msg_id, "i-2");
    }
}
