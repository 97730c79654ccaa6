//! One room, many readers: deliveries a second, and how long until the last reader has a message.

use std::{
    io::{self, Write},
    net::TcpStream,
    num::NonZeroUsize,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use super::{
    Run,
    connection::{Connection, chat_line},
    election_note,
    failure::{During, Failure},
    latency::Latencies,
    poller::{Reached, read_group},
    report::{Cell, Report},
    term,
};

/// A message that has not reached every reader after so long ends the measurement.
const TIMEOUT: Duration = Duration::from_secs(10);
const GROUPS: usize = 2;
/// Messages under way at once while deliveries are counted: enough to keep the servers busy, few enough
/// that a reader never comes near the limit at which a server cuts it off.
const WINDOW: u64 = 32;
/// Readers that also send, at most.
const SENDERS: usize = 16;
/// Messages a second that one connection may send at most, below the servers' default limit of 2,000.
const SENDER_PER_S: f64 = 1_800.0;

/// Measures with each number of readers in turn.
pub fn measure(run: &Run, levels: &[NonZeroUsize]) -> Result<Report, Failure> {
    let term_before = term(&run.targets);
    let rows = levels.iter().map(|readers| measure_level(run, readers.get())).collect::<Result<_, _>>()?;
    Ok(Report {
        title: format!(
            "Fan-out: one room, {}-byte messages, readers spread over the servers",
            run.bodies.size
        ),
        columns: vec!["readers", "deliveries_per_s", "last_reader_p50_ms", "p99_ms", "max_ms"],
        rows,
        notes: vec![
            "the times are those of one message at a time, from its sending to its last reader".into(),
            election_note(term_before, term(&run.targets)),
        ],
    })
}

fn measure_level(run: &Run, readers: usize) -> Result<Vec<Cell>, Failure> {
    let room = format!("{}.r{readers}", run.name);
    let mut groups: Vec<Vec<TcpStream>> = (0..GROUPS).map(|_| Vec::new()).collect();
    let mut senders = Vec::new();
    for number in 0..readers {
        let user = format!("{}.{readers}.{number}", run.name);
        let join = || -> Result<Connection, super::connection::CallError> {
            let mut connection = Connection::open(run.target(number), &user, TIMEOUT)?;
            connection.join(&room)?;
            Ok(connection)
        };
        // Nothing but joins was pushed so far, and those are not counted: losing some is harmless.
        let stream = join().during(format!("reader {number} cannot connect"))?.into_stream();
        if senders.len() < SENDERS {
            senders.push(stream.try_clone().during("a socket cannot be cloned")?);
        }
        groups[number % GROUPS].push(stream);
    }

    let sizes: Vec<u64> = groups.iter().map(|group| group.len() as u64).collect();
    let stop = AtomicBool::new(false);
    // A full channel makes the readers wait; the loop below empties it after each message it sends.
    let (tell, reached) = bounded(1_024);
    let measured = thread::scope(|scope| {
        let threads: Vec<_> = groups
            .into_iter()
            .enumerate()
            .map(|(group, sockets)| {
                let (tell, stop) = (tell.clone(), &stop);
                scope.spawn(move || read_group(group, sockets, &tell, stop))
            })
            .collect();
        drop(tell);
        let mut load = Load {
            room,
            body: run.bodies.body(0),
            senders,
            sent: 0,
            sizes,
            progress: vec![0; GROUPS],
            reached,
        };
        let measured = load.measure(run);
        stop.store(true, Ordering::Relaxed);
        // Readers that wait must notice that the channel is closed.
        drop(load);
        let failures = threads.into_iter().filter_map(|thread| match thread.join() {
            Ok(outcome) => outcome.err(),
            Err(_) => Some(Failure::new("a reading thread panicked")),
        });
        // The load waited in vain because a reader failed.
        match failures.last() {
            Some(failure) => Err(failure),
            None => measured,
        }
    });
    let (latencies, per_s) = measured?;
    let mut row = vec![Cell::Count(readers as u64), Cell::Count(per_s)];
    row.extend(latencies.cells());
    Ok(row)
}

/// The senders, and how far the readers are.
struct Load {
    room: String,
    body: String,
    senders: Vec<TcpStream>,
    sent: u64,
    /// Readers of each group.
    sizes: Vec<u64>,
    /// Deliveries of each group.
    progress: Vec<u64>,
    reached: Receiver<Reached>,
}

impl Load {
    /// First one message at a time, for latency; then many at once, for deliveries a second.
    fn measure(&mut self, run: &Run) -> Result<(Latencies, u64), Failure> {
        self.one_at_a_time(run.warm_up)?;
        let latencies = self.one_at_a_time(run.duration)?;
        self.many_at_once(run.warm_up)?;
        let (before, began_at) = (self.deliveries(), Instant::now());
        self.many_at_once(run.duration)?;
        let per_s = (self.deliveries() - before) as f64 / began_at.elapsed().as_secs_f64();
        self.wait_for(self.sent)?;
        Ok((latencies, per_s.round() as u64))
    }

    fn one_at_a_time(&mut self, duration: Duration) -> Result<Latencies, Failure> {
        let began_at = Instant::now();
        let mut latencies = Latencies::default();
        while began_at.elapsed() < duration {
            let sent_at = Instant::now();
            self.send()?;
            let arrived_at = self.wait_for(self.sent)?;
            latencies.add(arrived_at.saturating_duration_since(sent_at));
            self.keep_pace(began_at, latencies.count(), 1);
        }
        Ok(latencies)
    }

    fn many_at_once(&mut self, duration: Duration) -> Result<(), Failure> {
        let (began_at, sent_before) = (Instant::now(), self.sent);
        while began_at.elapsed() < duration {
            self.send()?;
            self.wait_for(self.sent.saturating_sub(WINDOW))?;
            self.keep_pace(began_at, self.sent - sent_before, self.senders.len());
        }
        Ok(())
    }

    /// Waits if `sent` messages since `began_at` are more than `senders` connections may send.
    fn keep_pace(&self, began_at: Instant, sent: u64, senders: usize) {
        let due = Duration::from_secs_f64(sent as f64 / (SENDER_PER_S * senders as f64));
        thread::sleep(due.saturating_sub(began_at.elapsed()));
    }

    fn send(&mut self) -> Result<(), Failure> {
        let line = chat_line(&self.room, &format!("m{}", self.sent), &self.body);
        let number = (self.sent % self.senders.len() as u64) as usize;
        let mut rest = line.as_bytes();
        // The socket is its reader's too and does not block; so few bytes are under way that it is never full
        // for long.
        while !rest.is_empty() {
            match self.senders[number].write(rest) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::yield_now(),
                written => rest = &rest[written.during("a sender's connection failed")?..],
            }
        }
        self.sent += 1;
        Ok(())
    }

    fn deliveries(&self) -> u64 {
        self.progress.iter().sum()
    }

    /// Waits until every reader has been given `messages`; says when the last of them had.
    ///
    /// With several messages under way the figure of a group is a sum, so "every reader" is then true only
    /// on average, which is all that the window needs.
    fn wait_for(&mut self, messages: u64) -> Result<Instant, Failure> {
        let mut last = Instant::now();
        let deadline = last + TIMEOUT;
        loop {
            while let Ok(news) = self.reached.try_recv() {
                self.take(&news, &mut last);
            }
            if self.progress.iter().zip(&self.sizes).all(|(done, size)| *done >= messages * size) {
                return Ok(last);
            }
            match self.reached.recv_deadline(deadline) {
                Ok(news) => self.take(&news, &mut last),
                Err(RecvTimeoutError::Timeout) => {
                    return Err(Failure::new(format!(
                        "a message did not reach every reader within {} s",
                        TIMEOUT.as_secs()
                    )));
                }
                Err(RecvTimeoutError::Disconnected) => return Err(Failure::new("the readers ended")),
            }
        }
    }

    fn take(&mut self, news: &Reached, last: &mut Instant) {
        self.progress[news.group] = news.deliveries;
        *last = news.at;
    }
}
