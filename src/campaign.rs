//! Many runs of one target: startup trials, the run as a whole, the search for a limit, and the
//! replay of a suspect.

mod confirm;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzz;
pub mod size;
pub mod startup;
mod whole;

pub use confirm::alone;
pub use whole::{Job, run};
