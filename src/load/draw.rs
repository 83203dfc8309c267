//! Chance, fixed by the seed: each scenario run draws from a stream of its own, so that what is
//! drawn doesn't depend on the number of workers nor on how long answers take.

use std::time::Duration;

use crate::clock::nanos;

/// A stream of numbers (`SplitMix64`): one word of state, made in nanoseconds for each run.
#[derive(Debug, Clone)]
pub(super) struct Draw(u64);

impl Draw {
    /// The stream that belongs to `parts` under `seed`.
    pub(super) fn new(seed: u64, parts: &[u64]) -> Self {
        let mut draw = Self(seed);
        for part in parts {
            draw.0 = draw.next() ^ part.wrapping_mul(0xd6e8_feb8_6659_fd93);
        }
        draw
    }

    /// 64 random bits.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A whole number below `bound`; 0 where that is 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(bound);
        u64::try_from(wide >> 64).expect("the product's upper half")
    }

    /// A number in 0..1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are kept")]
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A duration between two others.
    pub(super) fn between(&mut self, min: Duration, max: Duration) -> Duration {
        let spread = nanos(max.saturating_sub(min));
        if spread == 0 {
            return min;
        }
        min + Duration::from_nanos(self.below(spread.saturating_add(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_repeat_and_differ() {
        let first = |parts: &[u64]| Draw::new(1, parts).next();
        assert_eq!(first(&[0, 1, 2]), first(&[0, 1, 2]));
        assert_ne!(first(&[0, 1, 2]), first(&[0, 2, 1]));
        assert_ne!(first(&[0, 1]), first(&[0, 0]));
    }

    #[test]
    fn draws_fill_their_range_evenly() {
        let mut counts = [0_u32; 8];
        for index in 0..8000 {
            let at = Draw::new(7, &[index]).below(8);
            counts[usize::try_from(at).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| count.abs_diff(1000) < 150), "{counts:?}");
        let mut draw = Draw::new(7, &[]);
        let (min, max) = (Duration::from_millis(1), Duration::from_millis(3));
        assert!((0..100).map(|_| draw.between(min, max)).all(|pause| pause >= min && pause <= max));
    }
}
