//! What the slow measures come to: by phase, and over the whole run.

use std::collections::BTreeMap;

use super::float;
use super::model::{ProcessPeak, Vital, Written};
use crate::clock::Moment;
use crate::event::{IoSource, LifeId, Sockets, TaskIo, Vitals};
use crate::units::Bytes;

/// Processes that are reported.
const NAMED: usize = 16;

/// Processes that are kept in mind; with more, those with the least RSS are forgotten.
const KEPT: usize = 1024;

/// By how much a counter moved, and over what time.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Moved {
    by: u64,
    ns: u64,
}

impl Moved {
    /// Takes in another's movement.
    pub(super) const fn join(&mut self, other: Self) {
        self.by += other.by;
        self.ns += other.ns;
    }

    pub(super) fn add(&mut self, before: Option<u64>, now: Option<u64>, ns: u64) {
        if let (Some(before), Some(now)) = (before, now)
            && let Some(by) = now.checked_sub(before)
        {
            self.by += by;
            self.ns += ns;
        }
    }

    /// Movement per time, where both are in nanoseconds.
    pub(super) fn share(&self) -> Option<f64> {
        (self.ns > 0).then(|| float(self.by) / float(self.ns))
    }

    fn count(&self) -> Option<u64> {
        (self.ns > 0).then_some(self.by)
    }

    /// Milliseconds, where the counter is in microseconds.
    fn ms(&self) -> Option<f64> {
        self.count().map(|us| float(us) / 1e3)
    }
}

/// Sums of one phase.
#[derive(Debug, Default)]
pub(super) struct VitalSums {
    seen: bool,
    cpu: Moved,
    cpu_user: Moved,
    cpu_system: Moved,
    per_core: Vec<Moved>,
    throttled: Moved,
    throttled_periods: Moved,
    psi_some: Moved,
    psi_full: Moved,
    cpu_psi: Moved,
    io_psi: Moved,
    disk: Option<(IoSource, Moved, Moved)>,
    reads: Moved,
    writes: Moved,
    log: Moved,
    page_faults: Moved,
    major_faults: Moved,
    refaults: Moved,
    high_events: Moved,
    max_events: Moved,
    processes_max: u32,
    threads_max: u32,
    open_files_max: Option<u32>,
    sockets_max: Option<BTreeMap<String, u32>>,
    swap_peak: Option<Bytes>,
}

impl VitalSums {
    /// Takes in the levels of a reading.
    pub(super) fn levels(&mut self, now: &Vitals) {
        self.seen = true;
        self.processes_max = self.processes_max.max(now.processes);
        self.threads_max = self.threads_max.max(now.threads);
        self.open_files_max = self.open_files_max.max(now.open_files);
        self.swap_peak = self.swap_peak.max(now.swap);
        if let Some(sockets) = &now.sockets {
            let most = self.sockets_max.get_or_insert_default();
            for (state, count) in by_state(sockets) {
                let slot = most.entry(state.to_owned()).or_default();
                *slot = count.max(*slot);
            }
        }
    }

    /// Takes in what moved between two readings of one life.
    pub(super) fn movement(&mut self, before: &(Moment, Vitals), at: Moment, now: &Vitals) {
        let (then, before) = before;
        let ns = at.as_nanos().saturating_sub(then.as_nanos());
        let add = |sum: &mut Moved, of: fn(&Vitals) -> Option<u64>| {
            sum.add(of(before), of(now), ns);
        };
        add(&mut self.cpu, |row| row.cpu_ns);
        add(&mut self.cpu_user, |row| row.cpu_user_ns);
        add(&mut self.cpu_system, |row| row.cpu_system_ns);
        add(&mut self.throttled, |row| row.throttled_ns);
        add(&mut self.throttled_periods, |row| row.throttled_periods);
        add(&mut self.psi_some, |row| row.psi_some_us);
        add(&mut self.psi_full, |row| row.psi_full_us);
        add(&mut self.cpu_psi, |row| row.cpu_psi_us);
        add(&mut self.io_psi, |row| row.io_psi_us);
        add(&mut self.reads, |row| row.block?.reads);
        add(&mut self.writes, |row| row.block?.writes);
        add(&mut self.log, |row| row.log_bytes);
        add(&mut self.page_faults, |row| row.page_faults);
        add(&mut self.major_faults, |row| row.major_faults);
        add(&mut self.refaults, |row| row.refaults);
        add(&mut self.high_events, |row| row.high_events);
        add(&mut self.max_events, |row| row.max_events);
        if let (Some(before), Some(now)) = (&before.cpu_per_core_ns, &now.cpu_per_core_ns) {
            let cores = before.len().max(now.len());
            self.per_core.resize_with(cores.max(self.per_core.len()), Moved::default);
            for ((sum, before), now) in self.per_core.iter_mut().zip(before).zip(now) {
                sum.add(Some(*before), Some(*now), ns);
            }
        }
        self.disk(before.disk(), now.disk(), ns);
    }

