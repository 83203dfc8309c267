//! Spikes, as they are found while ticks come in.

use serde::{Deserialize, Serialize};

use super::life::LifeId;
use crate::clock::Moment;
use crate::units::Bytes;

/// A short rise of charged memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spike {
    /// The tick at which the peak was read: it happened between the tick before and this one.
    pub at: Moment,
    /// The charged peak.
    pub peak: Bytes,
    /// The peak's height above the level before.
    pub rise: Bytes,
    /// The last tick before the rise.
    pub begin: Moment,
    /// The first tick that had fallen back.
    pub end: Moment,
}

/// Spikes of one life that ended of late.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpikeBatch {
    /// The life that was sampled.
    pub life: LifeId,
    /// Those that are told one by one, in the order in which they ended.
    pub found: Vec<Spike>,
    /// Those that are only counted: so many were told before that none of these would be among the
    /// largest.
    pub beyond: u64,
}
