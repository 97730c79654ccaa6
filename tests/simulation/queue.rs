//! The queue of future events, in the order of time; events of the same moment happen in the order of
//! scheduling.

use std::{cmp::Reverse, collections::BinaryHeap};

/// Microseconds since the beginning of the run.
pub type Micros = u64;

/// Microseconds in a millisecond.
pub const MS: Micros = 1_000;
/// Microseconds in a second.
pub const SECOND: Micros = 1_000_000;

/// The events that are still to come.
pub struct Queue<E> {
    heap: BinaryHeap<Reverse<Scheduled<E>>>,
    scheduled: u64,
}

struct Scheduled<E> {
    at: Micros,
    order: u64,
    event: E,
}

impl<E> Scheduled<E> {
    fn key(&self) -> (Micros, u64) {
        (self.at, self.order)
    }
}

impl<E> PartialEq for Scheduled<E> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}
impl<E> Eq for Scheduled<E> {}
impl<E> PartialOrd for Scheduled<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<E> Ord for Scheduled<E> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl<E> Queue<E> {
    /// Nothing is to come.
    pub fn new() -> Self {
        Queue { heap: BinaryHeap::new(), scheduled: 0 }
    }

    /// Lets `event` happen at `at`.
    pub fn schedule(&mut self, at: Micros, event: E) {
        self.scheduled += 1;
        self.heap.push(Reverse(Scheduled { at, order: self.scheduled, event }));
    }

    /// Takes the next event, if it is due at `until` or before.
    pub fn next_before(&mut self, until: Micros) -> Option<(Micros, E)> {
        if self.heap.peek().is_none_or(|Reverse(first)| first.at > until) {
            return None;
        }
        self.heap.pop().map(|Reverse(scheduled)| (scheduled.at, scheduled.event))
    }
}

#[test]
fn time_first_then_the_order_of_scheduling() {
    let mut queue = Queue::new();
    for (at, event) in [(5, "c"), (1, "a"), (5, "d"), (2, "b"), (6, "late")] {
        queue.schedule(at, event);
    }
    let order: Vec<_> = std::iter::from_fn(|| queue.next_before(5)).map(|(_, event)| event).collect();
    assert_eq!(order, ["a", "b", "c", "d"]);
}
