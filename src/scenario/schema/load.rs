//! `[[phase]]` and its loads.

use std::collections::BTreeMap;

use schemars::JsonSchema;

use super::{Listed, Rate, Time};

/// A phase: one load in its flat form, or several in `load`, or none.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Phase {
    /// Its name.
    name: Option<String>,
    /// How long it lasts.
    #[schemars(rename = "for")]
    length: Option<Time>,
    /// For `--only` and `--skip`.
    tags: Option<Listed<String>>,
    /// Whether `highwater size` replays it. Default: where it has bursts.
    size: Option<bool>,
    /// Whether the run is over after it where it went badly.
    stop_early: Option<bool>,
    /// Loads side by side.
    load: Option<Listed<Load>>,
    #[schemars(flatten)]
    own: Pacing,
}

/// One of the loads of a phase.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Load {
    /// How long it lasts. Default: to the end of its phase.
    #[schemars(rename = "for")]
    length: Option<Time>,
    #[schemars(flatten)]
    own: Pacing,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
struct Pacing {
    /// Which scenario. Default: the weighted mix.
    scenario: Option<String>,
    /// When it starts, from the phase's start.
    start_after: Option<Time>,
    /// Open loop: scenario starts per second, whatever the answers do.
    rate: Option<RateCurve>,
    /// Closed loop: users who wait for answers.
    users: Option<UserCurve>,
    /// A curve of users or of rates.
    stages: Option<Listed<Stage>>,
    /// Added to the rate.
    burst: Option<Listed<Burst>>,
    /// Runs of the scenario after which the load is done.
    iterations: Option<Iterations>,
    /// Recorded traffic at recorded times.
    replay: Option<ReplaySource>,
    arrivals: Option<ArrivalsKind>,
    surge: Option<Surge>,
    /// With `off`: for how long the rate is on by turns.
    on: Option<Time>,
    off: Option<Time>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum RateCurve {
    Steady(Rate),
    Ramp(RateRamp),
}

/// From one rate to another.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RateRamp {
    /// Default: 0.
    from: Option<Rate>,
    to: Rate,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum UserCurve {
    Steady(#[schemars(range(min = 0, max = 100_000))] u32),
    Ramp(UserRamp),
}

/// From one number of users to another.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct UserRamp {
    /// Default: 0.
    #[schemars(range(min = 0, max = 100_000))]
    from: Option<u32>,
    #[schemars(range(min = 0, max = 100_000))]
    to: u32,
}

/// To a number of users or to a rate; without either, as before.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Stage {
    #[schemars(range(min = 0, max = 100_000))]
    users: Option<u32>,
    rate: Option<Rate>,
    #[schemars(rename = "for")]
    length: Time,
}

/// `size` at once, or a `rate` for a `width` of time.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Burst {
    every: Time,
    #[schemars(range(min = 1, max = 1_000_000))]
    size: Option<u32>,
    rate: Option<Rate>,
    width: Option<Time>,
    /// By which share of its period it may come early or late.
    #[schemars(range(min = 0, max = 0.5))]
    jitter: Option<f64>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Iterations {
    Shared(#[schemars(range(min = 1))] u64),
    Each(EachUser),
}

/// So many for each user.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct EachUser {
    #[schemars(range(min = 1))]
    each: u64,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum ReplaySource {
    File(String),
    Settings(Replay),
}

/// An access log (common, combined, JSON lines) or a HAR file.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Replay {
    file: String,
    /// 2 is twice as fast as recorded.
    #[schemars(range(min = 0.001, max = 1000))]
    speed: Option<f64>,
    /// The longest pause that is kept.
    max_gap: Option<Time>,
    /// Whether it begins anew for as long as its phase lasts.
    repeat: Option<bool>,
    headers: Option<BTreeMap<String, String>>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum ArrivalsKind {
    Name(#[schemars(extend("enum" = ["even", "poisson", "pareto", "lognormal"]))] String),
    Tail(HeavyTail),
}

/// A heavy tail with its shape: one of them.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct HeavyTail {
    #[schemars(range(min = 1.05, max = 10))]
    pareto: Option<f64>,
    #[schemars(range(min = 0.1, max = 3))]
    lognormal: Option<f64>,
}

/// A crowd that comes once.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Surge {
    to: Rate,
    at: Time,
    rise: Option<Time>,
    #[schemars(rename = "for")]
    length: Time,
    fall: Option<Time>,
}
