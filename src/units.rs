//! Numbers with units: sizes, limits, rates, percentages and durations, each parsed and printed
//! in one place.
//!
//! Every type keeps its field private and names the unit in its constructors and accessors, so
//! that a bare integer never crosses a module border without saying what it counts.

mod bytes;
mod duration;
mod rate;
mod shown;

pub use bytes::{Bytes, Limit, ParseBytesError};
pub use duration::{Human, ParseDurationError, parse_duration};
pub use rate::{ParseRateError, Percent, Rate};
pub use shown::is_harmful;
