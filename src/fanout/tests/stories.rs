//! One case each.

use super::{History, by, left, to};
use crate::{
    disk::EventRange,
    fanout::{ConnId, End, EventQuery, Instruction, Purpose, QueriedEvents, QueryResult, Subscriptions},
    protocol::{Code, HistoryPage, Refusal, Said, answer::SessionEnded, request::HistoryRange},
};

const CONN: ConnId = ConnId(1);
const OTHER: ConnId = ConnId(2);

/// A fan-out and one room.
struct Story {
    fanout: Subscriptions,
    history: History,
}

impl Story {
    fn new(outbox_bytes: usize, events: u64) -> Self {
        let mut story = Story { fanout: Subscriptions::new(outbox_bytes), history: History::new(7) };
        story.fanout.handle(Instruction::Open { conn: CONN });
        story.fanout.handle(Instruction::Open { conn: OTHER });
        for _ in 0..events {
            story.history.say("before");
        }
        story
    }

    fn say(&mut self) {
        let publish = self.history.say("now");
        self.fanout.handle(publish);
    }

    fn join(&mut self, id: i64, after: Option<u64>, history: usize) -> (Purpose, EventRange) {
        let (join, range) = self.history.join(CONN, id, after, history);
        self.fanout.handle(join);
        (Purpose::Join { index: id as u64 }, range)
    }

    fn found(&mut self, purpose: Purpose, found: QueryResult) {
        let room = self.history.room;
        self.fanout.handle(Instruction::QueryResult { conn: CONN, room, purpose, result: found, by: by() });
    }

    /// The database answers, with all there is.
    fn find(&mut self, purpose: Purpose, range: &EventRange) {
        let found = self.history.look(range, u64::MAX);
        self.found(purpose, Ok(found));
    }

    /// The pages that are wanted.
    fn pages(&mut self) -> Vec<EventRange> {
        let queries = self.fanout.queries();
        queries.into_iter().map(|EventQuery { range, .. }| range).collect()
    }

    /// Everything that waits for `conn`, in few words: the seq of an event, the request and events of an
    /// answer.
    fn read(&mut self, conn: ConnId) -> Vec<String> {
        let lines = self.fanout.take(conn, usize::MAX);
        lines.iter().map(|said| in_few_words(said)).collect()
    }

    fn follow(&mut self, after: u64) {
        let (room, last_seq) = (self.history.room, self.history.last_seq());
        self.fanout.handle(Instruction::Follow {
            conn: CONN,
            room,
            name: self.history.name(),
            after,
            last_seq,
        });
    }
}

fn in_few_words(said: &Said) -> String {
    let line: serde_json::Value = serde_json::from_slice(&said.json()).unwrap();
    let data = &line["data"];
    if line["msg_type"] == "chat" {
        return data["seq"].to_string();
    }
    let mut words = format!("{} {}", line["msg_type"].as_str().unwrap(), line["request_id"]);
    if let Some(events) = data["events"].as_array() {
        let seqs: Vec<String> = events.iter().map(|event| event["seq"].to_string()).collect();
        words += &format!(" [{}]", seqs.join(","));
    }
    if data["more"] == true {
        words += " more";
    }
    words
}

#[test]
fn answers_wait_for_a_join_and_pushes_begin_behind_it() {
    let mut story = Story::new(1 << 20, 3);
    story.fanout.handle(left(CONN, 1));
    let (join, range) = story.join(2, None, 2);
    story.fanout.handle(left(CONN, 3));
    story.say();
    assert_eq!(story.fanout.dirty(), [CONN]);
    assert_eq!(story.read(CONN), ["ack 1"], "nothing of the room comes before its answer");
    story.find(join, &range);
    story.say();
    assert_eq!(story.fanout.dirty(), [CONN]);
    assert_eq!(story.read(CONN), ["ack 2 [2,3] more", "4", "ack 3", "5"]);
    assert!(story.pages().is_empty(), "all was recent");
    assert_eq!(story.read(OTHER), [""; 0]);
}

