//! A sampler that reads the world in place of a cgroup; its windows are made by the real builder.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tokio::sync::mpsc::Sender;
use tokio::sync::oneshot;

use super::world::{EXEC_AFTER, Sampled, World};
use crate::cgroup::{LimitCounts, Parts};
use crate::clock::{Clock, Moment, nanos};
use crate::event::{
    Event, Evidence, OomKill, PeakMethod, SamplerReport, SamplingStart, SchedulingClass, Tick,
    TickBlock, What,
};
use crate::sample::{SamplerJob, WindowBuilder};
use crate::session::scripted::Sampling;
use crate::units::Bytes;

const CACHE: Bytes = Bytes::from_mib(3);

pub(super) fn start(
    world: Arc<World>,
    job: SamplerJob,
    clock: Clock,
    events: Sender<Event>,
    rng: ChaCha8Rng,
) -> Sampling {
    let (stop, asked) = oneshot::channel();
    let now = clock.now();
    let sampler = Sampler {
        window: WindowBuilder::new(job.life, now),
        world,
        clock,
        events,
        rng,
        ticks: Vec::new(),
        next_tick: now + job.sampling.tick,
        began: now,
        last: (now, Bytes::ZERO),
        missed: 0,
        exec_seen: false,
        kill_seen: false,
        sampled: Sampled::default(),
        job,
    };
    Sampling { stop, task: tokio::spawn(sampler.run(asked)) }
}

struct Sampler {
    world: Arc<World>,
    job: SamplerJob,
    clock: Clock,
    events: Sender<Event>,
    rng: ChaCha8Rng,
    window: WindowBuilder,
    ticks: Vec<Tick>,
    next_tick: Moment,
    began: Moment,
    /// The last tick that was read: when, and the level.
    last: (Moment, Bytes),
    /// Ticks that were missed since.
    missed: u64,
    exec_seen: bool,
    kill_seen: bool,
    sampled: Sampled,
}

impl Sampler {
    async fn run(mut self, mut asked: oneshot::Receiver<()>) {
        self.announce().await;
        // Some samplers stop by themselves, as when a cgroup is gone.
        let own_end = (self.rng.random_range(0..40) == 0)
            .then(|| self.clock.now() + Duration::from_millis(self.rng.random_range(50..9000)));
        let length = self.job.sampling.window;
        let mut ends = self.clock.now().floor_to(length) + length;
        loop {
            let late = match self.rng.random_range(0..40) {
                0 => Duration::from_millis(self.rng.random_range(30..700)),
                _ => Duration::from_micros(self.rng.random_range(1..900)),
            };
            let wake = ends + late;
            let stopped = tokio::select! {
                _ = &mut asked => true,
                () = tokio::time::sleep(wake.since(self.clock.now())) => false,
            };
            let now = self.clock.now();
            let until = own_end.map_or(now, |end| end.min(now));
            self.read_until(until, &mut ends).await;
            if stopped || own_end.is_some_and(|end| end <= now) {
                break;
            }
        }
        self.finish().await;
    }

    async fn announce(&self) {
        let start = SamplingStart {
            life: self.job.life,
            method: PeakMethod::V2Reset,
            tick_ns: nanos(self.job.sampling.tick),
            charge_slack: Bytes::from_kib(504),
            unreclaimable_is_range: false,
            spikes_told: false,
        };
        self.send(self.clock.now(), What::Sampling(start)).await;
    }

    async fn send(&self, at: Moment, what: What) {
        // Where nobody listens any more, the run is over.
        let _ = self.events.send(Event { at, what }).await;
    }

