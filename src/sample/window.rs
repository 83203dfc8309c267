//! Summing ticks up to windows. Pure: no clock, no files.

use crate::cgroup::{LimitCounts, Parts};
use crate::clock::Moment;
use crate::event::{Band, KernelBands, KernelParts, LifeId, MemoryWindow, Tick};
use crate::units::Bytes;

/// Sums up the ticks of one life, window after window.
///
/// Parts of memory are read less often than the level. Of a peak between two readings, what rises
/// above the level at both is taken to be unreclaimable, on top of the greater unreclaimable part
/// of the two. What this can't see is memory for which the kernel dropped page cache in between,
/// at a level that stood still: that happens at the limit only, where the parts are read at every
/// tick.
#[derive(Debug)]
pub struct WindowBuilder {
    life: LifeId,
    start: Moment,
    sums: Sums,
    /// The parts at the reading before, and the level then.
    before: Option<(Parts, Bytes)>,
    peak_since_parts: Bytes,
    limits: Option<LimitCounts>,
}

#[derive(Debug, Default)]
struct Sums {
    ticks: u32,
    missed: u32,
    usage: Option<Band>,
    /// Sums over ticks, in bytes, less what could be dropped.
    held: u64,
    peak: Bytes,
    peak_at: Moment,
    levels: Option<Levels>,
}

#[derive(Debug, Clone, Copy)]
struct Levels {
    rss: Band,
    cache: Band,
    shmem: Band,
    working_set: Band,
    low: Band,
    high: Band,
    kernel: KernelBands,
}

impl Levels {
    fn of(parts: &Parts, usage: Bytes) -> Self {
        let high = parts.unreclaimable_high(usage);
        Self {
            rss: Band::of(parts.anon),
            cache: Band::of(parts.cache),
            shmem: Band::of(parts.shmem),
            working_set: Band::of(usage - parts.inactive_file),
            low: Band::of(parts.unreclaimable_low().min(high)),
            high: Band::of(high),
            kernel: KernelBands {
                total: Band::of(parts.kernel),
                parts: parts.kernel_split.map(|split| KernelParts {
                    slab: split.slab.map(Band::of),
                    slab_reclaimable: Band::of(parts.kernel_reclaimable),
                    sock: split.sock.map(Band::of),
                    page_tables: split.page_tables.map(Band::of),
                }),
            },
        }
    }

    fn merge(&mut self, later: &Self) {
        self.rss.merge(&later.rss);
        self.cache.merge(&later.cache);
        self.shmem.merge(&later.shmem);
        self.working_set.merge(&later.working_set);
        self.low.merge(&later.low);
        self.high.merge(&later.high);
        self.kernel.merge(&later.kernel);
    }
}

impl WindowBuilder {
    /// The first window begins at `start`.
    #[must_use]
    pub fn new(life: LifeId, start: Moment) -> Self {
        Self {
            life,
            start,
            sums: Sums::default(),
            before: None,
            peak_since_parts: Bytes::ZERO,
            limits: None,
        }
    }

    /// Takes in one tick, and the ticks missed before it.
    pub fn tick(&mut self, tick: &Tick, missed: u64) {
        let sums = &mut self.sums;
        sums.ticks += 1;
        sums.missed = sums.missed.saturating_add(u32::try_from(missed).unwrap_or(u32::MAX));
        sums.usage.get_or_insert(Band::of(tick.usage)).add(tick.usage);
        let droppable = self.before.map_or(Bytes::ZERO, |(parts, _)| parts.reclaimable());
        sums.held = sums.held.saturating_add((tick.usage - droppable).get());
        if tick.peak > sums.peak {
            sums.peak = tick.peak;
            sums.peak_at = tick.at;
        }
        self.peak_since_parts = self.peak_since_parts.max(tick.peak);
    }

    /// Takes in a reading of the parts, made right after the tick that had this `usage`.
    pub fn parts(&mut self, parts: Parts, usage: Bytes) {
        let mut levels = Levels::of(&parts, usage);
        // Before the first reading nothing is known: it is taken to have been the same.
        let (before, usage_before) = self.before.unwrap_or((parts, usage));
        let fixed = before.unreclaimable_high(usage_before).max(levels.high.max);
        let rise = self.peak_since_parts - usage.max(usage_before);
        levels.high.max = fixed + rise;
        match &mut self.sums.levels {
            Some(sum) => sum.merge(&levels),
            None => self.sums.levels = Some(levels),
        }
        self.before = Some((parts, usage));
        self.peak_since_parts = usage;
    }

    /// Takes in a reading of the limit's counters.
    pub const fn limits(&mut self, counts: LimitCounts) {
        self.limits = Some(counts);
    }

