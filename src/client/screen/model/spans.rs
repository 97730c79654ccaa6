//! Which places of a room are known: intervals that never touch, so no gap is scrolled over unseen.

/// Known intervals, both ends included, in order; between two of them at least one place is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spans(Vec<(u64, u64)>);

impl Spans {
    /// All of `first..=last` is known from now on.
    pub fn cover(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        // It nearly always follows the last one.
        if let Some(end) = self.0.last_mut()
            && end.0 <= first
            && first <= end.1.saturating_add(1)
        {
            end.1 = end.1.max(last);
            return;
        }
        let touches =
            |&(from, to): &(u64, u64)| from <= last.saturating_add(1) && first <= to.saturating_add(1);
        let (joined, apart): (Vec<_>, Vec<_>) = self.0.drain(..).partition(touches);
        let from = joined.iter().map(|span| span.0).min().unwrap_or(first).min(first);
        let to = joined.iter().map(|span| span.1).max().unwrap_or(last).max(last);
        self.0 = apart;
        self.0.push((from, to));
        self.0.sort_unstable();
    }

    /// Nothing below `first` is known any more, and nothing above `last`.
    pub fn keep(&mut self, first: u64, last: u64) {
        self.0.retain(|&(from, to)| to >= first && from <= last);
        for (from, to) in &mut self.0 {
            (*from, *to) = ((*from).max(first), (*to).min(last));
        }
    }

    /// The interval with `seq` in it.
    pub fn around(&self, seq: u64) -> Option<(u64, u64)> {
        self.0.iter().copied().find(|&(from, to)| (from..=to).contains(&seq))
    }

    pub fn newest(&self) -> Option<(u64, u64)> {
        self.0.last().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_grow_together_where_they_touch() {
        let mut spans = Spans::default();
        for seq in [5, 6, 7] {
            spans.cover(seq, seq);
        }
        spans.cover(1, 2);
        assert_eq!(spans, Spans(vec![(1, 2), (5, 7)]));
        spans.cover(20, 30);
        assert_eq!((spans.around(6), spans.around(3), spans.newest()), (Some((5, 7)), None, Some((20, 30))));
        spans.cover(3, 4);
        assert_eq!(spans, Spans(vec![(1, 7), (20, 30)]));
        spans.cover(8, 19);
        assert_eq!(spans, Spans(vec![(1, 30)]));
        spans.cover(9, 8);
        spans.keep(10, 12);
        assert_eq!(spans, Spans(vec![(10, 12)]));
    }
}