#[test]
fn a_resume_gives_the_rest_as_pushes() {
    let mut story = Story::new(1 << 20, 600);
    let (join, range) = story.join(1, Some(40), 0);
    story.find(join, &range);
    let [answer] = &story.read(CONN)[..] else { panic!("one answer") };
    assert!(answer.starts_with("ack 1 [41,") && answer.ends_with(",540] more"), "{answer}");
    let pages = story.pages();
    assert_eq!((pages[0].after, pages[0].before, pages.len()), (540, 601, 1));
    story.say();
    story.find(Purpose::CatchUp, &pages[0]);
    let expected: Vec<String> = (541..=601).map(|seq| seq.to_string()).collect();
    assert_eq!(story.read(CONN), expected, "the last one from memory");
    assert!(story.pages().is_empty());
}

#[test]
fn a_resume_from_the_future_begins_with_the_next_event() {
    let mut story = Story::new(1 << 20, 3);
    let (join, range) = story.join(1, Some(99), 0);
    story.find(join, &range);
    story.say();
    assert_eq!(story.read(CONN), ["ack 1 []", "4"]);
}

#[test]
fn joins_of_the_same_room_may_be_found_in_any_order() {
    let mut story = Story::new(1 << 20, 5);
    let (first, first_range) = story.join(1, Some(1), 0);
    let (second, second_range) = story.join(2, Some(3), 0);
    story.find(second, &second_range);
    assert_eq!(story.read(CONN), [""; 0]);
    story.say();
    story.find(first, &first_range);
    assert_eq!(story.read(CONN), ["ack 1 [2,3,4,5]", "ack 2 [4,5]", "6"], "only the last one goes on");
}

#[test]
fn an_unfollowed_join_is_answered_and_ends() {
    let mut story = Story::new(1 << 20, 1);
    let (join, range) = story.join(1, None, 50);
    story.fanout.handle(Instruction::Unfollow { conn: CONN, room: story.history.room });
    story.say();
    story.find(join, &range);
    story.say();
    assert_eq!(story.read(CONN), ["ack 1 [1]"]);
}

#[test]
fn whoever_left_and_came_back_during_a_join_goes_on_behind_its_answer() {
    let mut story = Story::new(1 << 20, 3);
    let room = story.history.room;
    let (join, range) = story.join(1, Some(1), 0);
    story.say();
    story.fanout.handle(Instruction::Unfollow { conn: CONN, room });
    story.say();
    story.follow(5);
    story.say();
    assert_eq!(story.read(CONN), [""; 0], "nothing of the room comes before its answer");
    // It may be found, and wait for the answer to an earlier join.
    let (other, other_range) = story.join(2, Some(5), 0);
    story.fanout.handle(Instruction::Unfollow { conn: CONN, room });
    story.say();
    story.find(other, &other_range);
    story.follow(7);
    story.say();
    assert_eq!(story.read(CONN), [""; 0]);
    story.find(join, &range);
    for page in story.pages() {
        story.find(Purpose::CatchUp, &page);
    }
    assert_eq!(story.read(CONN), ["ack 1 [2,3]", "ack 2 [6]", "7", "8"]);
}

/// The result of a query if the queues of the query threads are full.
fn nobody_looked() -> QueryResult {
    Err(Refusal::new(Code::Overloaded, "busy"))
}

#[test]
fn a_join_for_which_nobody_could_look_is_asked_again_and_not_refused() {
    let mut story = Story::new(1 << 20, 4);
    let (join, range) = story.join(1, None, 50);
    story.fanout.handle(left(CONN, 2));
    for _ in 0..2 {
        story.found(join.clone(), nobody_looked());
        story.say();
        assert_eq!(story.read(CONN), [""; 0], "it was applied: no answer may say that nothing happened");
        assert!(story.pages().is_empty(), "no hot loop");
        story.fanout.handle(Instruction::Tick);
        assert_eq!(story.pages(), std::slice::from_ref(&range));
        story.fanout.handle(Instruction::Tick);
        assert!(story.pages().is_empty(), "once is enough");
    }
    story.find(join, &range);
    assert_eq!(story.read(CONN), ["ack 1 [1,2,3,4]", "5", "6", "ack 2"]);
}

