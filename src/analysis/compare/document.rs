//! A run as its `run.json` tells it: the parts that are compared, and nothing else.
//!
//! Runs are read from that document whether it was kept or has just been made again from the
//! recording, so that both are compared alike.

use serde::Deserialize;

/// Why a text can't be compared.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It is no `run.json`.
    #[error("failed to read it as a run.json")]
    Foreign(#[source] serde_json::Error),
    /// It has another schema.
    #[error("failed to read it: its schema is {found}, and this version knows 1")]
    Schema {
        /// The schema that it says it has.
        found: u32,
    },
}

/// A run's document, schema 1.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct RunDocument {
    pub(super) schema: u32,
    pub(super) name: String,
    #[serde(default)]
    pub(super) started_at: String,
    #[serde(default)]
    pub(super) highwater: String,
    pub(super) verdict: String,
    #[serde(default)]
    pub(super) reasons: Vec<Reason>,
    pub(super) target: Target,
    pub(super) startup: Option<Startup>,
    pub(super) phases: Vec<Phase>,
    pub(super) memory: Option<Memory>,
    pub(super) growth: Option<Growth>,
    pub(super) costs: Option<Vec<Cost>>,
    pub(super) sampler: Option<Sampler>,
    pub(super) generator: Option<Generator>,
    pub(super) host: Host,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(super) struct Reason {
    pub(super) id: String,
    #[serde(default)]
    pub(super) level: String,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(super) struct Target {
    pub(super) runtime: String,
    pub(super) limit_bytes: Option<u64>,
    pub(super) cgroup: String,
    #[serde(default)]
    pub(super) release_build: String,
    pub(super) allocator: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(super) struct Startup {
    pub(super) trials: Vec<Trial>,
    pub(super) first_trial_cold: Option<bool>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(super) struct Trial {
    pub(super) ready_ms: Option<f64>,
    pub(super) peak_bytes: Option<f64>,
    pub(super) unreclaimable_peak_bytes: Option<f64>,
    pub(super) settled_bytes: Option<f64>,
    #[serde(default)]
    pub(super) killed: bool,
    #[serde(default)]
    #[serde(rename = "trial")]
    pub(super) number: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(super) struct Phase {
    pub(super) name: String,
    pub(super) start_ms: f64,
    pub(super) end_ms: f64,
    pub(super) memory: Option<Memory>,
    pub(super) target: Option<Vital>,
    pub(super) traffic: Option<Traffic>,
}

/// Memory of a phase, or of the whole run.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(super) struct Memory {
    #[serde(rename = "peak_bytes")]
    pub(super) peak: f64,
    #[serde(rename = "rss_peak_bytes")]
    pub(super) rss: f64,
    #[serde(rename = "unreclaimable_peak_bytes")]
    pub(super) unreclaimable: f64,
    #[serde(default)]
    pub(super) oom_kills: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(super) struct Vital {
    pub(super) cpu_cores: Option<f64>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(super) struct Traffic {
    pub(super) requests: u64,
    pub(super) failed: u64,
    #[serde(default)]
    pub(super) unsent: u64,
    pub(super) rate: Option<f64>,
    pub(super) latency_ms: Option<Times>,
    #[serde(default)]
    pub(super) steps: Vec<Step>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
pub(super) struct Times {
    pub(super) p50: f64,
    pub(super) p95: f64,
    pub(super) p99: f64,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(super) struct Step {
    #[serde(default)]
    pub(super) scenario: String,
    #[serde(rename = "step")]
    pub(super) name: String,
    #[serde(default)]
    pub(super) requests: u64,
    #[serde(default)]
    pub(super) unsent: u64,
    pub(super) latency_ms: Option<Times>,
    pub(super) request_body_bytes: Option<Sizes>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
pub(super) struct Sizes {
    pub(super) p50: u64,
    pub(super) p99: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(super) struct Growth {
    pub(super) class: String,
    pub(super) bytes_per_hour: Option<f64>,
    pub(super) ci95: Option<[f64; 2]>,
    pub(super) bytes_per_request: Option<f64>,
    pub(super) bytes_per_request_ci95: Option<[f64; 2]>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(super) struct Cost {
    pub(super) scenario: String,
    pub(super) step: String,
    pub(super) bytes_per_in_flight: Option<f64>,
    pub(super) ci95: Option<[f64; 2]>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(super) struct Sampler {
    #[serde(default)]
    pub(super) tick_us: f64,
    pub(super) peak_method: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(super) struct Generator {
    pub(super) path: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(super) struct Host {
    #[serde(default)]
    pub(super) kernel: String,
    #[serde(default)]
    pub(super) cpus: u32,
    pub(super) thp: Option<String>,
    pub(super) memory_bytes: Option<u64>,
}

impl RunDocument {
    /// Reads a `run.json`.
    ///
    /// # Errors
    /// When it is none, or of a schema that this version does not know.
    pub fn read(text: &str) -> Result<Self, DocumentError> {
        #[derive(Deserialize)]
        struct Head {
            schema: u32,
        }
        // The schema first: what another one looks like is not known.
        let head: Head = serde_json::from_str(text).map_err(DocumentError::Foreign)?;
        if head.schema != 1 {
            return Err(DocumentError::Schema { found: head.schema });
        }
        serde_json::from_str(text).map_err(DocumentError::Foreign)
    }

    /// Whether an OOM kill was seen in it, in startup or later.
    pub(super) fn is_killed(&self) -> bool {
        let started = self.startup.iter().flat_map(|startup| &startup.trials);
        let ran = self.memory.as_ref().is_some_and(|memory| memory.oom_kills > 0);
        ran || started.into_iter().any(|trial| trial.killed)
    }

    /// Whether it ended before its time: its last phase is not a whole one.
    pub(super) fn is_cut(&self) -> bool {
        let early = |reason: &Reason| matches!(reason.id.as_str(), "aborted" | "target");
        self.is_killed() || self.is_broken() || self.reasons.iter().any(early)
    }

    /// Whether it was interrupted, or could not be done.
    pub(super) fn is_broken(&self) -> bool {
        matches!(self.verdict.as_str(), "interrupted" | "error")
    }

    /// Whether it passed but for what a baseline has to say of it.
    pub(super) fn is_sound(&self) -> bool {
        let failed = |reason: &&Reason| reason.level == "fail";
        let mut failures = self.reasons.iter().filter(failed);
        let held_against = self.verdict == "fail" && failures.clone().next().is_some();
        matches!(self.verdict.as_str(), "pass" | "warn")
            || held_against && failures.all(|reason| reason.id == "regression")
    }

    /// Whether its measurement can't be trusted.
    pub(super) fn is_untrusted(&self) -> bool {
        self.verdict == "untrusted"
    }

    /// Whether its growth is a leak; none where that is not clear.
    pub(super) fn is_leaking(&self) -> Option<bool> {
        let class = self.growth.as_ref()?.class.as_str();
        (class != "unclear").then_some(class == "leak")
    }

    /// Trials under the limit that came to their end; not the repetition of a killed one.
    pub(super) fn trials(&self) -> impl Iterator<Item = &Trial> {
        let trials = || self.startup.iter().flat_map(|startup| &startup.trials);
        trials().filter(move |trial| {
            !trials().any(|other| other.killed && other.number == trial.number) && !trial.killed
        })
    }

    /// Whether a trial found less of its files in page cache than the others.
    pub(super) fn is_cold(&self, trial: &Trial) -> bool {
        let startup = self.startup.as_ref();
        trial.number == 1 && startup.and_then(|startup| startup.first_trial_cold) == Some(true)
    }
}
