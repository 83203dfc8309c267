//! What a recording holds, and how much of what was sampled it lacks.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use highwater::clock::{Moment, monotonic_ns, nanos};
use highwater::event::{Event, LifeId, LifeRole, What};
use highwater::record::{Recording, RunDirectory};

/// How long before its end a run's last life may have begun without being recorded.
const GRACE: Duration = Duration::from_secs(1);

/// A recording that was read back.
pub(crate) struct Recorded {
    /// The run's start on this machine's monotonic clock.
    start_ns: u64,
    pub(crate) events: usize,
    pub(crate) finished: bool,
    last_memory: BTreeMap<LifeId, Moment>,
    sampled: BTreeSet<LifeId>,
    lives: BTreeSet<String>,
    traffic_goes_on: bool,
    last_flow: Option<Moment>,
    last_traffic: Option<Moment>,
}

impl Recorded {
    /// Reads all of it; what can't be read is an error.
    pub(crate) fn read(out: &Path) -> Result<Self, String> {
        let told = |error: highwater::record::Error| error.to_string();
        let directory = RunDirectory::open(out).map_err(told)?;
        let recording = Recording::open(&directory).map_err(told)?;
        let header = recording.header();
        let mut read = Self {
            start_ns: header.anchor.monotonic_ns,
            events: 0,
            finished: false,
            last_memory: BTreeMap::new(),
            sampled: BTreeSet::new(),
            lives: BTreeSet::new(),
            traffic_goes_on: false,
            last_flow: None,
            last_traffic: None,
        };
        for event in recording.events() {
            let event = event.map_err(told)?;
            read.take(&event);
        }
        Ok(read)
    }

    fn take(&mut self, event: &Event) {
        self.events += 1;
        let at = event.at;
        match &event.what {
            What::Life(start) => drop(self.lives.insert(name_of(start.role))),
            What::Sampling(start) => {
                self.sampled.insert(start.life);
                self.last_memory.insert(start.life, at);
            }
            What::Memory(window) => drop(self.last_memory.insert(window.life, at)),
            What::SamplerDone(report) => drop(self.sampled.remove(&report.life)),
            What::PhaseBegin { .. } => {
                self.traffic_goes_on = true;
                self.last_flow = Some(at);
                self.last_traffic = Some(at);
            }
            What::Flow(_) => self.last_flow = Some(at),
            What::Traffic(_) => self.last_traffic = Some(at),
            What::GeneratorDone(_) => self.traffic_goes_on = false,
            What::Finished(_) => self.finished = true,
            _ => {}
        }
    }

    /// How much of what was sampled up to a moment of the machine's clock is not there.
    pub(crate) fn lost_at(&self, killed_ns: u64) -> Lost {
        let killed = Moment::from_nanos(killed_ns.saturating_sub(self.start_ns));
        let since = |last: Moment| killed.since(last);
        let memory = self.sampled.iter().filter_map(|life| self.last_memory.get(life).copied());
        let traffic = |last: Option<Moment>| last.filter(|_| self.traffic_goes_on).map(since);
        Lost {
            memory: memory.map(since).max(),
            flow: traffic(self.last_flow),
            traffic: traffic(self.last_traffic),
        }
    }

    /// Lives that began so long before the end that they should be recorded, and are not: their
    /// logs were made when they began.
    pub(crate) fn missing_lives(&self, out: &Path, killed_ns: u64) -> Vec<String> {
        let due = killed_ns.saturating_sub(nanos(GRACE));
        let began = logs_in(out).into_iter().filter(|(_, at_ns)| *at_ns < due);
        began.map(|(name, _)| name).filter(|name| !self.lives.contains(name)).collect()
    }
}

/// The id of the run that a directory holds the recording of.
pub(crate) fn run_id_in(out: &Path) -> Option<String> {
    let directory = RunDirectory::open(out).ok()?;
    Some(Recording::open(&directory).ok()?.header().facts.run_id.clone())
}

/// The logs of lives in a run's directory, and when they were made by the monotonic clock.
pub(crate) fn logs_in(out: &Path) -> Vec<(String, u64)> {
    let unix = nanos(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
    let offset = unix - monotonic_ns();
    let entries = fs::read_dir(out).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let life = name.strip_prefix("target-")?.strip_suffix(".log")?.to_owned();
            let made = entry.metadata().ok()?.created().ok()?;
            let at = nanos(made.duration_since(UNIX_EPOCH).ok()?).checked_sub(offset)?;
            Some((life, at))
        })
        .collect()
}

fn name_of(role: LifeRole) -> String {
    match role {
        LifeRole::Trial { number } => format!("trial-{number}"),
        LifeRole::Unlimited { number } => format!("trial-{number}-unlimited"),
        LifeRole::Main => "main".to_owned(),
    }
}

/// Time for which something was sampled and is not recorded; none where nothing was being sampled.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Lost {
    pub(crate) memory: Option<Duration>,
    /// The timeline of traffic.
    pub(crate) flow: Option<Duration>,
    /// Times of requests, by step.
    pub(crate) traffic: Option<Duration>,
}