#[test]
fn a_page_for_which_nobody_could_look_is_asked_again() {
    let mut story = Story::new(1 << 20, 4);
    story.follow(1);
    let page = story.pages().remove(0);
    story.found(Purpose::CatchUp, nobody_looked());
    assert!(story.pages().is_empty(), "no hot loop");
    story.fanout.handle(Instruction::Tick);
    assert_eq!(story.pages(), std::slice::from_ref(&page));
    story.find(Purpose::CatchUp, &page);
    assert_eq!(story.read(CONN), ["2", "3", "4"]);
}

#[test]
fn a_join_with_a_hole_closes() {
    let mut story = Story::new(1 << 20, 4);
    let (join, range) = story.join(2, Some(1), 50);
    let mut rows = story.history.find(&range, u64::MAX);
    rows.remove(1);
    story.found(join, Ok(QueriedEvents { rows, first_kept: 1 }));
    assert_eq!(story.fanout.closed(), [(CONN, End::Finished)]);
}

#[test]
fn a_page_that_cannot_be_used_closes_after_what_is_queued() {
    let mut story = Story::new(1 << 20, 4);
    story.follow(1);
    story.fanout.handle(left(CONN, 1));
    let page = story.pages().remove(0);
    let rows = story.history.find(&page, u64::MAX).split_off(1);
    story.found(Purpose::CatchUp, Ok(QueriedEvents { rows, first_kept: 1 }));
    assert!(story.fanout.closed().is_empty());
    story.say();
    assert_eq!(story.read(CONN), ["ack 1"]);
    assert_eq!(story.fanout.closed(), [(CONN, End::Finished)]);
    story.fanout.handle(left(CONN, 2));
    assert_eq!(story.read(CONN), [""; 0]);
}

#[test]
fn who_has_nothing_of_a_room_begins_with_what_it_still_has() {
    let mut story = Story::new(1 << 20, 9);
    story.follow(2);
    // Forgotten before the page was read.
    story.history.first_kept = 7;
    let page = story.pages().remove(0);
    story.find(Purpose::CatchUp, &page);
    story.say();
    assert_eq!(story.read(CONN), ["7", "8", "9", "10"]);
    assert!(story.fanout.closed().is_empty());
}

#[test]
fn a_page_of_which_everything_is_forgotten_is_asked_for_again() {
    let mut story = Story::new(1 << 20, 9);
    story.follow(2);
    let page = story.pages().remove(0);
    for _ in 0..3 {
        story.history.say("not published here yet");
    }
    story.history.first_kept = 12;
    story.find(Purpose::CatchUp, &page);
    assert_eq!(story.read(CONN), [""; 0]);
    let publish = story.history.publish(12);
    story.fanout.handle(publish);
    story.fanout.handle(Instruction::Tick);
    let page = story.pages().remove(0);
    story.find(Purpose::CatchUp, &page);
    assert_eq!(story.read(CONN), ["12"]);
}

#[test]
fn who_has_got_something_is_closed_rather_than_skipped_and_its_resume_tells_what_is_gone() {
    let mut story = Story::new(1 << 20, 9);
    let (join, range) = story.join(1, Some(2), 50);
    story.history.first_kept = 5;
    // Forgotten while the join was looked up: the answer says so, and begins there.
    story.find(join, &range);
    assert_eq!(story.read(CONN), ["ack 1 [5,6,7,8,9]"]);
    // A reader that is so far behind that its next event is neither in memory nor in the database.
    story.fanout.handle(Instruction::Follow {
        conn: CONN,
        room: story.history.room,
        name: story.history.name(),
        after: 9,
        last_seq: 600,
    });
    story.history.first_kept = 500;
    for _ in 9..600 {
        story.history.say("elsewhere");
    }
    let publish = story.history.publish(600);
    story.fanout.handle(publish);
    let page = story.pages().remove(0);
    story.find(Purpose::CatchUp, &page);
    assert_eq!(story.fanout.closed(), [(CONN, End::Finished)]);
    story.fanout.handle(Instruction::Open { conn: CONN });
    let (join, range) = story.join(2, Some(9), 50);
    story.find(join, &range);
    let answer = story.read(CONN).remove(0);
    assert!(answer.starts_with("ack 2 [500,501,") && !answer.ends_with("more"), "{answer}");
    assert!(story.fanout.closed().is_empty(), "no circle");
}

