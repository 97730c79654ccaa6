//! Waiting times: median, 99th percentile and maximum.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::report::Cell;

/// The longest time that is recorded: an hour. A longer one counts as this.
const LONGEST_US: u64 = 3_600_000_000;

/// Waiting times in microseconds, to three digits.
#[derive(Debug, Clone)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Latencies {
        let histogram = Histogram::new_with_bounds(1, LONGEST_US, 3);
        Latencies(histogram.expect("three digits are among those that a histogram can have"))
    }
}

impl Latencies {
    pub fn add(&mut self, waited: Duration) {
        self.0.saturating_record(u64::try_from(waited.as_micros()).unwrap_or(u64::MAX));
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Latencies) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Median, 99th percentile and maximum in milliseconds, the cells of a report's last columns.
    pub fn cells(&self) -> [Cell; 3] {
        [0.50, 0.99, 1.0].map(|quantile| self.quantile_ms(quantile).map_or(Cell::Nothing, Cell::Number))
    }

    /// `None` if there are none.
    pub fn quantile_ms(&self, quantile: f64) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.value_at_quantile(quantile) as f64 / 1_000.0)
    }
}
