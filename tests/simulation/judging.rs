//! Replays the log with a state of its own, to find who was in which room and what must be stored.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};
use syncnet::{
    chat::{Effects, Entry, Evidence, State},
    consensus::ConfChange,
    disk::{EventRow, RoomId},
    protocol::{
        Event,
        peer::{LogEntryKind, NodeId},
    },
};

use crate::{
    checker::{Point, Verdict, Violation},
    cluster::Cluster,
    company::{DEN, Shown, is_private},
    upgrading::NEW,
};

/// The result of the replay.
#[derive(Default)]
struct Replay {
    state: State,
    events: BTreeMap<(RoomId, u64), Arc<Event>>,
    /// By timestamp: the log entry that made the event.
    indexes: BTreeMap<u64, u64>,
    /// By room and user, folded: the entries with which memberships began and ended.
    members: BTreeMap<(String, String), Vec<(u64, bool)>>,
}

impl Replay {
    fn apply(&mut self, index: u64, entry: &Entry) {
        let evidence = self.evidence(entry);
        let Effects { events, rewritten, membership, .. } = self.state.apply(index, entry, &evidence).effects;
        for published in events {
            self.indexes.insert(published.event.lamport_timestamp, index);
            self.store(&published.row());
        }
        rewritten.iter().for_each(|row| self.store(row));
        for change in membership {
            let Some(room) = self.state.room_by_id(change.room) else { continue };
            let key = (room.name.key().as_str().to_owned(), change.user.as_str().to_owned());
            self.members.entry(key).or_default().push((index, change.joined));
        }
    }

    fn evidence(&self, entry: &Entry) -> Evidence {
        let Some((room, seq)) = self.state.target_of(&entry.proposal) else {
            return Evidence::default();
        };
        let mut evidence = Evidence { target: self.events.get(&(room, seq)).cloned(), last_edit: None };
        evidence.last_edit = evidence.newest_edit().and_then(|edit| self.events.get(&(room, edit)).cloned());
        evidence
    }

    fn store(&mut self, row: &EventRow) {
        if let Ok(event) = serde_json::from_str(row.json.get()) {
            self.events.insert((row.room, row.seq), Arc::new(event));
        }
    }

    /// Whether the user was allowed to see it: a push, if they were a member when it happened (joining and
    /// leaving included); an answer, if they were a member at some time since its last event.
    fn allows(&self, shown: &Shown) -> bool {
        let is_file = shown.lamport == 0;
        let Some(index) = self.indexes.get(&shown.lamport).copied().or(is_file.then_some(0)) else {
            return false;
        };
        let key = (shown.room.clone(), shown.user.clone());
        let changes = self.members.get(&key).map_or(&[][..], Vec::as_slice);
        let at = |index: u64| {
            changes.iter().rev().find(|(since, _)| *since <= index).is_some_and(|(_, joined)| *joined)
        };
        let until = if shown.is_push { index } else { shown.bound.max(index) };
        at(index)
            || at(index.saturating_sub(1))
            || changes.iter().any(|(since, joined)| *joined && index < *since && *since <= until)
    }
}

/// The nodes that a change of those that count takes out. It may have been overtaken, and change nothing.
fn removed_by(change: &[u8]) -> Vec<NodeId> {
    let steps = postcard::take_from_bytes::<Vec<ConfChange>>(change).map(|(steps, _)| steps);
    steps.unwrap_or_default().iter().filter_map(ConfChange::removed).collect()
}