    /// What different files count can't be subtracted nor summed: the first source stays.
    fn disk(
        &mut self,
        before: Option<(IoSource, TaskIo)>,
        now: Option<(IoSource, TaskIo)>,
        ns: u64,
    ) {
        let (Some((source, before)), Some((same, now))) = (before, now) else { return };
        let sums = self.disk.get_or_insert_with(|| (source, Moved::default(), Moved::default()));
        if source == same && source == sums.0 {
            sums.1.add(Some(before.read_bytes), Some(now.read_bytes), ns);
            sums.2.add(Some(before.written_bytes), Some(now.written_bytes), ns);
        }
    }

    pub(super) fn finish(&self) -> Option<Vital> {
        let cores: Vec<f64> = self.per_core.iter().filter_map(Moved::share).collect();
        let disk = self.disk.as_ref();
        self.seen.then(|| Vital {
            cpu_cores: self.cpu.share(),
            cpu_user_cores: self.cpu_user.share(),
            cpu_system_cores: self.cpu_system.share(),
            cpu_per_core: (!cores.is_empty()).then_some(cores),
            throttled_percent: self.throttled.share().map(|share| share * 100.0),
            throttled_periods: self.throttled_periods.count(),
            processes_max: self.processes_max,
            threads_max: self.threads_max,
            open_files_max: self.open_files_max,
            sockets_max: self.sockets_max.clone(),
            psi_some_ms: self.psi_some.ms(),
            psi_full_ms: self.psi_full.ms(),
            cpu_psi_ms: self.cpu_psi.ms(),
            io_psi_ms: self.io_psi.ms(),
            read_bytes: disk.and_then(|row| row.1.count()),
            written_bytes: disk.and_then(|row| row.2.count()),
            io_source: disk.map(|row| row.0),
            reads: self.reads.count(),
            writes: self.writes.count(),
            log_bytes: self.log.count(),
            page_faults: self.page_faults.count(),
            major_faults: self.major_faults.count(),
            refaults: self.refaults.count(),
            high_events: self.high_events.count(),
            max_events: self.max_events.count(),
            swap_peak: self.swap_peak,
        })
    }
}

fn by_state(sockets: &Sockets) -> impl Iterator<Item = (&str, u32)> {
    let tcp = sockets.tcp.iter().map(|(state, count)| (state.as_str(), *count));
    let rest = [("udp", sockets.udp), ("unix", sockets.unix)];
    tcp.chain(rest.into_iter().filter_map(|(kind, count)| Some((kind, count?))))
}

/// The main container's lives as a whole: processes, and what was written.
#[derive(Debug, Default)]
pub(super) struct Whole {
    looked: bool,
    processes: BTreeMap<(LifeId, i32), ProcessPeak>,
    log: BTreeMap<LifeId, u64>,
    layer: Option<u64>,
    disk: BTreeMap<LifeId, (IoSource, u64)>,
}

impl Whole {
    pub(super) fn vitals(&mut self, life: LifeId, at: Moment, now: &Vitals) {
        self.looked |= !now.largest.is_empty();
        for row in &now.largest {
            let peak = self.processes.entry((life, row.pid)).or_insert_with(|| ProcessPeak {
                pid: row.pid,
                name: String::new(),
                life: life.0,
                rss_peak: row.rss,
                at,
            });
            peak.name.clone_from(&row.name);
            if row.rss > peak.rss_peak {
                (peak.rss_peak, peak.at) = (row.rss, at);
            }
        }
        if self.processes.len() > KEPT {
            self.forget_small();
        }
        if let Some(bytes) = now.log_bytes {
            self.logged(life, bytes);
        }
        if let Some((source, io)) = now.disk() {
            let row = self.disk.entry(life).or_insert((source, 0));
            if row.0 == source {
                row.1 = row.1.max(io.written_bytes);
            }
        }
    }

    pub(super) fn logged(&mut self, life: LifeId, bytes: u64) {
        let most = self.log.entry(life).or_default();
        *most = bytes.max(*most);
    }

    pub(super) fn layer(&mut self, bytes: u64) {
        *self.layer.get_or_insert(0) += bytes;
    }

    fn forget_small(&mut self) {
        let rows = self.processes.iter();
        let mut sizes: Vec<_> = rows.map(|(key, row)| (row.rss_peak, *key)).collect();
        sizes.sort_unstable();
        for (_, key) in sizes.iter().take(KEPT / 2) {
            self.processes.remove(key);
        }
    }

    pub(super) fn processes(&self) -> Option<Vec<ProcessPeak>> {
        let mut rows: Vec<ProcessPeak> = self.processes.values().cloned().collect();
        rows.sort_by(|a, b| b.rss_peak.cmp(&a.rss_peak).then(a.pid.cmp(&b.pid)));
        rows.truncate(NAMED);
        self.looked.then_some(rows)
    }

