//! The sampler's thread: wakes, reads, sums up, sends.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::Sender;

use super::exec::ExecWatch;
use super::outbox::Outbox;
use super::pace::{Pace, sharpen_this_thread, sleep_until, thread_cpu_ns};
use super::window::WindowBuilder;
use super::{Error, SamplerJob};
use crate::cgroup::{
    LimitCounts, LimitReader, Parts, PartsReader, PeakSource, Reading, TickReader, Version, is_gone,
};
use crate::clock::{Clock, Moment, nanos};
use crate::event::{
    Event, Evidence, OomKill, PeakMethod, SamplerReport, SamplingStart, SchedulingClass, Tick,
    TickBlock, What,
};
use crate::tripwire;
use crate::units::Bytes;

/// How often the parts of memory are read while the level stands still.
const PARTS_EVERY: Duration = Duration::from_millis(10);

/// How often the limit's counters are read. On v1 they go with the container, 16 ms after a kill at
/// the earliest.
const LIMITS_EVERY: Duration = Duration::from_millis(4);

/// A move of the level, or a peak above it, at which the parts are read at once.
const PARTS_ON_MOVE: Bytes = Bytes::from_mib(1);

/// So near to the limit the kernel may drop page cache to make room, at a level that stands still:
/// there the parts are read at every tick.
const NEAR_LIMIT: Bytes = Bytes::from_mib(2);

/// Pages that the kernel charges to a CPU ahead of use, less the one in use:
/// `MEMCG_CHARGE_BATCH` − 1 in `mm/memcontrol.c`.
const CHARGED_AHEAD: Bytes = Bytes::from_kib(63 * 4);

/// What the thread reads.
struct Files {
    ticks: TickReader,
    parts: PartsReader,
    /// The parts of the container's own cgroup, while it is there. A parent's statistics may be
    /// seconds behind even when much has changed (seen on v1, Linux 6.18: a child whose changes
    /// wait to be summed up does not always announce them to its parents); a cgroup's own are not.
    leaf_parts: Option<PartsReader>,
}

/// Counters of the limit: on v1 the container's own, which come and go with it.
struct LimitWatch {
    version: Version,
    reader: Option<LimitReader>,
    kills: u64,
}

/// A sampler's work and state.
pub(super) struct Work {
    job: SamplerJob,
    clock: Clock,
    stop: Arc<AtomicBool>,
    files: Option<Files>,
    limits: LimitWatch,
    exec: Option<ExecWatch>,
    outbox: Outbox,
    window: WindowBuilder,
    ticks_of_window: Vec<Tick>,
    lateness_us: hdrhistogram::Histogram<u64>,
    ticks: u64,
    missed: u64,
    /// The charged peak before the target's own program ran.
    before_exec: Bytes,
    last: Reading,
    parts_at: Moment,
    parts_usage: Bytes,
    limits_at: Moment,
}

impl Work {
    /// Opens what can be opened before the container starts.
    pub(super) fn new(
        job: SamplerJob,
        clock: Clock,
        events: Sender<Event>,
        stop: Arc<AtomicBool>,
    ) -> Result<Self, Error> {
        let own = job.place.resets.last().cloned();
        let files = own
            .map(|path| open_files(&job).map_err(|source| Error::Open { path, source }))
            .transpose()?;
        let now = clock.now();
        let mut work = Self {
            limits: LimitWatch { version: job.place.version, reader: None, kills: 0 },
            exec: (!runs_already(&job)).then(|| ExecWatch::new(&job.place.leaf)),
            outbox: Outbox::new(events),
            window: WindowBuilder::new(job.life, now),
            ticks_of_window: Vec::new(),
            lateness_us: hdrhistogram::Histogram::new_with_max(60_000_000, 2)
                .expect("2 digits up to a minute are within bounds"),
            ticks: 0,
            missed: 0,
            before_exec: Bytes::ZERO,
            last: Reading { usage: Bytes::ZERO, peak: Bytes::ZERO },
            parts_at: now,
            parts_usage: Bytes::ZERO,
            limits_at: Moment::START,
            files,
            job,
            clock,
            stop,
        };
        if work.files.is_some() {
            work.announce();
        }
        Ok(work)
    }