impl Cluster {
    /// After the run: checks what was shown to whom, and what is stored.
    pub fn judge_company(&mut self) -> Verdict {
        let Some(company) = self.company.take() else { return Ok(()) };
        let replay = self.replay()?;
        self.tally.shown = company.shown.len() as u64;
        self.tally.deleted = company.gone_texts().count() as u64;
        self.tally.logouts = company.revoked.len() as u64;
        if let Some(Shown { user, room, lamport, is_push, .. }) =
            company.shown.iter().find(|shown| !replay.allows(shown))
        {
            let text = format!("{user} was shown ({room}, timestamp {lamport}), push {is_push}");
            return Err(Violation::new(Point::Confined, text));
        }
        for server in self.members() {
            for (room, events) in self.rooms_on_disk(server)? {
                for stored in events {
                    if let Some(text) = company.gone_texts().find(|text| stored["body"] == *text) {
                        let text =
                            format!("server {} keeps {text:?}, which was deleted: {stored}", server + 1);
                        return Err(Violation::new(Point::Refused, text));
                    }
                    let seq = stored["seq"].as_u64().unwrap_or(0);
                    let id = syncnet::protocol::RoomName::new(&room)
                        .and_then(|it| replay.state.room_id(&it.key()));
                    let due = id.and_then(|id| replay.events.get(&(id, seq)));
                    let due = due.and_then(|event| serde_json::to_value(&**event).ok());
                    if due.as_ref() != Some(&stored) {
                        let text = format!("server {} holds {stored}; the log makes it {due:?}", server + 1);
                        return Err(Violation::new(Point::OneOrder, text));
                    }
                }
            }
            self.try_what_ended(server, &company.revoked)?;
        }
        self.company = Some(company);
        Ok(())
    }

    /// Ended sessions give no access, and a guest learns of no private room.
    fn try_what_ended(&mut self, server: usize, revoked: &BTreeMap<String, usize>) -> Verdict {
        for token in revoked.keys().take(3) {
            let (visitor, answer) = self.meet(server, "login", json!({"token": token}))?;
            if answer["data"]["code"] != "bad_credentials" {
                let text = format!("a token that had ended is answered: {answer}");
                return Err(Violation::new(Point::Confined, text));
            }
            self.visitors.remove(&visitor);
        }
        let (visitor, _) = self.meet(server, "ping", json!({"barrier": true}))?;
        for msg_type in ["history", "members"] {
            let there = self.converse(visitor, msg_type, json!({"room": DEN}))?;
            let nowhere = self.converse(visitor, msg_type, json!({"room": "nowhere"}))?;
            let said = |answer: &Value, room: &str| answer["data"].to_string().replace(room, "X");
            if said(&there, DEN) != said(&nowhere, "nowhere") {
                let text = format!("a stranger can tell {there} from {nowhere}");
                return Err(Violation::new(Point::Confined, text));
            }
        }
        let found = self.converse(visitor, "search", json!({"query": "word*", "limit": 100}))?;
        let hits = found["data"]["hits"].as_array().cloned().unwrap_or_default();
        if let Some(hit) = hits.iter().find(|hit| hit["room"].as_str().is_some_and(is_private)) {
            return Err(Violation::new(Point::Confined, format!("a stranger has found {hit}")));
        }
        self.visitors.remove(&visitor);
        Ok(())
    }

    /// Whether a node counts at the end.
    fn counts(&self, node: NodeId) -> bool {
        self.members().iter().any(|server| {
            let conf = &self.hosts[*server].disk.borrow().known.applied.conf;
            conf.voters.contains(&node) || conf.learners.contains(&node)
        })
    }

    /// Everything that was committed, once more.
    fn replay(&self) -> Result<Replay, Violation> {
        let mut replay = Replay::default();
        let end = self.hosts.iter().map(|host| host.disk.borrow().known.applied.index).max().unwrap_or(0);
        for index in 1..=end {
            let committed =
                self.hosts.iter().find_map(|host| host.disk.borrow().committed.get(&index).cloned());
            let Some(entry) = committed.filter(|entry| !entry.data.is_empty()) else { continue };
            if entry.kind == LogEntryKind::Configure {
                // How far the commands of a node were applied is forgotten with it.
                let gone = removed_by(&entry.data).into_iter().filter(|node| !self.counts(*node));
                gone.for_each(|node| drop(replay.state.forget_origin(node)));
                continue;
            }
            let entry = Entry::decode(&entry.data, NEW).map_err(|error| {
                Violation::new(Point::OneOrder, format!("entry {index} cannot be played: {error}"))
            })?;
            replay.apply(index, &entry);
        }
        Ok(replay)
    }
}
