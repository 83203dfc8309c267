//! Highwater answers one question before a deploy: *will this service be OOM-killed, and what
//! memory limit does it need?*
//!
//! It starts the release build in a memory-limited container, measures the startup peak on its
//! own, drives bursty traffic at it, reads the cgroup so often that no spike is missed, and says
//! pass or fail with a picture.
//!
//! # One run
//!
//! ```text
//! highwater.toml ─▶ scenario ─▶ plan ─▶ session ──┬─ runtime  (the container and its cgroup)
//!    CLI flags       checked     phases,          ├─ sample   (memory, every tick)
//!                                arrivals         └─ load     (HTTP traffic)
//!                                                       │ events on one monotonic clock
//!                                                       ▼
//!                                      record ─▶ analysis ─▶ report ─▶ run.json, SVG, exit code
//! ```
//!
//! A run ends by reading its own recording back: analysing an old run again and finishing a fresh
//! one are one code path.
//!
//! A *watch* is the same without what stands left of the session: [`runtime::Attacher`] finds what
//! runs already, [`session::Watch`] samples it without touching it, and the analysis takes each
//! target on its own, as if it were the only one ([`analysis::Watched`]).
//!
//! # Rooms, in the order in which data flows
//!
//! | module | it holds |
//! |---|---|
//! | [`units`] | sizes, limits, rates, percentages, durations: parsed and printed |
//! | [`clock`] | one monotonic clock, anchored once to wall time; driven by hand in tests |
//! | [`logs`] | pure parsers of recorded traffic: access logs, JSON lines, HTTP Archives |
//! | [`tripwire`] | threads that break down when tests tell them to |
//! | [`event`] | the one vocabulary that producers send, recordings hold and the analysis reads |
//! | [`scenario`] | TOML → checked scenario, with every fault at once and its place |
//! | [`plan`] | what will happen: target, phases, steps, arrival schedules, rules, budgets |
//! | [`cgroup`] | mounts, versions, making and removing groups, pure parsers of their files |
//! | [`runtime`] | where the target runs: Docker, or a cgroup of our own |
//! | [`sample`] | the sampler's thread, windows, the flight recorder, vitals |
//! | [`load`] | connections, workers, steps, payloads, histograms |
//! | [`helper`] | the sampler and the load in a container of our own, and the talk with it |
//! | [`record`] | the run directory: append-only, readable after a kill and while running |
//! | [`judge`] | pure and incremental: spikes, threshold rules |
//! | [`session`] | one run: the only place that starts its threads and tasks; one select loop |
//! | [`analysis`] | pure functions over events: startup, phases, spikes, verdict, comparisons |
//! | [`campaign`] | many runs: startup trials, the run as a whole |
//! | [`draft`] | a first scenario for a crate, a Dockerfile or an image, guessed from its text |
//! | [`metrics`] | numbers with a name and a unit, and their forms: Prometheus, OTLP |
//! | [`live`] | what a person or a scraper sees while a run goes on |
//! | [`report`] | `run.json`, SVG, summary, `JUnit`: renderers of one model |
//! | [`export`] | a recording's data as tables: CSV, Parquet, line protocol |
//! | [`cli`] | one file a verb, exit codes, errors with help |
//!
//! Two more are no part of the program: `fuzz` (with the feature `fuzzing`) is what the targets in
//! `fuzz/` call, and `simulation` (in tests) runs whole sessions from seeds, on a clock of its own.
//!
//! `runtime`, `sample` and `load` never name each other: what one needs of another passes through
//! `session`. `tests/layering.rs` holds who may name whom, and fails on a breach.
//!
//! # How memory is read
//!
//! At every tick (1 ms) the sampler reads the charged level and the high-water mark, and resets the
//! mark: a spike of any length between two ticks is in the record with its true height. Marks are
//! read on cgroups of our own around the container's, which exist before it starts and stay after
//! its death: two nested ones that are reset in turn, so that no spike falls between reading and
//! resetting, and an outer one that never is, which keeps the lifetime peak. See [`cgroup::Place`],
//! [`cgroup::TickReader`] and [`event::MemoryWindow`].
//!
//! Risk is judged on *unreclaimable* memory, never on page cache. Inside a spike it is known only
//! between bounds; both are kept, and the upper one decides.

pub mod analysis;
pub mod campaign;
pub mod cgroup;
pub mod cli;
pub mod clock;
pub mod draft;
pub mod event;
pub mod export;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzz;
pub mod helper;
pub mod judge;
pub mod live;
pub mod load;
pub mod logs;
pub mod metrics;
pub mod plan;
pub mod record;
pub mod report;
pub mod runtime;
pub mod sample;
pub mod scenario;
pub mod session;
#[cfg(test)]
mod simulation;
pub mod tripwire;
pub mod units;
