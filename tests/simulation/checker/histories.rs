//! Tests of the judge: good histories pass, and each kind of broken promise is named.

use serde_json::{Value, json};

use super::{Checker, Counting, Ledger, LogLine, Point, Synced, Verdict};

/// Nodes 100 to 102 vote.
fn all() -> Counting {
    Counting { voters: vec![100, 101, 102], ..Counting::default() }
}

/// A history in the making. Connection 1 belongs to alice, 2 to bob; both are on server 0.
struct History {
    checker: Checker,
    verdict: Verdict,
    requests: u64,
}

impl History {
    fn new() -> History {
        // The fourth has no data at first.
        let mut checker = Checker::new(4);
        for server in 0..3 {
            checker.booted(server, 100 + server as u64).expect("it had no data before");
        }
        checker.opened(1, 0, Some("alice"));
        checker.opened(2, 0, Some("bob"));
        History { checker, verdict: Ok(()), requests: 0 }
    }

    /// Goes on with `tell`, unless a violation was found already.
    fn then(&mut self, tell: impl FnOnce(&mut Checker) -> Verdict) -> &mut Self {
        if self.verdict.is_ok() {
            self.verdict = tell(&mut self.checker);
        }
        self
    }

    /// Sends a request and gives its `request_id`.
    fn ask(&mut self, conn: u64, msg_type: &str, data: Value) -> u64 {
        self.requests += 1;
        let line = json!({"msg_type": msg_type, "data": data, "request_id": self.requests});
        self.checker.sent(conn, line.to_string().as_bytes());
        self.requests
    }

    fn answer(
        &mut self,
        conn: u64,
        request_id: u64,
        msg_type: &str,
        answers: &str,
        data: Value,
    ) -> &mut Self {
        let mut data = data;
        data["for"] = answers.into();
        let line = json!({"msg_type": msg_type, "data": data, "request_id": request_id}).to_string();
        self.then(|checker| checker.received(conn, line.as_bytes()))
    }

    fn send(&mut self, conn: u64, id: &str) -> u64 {
        self.ask(conn, "chat", json!({"room": "lobby", "body": format!("body of {id}"), "client_msg_id": id}))
    }

    fn ack(&mut self, conn: u64, request_id: u64, id: &str, seq: u64) -> &mut Self {
        self.ack_as(conn, request_id, id, seq, 10 * seq, false)
    }

    fn ack_as(
        &mut self,
        conn: u64,
        request_id: u64,
        id: &str,
        seq: u64,
        lamport: u64,
        duplicate: bool,
    ) -> &mut Self {
        let data = json!({"room": "lobby", "seq": seq, "client_msg_id": id, "lamport_timestamp": lamport, "duplicate": duplicate});
        self.answer(conn, request_id, "ack", "chat", data)
    }

    fn nack(&mut self, conn: u64, request_id: u64, code: &str) -> &mut Self {
        self.answer(conn, request_id, "nack", "chat", json!({"code": code}))
    }

    fn push(&mut self, conn: u64, event: Value) -> &mut Self {
        let line = json!({"msg_type": "chat", "data": event}).to_string();
        self.then(|checker| checker.received(conn, line.as_bytes()))
    }

    fn join(
        &mut self,
        conn: u64,
        after: Option<u64>,
        events: &[Value],
        last_seq: u64,
        more: bool,
    ) -> &mut Self {
        let request = self.ask(conn, "create_join", json!({"room": "lobby", "after": after}));
        let data = json!({"room": "lobby", "events": events, "last_seq": last_seq, "more": more});
        self.answer(conn, request, "ack", "create_join", data)
    }

    fn synced(&mut self, server: usize, synced: Synced) -> &mut Self {
        self.then(|checker| checker.synced(server, synced))
    }

    fn read_by_all(&mut self, events: &[Value]) -> &mut Self {
        for server in 0..3 {
            self.then(|checker| checker.final_read(server, "lobby", events));
        }
        self
    }

