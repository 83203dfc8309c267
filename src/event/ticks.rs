//! Raw ticks, packed.
//!
//! A tick is some 20 bytes as numbers and 3 to 8 packed: each column is the difference to the
//! tick before, zigzag-folded and written as a LEB128 variable-length integer.

use serde::{Deserialize, Serialize};

use super::life::LifeId;
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
}

/// Why a block can't be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a block of raw ticks is damaged: it ends or overflows after {read} of {count} ticks")]
pub struct UnpackError {
    read: u32,
    count: u32,
}

impl TickBlock {
    /// Packs ticks; as many as fit in memory, in order of time.
    #[must_use]
    pub fn pack(life: LifeId, ticks: &[Tick]) -> Self {
        let mut packed = Vec::with_capacity(ticks.len() * 6);
        let mut before = [0_u64; 3];
        for tick in ticks {
            let now = [tick.at.as_nanos(), tick.usage.get(), tick.peak.get()];
            for (now, before) in now.iter().zip(&before) {
                write_varint(&mut packed, zigzag(now.wrapping_sub(*before).cast_signed()));
            }
            before = now;
        }
        let count = u32::try_from(ticks.len()).expect("a block holds far less than 2^32 ticks");
        Self { life, count, packed }
    }

    /// The ticks of the block.
    ///
    /// # Errors
    /// When the packed bytes end early.
    pub fn unpack(&self) -> Result<Vec<Tick>, UnpackError> {
        // At least one byte a column: a damaged count must not reserve more than that.
        let mut ticks = Vec::with_capacity(self.packed.len() / 3);
        let mut rest = self.packed.as_slice();
        let mut values = [0_u64; 3];
        for read in 0..self.count {
            for value in &mut values {
                let delta =
                    read_varint(&mut rest).ok_or(UnpackError { read, count: self.count })?;
                *value = value.wrapping_add(unzigzag(delta).cast_unsigned());
            }
            let [at, usage, peak] = values;
            ticks.push(Tick {
                at: Moment::from_nanos(at),
                usage: Bytes::new(usage),
                peak: Bytes::new(peak),
            });
        }
        Ok(ticks)
    }
}

const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

const fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).expect("seven bits") | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).expect("what is left fits in seven bits"));
}

fn read_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
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
        fn damaged_blocks_never_panic(packed in prop::collection::vec(any::<u8>(), 0..200), count: u32) {
            let _ = TickBlock { life: LifeId(0), count, packed }.unpack();
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
        assert!(TickBlock::pack(LifeId(0), &ticks).packed.len() < 6000);
    }
}