#[test]
fn what_was_deleted_is_not_shown_from_memory() {
    let mut story = Story::new(1 << 20, 500);
    // A follower is there all the time, so the newest events are in memory.
    let (room, last_seq) = (story.history.room, story.history.last_seq());
    story.fanout.handle(Instruction::Follow {
        conn: OTHER,
        room,
        name: story.history.name(),
        after: last_seq,
        last_seq,
    });
    let secret = story.history.say("the secret");
    story.fanout.handle(secret);
    let rewrite = story.history.rewrite(501, "");
    story.fanout.handle(rewrite);
    story.say();
    let (join, range) = story.join(1, Some(0), 0);
    story.find(join, &range);
    let lines = story.fanout.take(CONN, usize::MAX);
    assert_eq!(lines.len(), 3, "the answer with 500 events, and two from memory");
    assert!(story.pages().is_empty());
    assert!(!lines.iter().any(|said| String::from_utf8_lossy(&said.json()).contains("the secret")));
}

#[test]
fn what_an_event_has_become_counts_by_its_length_now() {
    let mut story = Story::new(1 << 20, 0);
    story.follow(0);
    for _ in 0..3 {
        story.say();
    }
    // If the new form does not fit into memory the oldest events go, as with a new event.
    let rewrite = story.history.rewrite(2, &"long ".repeat(60_000));
    story.fanout.handle(rewrite);
    story.read(CONN);
    let (join, range) = story.join(1, Some(0), 0);
    let found =
        QueriedEvents { rows: story.history.find(&EventRange { before: 2, ..range }, 3), first_kept: 0 };
    story.found(join, Ok(found));
    assert_eq!(story.read(CONN), ["ack 1 [1] more"]);
    assert_eq!(story.pages().len(), 1, "the second is not in memory");
}

#[test]
fn a_line_for_many_is_held_once_and_an_answer_by_one() {
    let mut story = Story::new(1 << 20, 0);
    story.follow(0);
    story.fanout.handle(Instruction::Follow {
        conn: OTHER,
        room: story.history.room,
        name: story.history.name(),
        after: 0,
        last_seq: 0,
    });
    story.say();
    let line = story.fanout.queued_bytes(CONN);
    // The third is the memory of recent events.
    assert_eq!((story.fanout.share(CONN), story.fanout.share(OTHER)), (line / 3, line / 3));
    story.fanout.handle(left(CONN, 1));
    let answer = story.fanout.queued_bytes(CONN) - line;
    assert_eq!(story.fanout.share(CONN), line / 3 + answer);
    let backlogs: Vec<_> = story.fanout.backlogs().collect();
    assert_eq!(backlogs, [(CONN, line + answer), (OTHER, line)]);
}

#[test]
fn a_hole_is_no_beginning() {
    let mut story = Story::new(1 << 20, 9);
    story.follow(2);
    let page = story.pages().remove(0);
    let rows = story.history.find(&page, u64::MAX).split_off(2);
    story.found(Purpose::CatchUp, Ok(QueriedEvents { rows, first_kept: 1 }));
    assert_eq!(story.fanout.closed(), [(CONN, End::Finished)]);
}

