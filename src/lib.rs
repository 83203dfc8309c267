//! Highwater: will this service be OOM-killed, and what memory limit does it need?

pub mod cgroup;
pub mod clock;
pub mod event;
pub mod load;
pub mod plan;
pub mod record;
pub mod sample;
pub mod units;
