//! What the target printed around a spike.

use serde::{Deserialize, Serialize};

use super::life::LifeId;
use crate::clock::Moment;

/// Lines that came in around a spike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrintedNear {
    /// The life that printed them.
    pub life: LifeId,
    /// The spike, by the tick of its peak.
    pub spike: Moment,
    /// The lines, in the order in which they came.
    pub lines: Vec<PrintedLine>,
}

/// A line of a target's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrintedLine {
    /// When it came in: a moment after it was printed.
    pub at: Moment,
    /// Its text: secrets are masked, what would control a terminal is left out, a long line is cut.
    pub text: String,
}