    /// Ends the window at `end` and begins the next; none where nothing was read in it.
    pub fn close(&mut self, end: Moment) -> Option<MemoryWindow> {
        let sums = std::mem::take(&mut self.sums);
        let start = std::mem::replace(&mut self.start, end);
        let usage = sums.usage?;
        // Without a reading of the parts, all that is charged may be unreclaimable.
        let levels = sums.levels.unwrap_or_else(|| {
            let mut levels = Levels::of(&self.before.unwrap_or_default().0, usage.last);
            levels.high = Band { max: sums.peak, ..usage };
            levels
        });
        Some(MemoryWindow {
            life: self.life,
            start,
            ticks: sums.ticks,
            missed: sums.missed,
            usage,
            peak: sums.peak,
            peak_at: sums.peak_at,
            rss: levels.rss,
            cache: levels.cache,
            shmem: levels.shmem,
            working_set: levels.working_set,
            unreclaimable_low: levels.low,
            unreclaimable_high: levels.high,
            limit_hits: self.limits.map(|counts| counts.limit_hits),
            oom_kills: self.limits.map(|counts| counts.oom_kills),
            kernel: Some(levels.kernel),
            held_mean: sums.held.checked_div(u64::from(sums.ticks)).map(Bytes::new),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1024 * 1024;

    fn tick(ms: u64, usage: u64, peak: u64) -> Tick {
        let (usage, peak) = (Bytes::from_mib(usage), Bytes::from_mib(peak));
        Tick { at: Moment::from_millis(ms), usage, peak }
    }

    fn parts(anon: u64, cache: u64) -> Parts {
        Parts { anon: Bytes::from_mib(anon), cache: Bytes::from_mib(cache), ..Parts::default() }
    }

    #[test]
    fn a_spike_over_steady_page_cache_is_bounded_by_its_height_less_the_cache() {
        let mut builder = WindowBuilder::new(LifeId(0), Moment::START);
        builder.tick(&tick(1, 60, 60), 0);
        builder.parts(parts(10, 50), Bytes::from_mib(60));
        builder.tick(&tick(2, 60, 90), 0);
        builder.parts(parts(10, 50), Bytes::from_mib(60));
        let window = builder.close(Moment::from_millis(100)).unwrap();
        assert_eq!(window.peak, Bytes::from_mib(90));
        assert_eq!(window.peak_at, Moment::from_millis(2));
        assert_eq!(window.unreclaimable_low.max, Bytes::from_mib(10));
        assert_eq!(window.unreclaimable_high.max, Bytes::from_mib(40));
        assert_eq!(window.unreclaimable_high.last, Bytes::from_mib(10));
    }

    #[test]
    fn the_mean_is_over_ticks_and_without_page_cache() {
        let mut builder = WindowBuilder::new(LifeId(0), Moment::START);
        for (ms, usage) in [(1, 60), (2, 60), (3, 80), (4, 64)] {
            builder.tick(&tick(ms, usage, usage), 0);
            builder.parts(parts(10, 20), Bytes::from_mib(usage));
        }
        builder.close(Moment::from_millis(50));
        for usage in [70, 90] {
            builder.tick(&tick(60, usage, usage), 0);
        }
        let window = builder.close(Moment::from_millis(100)).unwrap();
        assert_eq!(window.held_mean, Some(Bytes::from_mib(60)));
    }

    #[test]
    fn page_cache_that_comes_and_goes_is_no_unreclaimable_peak() {
        let mut builder = WindowBuilder::new(LifeId(0), Moment::START);
        for (ms, cache) in [(1, 0), (2, 5), (3, 62), (4, 62), (5, 0)] {
            builder.tick(&tick(ms, 2 + cache, 2 + cache), 0);
            builder.parts(parts(2, cache), Bytes::from_mib(2 + cache));
        }
        let window = builder.close(Moment::from_millis(50)).unwrap();
        assert_eq!(window.peak, Bytes::from_mib(64));
        assert_eq!(window.unreclaimable_high.max, Bytes::from_mib(2));
    }

    #[test]
    fn an_empty_window_is_none() {
        let mut builder = WindowBuilder::new(LifeId(0), Moment::START);
        assert_eq!(builder.close(Moment::from_millis(100)), None);
    }

    proptest! {
        #[test]
        fn bounds_hold_for_any_ticks(rows in prop::collection::vec((0..500_u64, 0..500_u64, 0..500_u64, 0..500_u64), 1..50)) {
            let mut builder = WindowBuilder::new(LifeId(0), Moment::START);
            for (n, (usage, rise, anon, cache)) in rows.iter().enumerate() {
                builder.tick(&tick(n as u64, *usage, usage + rise), 0);
                builder.parts(parts(*anon, *cache), Bytes::from_mib(*usage));
            }
            let window = builder.close(Moment::from_millis(100)).unwrap();
            prop_assert!(window.usage.min <= window.usage.last && window.usage.last <= window.usage.max);
            prop_assert!(window.peak >= window.usage.max);
            prop_assert!(window.unreclaimable_low.max <= window.unreclaimable_high.max);
            prop_assert!(window.unreclaimable_high.max <= window.peak);
            let top = rows.iter().map(|row| row.0 + row.1).max().unwrap();
            prop_assert_eq!(window.peak.get(), top * MIB);
        }
    }
}
