//! Windows with their peaks: all of a short run, an even choice of a long one's.

use super::blocks::Row;
use crate::event::LifeId;

/// Windows that are kept; beyond it every second one goes, by lot.
const MOST: usize = 4096;

/// A window's peak and its traffic.
#[derive(Debug, Clone)]
pub(super) struct Top {
    number: u64,
    pub(super) life: LifeId,
    /// When it began, in seconds.
    pub(super) at: f64,
    /// The most memory.
    pub(super) bytes: f64,
    /// The mean in flight and the most at once, by the index of each step known by then.
    pub(super) means: Vec<f64>,
    pub(super) most: Vec<f64>,
}

/// Collects them.
#[derive(Debug)]
pub(super) struct Tops {
    rows: Vec<Top>,
    seen: u64,
    /// One in so many is kept, as a power of two.
    one_in: u64,
}

impl Default for Tops {
    fn default() -> Self {
        Self { rows: Vec::new(), seen: 0, one_in: 1 }
    }
}

impl Tops {
    pub(super) fn add(&mut self, row: &Row, steps: &[u16]) {
        self.seen += 1;
        if !lot(self.seen).is_multiple_of(self.one_in) {
            return;
        }
        let of = |of: fn(&super::blocks::StepRow) -> f64| {
            let each = steps.iter().map(|step| row.steps.iter().find(|mine| mine.step == *step));
            each.map(|step| step.map_or(0.0, of)).collect()
        };
        self.rows.push(Top {
            number: self.seen,
            life: row.life,
            at: row.start.as_millis_f64() / 1e3,
            bytes: row.top,
            means: of(|step| step.in_flight),
            most: of(|step| step.most),
        });
        if self.rows.len() > MOST {
            self.one_in *= 2;
            self.rows.retain(|row| lot(row.number).is_multiple_of(self.one_in));
        }
    }

    pub(super) fn finish(self) -> Vec<Top> {
        self.rows
    }
}

/// A number that has nothing to do with the periods of any traffic (`SplitMix64`).
const fn lot(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