    /// Samples until told to stop.
    pub(super) fn run(mut self) {
        let scheduling = sharpen_this_thread();
        let (began, cpu_before) = (self.clock.now(), thread_cpu_ns());
        self.wait_for_files();
        let first = self.clock.now();
        let mut pace = Pace::new(first, self.job.sampling.tick);
        let window = self.job.sampling.window;
        let mut window_ends = first.floor_to(window) + window;
        let anchor = self.clock.anchor();
        while !self.stop.load(Ordering::Acquire) && self.files.is_some() {
            sleep_until(&self.clock, anchor, pace.next_due());
            let due = pace.wake(self.clock.now());
            let lateness_us = nanos(due.lateness) / 1000;
            self.lateness_us.saturating_record(lateness_us);
            self.missed += due.missed;
            match self.tick(due.missed) {
                Ok(at) if at >= window_ends => {
                    self.close_window(at);
                    while window_ends <= at {
                        window_ends = window_ends + window;
                    }
                }
                Ok(_) => {}
                Err(_) => self.files = None,
            }
        }
        self.finish(scheduling, cpu_before, began);
    }

    /// Without cgroups of our own, the container's own must appear first.
    fn wait_for_files(&mut self) {
        while self.files.is_none() && !self.stop.load(Ordering::Acquire) {
            match open_files(&self.job) {
                Ok(files) => {
                    self.files = Some(files);
                    self.announce();
                }
                Err(_) => std::thread::sleep(self.job.sampling.tick),
            }
        }
        self.window = WindowBuilder::new(self.job.life, self.clock.now());
    }

    fn announce(&mut self) {
        let Some(files) = &self.files else { return };
        let method = match (files.ticks.source(), self.job.place.version) {
            (PeakSource::Reset, Version::V1) => PeakMethod::V1Reset,
            (PeakSource::Reset, Version::V2) => PeakMethod::V2Reset,
            (PeakSource::Lifetime, _) => PeakMethod::Lifetime,
            (PeakSource::Sampled, _) => PeakMethod::Sampled,
        };
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let start = SamplingStart {
            life: self.job.life,
            method,
            tick_ns: nanos(self.job.sampling.tick),
            charge_slack: Bytes::new(CHARGED_AHEAD.get() * cpus as u64),
            unreclaimable_is_range: self.job.place.version == Version::V1,
            spikes_told: false,
        };
        self.send(What::Sampling(start));
    }

    fn send(&mut self, what: What) {
        self.outbox.send(Event { at: self.clock.now(), what });
    }

    /// Reads everything that is due at one tick. Gives the time at which the peak was read.
    fn tick(&mut self, missed: u64) -> io::Result<Moment> {
        let Some(files) = &mut self.files else {
            return Ok(self.clock.now());
        };
        let reading = files.ticks.read()?;
        tripwire::pass("sampler");
        let at = self.clock.now();
        self.last = reading;
        self.ticks += 1;
        let tick = Tick { at, usage: reading.usage, peak: reading.peak };
        self.window.tick(&tick, missed);
        self.ticks_of_window.push(tick);
        let moved = self.parts_usage.get().abs_diff(reading.usage.get()) >= PARTS_ON_MOVE.get()
            || reading.peak - self.parts_usage >= PARTS_ON_MOVE;
        let at_limit =
            self.job.limit.bytes().is_some_and(|limit| limit - reading.peak <= NEAR_LIMIT);
        if moved || at_limit || at.since(self.parts_at) >= PARTS_EVERY {
            self.read_parts(at)?;
        }
        if at.since(self.limits_at) >= LIMITS_EVERY {
            self.limits_at = at;
            self.read_limits();
        }
        self.watch_exec(at, reading.peak);
        Ok(at)
    }

    fn read_parts(&mut self, at: Moment) -> io::Result<()> {
        let Some(files) = &mut self.files else { return Ok(()) };
        let parts = files.read_parts(&self.job)?;
        self.window.parts(parts, self.last.usage);
        self.parts_at = at;
        self.parts_usage = self.last.usage;
        Ok(())
    }

    fn read_limits(&mut self) {
        let Some(counts) = self.limits.read(&self.job) else {
            return;
        };
        self.window.limits(counts);
        if counts.oom_kills > self.limits.kills {
            self.limits.kills = counts.oom_kills;
            let (life, evidence) = (self.job.life, Evidence::Events);
            self.send(What::OomKill(OomKill { life, evidence, count: Some(counts.oom_kills) }));
        }
    }