    fn passes(&mut self) {
        self.then(|checker| checker.finish());
        assert_eq!(self.verdict, Ok(()));
    }

    #[track_caller]
    fn breaks(&mut self, point: Point) {
        self.then(|checker| checker.finish());
        assert_eq!(
            self.verdict.clone().map_err(|violation| violation.point),
            Err(point),
            "{:?}",
            self.verdict
        );
    }
}

/// The message `id` as an event; timestamps are ten times the `seq`.
fn event(author: &str, id: &str, seq: u64) -> Value {
    json!({"room": "lobby", "seq": seq, "kind": "message", "author": author, "body": format!("body of {id}"),
           "client_msg_id": id, "lamport_timestamp": 10 * seq, "created_at": 1.5})
}

fn joined(author: &str, seq: u64) -> Value {
    json!({"room": "lobby", "seq": seq, "kind": "joined", "author": author, "lamport_timestamp": 10 * seq, "created_at": 1.5})
}

/// An entry of term 1 that carries alice's message `id`.
fn entry(index: u64, id: &str) -> (u64, LogLine) {
    (
        index,
        LogLine { term: 1, content: index, message: Some(("alice".into(), id.into())), configures: false },
    )
}

#[test]
fn a_good_history_passes() {
    let mut history = History::new();
    history.join(1, None, &[joined("alice", 1)], 1, false);
    let first = history.send(1, "a1");
    let second = history.send(1, "a2");
    history.push(1, event("alice", "a1", 2)).ack(1, first, "a1", 2);
    history.push(1, event("alice", "a2", 3)).ack(1, second, "a2", 3);
    history.join(2, Some(1), &[event("alice", "a1", 2)], 3, true);
    history.push(2, event("alice", "a2", 3));
    history.read_by_all(&[joined("alice", 1), event("alice", "a1", 2), event("alice", "a2", 3)]).passes();
}

#[test]
fn many_maybes_may_have_happened_or_not() {
    let mut history = History::new();
    let sent: Vec<u64> = (0..20).map(|number| history.send(1, &format!("m{number}"))).collect();
    for request in &sent[..10] {
        history.nack(1, *request, "unavailable");
    }
    history.checker.closed(1);
    let happened: Vec<Value> =
        (0..10).map(|place| event("alice", &format!("m{}", 2 * place), place + 1)).collect();
    history.read_by_all(&happened).passes();
}

#[test]
fn a_maybe_that_is_resent_is_one_message() {
    let mut history = History::new();
    let lost = history.send(1, "a1");
    history.nack(1, lost, "unavailable");
    history.checker.opened(3, 1, Some("alice"));
    let again = history.send(3, "a1");
    history.ack_as(3, again, "a1", 1, 10, true).read_by_all(&[event("alice", "a1", 1)]).passes();
}

#[test]
fn an_acked_message_that_is_gone_is_not_durable() {
    let mut history = History::new();
    let request = history.send(1, "a1");
    history.ack(1, request, "a1", 1).read_by_all(&[]).breaks(Point::Durable);
}

#[test]
fn an_acked_message_that_one_server_lacks_is_not_durable() {
    let mut history = History::new();
    let request = history.send(1, "a1");
    history.ack(1, request, "a1", 1);
    history.then(|checker| checker.final_read(0, "lobby", &[event("alice", "a1", 1)]));
    history.then(|checker| checker.final_read(1, "lobby", &[])).breaks(Point::Durable);
}

#[test]
fn an_ack_needs_a_synced_majority() {
    let said = br#"{"msg_type":"ack","data":{"for":"chat","client_msg_id":"a1"}}"#;
    let told = |holders: usize| {
        let mut history = History::new();
        for server in 0..holders {
            history.synced(server, Synced { entries: vec![entry(1, "a1")], ..Synced::default() });
        }
        history.then(|checker| checker.said(0, 1, said, all));
        history
    };
    told(2).passes();
    told(1).breaks(Point::Durable);
    // An entry that a later leader overwrote is not held any more.
    let mut history = told(2);
    history.synced(1, Synced { entries: vec![entry(1, "other")], ..Synced::default() });
    history.then(|checker| checker.said(0, 1, said, all)).breaks(Point::Durable);
}

