//! Docker's own stats, where nothing better can be had: a reading a second, which sees no spike.

use std::time::Duration;

use bollard::models::ContainerStatsResponse;
use bollard::query_parameters::StatsOptionsBuilder;
use futures_util::StreamExt;
use tokio::sync::mpsc::Sender;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::Engine;
use crate::clock::{Clock, Moment, nanos};
use crate::event::{
    Band, Event, LifeId, MemoryWindow, PeakMethod, SamplerReport, SamplingStart, SchedulingClass,
    Vitals, What,
};
use crate::units::Bytes;

/// Time between two readings, as the engine takes them.
const EVERY: Duration = Duration::from_secs(1);

/// Follows the stats of one container.
#[derive(Debug)]
pub struct Stats {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Stats {
    pub(in super::super) fn follow(
        engine: &Engine,
        id: &str,
        life: LifeId,
        clock: Clock,
        events: Sender<Event>,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        let follower = Follower { life, clock, events, before: None, readings: 0 };
        let task = tokio::spawn(follower.run(engine.clone(), id.to_owned(), stopped));
        Self { stop, task }
    }

    /// Stops, after an account of what was read.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        // It holds nothing that could be lost: an error means that it had ended.
        let _ = self.task.await;
    }
}

struct Follower {
    life: LifeId,
    clock: Clock,
    events: Sender<Event>,
    before: Option<Moment>,
    readings: u64,
}

impl Follower {
    async fn run(mut self, engine: Engine, id: String, mut stopped: oneshot::Receiver<()>) {
        let began = self.clock.now();
        self.tell(What::Sampling(SamplingStart {
            life: self.life,
            method: PeakMethod::DockerStats,
            tick_ns: nanos(EVERY),
            charge_slack: Bytes::ZERO,
            unreclaimable_is_range: false,
            spikes_told: false,
        }))
        .await;
        let options = StatsOptionsBuilder::new().stream(true).build();
        let mut stats = std::pin::pin!(engine.api.stats(&id, Some(options)));
        loop {
            let reading = tokio::select! {
                _ = &mut stopped => break,
                reading = stats.next() => reading,
            };
            // An end or an error means that the container is gone.
            let Some(Ok(reading)) = reading else { break };
            self.take(&reading).await;
        }
        self.tell(What::SamplerDone(SamplerReport {
            life: self.life,
            ticks: self.readings,
            missed_ticks: 0,
            lateness_us_p50: 0.0,
            lateness_us_p99: 0.0,
            scheduling: SchedulingClass::Normal,
            cpu_ns: 0,
            wall_ns: nanos(self.clock.now().since(began)),
        }))
        .await;
    }

    async fn take(&mut self, reading: &ContainerStatsResponse) {
        let at = self.clock.now();
        let start = self.before.unwrap_or_else(|| at.before(EVERY));
        if let Some(window) = window(self.life, start, at, reading) {
            self.before = Some(at);
            self.readings += 1;
            self.tell(What::Memory(window)).await;
        }
        let vitals = vitals(self.life, reading);
        self.tell(What::Vitals(Box::new(vitals))).await;
    }

    async fn tell(&self, what: What) {
        // An error means that the run is over.
        let _ = self.events.send(Event { at: self.clock.now(), what }).await;
    }
}

/// A window of one reading. None where the engine has no figures, as for a container that is gone.
///
/// The engine gives `memory.stat` with the kernel's names: of v2 `anon`, `shmem`, `inactive_file`
/// and so on, of v1 `total_rss` and the like.
fn window(
    life: LifeId,
    start: Moment,
    at: Moment,
    reading: &ContainerStatsResponse,
) -> Option<MemoryWindow> {
    let memory = reading.memory_stats.as_ref()?;
    let usage = Bytes::new(memory.usage?);
    let stat = |names: &[&str]| {
        let all = memory.stats.as_ref()?;
        names.iter().find_map(|name| all.get(*name).copied()).map(Bytes::new)
    };
    let zero = Bytes::ZERO;
    let rss = stat(&["anon", "total_rss", "rss"]).unwrap_or(zero);
    let shmem = stat(&["shmem", "total_shmem"]).unwrap_or(zero);
    let file = stat(&["file", "total_cache", "cache"]).unwrap_or(zero);
    let inactive = stat(&["total_inactive_file", "inactive_file"]).unwrap_or(zero);
    let cache = file - shmem;
    let low = (rss + shmem).min(usage);
    Some(MemoryWindow {
        life,
        start,
        ticks: 1,
        missed: 0,
        usage: Band::of(usage),
        peak: usage,
        peak_at: at,
        rss: Band::of(rss),
        cache: Band::of(cache),
        shmem: Band::of(shmem),
        working_set: Band::of(usage - inactive),
        unreclaimable_low: Band::of(low),
        unreclaimable_high: Band::of((usage - cache).max(low)),
        limit_hits: memory.failcnt,
        oom_kills: None,
        kernel: None,
        held_mean: None,
    })
}

fn vitals(life: LifeId, reading: &ContainerStatsResponse) -> Vitals {
    let cpu = reading.cpu_stats.as_ref();
    let tasks = reading.pids_stats.as_ref().and_then(|pids| pids.current).unwrap_or(0);
    Vitals {
        life: Some(life),
        cpu_ns: cpu.and_then(|cpu| cpu.cpu_usage.as_ref()?.total_usage),
        throttled_ns: cpu.and_then(|cpu| cpu.throttling_data.as_ref()?.throttled_time),
        processes: 0,
        // The engine counts tasks, which are threads.
        threads: u32::try_from(tasks).unwrap_or(u32::MAX),
        open_files: None,
        ..Vitals::default()
    }
}
