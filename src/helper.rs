//! The sampler and the load in a container of our own, for those who may use Docker but not the
//! host: members of the `docker` group, remote engines, Docker Desktop's machine.
//!
//! There the cgroup tree can be read at best, peaks can't be reset and network namespaces not
//! entered. So this very program is put into an image and started beside the target, with the
//! host's cgroups mounted and the rights that the work needs. [`serve()`] is its side: it takes
//! orders from standard input and answers on standard output. [`Helper`] is the harness's side: the
//! same work as [`crate::sample`] and [`crate::load`], asked for from afar. Events come back as they
//! were sent there, on the run's own clock, so the record is the same.
//!
//! Where the helper runs under another kernel than the harness, the offset between both monotonic
//! clocks is estimated by the quickest of several round trips, and how well is told
//! ([`Clocks`]).

mod client;
mod error;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzz;
mod protocol;
mod serve;

pub use client::{Clocks, Helper};
pub use error::Error;
pub use protocol::{Facts, LoadOrder, ReadyOrder};
pub use serve::serve;