#[test]
fn a_message_with_two_places_is_not_once() {
    let mut history = History::new();
    history.send(1, "a1");
    history.read_by_all(&[event("alice", "a1", 1), event("alice", "a1", 2)]).breaks(Point::Once);
}

#[test]
fn a_message_that_is_new_twice_is_not_once() {
    let mut history = History::new();
    let first = history.send(1, "a1");
    let second = history.send(1, "a1");
    history.ack(1, first, "a1", 1).ack(1, second, "a1", 1).breaks(Point::Once);
}

#[test]
fn an_event_shown_twice_is_not_once() {
    let mut history = History::new();
    history.send(1, "a1");
    history.push(2, event("alice", "a1", 1)).push(2, event("alice", "a1", 1)).breaks(Point::Once);
    let mut history = History::new();
    history.send(1, "a1");
    history.join(2, Some(1), &[event("alice", "a1", 1)], 1, false).breaks(Point::Once);
}

#[test]
fn a_place_with_two_events_is_not_one_order() {
    let mut history = History::new();
    history.send(1, "a1");
    history.send(1, "a2");
    history.push(1, event("alice", "a1", 1)).push(2, event("alice", "a2", 1)).breaks(Point::OneOrder);
    let mut history = History::new();
    let (first, second) = (history.send(1, "a1"), history.send(1, "a2"));
    history.ack(1, first, "a1", 1).ack_as(1, second, "a2", 1, 20, false).breaks(Point::OneOrder);
}

#[test]
fn a_hole_at_the_end_is_not_one_order() {
    let mut history = History::new();
    history.send(1, "a1");
    history.read_by_all(&[event("alice", "a1", 2)]).breaks(Point::OneOrder);
}

#[test]
fn a_clock_that_falls_back_is_not_one_order() {
    let late = |seq: u64, lamport: u64| {
        let mut event = event("alice", &format!("a{seq}"), seq);
        event["lamport_timestamp"] = lamport.into();
        event
    };
    let mut history = History::new();
    history.send(1, "a1");
    history.send(1, "a2");
    history.push(1, late(1, 20)).push(1, late(2, 20)).breaks(Point::OneOrder);
    let mut history = History::new();
    history.send(1, "a1");
    history.send(1, "a2");
    history.push(1, late(1, 20)).push(1, late(2, 19)).breaks(Point::OneOrder);
}

#[test]
fn words_that_nobody_sent_are_not_one_order() {
    History::new().push(1, event("alice", "a1", 1)).breaks(Point::OneOrder);
}

#[test]
fn servers_that_apply_different_entries_are_not_one_order() {
    let applied = |id: &str| Synced {
        entries: vec![entry(1, id)],
        applied: Some((1, Counting::default())),
        ..Synced::default()
    };
    let mut history = History::new();
    history
        .synced(0, applied("a1"))
        .synced(1, applied("a1"))
        .synced(2, applied("a2"))
        .breaks(Point::OneOrder);
}

#[test]
fn a_log_that_loses_what_was_applied_is_not_durable() {
    let mut history = History::new();
    history.synced(
        0,
        Synced {
            entries: vec![entry(1, "a1")],
            applied: Some((1, Counting::default())),
            ..Synced::default()
        },
    );
    history.synced(0, Synced { entries: vec![entry(1, "a1")], ..Synced::default() }).breaks(Point::Durable);
}

#[test]
fn overtaking_breaks_the_sender_order() {
    let mut history = History::new();
    let (first, second) = (history.send(1, "a1"), history.send(1, "a2"));
    history.ack(1, first, "a1", 2).ack(1, second, "a2", 1).breaks(Point::SenderOrder);
    let mut history = History::new();
    let (_, second) = (history.send(1, "a1"), history.send(1, "a2"));
    history.ack(1, second, "a2", 1).breaks(Point::SenderOrder);
}

