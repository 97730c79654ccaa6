//! Bounded queues between threads, whose receivers sleep at once when there is nothing to do.
//!
//! Ready-made channels spin and yield for a while before they sleep. That pays if every thread has a core of
//! its own. If there are more threads than cores, each yield hands the core to another thread for a whole
//! time slice. Measured on two busy cores, the replica thread spent 2.5 of 3 seconds in `sched_yield`, 4 ms
//! at a time, while its work waited.
//!
//! Several mailboxes can share a [`Bell`], so that one thread waits for all of them and takes from each in
//! the order of importance. A receiver takes everything there is in one go.

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};

/// Wakes the one thread that waits on it. A ring while no thread waits is kept for the next wait.
#[derive(Debug, Clone, Default)]
pub struct Bell(Arc<(Mutex<bool>, Condvar)>);

impl Bell {
    /// Wakes the thread that waits, or will wait next.
    pub fn ring(&self) {
        let (rung, condition) = &*self.0;
        if !std::mem::replace(&mut *rung.lock(), true) {
            condition.notify_one();
        }
    }

    /// Waits for a ring, at most until `deadline`. Returns whether there was one.
    pub fn wait_until(&self, deadline: Instant) -> bool {
        let (rung, condition) = &*self.0;
        let mut rung = rung.lock();
        while !*rung {
            if condition.wait_until(&mut rung, deadline).timed_out() {
                break;
            }
        }
        std::mem::take(&mut *rung)
    }
}

struct Shared<T> {
    state: Mutex<State<T>>,
    /// Signalled when there is room again and a sender waits for it.
    room: Condvar,
    bell: Bell,
    capacity: usize,
}

struct State<T> {
    items: VecDeque<T>,
    senders: usize,
    waiting_for_room: usize,
    is_closed: bool,
}

/// A mailbox for `capacity` items that rings `bell` when it is no longer empty.
pub fn mailbox<T>(capacity: usize, bell: &Bell) -> (Sender<T>, Receiver<T>) {
    let state = State { items: VecDeque::new(), senders: 1, waiting_for_room: 0, is_closed: false };
    let shared =
        Arc::new(Shared { state: Mutex::new(state), room: Condvar::new(), bell: bell.clone(), capacity });
    (Sender(shared.clone()), Receiver(shared))
}

/// Puts items into a mailbox. When the last one is dropped the mailbox is closed.
pub struct Sender<T>(Arc<Shared<T>>);

/// Why an item was not put into a mailbox; gives it back.
#[derive(Debug)]
pub enum Unsent<T> {
    /// There is no room.
    Full(T),
    /// The receiver is gone.
    Closed(T),
}

impl<T> Unsent<T> {
    pub fn into_inner(self) -> T {
        match self {
            Unsent::Full(item) | Unsent::Closed(item) => item,
        }
    }
}

impl<T> Sender<T> {
    /// Puts an item in; waits for room. The error gives it back: the receiver is gone.
    pub fn send(&self, item: T) -> Result<(), T> {
        let mut state = self.0.state.lock();
        while state.items.len() >= self.0.capacity && !state.is_closed {
            state.waiting_for_room += 1;
            self.0.room.wait(&mut state);
            state.waiting_for_room -= 1;
        }
        if state.is_closed {
            return Err(item);
        }
        self.put(&mut state, item);
        Ok(())
    }

    /// Puts an item in if there is room.
    pub fn try_send(&self, item: T) -> Result<(), Unsent<T>> {
        let mut state = self.0.state.lock();
        if state.is_closed {
            return Err(Unsent::Closed(item));
        }
        if state.items.len() >= self.0.capacity {
            return Err(Unsent::Full(item));
        }
        self.put(&mut state, item);
        Ok(())
    }

    /// Closes the mailbox: nothing more goes in, what is in it can still be taken out.
    pub fn close(&self) {
        self.0.close();
    }

    fn put(&self, state: &mut State<T>, item: T) {
        state.items.push_back(item);
        // If it was not empty the bell has been rung already, and the receiver looks before it sleeps.
        if state.items.len() == 1 {
            self.0.bell.ring();
        }
    }
}

impl<T> Shared<T> {
    fn close(&self) {
        self.state.lock().is_closed = true;
        self.room.notify_all();
        self.bell.ring();
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.state.lock().senders += 1;
        Sender(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.senders -= 1;
        let is_last = state.senders == 0;
        drop(state);
        if is_last {
            self.0.close();
        }
    }
}

impl<T> std::fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sender")
    }
}

/// Tells how many items wait in a mailbox.
pub type Depth = Box<dyn Fn() -> usize + Send + Sync>;

/// Takes items out of a mailbox. There is one; when it is dropped the mailbox is closed and emptied.
pub struct Receiver<T>(Arc<Shared<T>>);

impl<T> Receiver<T> {
    /// Takes out what there is, up to `count` items, and appends it to `items`. Never waits.
    pub fn take(&self, count: usize, items: &mut Vec<T>) {
        let mut state = self.0.state.lock();
        let count = count.min(state.items.len());
        items.extend(state.items.drain(..count));
        if state.items.is_empty() && state.items.capacity() > 1_024 {
            // The memory of the largest rush is not kept for ever.
            state.items.shrink_to(1_024);
        }
        if state.waiting_for_room > 0 && count > 0 {
            self.0.room.notify_all();
        }
    }

