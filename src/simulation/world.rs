//! What is true in a simulated run: drawn from its seed, and what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::sync::mpsc::Sender;

use super::{sampler, traffic};
use crate::clock::{Clock, Moment};
use crate::event::{Counts, Event, Evidence, LifeId};
use crate::load::Job;
use crate::runtime::Proof;
use crate::runtime::scripted::{End, LifeScript, Script};
use crate::sample::SamplerJob;
use crate::session::scripted::{Hands, Sampling, Traffic};
use crate::units::Bytes;

/// A stream of chance of its own for each purpose.
pub(super) fn chance(seed: u64, purpose: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ purpose.rotate_left(32))
}

fn is_one_in(rng: &mut ChaCha8Rng, many: u32) -> bool {
    rng.random_range(0..many) == 0
}

/// The scenario of a seed.
pub(super) fn scenario(seed: u64) -> String {
    let mut rng = chance(seed, 1);
    let (trials, limit) = (rng.random_range(0..3), rng.random_range(128..512));
    let on_oom = if is_one_in(&mut rng, 2) { "restart" } else { "stop" };
    let mut text = format!(
        "name = \"simulated-{seed}\"\non-oom = \"{on_oom}\"\n[target]\nimage = \"shop:1\"\n\
         port = 8080\nready = {{ http = \"/\", within = \"3s\" }}\n\
         limits = {{ memory = \"{limit}MiB\" }}\n[startup]\ntrials = {trials}\nsettle = \"1s\"\n\
         [[scenario]]\nname = \"shop\"\n[[scenario.step]]\nget = \"/a\"\n\
         [[scenario.step]]\npost = \"/b\"\nbody = {{ text = \"x\" }}\n"
    );
    for phase in 0..rng.random_range(1..4) {
        let seconds = rng.random_range(1..9);
        let rate = [5, 40, 150][rng.random_range(0..3)];
        let burst =
            if is_one_in(&mut rng, 2) { "burst = { every = \"2s\", size = 50 }\n" } else { "" };
        let _ = write!(
            text,
            "[[phase]]\nname = \"phase-{phase}\"\nrate = {rate}\n{burst}for = \"{seconds}s\"\n"
        );
    }
    text += "[thresholds]\n\"http_req_failed\" = [\"rate<0.5\"]\n\"http_reqs\" = [\"count>=0\"]\n";
    if is_one_in(&mut rng, 5) {
        text += "\"memory\" = [{ rule = \"max<60%\", abort = true }]\n";
    } else {
        text += "\"memory\" = [\"max<95%\"]\n";
    }
    text
}

/// The bound of requests in flight: low enough to be met now and then.
pub(super) fn most_in_flight(seed: u64) -> usize {
    [4, 30, 1000][chance(seed, 2).random_range(0..3)]
}

/// When somebody stops the run, where somebody does.
pub(super) fn stopped_after(seed: u64) -> Option<Duration> {
    let mut rng = chance(seed, 3);
    is_one_in(&mut rng, 6).then(|| Duration::from_millis(rng.random_range(1..25_000)))
}

/// One life, as it goes.
#[derive(Debug, Clone)]
pub(super) struct Life {
    pub(super) begun: Moment,
    /// When it ends by itself, counted from its start, and whether by an OOM kill.
    ends: Option<(Duration, bool)>,
    /// When it has ended.
    pub(super) ended: Option<Moment>,
    base: u64,
    spike_every_ms: u64,
    spike_ms: u64,
    spike_top: u64,
    seed: u64,
}

const MIB: u64 = 1 << 20;
const PAGE: u64 = 4096;

/// From here on it is the target's own program that runs.
pub(super) const EXEC_AFTER: Duration = Duration::from_millis(20);

impl Life {
    /// Whether it runs at that time.
    pub(super) fn is_up(&self, at: Moment) -> bool {
        at >= self.begun && self.ended.is_none_or(|ended| at < ended)
    }

    /// Charged memory, without a limit.
    fn wanted(&self, at: Moment) -> u64 {
        if !self.is_up(at) {
            return 0;
        }
        let age = at.since(self.begun);
        if age < EXEC_AFTER {
            return 4 * MIB;
        }
        let ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let ramp = (self.base * ms.min(300) / 300).max(MIB);
        let noise = spread(self.seed, ms) % 64 * PAGE;
        let (number, into) = (ms / self.spike_every_ms, ms % self.spike_every_ms);
        let up = into < self.spike_ms && number > 0;
        let height = spread(self.seed ^ 7, number) % self.spike_top.max(1);
        let level = ramp + noise + if up { height / PAGE * PAGE } else { 0 };
        match self.ends {
            // A kill comes after a climb that the limit stops.
            Some((after, true)) if age + Duration::from_millis(100) >= after => {
                let into = 100 - after.saturating_sub(age).as_millis().min(100);
                level + u64::try_from(into).unwrap_or(0) * 8 * MIB
            }
            _ => level,
        }
    }

    /// Charged memory under a limit.
    pub(super) fn level(&self, at: Moment, limit: Option<Bytes>) -> Bytes {
        let wanted = Bytes::new(self.wanted(at));
        limit.map_or(wanted, |limit| wanted.min(limit))
    }
}

