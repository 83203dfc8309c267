//! Many runs of one target: startup trials, the run as a whole, the search for a limit.

pub mod size;
pub mod startup;
mod whole;

pub use whole::{Job, run};
