//! Waiting times and what half, nearly all and the unluckiest had to wait.

use std::time::Duration;

use crate::admin::report::Cell;

/// Waiting times as they were measured, in microseconds.
///
/// All are kept, four bytes each, so that a percentile is exact: a long run at 50,000 a second takes a few
/// megabytes.
#[derive(Debug, Clone, Default)]
pub struct Latencies {
    samples_us: Vec<u32>,
}

impl Latencies {
    /// Adds one; more than 71 minutes count as 71 minutes.
    pub fn add(&mut self, waited: Duration) {
        self.samples_us.push(u32::try_from(waited.as_micros()).unwrap_or(u32::MAX));
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: Latencies) {
        self.samples_us.extend(other.samples_us);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.samples_us.len() as u64
    }

    /// Median, 99th percentile and maximum in milliseconds, the cells of a report's last columns.
    ///
    /// A percentile is the smallest sample that at least so many per cent do not exceed.
    pub fn cells(mut self) -> [Cell; 3] {
        self.samples_us.sort_unstable();
        [50, 99, 100].map(|per_cent| match self.percentile_us(per_cent) {
            Some(us) => Cell::Number(f64::from(us) / 1_000.0),
            None => Cell::Nothing,
        })
    }

    /// Of sorted samples.
    fn percentile_us(&self, per_cent: usize) -> Option<u32> {
        let rank = (self.samples_us.len() * per_cent).div_ceil(100);
        self.samples_us.get(rank.checked_sub(1)?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples() {
        let mut latencies = Latencies::default();
        for ms in (1..=100).rev() {
            latencies.add(Duration::from_millis(ms));
        }
        assert_eq!(latencies.count(), 100);
        assert_eq!(latencies.cells(), [Cell::Number(50.0), Cell::Number(99.0), Cell::Number(100.0)]);
        let mut one = Latencies::default();
        one.add(Duration::from_micros(7));
        assert_eq!(one.cells(), [Cell::Number(0.007), Cell::Number(0.007), Cell::Number(0.007)]);
        assert_eq!(Latencies::default().cells()[0], Cell::Nothing);
    }
}