#[test]
fn a_device_keeps_its_order_over_connections() {
    let mut history = History::new();
    history.checker.composed(7, "alice", "a1");
    history.checker.composed(7, "alice", "a2");
    let second = history.send(1, "a2");
    history.ack(1, second, "a2", 1);
    history.checker.closed(1);
    history.checker.opened(3, 0, Some("alice"));
    let first = history.send(3, "a1");
    history.ack(3, first, "a1", 2);
    history.read_by_all(&[event("alice", "a2", 1), event("alice", "a1", 2)]).breaks(Point::SenderOrder);
}

#[test]
fn what_a_device_composed_must_be_acknowledged() {
    let mut history = History::new();
    history.checker.composed(7, "alice", "a1");
    history.send(1, "a1");
    history.read_by_all(&[]).breaks(Point::Alive);
}

#[test]
fn what_was_acked_before_comes_before() {
    let mut history = History::new();
    let first = history.send(1, "a1");
    history.ack(1, first, "a1", 2);
    let second = history.send(2, "b1");
    history.ack(2, second, "b1", 1).breaks(Point::RealTime);
}

#[test]
fn reads_do_not_fall_back() {
    let mut history = History::new();
    let first = history.send(1, "a1");
    history.ack(1, first, "a1", 1);
    let read = history.ask(1, "history", json!({"room": "lobby"}));
    history
        .answer(1, read, "history", "history", json!({"room": "lobby", "events": [], "last_seq": 0}))
        .breaks(Point::RealTime);
}

#[test]
fn a_read_contains_what_others_were_acked_before_or_says_that_it_may_not() {
    for stale in [false, true] {
        let mut history = History::new();
        let first = history.send(1, "a1");
        history.ack(1, first, "a1", 1);
        let read = history.ask(2, "history", json!({"room": "lobby"}));
        let mut page = json!({"room": "lobby", "events": [], "last_seq": 0});
        if stale {
            page["stale"] = true.into();
        }
        history.answer(2, read, "history", "history", page).read_by_all(&[event("alice", "a1", 1)]);
        if stale { history.passes() } else { history.breaks(Point::RealTime) }
    }
    let mut history = History::new();
    let first = history.send(1, "a1");
    let read = history.ask(2, "history", json!({"room": "lobby"}));
    history.ack(1, first, "a1", 1);
    let page = json!({"room": "lobby", "events": [], "last_seq": 0});
    history.answer(2, read, "history", "history", page).read_by_all(&[event("alice", "a1", 1)]).passes();
}

#[test]
fn a_barrier_covers_what_others_were_acked() {
    let mut history = History::new();
    let first = history.send(1, "a1");
    history.ack(1, first, "a1", 1);
    let ping = history.ask(2, "ping", json!({"barrier": true}));
    history.answer(2, ping, "pong", "ping", json!({}));
    let read = history.ask(2, "history", json!({"room": "lobby"}));
    history
        // What the barrier covers counts though the answer says that it may be stale.
        .answer(
            2,
            read,
            "history",
            "history",
            json!({"room": "lobby", "events": [], "last_seq": 0, "stale": true}),
        )
        .breaks(Point::RealTime);
}

#[test]
fn a_skipped_event_is_a_gap() {
    let mut history = History::new();
    for id in ["a1", "a2", "a3"] {
        history.send(1, id);
    }
    history.push(2, event("alice", "a1", 1)).push(2, event("alice", "a3", 3)).breaks(Point::NoGap);
}

