//! Judging while events come in: pure, incremental, bounded.
//!
//! [`SpikeDetector`] finds spikes in the ticks of one life; [`FlightRecorder`] runs it while ticks
//! come in, and decides which of them are recorded. [`Thresholds`] measures what rules ask
//! for and says which are broken; a run in progress asks it for rules that abort, and the analysis
//! asks it again at the end. [`Places`] says where a window of memory belongs: to which role,
//! whether the target's own program ran already, and to which phase.
//!
//! Nothing here reads a clock or a file, and memory does not grow with the length of a run.

mod flight;
mod gauge;
mod places;
mod spikes;
mod thresholds;
mod windows;

pub use flight::FlightRecorder;
pub use places::{Placed, Places, Placing};
pub use spikes::SpikeDetector;
pub use thresholds::{Measured, Thresholds};

/// A count as a float, for ratios.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub(crate) const fn float(count: u64) -> f64 {
    count as f64
}