    pub(super) fn written(&self) -> Option<Written> {
        let first = self.disk.values().next().map(|row| row.0);
        let counted = self.disk.values().filter(|row| Some(row.0) == first);
        let written = Written {
            log_bytes: (!self.log.is_empty()).then(|| self.log.values().sum()),
            layer_bytes: self.layer,
            disk_bytes: first.map(|_| counted.map(|row| row.1).sum()),
            disk_source: first,
        };
        (written != Written::default()).then_some(written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{BlockIo, ProcessRss};

    fn io(written: u64) -> TaskIo {
        TaskIo { read_bytes: 0, written_bytes: written }
    }

    #[test]
    fn counters_move_and_levels_have_a_maximum() {
        let sockets = |established| {
            let tcp = BTreeMap::from([("established".to_owned(), established)]);
            Some(Sockets { tcp, udp: Some(1), unix: None })
        };
        let before = Vitals {
            page_faults: Some(100),
            cpu_per_core_ns: Some(vec![0, 500_000_000]),
            psi_full_us: Some(7000),
            task_io: Some(io(5)),
            sockets: sockets(9),
            ..Vitals::default()
        };
        let now = Vitals {
            page_faults: Some(130),
            cpu_per_core_ns: Some(vec![1_000_000_000, 600_000_000]),
            psi_full_us: Some(9500),
            task_io: Some(io(4101)),
            sockets: sockets(2),
            ..Vitals::default()
        };
        let mut sums = VitalSums::default();
        sums.levels(&before);
        sums.levels(&now);
        sums.movement(&(Moment::from_millis(1000), before), Moment::from_millis(2000), &now);
        let vital = sums.finish().unwrap();
        assert_eq!(vital.page_faults, Some(30));
        assert_eq!(vital.cpu_per_core, Some(vec![1.0, 0.1]));
        assert_eq!(vital.psi_full_ms, Some(2.5));
        assert_eq!((vital.written_bytes, vital.io_source), (Some(4096), Some(IoSource::Proc)));
        assert_eq!(vital.sockets_max.unwrap()["established"], 9);
        assert_eq!((vital.major_faults, vital.high_events, vital.cpu_psi_ms), (None, None, None));
    }

    #[test]
    fn counts_of_different_files_are_not_mixed() {
        let block = BlockIo {
            source: IoSource::Blkio,
            read_bytes: 0,
            written_bytes: 1 << 40,
            reads: None,
            writes: None,
        };
        let of = |task_io| Vitals { task_io, block: Some(block), ..Vitals::default() };
        let mut sums = VitalSums::default();
        let at = Moment::from_millis;
        sums.movement(&(at(0), of(Some(io(1)))), at(1000), &of(Some(io(3))));
        sums.movement(&(at(1000), of(Some(io(3)))), at(2000), &of(None));
        sums.movement(&(at(2000), of(None)), at(3000), &of(None));
        let vital = VitalSums { seen: true, ..sums }.finish().unwrap();
        assert_eq!((vital.written_bytes, vital.io_source), (Some(2), Some(IoSource::Proc)));
    }

    #[test]
    fn lives_are_summed_and_each_process_has_its_peak() {
        let row = |pid, name: &str, kib| ProcessRss {
            pid,
            name: name.to_owned(),
            rss: Bytes::from_kib(kib),
        };
        let of = |largest, log| Vitals {
            largest,
            log_bytes: Some(log),
            task_io: Some(io(log)),
            ..Vitals::default()
        };
        let mut whole = Whole::default();
        let at = Moment::from_millis;
        whole.vitals(LifeId(1), at(1), &of(vec![row(7, "runc:[2:INIT]", 9), row(8, "b", 5)], 10));
        whole.vitals(LifeId(1), at(2), &of(vec![row(7, "app", 4)], 30));
        whole.logged(LifeId(1), 33);
        whole.vitals(LifeId(2), at(3), &of(vec![row(7, "app", 20)], 4));
        let rows = whole.processes().unwrap();
        let names: Vec<_> = rows.iter().map(|row| (row.life, row.pid, row.name.as_str())).collect();
        assert_eq!(names, [(2, 7, "app"), (1, 7, "app"), (1, 8, "b")]);
        assert_eq!(rows[1].rss_peak, Bytes::from_kib(9));
        let written = whole.written().unwrap();
        assert_eq!((written.log_bytes, written.disk_bytes), (Some(37), Some(34)));
        assert_eq!(Whole::default().processes(), None);
        assert_eq!(Whole::default().written(), None);
    }

    #[test]
    fn a_day_of_short_processes_stays_bounded_and_keeps_the_largest() {
        let mut whole = Whole::default();
        for n in 0..50_000_i32 {
            let rss = Bytes::from_kib(if n == 77 { 9999 } else { 1 });
            let largest = vec![ProcessRss { pid: n, name: "x".to_owned(), rss }];
            let vitals = Vitals { largest, ..Vitals::default() };
            whole.vitals(LifeId(0), Moment::START, &vitals);
            assert!(whole.processes.len() <= KEPT + 1);
        }
        let rows = whole.processes().unwrap();
        assert_eq!((rows.len(), rows[0].pid), (NAMED, 77));
    }
}
