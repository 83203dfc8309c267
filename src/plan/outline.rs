//! The part of a plan that a recording keeps.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::scenario::Words;
use crate::units::{Bytes, Limit};

/// Names and numbers that the analysis needs beside the events. Holds no secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outline {
    /// The scenario's name.
    pub name: String,
    /// The target's limits.
    pub limits: LimitsOutline,
    /// Time between two ticks, in nanoseconds.
    pub tick_ns: u64,
    /// Length of a window, in nanoseconds.
    pub window_ns: u64,
    /// How long a ready target is watched in a startup trial, in nanoseconds.
    pub settle_ns: u64,
    /// The phases, in order; events name them by index.
    pub phases: Vec<PhaseOutline>,
    /// All steps of all scenarios, in order; events name them by index.
    pub steps: Vec<StepOutline>,
    /// Threshold rules: metric selector and rules, as written.
    pub thresholds: Vec<(String, Vec<String>)>,
    /// Words of the scenario's own that its rules may use.
    #[serde(default)]
    pub words: Words,
}

/// The target's limits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LimitsOutline {
    /// Memory, without swap.
    pub memory: Limit,
    /// CPU time per wall time, in cores.
    pub cpus: Option<f64>,
    /// Processes and threads.
    pub pids: Option<u32>,
}

/// One phase.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseOutline {
    /// Its name.
    pub name: String,
    /// How long it was to last, in nanoseconds.
    pub length_ns: u64,
    /// Whether a load of it has bursts.
    pub bursts: bool,
    /// When its bursts come, where a load has some: those with the longest period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cycle: Option<CycleOutline>,
    /// Whether its loads, bursts aside, are to stay as they are from its start to its end (not where
    /// others send them); none in recordings of before it was kept, and of recorded traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steady: Option<bool>,
    /// Whether a size search replays it.
    #[serde(default)]
    pub size: bool,
    /// What all its loads are counted in; none where they differ, in recordings of before it was
    /// kept, and of recorded traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pace: Option<PaceOutline>,
}

/// What load is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaceOutline {
    /// Users, who wait for their answers.
    Users,
    /// Arrivals a second, whatever the target does.
    Rate,
}

/// Bursts that come again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CycleOutline {
    /// When the first one begins, from the phase's start, in nanoseconds.
    pub first_ns: u64,
    /// Their period, in nanoseconds.
    pub every_ns: u64,
    /// How long one lasts, in nanoseconds; 0 where all of it is due at once.
    pub width_ns: u64,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepOutline {
    /// The scenario that it belongs to.
    pub scenario: String,
    /// Its name: `POST /orders`.
    pub step: String,
    /// Its request's method; empty in recordings of before it was kept.
    #[serde(default)]
    pub method: String,
    /// Tags of the scenario's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// The size of its request body where it is fixed, or its greatest size.
    pub body_max: Bytes,
    /// The sizes of its request bodies that were asked for, at the median and the 99th percentile,
    /// where they are known beforehand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_wanted: Option<(Bytes, Bytes)>,
}
