//! Raw ticks, packed.
//!
//! A tick is some 20 bytes as numbers and 3 to 6 packed. Times are kept in microseconds, as the
//! change of the distance between ticks; levels in pages, as the difference to the tick before;
//! peaks in pages above their level. All are zigzag-folded and written as LEB128 variable-length
//! integers.

use serde::{Deserialize, Serialize};

use super::life::LifeId;
use super::varint::{read_varint, unzigzag, write_varint, zigzag};
use crate::clock::Moment;
use crate::units::Bytes;

/// One reading of the sampler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// When it was read.
    pub at: Moment,
    /// Charged memory at that time.
    pub usage: Bytes,
    /// The charged peak since the tick before.
    pub peak: Bytes,
}

/// Consecutive ticks of one life, packed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TickBlock {
    /// The life that was sampled.
    pub life: LifeId,
    /// How many ticks the block holds.
    pub count: u32,
    #[serde(with = "serde_bytes")]
    packed: Vec<u8>,
    /// How the bytes are to be read; recordings of before there was a choice have the first way.
    #[serde(default)]
    packing: Packing,
}

/// How ticks are packed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Packing {
    /// Nanoseconds and bytes, each as the difference to the tick before.
    #[default]
    Plain,
    /// Microseconds and pages, as this module's head tells.
    Pages,
}

/// What levels are multiples of: the least page size there is.
const PAGE: u64 = 4096;

/// Why a block can't be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a packed block is damaged: it ends or overflows after {read} of {count} rows")]
pub struct UnpackError {
    read: u32,
    count: u32,
}

impl UnpackError {
    /// After so many of so many rows.
    pub(super) const fn new(read: u32, count: u32) -> Self {
        Self { read, count }
    }
}

impl TickBlock {
    /// Packs ticks; as many as fit in memory, in order of time. Times lose what is below a
    /// microsecond.
    #[must_use]
    pub fn pack(life: LifeId, ticks: &[Tick]) -> Self {
        let whole = |bytes: Bytes| bytes.get().is_multiple_of(PAGE);
        let in_pages = ticks.iter().all(|tick| whole(tick.usage) && whole(tick.peak));
        let packing = if in_pages { Packing::Pages } else { Packing::Plain };
        let mut packed = Vec::with_capacity(ticks.len() * 6);
        let mut columns = Columns::new(packing);
        for tick in ticks {
            for delta in columns.deltas(tick) {
                write_varint(&mut packed, zigzag(delta));
            }
        }
        let count = u32::try_from(ticks.len()).expect("a block holds far less than 2^32 ticks");
        Self { life, count, packed, packing }
    }

    /// How many bytes the ticks take.
    #[must_use]
    pub const fn packed_len(&self) -> usize {
        self.packed.len()
    }

    /// The ticks of the block.
    ///
    /// # Errors
    /// When the packed bytes end early.
    pub fn unpack(&self) -> Result<Vec<Tick>, UnpackError> {
        // At least one byte a column: a damaged count must not reserve more than that.
        let mut ticks = Vec::with_capacity(self.packed.len() / 3);
        let mut rest = self.packed.as_slice();
        let mut columns = Columns::new(self.packing);
        for read in 0..self.count {
            let mut deltas = [0; 3];
            for delta in &mut deltas {
                let folded =
                    read_varint(&mut rest).ok_or(UnpackError { read, count: self.count })?;
                *delta = unzigzag(folded);
            }
            ticks.push(columns.tick(deltas));
        }
        Ok(ticks)
    }
}

/// The columns of a block, between numbers and differences. All arithmetic wraps, so that every
/// tick survives, and no damaged byte panics.
struct Columns {
    packing: Packing,
    before: [u64; 3],
    step: u64,
}

impl Columns {
    const fn new(packing: Packing) -> Self {
        Self { packing, before: [0; 3], step: 0 }
    }

