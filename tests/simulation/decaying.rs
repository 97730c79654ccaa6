//! Rows that decay while their server runs, and the reading that finds them.
//!
//! Only in some scenarios, and with random numbers of its own, so that other seeds stay the same runs. The
//! comparison of all disks at the end shows whether every row is whole again.

use syncnet::{disk::StorageError, replica::io::Input};

use crate::{
    checker::Verdict,
    cluster::{Cluster, Event},
    queue::{MS, Micros},
    scenario::SAFETY_US,
};

/// How often every server reads all of its data.
pub const SCRUB_US: Micros = 700 * MS;
/// How likely a row decays between two readings.
const DECAYS: f64 = 0.2;

impl Cluster {
    /// A row decays, perhaps; then all running servers look for such rows.
    pub fn scrub(&mut self) -> Verdict {
        self.queue.schedule(self.now + SCRUB_US, Event::Scrub);
        let server = self.decay.index(self.hosts.len());
        if self.now < SAFETY_US && self.decay.chance(DECAYS) && self.is_moving(server) && self.may_lose_data()
        {
            self.hosts[server].disk.borrow_mut().decay(&mut self.decay);
            self.tally.decays += 1;
        }
        for server in 0..self.hosts.len() {
            if self.is_moving(server) {
                self.read_all(server);
            }
        }
        Ok(())
    }

    fn read_all(&mut self, server: usize) {
        let found =
            self.hosts[server].disk.borrow().reader().and_then(|reader| reader.scrub(None, usize::MAX));
        match found {
            Ok(found) if found.damaged.is_empty() => self.hosts[server].disk.borrow_mut().is_whole_again(),
            Ok(found) => {
                for row in found.damaged {
                    self.found_damage(server, &StorageError::Damaged(row));
                }
            }
            Err(error) => self.found_damage(server, &error),
        }
    }

    /// Another thread of a server than the replica's has read something damaged.
    pub fn found_damage(&mut self, server: usize, error: &StorageError) {
        if let Some(damage) = Input::damage(error) {
            self.input(server, damage);
        }
    }
}