#[test]
fn an_empty_page_is_asked_for_again_on_the_next_tick() {
    let mut story = Story::new(1 << 20, 4);
    story.follow(2);
    assert_eq!(story.pages().len(), 1);
    story.found(Purpose::CatchUp, Ok(QueriedEvents { rows: Vec::new(), first_kept: 1 }));
    story.say();
    assert!(story.pages().is_empty(), "no hot loop");
    story.fanout.handle(Instruction::Tick);
    let pages = story.pages();
    story.fanout.handle(Instruction::Tick);
    assert!(story.pages().is_empty(), "one page at a time");
    story.find(Purpose::CatchUp, &pages[0]);
    assert_eq!(story.read(CONN), ["3", "4", "5"]);
}

#[test]
fn a_page_for_an_earlier_cursor_is_thrown_away() {
    let mut story = Story::new(1 << 20, 4);
    story.follow(1);
    let page = story.pages().remove(0);
    let (join, range) = story.join(1, Some(3), 0);
    story.find(Purpose::CatchUp, &page);
    assert_eq!(story.read(CONN), [""; 0]);
    story.find(join, &range);
    assert_eq!(story.read(CONN), ["ack 1 [4]"]);
}

#[test]
fn a_slow_reader_is_cut_and_the_others_are_not() {
    let mut story = Story::new(4 << 10, 0);
    story.follow(0);
    let (room, last_seq) = (story.history.room, 0);
    story.fanout.handle(Instruction::Follow {
        conn: OTHER,
        room,
        name: story.history.name(),
        after: 0,
        last_seq,
    });
    for seq in 1..=100 {
        story.say();
        assert_eq!(story.read(OTHER), [seq.to_string()]);
        assert!(story.fanout.queued_bytes(CONN) <= 4 << 10);
    }
    assert_eq!(story.fanout.closed(), [(CONN, End::TooSlow)]);
    assert_eq!(story.read(CONN), [""; 0]);
}

#[test]
fn catching_up_never_cuts_its_own_reader() {
    let mut story = Story::new(16 << 10, 3_000);
    let (join, range) = story.join(1, Some(0), 0);
    story.find(join, &range);
    let mut seen = Vec::new();
    while seen.last() != Some(&"3000".to_string()) {
        for page in story.pages() {
            story.find(Purpose::CatchUp, &page);
        }
        assert!(story.fanout.queued_bytes(CONN) <= 12 << 10);
        let line = story.fanout.take(CONN, 1).pop().expect("there is always something to read");
        seen.push(in_few_words(&line));
    }
    let first: u64 = seen[1].parse().unwrap();
    assert!(seen[0].ends_with(&format!(",{}] more", first - 1)), "{}", seen[0]);
    assert_eq!(seen[1..], (first..=3_000).map(|seq| seq.to_string()).collect::<Vec<_>>());
    assert!(story.fanout.closed().is_empty());
}

#[test]
fn catching_up_leaves_out_no_long_line() {
    let mut story = Story::new(16 << 10, 1);
    // Few lines wait, but the long one does not fit after them.
    for body in ["x".repeat(6 << 10), "y".repeat(12 << 10), "z".into()] {
        story.history.say(&body);
    }
    story.follow(1);
    let mut seen = Vec::new();
    while seen.len() < 3 {
        for page in story.pages() {
            story.find(Purpose::CatchUp, &page);
        }
        let line = story.fanout.take(CONN, 1).pop().expect("there is always something to read");
        seen.push(in_few_words(&line));
    }
    assert_eq!(seen, ["2", "3", "4"]);
}

#[test]
fn a_full_outbox_shortens_answers() {
    let mut story = Story::new(16 << 10, 200);
    let (first, first_range) = story.join(1, None, 100);
    story.find(first, &first_range);
    let (second, second_range) = story.join(2, Some(50), 0);
    story.find(second, &second_range);
    let (third, third_range) = story.join(3, None, 100);
    story.find(third, &third_range);
    let answers = story.read(CONN);
    assert!(answers[0].starts_with("ack 1 [") && answers[0].ends_with(",200] more"), "{}", answers[0]);
    assert_eq!(answers[1..], ["ack 2 [] more", "ack 3 [] more"]);
    assert!(story.fanout.closed().is_empty());
}

