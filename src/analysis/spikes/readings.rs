//! What else changed around a spike: threads, descriptors, bytes printed.

use std::collections::VecDeque;

use super::model::Change;
use crate::clock::Moment;
use crate::event::{LifeId, Vitals};

/// Readings that are remembered.
const MOST: usize = 64;

/// The last readings of vitals.
#[derive(Debug, Default)]
pub(super) struct Readings(VecDeque<Reading>);

#[derive(Debug)]
struct Reading {
    life: Option<LifeId>,
    at: Moment,
    threads: u32,
    open_files: Option<u32>,
    log_bytes: Option<u64>,
}

impl Readings {
    pub(super) fn add(&mut self, at: Moment, vitals: &Vitals) {
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back(Reading {
            life: vitals.life,
            at,
            threads: vitals.threads,
            open_files: vitals.open_files,
            log_bytes: vitals.log_bytes,
        });
    }

    /// From the last reading before a spike to the first after its peak; none where one is missing.
    pub(super) fn around(&self, life: LifeId, begin: Moment, peak: Moment) -> Option<Change> {
        let of = || self.0.iter().filter(|row| row.life == Some(life));
        let before = of().rev().find(|row| row.at <= begin)?;
        let after = of().find(|row| row.at >= peak)?;
        let moved = |from: u32, to: u32| i64::from(to) - i64::from(from);
        Some(Change {
            over: after.at.since(before.at),
            threads: moved(before.threads, after.threads),
            open_files: before.open_files.zip(after.open_files).map(|(a, b)| moved(a, b)),
            log_bytes: before.log_bytes.zip(after.log_bytes).and_then(|(a, b)| b.checked_sub(a)),
        })
    }
}