    /// Reads what fell due, but for gaps.
    async fn read_until(&mut self, until: Moment, ends: &mut Moment) {
        let Some(life) = self.world.life(self.job.life) else {
            return self.read_empty(until, ends).await;
        };
        while self.next_tick <= until {
            if self.rng.random_range(0..4000) == 0 {
                self.missed += self.rng.random_range(1..250);
                self.next_tick = self.next_tick
                    + self.job.sampling.tick * u32::try_from(self.missed).unwrap_or(1);
                continue;
            }
            let at = self.next_tick;
            self.next_tick = at + self.job.sampling.tick;
            let limit = self.job.limit.bytes();
            let level = life.level(at, limit);
            // The kernel keeps the highest level since the last reading.
            let mut peak = level.max(self.last.1);
            let mut between = self.last.0 + Duration::from_millis(1);
            while between < at {
                peak = peak.max(life.level(between, limit));
                between = between + Duration::from_millis(1);
            }
            self.tick(Tick { at, usage: level, peak });
            if !self.exec_seen && at >= life.begun + EXEC_AFTER {
                self.exec_seen = true;
                self.close(at).await;
                let before_exec = Bytes::from_mib(4);
                self.send(at, What::Exec { life: self.job.life, before_exec }).await;
                // That tick is mixed, and so belongs to what was before.
                self.sampled.peak = Bytes::ZERO;
            }
            self.end_window(at, ends).await;
        }
    }

    /// Reads while nothing is there yet.
    async fn read_empty(&mut self, until: Moment, ends: &mut Moment) {
        while self.next_tick <= until {
            let at = self.next_tick;
            self.next_tick = at + self.job.sampling.tick;
            self.tick(Tick { at, usage: Bytes::ZERO, peak: Bytes::ZERO });
            self.end_window(at, ends).await;
        }
    }

    fn tick(&mut self, tick: Tick) {
        let missed = std::mem::take(&mut self.missed);
        self.window.tick(&tick, missed);
        self.ticks.push(tick);
        self.last = (tick.at, tick.usage);
        self.sampled.ticks += 1;
        self.sampled.missed += missed;
        self.sampled.peak = self.sampled.peak.max(tick.peak);
        if self.sampled.ticks.is_multiple_of(10)
            && !self.world.truth().killed.contains(&self.job.life)
        {
            self.parts();
        }
    }

    fn parts(&mut self) {
        let usage = self.last.1;
        let cache = CACHE.min(usage);
        let parts = Parts { anon: usage - cache, cache, ..Parts::default() };
        self.window.parts(parts, usage);
        // A cgroup that is gone can't be asked any more, so some samplers never see a kill.
        let sees = self.job.life.0.is_multiple_of(2);
        if sees && self.world.truth().killed.contains(&self.job.life) {
            self.window.limits(LimitCounts { limit_hits: 9, oom_kills: 1 });
            self.kill_seen = true;
        }
    }

    async fn end_window(&mut self, at: Moment, ends: &mut Moment) {
        if at < *ends {
            return;
        }
        self.close(at).await;
        while *ends <= at {
            *ends = *ends + self.job.sampling.window;
        }
    }

    async fn close(&mut self, at: Moment) {
        let seen_before = self.kill_seen;
        self.parts();
        if self.kill_seen && !seen_before {
            let (life, evidence) = (self.job.life, Evidence::Events);
            self.send(at, What::OomKill(OomKill { life, evidence, count: Some(1) })).await;
        }
        if let Some(window) = self.window.close(at) {
            self.send(at, What::Memory(window)).await;
        }
        if !self.ticks.is_empty() {
            let block = TickBlock::pack(self.job.life, &self.ticks);
            self.ticks.clear();
            self.send(at, What::Ticks(block)).await;
        }
    }

    async fn finish(mut self) {
        let now = self.clock.now();
        self.close(now).await;
        let report = SamplerReport {
            life: self.job.life,
            ticks: self.sampled.ticks,
            missed_ticks: self.sampled.missed,
            lateness_us_p50: 40.0,
            lateness_us_p99: 90.0,
            scheduling: SchedulingClass::Fifo,
            cpu_ns: 1_000_000,
            wall_ns: nanos(now.since(self.began)),
        };
        self.world.truth().sampled.insert(self.job.life, self.sampled);
        self.send(now, What::SamplerDone(report)).await;
    }
}
