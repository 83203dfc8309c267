//! Many runs of one target: startup trials, and the run as a whole.

pub mod startup;
mod whole;

pub use whole::{Job, run};