#[test]
fn a_resume_that_begins_or_ends_wrongly_is_a_gap() {
    let told = || {
        let mut history = History::new();
        history.send(1, "a1");
        history.send(1, "a2");
        history
    };
    told().join(2, Some(0), &[event("alice", "a2", 2)], 2, false).breaks(Point::NoGap);
    told().join(2, Some(0), &[event("alice", "a1", 1)], 2, false).breaks(Point::NoGap);
    told().join(2, None, &[event("alice", "a1", 1)], 2, false).breaks(Point::NoGap);
    told().join(2, Some(0), &[event("alice", "a1", 1), event("alice", "a2", 2)], 2, false).passes();
}

#[test]
fn a_push_that_overtakes_the_answer_to_a_join_is_a_gap() {
    let mut history = History::new();
    for id in ["a1", "a2", "a3"] {
        history.send(1, id);
    }
    history.push(2, event("alice", "a1", 1)).push(2, event("alice", "a2", 2));
    history.join(2, None, &[event("alice", "a2", 2)], 2, true);
    let request = history.ask(2, "create_join", json!({"room": "lobby"}));
    history.push(2, event("alice", "a3", 3));
    let data = json!({"room": "lobby", "events": [event("alice", "a2", 2)], "last_seq": 2, "more": true});
    history.answer(2, request, "ack", "create_join", data).breaks(Point::NoGap);
}

#[test]
fn history_must_be_the_part_that_was_asked_for() {
    let told = |asked: Value, seqs: &[u64]| {
        let mut history = History::new();
        for id in ["a1", "a2", "a3"] {
            history.send(1, id);
        }
        let read = history.ask(2, "history", asked);
        let events: Vec<Value> = seqs.iter().map(|seq| event("alice", &format!("a{seq}"), *seq)).collect();
        history.answer(
            2,
            read,
            "history",
            "history",
            json!({"room": "lobby", "events": events, "last_seq": 3}),
        );
        history
    };
    told(json!({"room": "lobby"}), &[2, 3]).passes();
    told(json!({"room": "lobby"}), &[1, 2]).breaks(Point::NoGap);
    told(json!({"room": "lobby", "after": 1}), &[2, 3]).passes();
    told(json!({"room": "lobby", "after": 1}), &[3]).breaks(Point::NoGap);
    told(json!({"room": "lobby", "before": 3}), &[1, 2]).passes();
    told(json!({"room": "lobby", "before": 3}), &[1]).breaks(Point::NoGap);
    told(json!({"room": "lobby"}), &[1, 3]).breaks(Point::NoGap);
}

#[test]
fn two_leaders_in_a_term_are_one_too_many() {
    let mut history = History::new();
    history
        .then(|checker| checker.leads(0, 100, 4, &Counting::default()))
        .then(|checker| checker.leads(0, 100, 4, &Counting::default()));
    history.then(|checker| checker.leads(1, 101, 5, &Counting::default())).passes();
    history.then(|checker| checker.leads(2, 102, 5, &Counting::default())).breaks(Point::OneLeader);
}

/// 101 leads term 4 with its own vote and those of `voters`, who store them.
fn elected_by(voters: &[u64], counting: &Counting) -> History {
    let mut history = History::new();
    history.then(|checker| checker.booted(3, 103));
    for voter in voters.iter().chain([&101]) {
        let server = *voter as usize - 100;
        history.synced(server, Synced { vote: Some((4, Some(101))), ..Synced::default() });
        history.then(|checker| checker.voted(server, *voter, 4, 101));
    }
    history.then(|checker| checker.leads(1, 101, 4, counting));
    history
}

#[test]
fn a_leader_has_the_votes_of_a_majority_of_those_that_vote() {
    elected_by(&[100], &all()).passes();
    elected_by(&[], &all()).breaks(Point::OneLeader);
    // A learner's vote does not count.
    elected_by(&[103], &Counting { learners: vec![103], ..all() }).breaks(Point::OneLeader);
    // In the middle of a change both majorities are needed.
    let joint =
        Counting { voters: vec![101, 102, 103], outgoing: vec![100, 101, 102], ..Counting::default() };
    elected_by(&[102], &joint).passes();
    elected_by(&[103], &joint).breaks(Point::OneLeader);
    elected_by(&[100], &joint).breaks(Point::OneLeader);
}