/// A number that looks like chance and is always the same.
fn spread(seed: u64, number: u64) -> u64 {
    let mixed = (seed ^ number).wrapping_mul(0xff51_afd7_ed55_8ccd);
    (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53) >> 20
}

/// What the sampler of a life has seen.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sampled {
    pub(super) ticks: u64,
    pub(super) missed: u64,
    /// The highest peak since the target's own program was seen.
    pub(super) peak: Bytes,
}

/// What has happened.
#[derive(Debug, Default)]
pub(super) struct Truth {
    pub(super) sampled: BTreeMap<LifeId, Sampled>,
    /// Requests by the phase in which they were due.
    pub(super) requests: BTreeMap<u16, Counts>,
    pub(super) killed: BTreeSet<LifeId>,
    pub(super) refused_starts: u32,
}

/// Everything around the harness in one simulated run.
#[derive(Debug)]
pub(super) struct World {
    pub(super) seed: u64,
    pub(super) clock: Clock,
    lives: Mutex<BTreeMap<LifeId, Life>>,
    truth: Mutex<Truth>,
    /// For the parts that outlive a call.
    own: std::sync::OnceLock<std::sync::Weak<World>>,
}

impl World {
    pub(super) fn new(seed: u64, clock: Clock) -> Arc<Self> {
        let world = Arc::new(Self {
            seed,
            clock,
            lives: Mutex::default(),
            truth: Mutex::default(),
            own: std::sync::OnceLock::new(),
        });
        world.own.set(Arc::downgrade(&world)).expect("set once");
        world
    }

    fn lives(&self) -> MutexGuard<'_, BTreeMap<LifeId, Life>> {
        self.lives.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn truth(&self) -> MutexGuard<'_, Truth> {
        self.truth.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A life, where it has started.
    pub(super) fn life(&self, life: LifeId) -> Option<Life> {
        self.lives().get(&life).cloned()
    }

    /// The life that started last.
    pub(super) fn newest(&self) -> LifeId {
        self.lives().keys().next_back().copied().unwrap_or(LifeId(0))
    }

    fn of_life(&self, life: LifeId, purpose: u64) -> ChaCha8Rng {
        chance(self.seed ^ (u64::from(life.0) << 40), purpose)
    }

    fn shared(&self) -> Arc<Self> {
        self.own.get().and_then(std::sync::Weak::upgrade).expect("the world stands")
    }
}

impl Script for World {
    fn begin(&self, life: LifeId) -> LifeScript {
        let mut rng = self.of_life(life, 4);
        let nothing = LifeScript { refused: true, end: None, lifetime_peak: None };
        if is_one_in(&mut rng, 25) {
            self.truth().refused_starts += 1;
            return nothing;
        }
        let end = is_one_in(&mut rng, 2).then(|| {
            let killed = rng.random_range(0..10) < 7;
            let sources = [Evidence::Events, Evidence::Docker, Evidence::Eventfd];
            let mut kill_told = Vec::new();
            if killed {
                let first = rng.random_range(0..3);
                for source in sources.into_iter().skip(first).take(rng.random_range(1..4)) {
                    kill_told.push((source, Duration::from_millis(rng.random_range(5..150))));
                }
            }
            End {
                after: Duration::from_millis(rng.random_range(60..15_000)),
                code: if killed { 137 } else { 1 },
                kill_told,
                told: Duration::from_millis(rng.random_range(1..300)),
            }
        });
        let ends = end.as_ref().map(|end| (end.after, !end.kill_told.is_empty()));
        let row = Life {
            begun: self.clock.now(),
            ends,
            ended: None,
            base: rng.random_range(20..90) * MIB,
            spike_every_ms: rng.random_range(200..3000),
            spike_ms: rng.random_range(1..60),
            spike_top: rng.random_range(0..100) * MIB,
            seed: rng.random(),
        };
        self.lives().insert(life, row);
        let lifetime_peak = is_one_in(&mut rng, 2).then(|| Bytes::from_mib(90));
        LifeScript { refused: false, end, lifetime_peak }
    }

    fn ended(&self, life: LifeId) {
        let now = self.clock.now();
        if let Some(row) = self.lives().get_mut(&life) {
            row.ended = Some(now);
            let by_kill = |(after, killed): (Duration, bool)| killed && now >= row.begun + after;
            if row.ends.is_some_and(by_kill) {
                self.truth().killed.insert(life);
            }
        }
    }
}

impl Hands for World {
    fn proof(&self, life: LifeId) -> Proof {
        let mut rng = self.of_life(life, 5);
        let never = is_one_in(&mut rng, 30);
        let takes = Duration::from_millis(rng.random_range(60..1500));
        let (clock, world) = (self.clock.clone(), self.shared());
        Box::pin(async move {
            if never {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(takes).await;
            if !world.life(life).is_some_and(|row| row.is_up(clock.now())) {
                // Whoever has ended never answers.
                std::future::pending::<()>().await;
            }
            Ok(clock.now())
        })
    }

    fn sample(&self, job: SamplerJob, clock: Clock, events: Sender<Event>) -> Sampling {
        let rng = self.of_life(job.life, 6);
        sampler::start(self.shared(), job, clock, events, rng)
    }

    fn drive(&self, job: Job, clock: Clock, events: Sender<Event>) -> Box<dyn Traffic> {
        traffic::start(self.shared(), &job, clock, events)
    }
}