    fn deltas(&mut self, tick: &Tick) -> [i64; 3] {
        let (at, usage, peak) = (tick.at.as_nanos(), tick.usage.get(), tick.peak.get());
        match self.packing {
            Packing::Plain => {
                let now = [at, usage, peak];
                let before = std::mem::replace(&mut self.before, now);
                std::array::from_fn(|n| now[n].wrapping_sub(before[n]).cast_signed())
            }
            Packing::Pages => {
                let (at, usage, peak) = (at / 1000, usage / PAGE, peak / PAGE);
                let step = at.wrapping_sub(self.before[0]);
                let change = step.wrapping_sub(std::mem::replace(&mut self.step, step));
                let level = usage.wrapping_sub(self.before[1]);
                self.before = [at, usage, peak];
                [change, level, peak.wrapping_sub(usage)].map(u64::cast_signed)
            }
        }
    }

    fn tick(&mut self, deltas: [i64; 3]) -> Tick {
        let [first, second, third] = deltas.map(i64::cast_unsigned);
        let (at, usage, peak) = match self.packing {
            Packing::Plain => {
                let [at, usage, peak] = self.before;
                let now =
                    [at.wrapping_add(first), usage.wrapping_add(second), peak.wrapping_add(third)];
                self.before = now;
                (now[0], now[1], now[2])
            }
            Packing::Pages => {
                self.step = self.step.wrapping_add(first);
                let at = self.before[0].wrapping_add(self.step);
                let usage = self.before[1].wrapping_add(second);
                self.before = [at, usage, 0];
                let peak = usage.wrapping_add(third);
                (at.wrapping_mul(1000), usage.wrapping_mul(PAGE), peak.wrapping_mul(PAGE))
            }
        };
        let (usage, peak) = (Bytes::new(usage), Bytes::new(peak));
        Tick { at: Moment::from_nanos(at), usage, peak }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn packed_ticks_unpack_to_themselves(rows in prop::collection::vec(any::<[u64; 3]>(), 0..200)) {
            let ticks: Vec<Tick> = rows
                .iter()
                .map(|&[at, usage, peak]| Tick {
                    at: Moment::from_nanos(at),
                    usage: Bytes::new(usage),
                    peak: Bytes::new(peak),
                })
                .collect();
            prop_assert_eq!(TickBlock::pack(LifeId(3), &ticks).unpack(), Ok(ticks));
        }

        #[test]
        fn ticks_of_whole_pages_lose_nothing_but_nanoseconds(rows in prop::collection::vec((0_u64..1 << 62, 0_u64..1 << 50, 0_u64..1 << 50), 0..200)) {
            let ticks: Vec<Tick> = rows
                .iter()
                .map(|&(at, usage, peak)| Tick {
                    at: Moment::from_nanos(at / 1000 * 1000),
                    usage: Bytes::new(usage * PAGE),
                    peak: Bytes::new(peak * PAGE),
                })
                .collect();
            let block = TickBlock::pack(LifeId(3), &ticks);
            prop_assert_eq!(block.packing, Packing::Pages);
            prop_assert_eq!(block.unpack(), Ok(ticks));
        }

        #[test]
        fn damaged_blocks_never_panic(packed in prop::collection::vec(any::<u8>(), 0..200), count: u32, pages: bool) {
            let packing = if pages { Packing::Pages } else { Packing::Plain };
            let _ = TickBlock { life: LifeId(0), count, packed, packing }.unpack();
        }
    }

    #[test]
    fn a_steady_tick_takes_few_bytes() {
        let ticks: Vec<Tick> = (0..1000)
            .map(|n| Tick {
                at: Moment::from_nanos(n * 1_000_000 + n % 7 * 9000),
                usage: Bytes::from_mib(40),
                peak: Bytes::from_mib(40),
            })
            .collect();
        assert!(TickBlock::pack(LifeId(0), &ticks).packed.len() < 4000);
    }
}