/// The first server applies entry 100, by which 103, whose log ends at `last`, votes in the place of 100.
fn changed(last: u64, holders: usize) -> History {
    let change = LogLine { term: 1, content: 7, message: None, configures: true };
    let entries = |to: u64| (1..=to).map(|index| (index, change.clone())).collect::<Vec<_>>();
    let mut history = History::new();
    history.then(|checker| checker.booted(3, 103));
    history.synced(3, Synced { entries: entries(last), ..Synced::default() });
    for server in 0..holders {
        history.synced(server, Synced { entries: entries(100), ..Synced::default() });
    }
    // Who counted before, and what changes that.
    history.synced(0, Synced { applied: Some((99, all())), ..Synced::default() });
    let joint =
        Counting { voters: vec![101, 102, 103], outgoing: vec![100, 101, 102], ..Counting::default() };
    history.synced(0, Synced { applied: Some((100, joint)), ..Synced::default() });
    history
}

#[test]
fn who_votes_holds_the_log_and_a_majority_of_those_before_holds_the_change() {
    changed(40, 2).passes();
    changed(30, 2).breaks(Point::Members);
    changed(99, 1).breaks(Point::Durable);
}

#[test]
fn all_servers_have_the_same_count() {
    let mut history = changed(40, 3);
    let other = Counting { voters: vec![101, 102], ..Counting::default() };
    history.synced(1, Synced { applied: Some((99, all())), ..Synced::default() });
    history.synced(1, Synced { applied: Some((100, other)), ..Synced::default() }).breaks(Point::Members);
}

#[test]
fn who_knows_to_be_removed_does_nothing_more() {
    let removed = || {
        let mut history = changed(99, 3);
        history.synced(0, Synced { entries: vec![entry(101, "a1")], ..Synced::default() });
        history.synced(1, Synced { entries: vec![entry(101, "a1")], ..Synced::default() });
        history.synced(2, Synced { entries: vec![entry(101, "a1")], ..Synced::default() });
        let without = Counting { voters: vec![101, 102, 103], ..Counting::default() };
        history.synced(0, Synced { applied: Some((101, without)), ..Synced::default() });
        history
    };
    removed().then(|checker| checker.ends_as_removed(0, 100, true)).passes();
    removed().then(|checker| checker.ends_as_removed(1, 101, true)).breaks(Point::Members);
    // What it confirms in the turn in which it learns of it is on its way, and true.
    removed().then(|checker| checker.holds(0, 100, 101)).passes();
    removed().then(|checker| checker.leads(0, 100, 5, &all())).breaks(Point::Members);
}

#[test]
fn a_status_line_counts_as_a_claim() {
    let mut history = History::new();
    history.then(|checker| checker.leads(1, 101, 5, &Counting::default()));
    let asked = history.ask(1, "status_request", json!({}));
    history
        .answer(1, asked, "status", "status_request", json!({"role": "leader", "term": 5}))
        .breaks(Point::OneLeader);
}

#[test]
fn votes_are_synced_and_given_once() {
    let stored = |vote| Synced { vote: Some((4, Some(vote))), ..Synced::default() };
    let mut history = History::new();
    history.then(|checker| checker.voted(0, 100, 4, 101)).breaks(Point::Durable);
    let mut history = History::new();
    history.synced(0, stored(101)).then(|checker| checker.voted(0, 100, 4, 101)).passes();
    history.then(|checker| checker.voted(0, 100, 4, 102)).breaks(Point::OneLeader);
    let mut history = History::new();
    history.synced(0, stored(101)).synced(0, stored(102)).breaks(Point::OneLeader);
}

