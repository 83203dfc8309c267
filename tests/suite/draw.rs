//! Parameters from a seed.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Draws the parameters of one case.
pub(crate) struct Draw(ChaCha8Rng);

impl Draw {
    /// The draws of the case `number` of a kind: the same for ever, whatever other cases there are.
    pub(crate) fn new(seed: u64, kind: &str, number: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&number.to_le_bytes());
        let name = kind.as_bytes();
        key[16..16 + name.len().min(16)].copy_from_slice(&name[..name.len().min(16)]);
        Self(ChaCha8Rng::from_seed(key))
    }

    /// Uniform in `from..=to`.
    pub(crate) fn between(&mut self, from: u64, to: u64) -> u64 {
        self.0.random_range(from..=to)
    }

    /// Uniform in `from..to`.
    pub(crate) fn share(&mut self, from: f64, to: f64) -> f64 {
        self.0.random_range(from..to)
    }
}
