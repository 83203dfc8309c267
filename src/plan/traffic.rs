//! Traffic: phases, the loads in them, scenarios and their steps.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::scenario::{
    Arrivals, Constants, Deed, Feed, Iterations, Replay, Reply, Shape, Think, Transfer,
};
use crate::units::{Bytes, Rate};

/// What the traffic is made of, apart from phases.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TrafficPlan {
    /// Fixes everything that depends on chance.
    pub seed: u64,
    /// How long a request may take, from sent to the last byte of its answer.
    pub timeout: Duration,
    /// How long requests in flight are waited for after the last phase.
    pub drain: Duration,
    /// The most requests in flight at once; due work beyond it is counted as unsent.
    pub max_in_flight: usize,
    /// The scenarios; a mix draws from them by weight.
    pub scenarios: Vec<ScenarioPlan>,
    /// What templates are given of the harness's surroundings. May hold secrets.
    pub constants: Constants,
    /// Which requests are recorded one by one.
    #[serde(default)]
    pub samples: Samples,
}

/// Which requests are recorded one by one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Samples {
    /// None: windows and histograms are all that is kept.
    #[default]
    None,
    /// So many of each second, by chance.
    PerSecond(u32),
    /// All of them, up to [`Samples::MAX_PER_SECOND`].
    All,
}

impl Samples {
    /// The most that are kept of a second.
    pub const MAX_PER_SECOND: u32 = 100_000;

    /// The most that each of so many workers keeps of a second.
    #[must_use]
    pub fn of_each(self, workers: u32) -> usize {
        let all = match self {
            Self::None => 0,
            Self::PerSecond(number) => number.min(Self::MAX_PER_SECOND),
            Self::All => Self::MAX_PER_SECOND,
        };
        all.div_ceil(workers.max(1)) as usize
    }
}

impl std::str::FromStr for Samples {
    type Err = String;

    /// `all`, or `200/s`.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim() == "all" {
            return Ok(Self::All);
        }
        let number = text.trim().strip_suffix("/s").unwrap_or(text).trim().parse::<u32>();
        match number {
            Ok(number) if (1..=Self::MAX_PER_SECOND).contains(&number) => {
                Ok(Self::PerSecond(number))
            }
            _ => Err(format!(
                "write `all`, or a number a second such as `200/s`, up to {}/s",
                Self::MAX_PER_SECOND
            )),
        }
    }
}

/// What one user or one arrival does: steps, one after another.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ScenarioPlan {
    /// Its name.
    pub name: String,
    /// Its weight in a mix, at least 1.
    pub weight: u32,
    /// Steps that are done once, before the first phase; what they capture belongs to all users.
    pub setup: Vec<StepPlan>,
    /// Steps that each user does once, before all others.
    pub on_start: Vec<StepPlan>,
    /// Its steps, at least one.
    pub steps: Vec<StepPlan>,
    /// Steps that each user does when it leaves.
    pub on_stop: Vec<StepPlan>,
    /// Records that runs take values from.
    pub feed: Option<Feed>,
}

impl ScenarioPlan {
    /// All its steps, in the order of their indices.
    pub fn all_steps(&self) -> impl Iterator<Item = &StepPlan> {
        let parts = [&self.setup, &self.on_start, &self.steps, &self.on_stop];
        parts.into_iter().flatten()
    }
}

/// One request of a scenario.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StepPlan {
    /// Its index over all scenarios' steps, in order; the same as in [`super::Outline::steps`].
    pub id: u16,
    /// Its name in reports: `POST /orders`.
    pub label: String,
    /// The HTTP method.
    pub method: String,
    /// The path with query, as it is sent, or a template of it.
    pub path: String,
    /// Header lines, names in lower case, values perhaps templates; `host`, `content-length` and `connection` are the
    /// engine's own unless given here.
    pub headers: Vec<(String, String)>,
    /// The request's body.
    pub body: Body,
    /// The statuses that count as success; empty: all below 400.
    pub expect_status: Vec<u16>,
    /// What becomes of the answer.
    pub reply: Reply,
    /// How it is sent, and its answer read.
    pub transfer: Transfer,
    /// The pause before the step.
    pub think: Think,
    /// Tags of the scenario's own.
    pub tags: BTreeMap<String, String>,
}

/// A request's body.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Body {
    /// None.
    Empty,
    /// These bytes.
    Literal(Arc<[u8]>),
    /// The text that a template gives.
    Template(Arc<str>),
    /// Text of drawn size: random printable bytes, cut from one seeded block.
    Text(SizePoints),
    /// JSON of drawn size.
    Json(SizePoints, Shape),
    /// One of these, drawn anew each time.
    OneOf(Arc<[Arc<[u8]>]>),
    /// Bytes and what templates give, one after another.
    Pieces(Vec<Piece>),
    /// A list of items, repeated until the whole has a drawn size, give or take an item.
    Grown {
        /// What stands before the items.
        head: Arc<[u8]>,
        /// The items.
        items: Vec<Arc<[u8]>>,
        /// What stands after them.
        tail: Arc<[u8]>,
        /// The sizes.
        sizes: SizePoints,
    },
    /// The bytes of a file, read when the plan was made.
    File {
        /// Where they came from.
        path: PathBuf,
        /// The bytes.
        bytes: Arc<[u8]>,
    },
}

/// A piece of a body.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Piece {
    /// These bytes.
    Bytes(Arc<[u8]>),
    /// What a template gives.
    Template(Arc<str>),
}

/// A distribution of sizes by its quantiles: between two points the size is interpolated on a
/// logarithmic scale.
///
/// Points are `(quantile in 0..=1, size)`, both ascending, the first at quantile 0 and the last
/// at quantile 1. A fixed size is two equal points.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SizePoints(Vec<(f64, Bytes)>);

