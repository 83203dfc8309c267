//! Handing out the records of a feed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::load::draw::Draw;
use crate::load::template::Record;
use crate::plan::{Feed, FeedOrder};

/// A scenario's feed. What was taken is counted over all workers.
#[derive(Debug)]
pub(super) struct Feeder {
    feed: Arc<Feed>,
    taken: Arc<AtomicU64>,
}

impl Feeder {
    pub(super) const fn new(feed: Arc<Feed>, taken: Arc<AtomicU64>) -> Self {
        Self { feed, taken }
    }

    /// Whether each user keeps the record that it was given first.
    pub(super) fn is_kept(&self) -> bool {
        self.feed.order == FeedOrder::Unique
    }

    /// The next record; none where all were taken and it doesn't begin anew.
    pub(super) fn next(&self, draw: &mut Draw) -> Option<Record> {
        let rows = self.feed.rows.len() as u64;
        let taken = self.taken.fetch_add(1, Ordering::Relaxed);
        if taken >= rows && !self.feed.again {
            return None;
        }
        let row = match self.feed.order {
            FeedOrder::Random => draw.below(rows),
            FeedOrder::Sequential | FeedOrder::Unique => taken % rows,
        };
        let row = usize::try_from(row).expect("an index of a list");
        Some(Record { feed: Arc::clone(&self.feed), row })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(order: FeedOrder, again: bool, count: usize) -> Vec<Option<usize>> {
        let rows: Vec<Vec<serde_json::Value>> = (0..3).map(|n| vec![n.into()]).collect();
        let feed = Feed { columns: vec!["n".to_owned()], rows: rows.into(), order, again };
        let feeder = Feeder::new(Arc::new(feed), Arc::default());
        let mut draw = Draw::new(1, &[]);
        (0..count).map(|_| feeder.next(&mut draw).map(|record| record.row)).collect()
    }

    #[test]
    fn records_come_in_their_order_and_end_or_begin_anew() {
        let sequential = rows(FeedOrder::Sequential, true, 5);
        assert_eq!(sequential, [Some(0), Some(1), Some(2), Some(0), Some(1)]);
        assert_eq!(rows(FeedOrder::Unique, false, 4), [Some(0), Some(1), Some(2), None]);
        let random = rows(FeedOrder::Random, true, 100);
        for row in 0..3 {
            assert!(random.contains(&Some(row)));
        }
    }
}