#[test]
fn a_start_finds_what_was_synced() {
    let mut history = History::new();
    history.synced(1, Synced { entries: vec![entry(1, "a1")], ..Synced::default() });
    history.then(|checker| checker.starts_with(1, 1, 0, (0, None))).passes();
    history.then(|checker| checker.starts_with(1, 0, 0, (0, None))).breaks(Point::Durable);

    // A power cut may take away what was applied, but not what came by a snapshot.
    let applied = |index| Synced { applied: Some((index, Counting::default())), ..Synced::default() };
    let mut history = History::new();
    history.synced(1, Synced { entries: vec![entry(1, "a1")], ..applied(1) });
    history.then(|checker| checker.starts_with(1, 1, 2, (0, None))).breaks(Point::Durable);
    let mut history = History::new();
    history.synced(1, Synced { entries: vec![entry(1, "a1")], ..applied(1) });
    history.then(|checker| checker.starts_with(1, 1, 0, (0, None))).passes();
    let mut history = History::new();
    history.synced(1, Synced { installed: Some(3), ..applied(3) });
    history.then(|checker| checker.starts_with(1, 3, 2, (0, None))).breaks(Point::Durable);
}

#[test]
fn data_is_doubted_for_a_reason() {
    History::new().then(|checker| checker.doubts(1, true, "a bit flipped")).passes();
    History::new().then(|checker| checker.doubts(1, false, "nothing")).breaks(Point::Durable);
}

#[test]
fn entries_are_synced_before_they_are_confirmed() {
    let mut history = History::new();
    history.synced(1, Synced { entries: vec![entry(1, "a1")], ..Synced::default() });
    history.then(|checker| checker.holds(1, 101, 1)).passes();
    history.then(|checker| checker.holds(1, 101, 2)).breaks(Point::Durable);
}

#[test]
fn data_that_was_put_back_does_not_count() {
    let told = || {
        let mut history = History::new();
        let old = history.checker.ledger(1);
        history.synced(1, Synced { vote: Some((4, Some(101))), ..Synced::default() });
        history.checker.lost(1, old);
        history
    };
    told().then(|checker| checker.leads(1, 101, 5, &Counting::default())).breaks(Point::Amnesia);
    told().then(|checker| checker.voted(1, 101, 5, 102)).breaks(Point::Amnesia);
    told().then(|checker| checker.holds(1, 101, 0)).breaks(Point::Amnesia);
    // Under a new name it is a new server.
    let mut history = told();
    history.checker.lost(1, Ledger::default());
    history.then(|checker| checker.booted(1, 201)).then(|checker| checker.holds(1, 201, 0)).passes();
    // It starts as a new one only if its data was lost.
    told().then(|checker| checker.booted(1, 201)).breaks(Point::Durable);
}

#[test]
fn a_refusal_means_that_nothing_happened() {
    let mut history = History::new();
    let request = history.send(1, "a1");
    history.nack(1, request, "overloaded").read_by_all(&[event("alice", "a1", 1)]).breaks(Point::Refused);
}

#[test]
fn a_room_that_somebody_was_told_of_is_not_denied() {
    let told = || {
        let mut history = History::new();
        history.join(2, None, &[], 0, false);
        history
    };
    let mut history = told();
    let request = history.send(1, "a1");
    history.nack(1, request, "not_found").breaks(Point::Refused);
    let mut history = told();
    let request = history.send(1, "a1");
    history.nack(1, request, "overloaded").passes();
    // Asked before the room was known, or beside a request that may end it.
    let mut history = History::new();
    let request = history.send(1, "a1");
    history.join(2, None, &[], 0, false).nack(1, request, "not_found").passes();
    let mut history = told();
    let request = history.send(1, "a1");
    history.ask(2, "delete_room", json!({"room": "lobby"}));
    history.nack(1, request, "not_found").passes();
}

#[test]
fn an_answer_that_nobody_asked_for_is_not_confined() {
    let mut history = History::new();
    let request = history.send(1, "a1");
    history.ack(1, request, "a1", 1).ack(1, request, "a1", 1).breaks(Point::Confined);
    History::new().then(|checker| checker.received(1, b"no line")).breaks(Point::Confined);
}