impl SizePoints {
    /// A distribution from its points; none where they aren't as described above.
    #[must_use]
    #[expect(clippy::float_cmp, reason = "the end points are exact by definition")]
    pub fn new(points: Vec<(f64, Bytes)>) -> Option<Self> {
        let ascending =
            points.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
        let whole = points.len() >= 2
            && points.first().is_some_and(|first| first.0 == 0.0)
            && points.last().is_some_and(|last| last.0 == 1.0);
        (ascending && whole).then_some(Self(points))
    }

    /// Always the same size.
    #[must_use]
    pub fn fixed(size: Bytes) -> Self {
        Self(vec![(0.0, size), (1.0, size)])
    }

    /// The greatest size.
    #[must_use]
    pub fn max(&self) -> Bytes {
        self.0.last().map_or(Bytes::ZERO, |point| point.1)
    }

    /// The size at a quantile in 0..=1.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "interpolated between two sizes, so neither negative nor larger"
    )]
    pub fn at(&self, quantile: f64) -> Bytes {
        let upper = self.0.partition_point(|point| point.0 < quantile).clamp(1, self.0.len() - 1);
        let ((q0, low), (q1, high)) = (self.0[upper - 1], self.0[upper]);
        let share = ((quantile - q0) / (q1 - q0)).clamp(0.0, 1.0);
        let (low, high) = (low.as_f64().max(1.0).ln(), high.as_f64().max(1.0).ln());
        Bytes::new((low + share * (high - low)).exp().round() as u64)
    }
}

/// One phase.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PhasePlan {
    /// Its name, unique in the plan.
    pub name: String,
    /// How long it lasts. A phase of iterations may end earlier, when all are done.
    pub length: Duration,
    /// The loads that run in it side by side; none: an idle phase.
    pub loads: Vec<LoadPlan>,
    /// Tags for choosing phases.
    pub tags: Vec<String>,
    /// Whether a size search replays it.
    pub size: bool,
    /// Whether the run is over after it where it went badly: a rule is broken by then, or more than
    /// 1 % of its requests failed.
    pub stop_early: bool,
    /// What is done in it at set times, beside the traffic; a request of these is a load, too.
    #[serde(default)]
    pub actions: Vec<ActionPlan>,
}

/// Something that is done at a set time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionPlan {
    /// When it is first done, from the phase's start.
    pub first: Duration,
    /// The time from one to the next; none: it is done once.
    pub every: Option<Duration>,
    /// What is done.
    pub deed: Deed,
}

impl PhasePlan {
    /// Whether the phase is over once its iterations are: every load has a number of them.
    #[must_use]
    pub fn is_counted(&self) -> bool {
        let counted =
            |load: &LoadPlan| matches!(load.model, LoadModel::Closed { iterations: Some(_), .. });
        let mut loads = self.traffic().peekable();
        loads.peek().is_some() && loads.all(counted)
    }

    /// Its loads without the requests of actions.
    pub fn traffic(&self) -> impl Iterator<Item = &LoadPlan> {
        self.loads.iter().filter(|load| !load.is_timed())
    }
}

/// One load in a phase.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LoadPlan {
    /// What is run.
    pub scenario: ScenarioChoice,
    /// How it is paced.
    pub model: LoadModel,
    /// When it starts, from the phase's start.
    pub start_after: Duration,
}

impl LoadPlan {
    /// Whether it is the request of an action.
    #[must_use]
    pub const fn is_timed(&self) -> bool {
        matches!(self.model, LoadModel::Timed { .. })
    }
}

/// What a load runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScenarioChoice {
    /// A scenario drawn by weight, each time anew.
    Mix,
    /// This one, by its index.
    One(usize),
}

/// How a load is paced.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum LoadModel {
    /// Arrivals at times fixed in advance, whatever the target does.
    Open(OpenLoad),
    /// Recorded requests at recorded times, whatever the target does.
    Replay(Replay),
    /// Scenario runs at set times: one, or one again and again.
    Timed {
        /// When the first one is due, from the load's start.
        first: Duration,
        /// The time from one to the next; none: there is one only.
        every: Option<Duration>,
    },
    /// Users who each wait for an answer before they go on.
    Closed {
        /// How many users, over time.
        stages: Vec<UserStage>,
        /// Scenario runs after which the load is done; none: no bound.
        iterations: Option<Iterations>,
    },
}

/// An open load: a rate over time, and bursts on top of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenLoad {
    /// The rate over time; its stages' lengths add up to the load's.
    pub stages: Vec<RateStage>,
    /// How arrivals are spaced.
    pub arrivals: Arrivals,
    /// Bursts on top.
    pub bursts: Vec<Burst>,
}

/// A stretch of time in which the rate goes evenly from one value to another.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RateStage {
    /// At its start.
    pub from: Rate,
    /// At its end.
    pub to: Rate,
    /// How long it lasts.
    pub length: Duration,
}

/// A stretch of time in which the number of users goes evenly from one value to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserStage {
    /// At its start.
    pub from: u32,
    /// At its end.
    pub to: u32,
    /// How long it lasts.
    pub length: Duration,
}

/// Bursts that come again and again.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Burst {
    /// The period.
    pub every: Duration,
    /// What each burst is.
    pub form: BurstForm,
    /// By what share of the period a burst may come early or late, in 0..=0.5.
    pub jitter: f64,
    /// At which share of its period a burst begins, in 0..1; 0.5 but for loads that are on and off.
    pub begins: f64,
}

/// What a burst is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum BurstForm {
    /// So many arrivals, all due at once.
    Size(u64),
    /// A raised rate for a while.
    Rate {
        /// The rate that is added.
        rate: Rate,
        /// For how long.
        width: Duration,
    },
}