    /// Tells the runtime's share from the target's: the window is cut where the target's own
    /// program is seen first. That tick is mixed, so it still belongs to the part before.
    fn watch_exec(&mut self, at: Moment, peak: Bytes) {
        let Some(watch) = &self.exec else { return };
        if !watch.target_runs() {
            self.before_exec = self.before_exec.max(peak);
            return;
        }
        self.exec = None;
        self.close_window(at);
        let (life, before_exec) = (self.job.life, self.before_exec);
        self.outbox.send(Event { at, what: What::Exec { life, before_exec } });
    }

    fn close_window(&mut self, at: Moment) {
        if at > self.parts_at {
            // A failure here shows at the next tick.
            let _ = self.read_parts(at);
        }
        if let Some(mut window) = self.window.close(at) {
            if window.limit_hits == Some(0) && self.limits.hides_hits() {
                window.limit_hits = None;
            }
            self.outbox.send(Event { at, what: What::Memory(window) });
        }
        if !self.ticks_of_window.is_empty() {
            let block = TickBlock::pack(self.job.life, &self.ticks_of_window);
            self.ticks_of_window.clear();
            self.outbox.send(Event { at, what: What::Ticks(block) });
        }
    }

    fn finish(mut self, scheduling: SchedulingClass, cpu_before: u64, began: Moment) {
        self.read_limits();
        let now = self.clock.now();
        self.close_window(now);
        let percentile = |percent| self.lateness_us.value_at_percentile(percent);
        #[expect(clippy::cast_precision_loss, reason = "lateness is far below 2^53 µs")]
        let report = SamplerReport {
            life: self.job.life,
            ticks: self.ticks,
            missed_ticks: self.missed,
            lateness_us_p50: percentile(50.0) as f64,
            lateness_us_p99: percentile(99.0) as f64,
            scheduling,
            cpu_ns: thread_cpu_ns() - cpu_before,
            wall_ns: nanos(now.since(began)),
        };
        self.send(What::SamplerDone(report));
        // Dropped raw ticks are of no account once the run is over: windows hold every peak.
        let _ = self.outbox.finish();
    }
}

impl Files {
    /// Reads the parts: the container's own while it is there, else those of the cgroup that the
    /// ticks are read from.
    fn read_parts(&mut self, job: &SamplerJob) -> io::Result<Parts> {
        if self.leaf_parts.is_none() {
            self.leaf_parts = PartsReader::open(job.place.version, &job.place.leaf).ok();
        }
        if let Some(leaf) = &mut self.leaf_parts {
            match leaf.read() {
                Err(error) if is_gone(&error) => self.leaf_parts = None,
                read => return read,
            }
        }
        self.parts.read()
    }
}

impl LimitWatch {
    fn hides_hits(&self) -> bool {
        self.reader.as_ref().is_some_and(LimitReader::hides_hits)
    }

    /// The counters now; none while the container's own cgroup is not there.
    fn read(&mut self, job: &SamplerJob) -> Option<LimitCounts> {
        if self.reader.is_none() {
            let own = job.place.resets.last().filter(|_| self.version == Version::V2);
            let dir = own.unwrap_or(&job.place.leaf);
            self.reader = LimitReader::open(self.version, dir).ok();
        }
        match self.reader.as_ref()?.read() {
            Ok(counts) => Some(counts),
            Err(error) => {
                if is_gone(&error) {
                    self.reader = None;
                }
                None
            }
        }
    }
}

/// Whether the container was there before us: then nothing of it can be seen to begin.
fn runs_already(job: &SamplerJob) -> bool {
    job.place.resets.is_empty() && job.place.leaf.exists()
}

/// Opens what is read at ticks: our own nested cgroups where there are some, else the container's.
fn open_files(job: &SamplerJob) -> io::Result<Files> {
    let place = &job.place;
    let nested: Vec<&Path> = if place.resets.is_empty() {
        vec![place.leaf.as_path()]
    } else {
        place.resets.iter().map(std::path::PathBuf::as_path).collect()
    };
    let inner = nested.last().copied().unwrap_or(&place.leaf);
    let parts = PartsReader::open(place.version, inner)?;
    let ticks = TickReader::open(place.version, &nested, job.may_reset)?;
    Ok(Files { ticks, parts, leaf_parts: None })
}