    /// Whether there is something to take out.
    pub fn has_items(&self) -> bool {
        !self.0.state.lock().items.is_empty()
    }

    /// How many items wait. It does not keep the mailbox alive; of one that is gone it says 0.
    pub fn depth(&self) -> Depth
    where
        T: Send + 'static,
    {
        let shared: Weak<Shared<T>> = Arc::downgrade(&self.0);
        Box::new(move || shared.upgrade().map_or(0, |shared| shared.state.lock().items.len()))
    }

    /// Whether there is no reason to sleep: something to take out, or nothing to wait for.
    fn is_ready(&self) -> bool {
        let state = self.0.state.lock();
        !state.items.is_empty() || state.is_closed
    }

    /// Whether nothing is in it and nothing will be.
    pub fn is_finished(&self) -> bool {
        let state = self.0.state.lock();
        state.items.is_empty() && state.is_closed
    }

    /// Waits, at most until `deadline`, until there is something to take out or the mailbox is closed. The
    /// bell must not be shared with another mailbox.
    pub fn wait_until(&self, deadline: Instant) {
        while !self.is_ready() && self.0.bell.wait_until(deadline) {}
    }

    /// Waits for the next item; `None` when the mailbox is closed and empty. The bell must not be shared.
    pub fn receive(&self) -> Option<T> {
        loop {
            let item = self.receive_until(Instant::now() + Duration::from_secs(3_600));
            if item.is_some() || self.is_finished() {
                return item;
            }
        }
    }

    /// Waits for the next item, at most until `deadline`; `None` if there is none by then, or the mailbox is
    /// closed and empty. The bell must not be shared.
    pub fn receive_until(&self, deadline: Instant) -> Option<T> {
        self.wait_until(deadline);
        let mut state = self.0.state.lock();
        let item = state.items.pop_front()?;
        if state.waiting_for_room > 0 {
            self.0.room.notify_one();
        }
        Some(item)
    }
}

impl<T> std::fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Receiver")
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.0.close();
        // Dropped outside of the lock: an item may be the sender of another mailbox.
        let left = std::mem::take(&mut self.0.state.lock().items);
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn what_waits_is_counted_as_long_as_the_mailbox_is_there() {
        let (sender, receiver) = mailbox(3, &Bell::default());
        let depth = receiver.depth();
        assert_eq!(depth(), 0);
        sender.send(1).unwrap();
        sender.send(2).unwrap();
        assert_eq!(depth(), 2);
        drop(receiver);
        assert_eq!(sender.send(3), Err(3));
    }

    fn far() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn everything_arrives_once_and_in_order_through_a_small_mailbox() {
        let (sender, receiver) = mailbox(3, &Bell::default());
        let senders: Vec<_> = (0..4)
            .map(|who| {
                let sender = sender.clone();
                thread::spawn(move || (0..1_000).for_each(|number| sender.send((who, number)).unwrap()))
            })
            .collect();
        drop(sender);
        let mut next = [0; 4];
        let mut items = Vec::new();
        while !receiver.is_finished() {
            receiver.wait_until(far());
            receiver.take(2, &mut items);
            for (who, number) in items.drain(..) {
                assert_eq!(number, next[who]);
                next[who] += 1;
            }
        }
        assert_eq!(next, [1_000; 4]);
        senders.into_iter().for_each(|sender| sender.join().unwrap());
    }

    #[test]
    fn one_bell_wakes_for_every_mailbox() {
        let bell = Bell::default();
        let (first, first_out) = mailbox(10, &bell);
        let (second, second_out) = mailbox(10, &bell);
        for sender in [&first, &second] {
            let sender = sender.clone();
            thread::spawn(move || sender.send(1).unwrap());
            assert!(bell.wait_until(far()));
        }
        assert!(first_out.has_items() && second_out.has_items());
        assert!(!bell.wait_until(Instant::now()));
    }

    #[test]
    fn full_and_closed_are_told_apart_and_give_the_item_back() {
        let (sender, receiver) = mailbox(1, &Bell::default());
        sender.try_send('a').unwrap();
        assert!(matches!(sender.try_send('b'), Err(Unsent::Full('b'))));
        let waiting = thread::spawn({
            let sender = sender.clone();
            move || sender.send('c')
        });
        assert_eq!(receiver.receive(), Some('a'));
        waiting.join().unwrap().unwrap();
        drop(receiver);
        assert!(matches!(sender.try_send('d'), Err(Unsent::Closed('d'))));
        assert_eq!(sender.send('e'), Err('e'));
    }

    #[test]
    fn an_item_is_waited_for_until_the_deadline_and_no_longer_than_the_mailbox_is_open() {
        let (sender, receiver) = mailbox(1, &Bell::default());
        assert_eq!(receiver.receive_until(Instant::now()), None);
        sender.send(1).unwrap();
        assert_eq!(receiver.receive_until(Instant::now()), Some(1));
        let waiting = thread::spawn(move || receiver.receive_until(far()));
        drop(sender);
        assert_eq!(waiting.join().unwrap(), None);
    }

    #[test]
    fn what_is_in_a_closed_mailbox_can_still_be_taken() {
        let (sender, receiver) = mailbox(5, &Bell::default());
        sender.send(1).unwrap();
        sender.close();
        assert_eq!(sender.send(2), Err(2));
        assert_eq!(receiver.receive(), Some(1));
        assert_eq!(receiver.receive(), None);
    }
}