#[test]
fn close_lets_what_waits_out_first() {
    let mut story = Story::new(1 << 20, 1);
    let (join, range) = story.join(1, None, 50);
    story.fanout.handle(left(CONN, 2));
    story.fanout.handle(Instruction::Close { conn: CONN });
    story.say();
    story.fanout.handle(left(CONN, 3));
    assert!(story.fanout.closed().is_empty());
    story.find(join, &range);
    assert!(story.fanout.closed().is_empty());
    assert_eq!(story.read(CONN), ["ack 1 [1]", "ack 2"]);
    assert_eq!(story.fanout.closed(), [(CONN, End::Finished)]);
    story.fanout.handle(Instruction::Close { conn: OTHER });
    assert_eq!(story.fanout.closed(), [(OTHER, End::Finished)], "there was nothing to wait for");
}

#[test]
fn waiting_answers_count_and_a_forgotten_connection_is_gone() {
    let mut story = Story::new(4 << 10, 1);
    story.join(1, None, 50);
    for id in 2..100 {
        story.fanout.handle(left(CONN, id));
    }
    assert_eq!(story.fanout.closed(), [(CONN, End::TooSlow)]);
    story.fanout.handle(Instruction::Forget { conn: OTHER });
    let said = Said::push(SessionEnded { reason: String::new() }, by());
    story.fanout.handle(Instruction::SayAll { said });
    assert!(story.fanout.dirty().is_empty() && story.fanout.closed().is_empty());
}

#[test]
fn history_tells_whether_there_is_more_in_its_direction() {
    let mut story = Story::new(1 << 20, 5);
    let mut ask = |range: HistoryRange, limit: usize| {
        let (after, before, oldest_first) = match range {
            HistoryRange::Last => (0, 6, false),
            HistoryRange::Before(seq) => (0, seq.min(6), false),
            HistoryRange::After(seq) => (seq, 6, true),
            HistoryRange::Since(_) => (0, 6, true),
        };
        let query = EventRange { after, before, oldest_first, limit, max_bytes: 1 << 20 };
        let page = HistoryPage {
            room: story.history.name(),
            events: Vec::new(),
            first_seq: 1,
            last_seq: 5,
            more: false,
            stale: false,
        };
        story.find(Purpose::History { to: to("history", 1), range, page }, &query);
        story.read(CONN).remove(0)
    };
    assert_eq!(ask(HistoryRange::Last, 2), "history 1 [4,5] more");
    assert_eq!(ask(HistoryRange::Last, 5), "history 1 [1,2,3,4,5]");
    assert_eq!(ask(HistoryRange::Before(3), 1), "history 1 [2] more");
    assert_eq!(ask(HistoryRange::Before(3), 2), "history 1 [1,2]");
    assert_eq!(ask(HistoryRange::Before(1), 2), "history 1 []");
    assert_eq!(ask(HistoryRange::After(3), 1), "history 1 [4] more");
    assert_eq!(ask(HistoryRange::After(3), 2), "history 1 [4,5]");
    assert_eq!(ask(HistoryRange::After(9), 2), "history 1 []");
}

#[test]
fn a_line_longer_than_the_outbox_goes_into_an_empty_one() {
    let mut story = Story::new(64, 0);
    let nack = Said::nack(to("chat", 1), Refusal::bad_request("x".repeat(100)), by());
    story.fanout.handle(Instruction::Say { conn: CONN, said: nack.clone() });
    assert_eq!(story.read(CONN), ["nack 1"]);
    story.fanout.handle(Instruction::Say { conn: CONN, said: nack.clone() });
    story.fanout.handle(Instruction::Say { conn: CONN, said: nack });
    assert_eq!(story.fanout.closed(), [(CONN, End::TooSlow)]);
}
