//! Slow measures of the target, about once a second: CPU, pressure, I/O, faults, sockets,
//! processes.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc::Sender;
use tokio::sync::oneshot;

use super::Error;
use super::files::Files;
use super::processes::{self, Walk};
use super::program;
use super::sockets::SocketWatch;
use crate::cgroup::parse;
use crate::clock::Clock;
use crate::event::{BlockIo, Event, IoSource, LifeId, TaskIo, Vitals, What};
use crate::units::Bytes;

/// Time between two measures.
const EVERY: Duration = Duration::from_secs(1);

/// What is read of a container.
#[derive(Debug)]
pub struct VitalsJob {
    /// The life that it is.
    pub life: LifeId,
    /// The directories of its own cgroup, one a hierarchy.
    pub dirs: Vec<PathBuf>,
}

/// Measures a container's vitals until stopped.
#[derive(Debug)]
pub struct VitalsSampler {
    asks: SyncSender<Ask>,
    thread: JoinHandle<()>,
}

/// What the thread is asked out of turn.
#[derive(Debug)]
enum Ask {
    /// The target is ready: measure, and see what program it is.
    Ready,
    /// Measure, and say when it is done.
    Now(oneshot::Sender<()>),
    Stop,
}

impl VitalsSampler {
    /// Starts measuring.
    ///
    /// # Errors
    /// When no thread can be made.
    pub fn start(job: VitalsJob, clock: Clock, events: Sender<Event>) -> Result<Self, Error> {
        let (asks, asked) = sync_channel(4);
        let thread = std::thread::Builder::new()
            .name("vitals".to_owned())
            .spawn(move || Work::new(job, clock, events).run(&asked))
            .map_err(Error::Thread)?;
        Ok(Self { asks, thread })
    }

    /// Tells that the target is ready: it is measured now, and its program is looked at.
    pub fn ready(&self) {
        // With asks in the queue there is a measure about to be taken anyway.
        let _ = self.asks.try_send(Ask::Ready);
    }

    /// Takes a measure now. What is given ends (well or badly) when it is taken.
    #[must_use]
    pub fn measure(&self) -> oneshot::Receiver<()> {
        let (done, wait) = oneshot::channel();
        let _ = self.asks.try_send(Ask::Now(done));
        wait
    }

    /// Stops.
    ///
    /// # Errors
    /// When the thread had panicked.
    pub fn stop(self) -> Result<(), Error> {
        let _ = self.asks.send(Ask::Stop);
        self.thread.join().map_err(|_| Error::Panicked)
    }
}

struct Work {
    life: LifeId,
    clock: Clock,
    events: Sender<Event>,
    probe: Probe,
}

impl Work {
    fn new(job: VitalsJob, clock: Clock, events: Sender<Event>) -> Self {
        let VitalsJob { life, dirs } = job;
        Self { life, clock, events, probe: Probe::new(dirs) }
    }

    fn run(mut self, asked: &Receiver<Ask>) {
        // When the session is busy a measure is left out: the next is a second away.
        self.measure(|events, event| drop(events.try_send(event)));
        loop {
            let sure = |events: &Sender<Event>, event| drop(events.blocking_send(event));
            match asked.recv_timeout(EVERY) {
                Err(RecvTimeoutError::Timeout) => {
                    self.measure(|events, event| drop(events.try_send(event)));
                }
                Ok(Ask::Ready) => {
                    self.measure(sure);
                    self.look_at_program();
                }
                Ok(Ask::Now(done)) => {
                    self.measure(sure);
                    let _ = done.send(());
                }
                Ok(Ask::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn measure(&mut self, send: impl Fn(&Sender<Event>, Event)) {
        crate::tripwire::pass("vitals");
        let Some(vitals) = self.probe.measure(self.life) else { return };
        let what = What::Vitals(Box::new(vitals));
        send(&self.events, Event { at: self.clock.now(), what });
    }

    fn look_at_program(&self) {
        if let Some(facts) = self.probe.largest.and_then(|pid| program::look_at(self.life, pid)) {
            let event = Event { at: self.clock.now(), what: What::Program(facts) };
            let _ = self.events.blocking_send(event);
        }
    }
}

/// What is kept between two measures.
struct Probe {
    files: Files,
    sockets: SocketWatch,
    /// The process with the largest RSS at the last measure.
    largest: Option<i32>,
    /// The processes' I/O as far as it was ever known: one that ended is missing until its parent
    /// has waited for it.
    task_io: TaskIo,
}

impl Probe {
    fn new(dirs: Vec<PathBuf>) -> Self {
        Self {
            files: Files::new(dirs),
            sockets: SocketWatch::default(),
            largest: None,
            task_io: TaskIo::default(),
        }
    }

    /// One measure; none once the container is gone.
    fn measure(&mut self, life: LifeId) -> Option<Vitals> {
        let pids = processes::pids(&self.files.whole("cgroup.procs")?);
        if pids.is_empty() {
            return None;
        }
        let walk = processes::walk(&pids);
        self.largest = walk.largest.first().map(|row| row.pid);
        let mut vitals = Vitals {
            life: Some(life),
            processes: u32::try_from(pids.len()).unwrap_or(u32::MAX),
            sockets: self.sockets.count(&pids),
            ..Vitals::default()
        };
        self.cpu(&mut vitals);
        self.memory(&mut vitals);
        self.pressure(&mut vitals);
        vitals.block = self.block();
        vitals.halted = walk.stopped || self.is_frozen();
        self.processes(&mut vitals, walk);
        if processes::are_many(&pids) {
            let tasks = self.files.find("pids.current", parse::number).unwrap_or(0);
            vitals.threads = vitals.threads.max(u32::try_from(tasks).unwrap_or(u32::MAX));
        }
        Some(vitals)
    }

    /// Whether the cgroup, or one above it, is frozen.
    fn is_frozen(&mut self) -> bool {
        let files = &mut self.files;
        let v1 = files.find("freezer.state", |text| Some(text.starts_with(b"FROZEN")));
        let mut v2 = || files.find("cgroup.events", |text| parse::key(text, b"frozen"));
        v1.unwrap_or_else(|| v2() == Some(1))
    }

    fn processes(&mut self, vitals: &mut Vitals, walk: Walk) {
        vitals.threads = walk.threads;
        vitals.open_files = walk.open_files;
        vitals.task_io = walk.io.map(|now| {
            let known = &mut self.task_io;
            known.read_bytes = known.read_bytes.max(now.read_bytes);
            known.written_bytes = known.written_bytes.max(now.written_bytes);
            *known
        });
        vitals.others = (walk.others.count > 0).then_some(walk.others);
        vitals.largest = walk.largest;
    }

    /// v1 has a hierarchy of its own for CPU time, with nanoseconds; v2 tells it in `cpu.stat`. On
    /// a hybrid host both have a `cpu.stat`, with different keys.
    fn cpu(&mut self, vitals: &mut Vitals) {
        let files = &mut self.files;
        let time = files.find("cpuacct.usage", parse::number);
        vitals.cpu_ns = time.or_else(|| files.find("cpu.stat", |text| key_ns(text, b"usage_usec")));
        // v1 tells user from kernel by whole timer ticks; the unified hierarchy fits the two to the
        // time that was measured.
        let user = files.find("cpu.stat", |text| key_ns(text, b"user_usec"));
        vitals.cpu_user_ns = user.or_else(|| files.find("cpuacct.usage_user", parse::number));
        let system = files.find("cpu.stat", |text| key_ns(text, b"system_usec"));
        vitals.cpu_system_ns = system.or_else(|| files.find("cpuacct.usage_sys", parse::number));
        vitals.cpu_per_core_ns = files.find("cpuacct.usage_percpu", parse::numbers);
        vitals.throttled_ns = files.find("cpu.stat", |text| {
            key_ns(text, b"throttled_usec").or_else(|| parse::key(text, b"throttled_time"))
        });
        vitals.throttled_periods = files.find("cpu.stat", |text| parse::key(text, b"nr_throttled"));
    }

    fn memory(&mut self, vitals: &mut Vitals) {
        let files = &mut self.files;
        let faults = files.find("memory.stat", |text| Some(parse::faults(text)));
        let faults = faults.unwrap_or_default();
        vitals.page_faults = faults.all;
        vitals.major_faults = faults.major;
        vitals.refaults = faults.refaults;
        vitals.cache = faults.cache;
        vitals.high_events = files.find("memory.events", |text| parse::key(text, b"high"));
        let hits = files.find("memory.events", |text| parse::key(text, b"max"));
        vitals.max_events = hits.or_else(|| {
            let memory = files.find("memory.failcnt", parse::number)?;
            let both = files.find("memory.memsw.failcnt", parse::number).unwrap_or(0);
            // With swap off both limits are one, and the one that counts swap is met first; its
            // failures are not counted any more (seen on Linux 6.18). Then nothing is known.
            let hits = memory.saturating_add(both);
            let limit = files.find("memory.limit_in_bytes", parse::number);
            let with_swap = files.find("memory.memsw.limit_in_bytes", parse::number);
            let hidden = with_swap.is_some() && with_swap <= limit;
            (hits > 0 || !hidden).then_some(hits)
        });
        let swap = files.find("memory.swap.current", parse::number).or_else(|| {
            let both = files.find("memory.memsw.usage_in_bytes", parse::number)?;
            let memory = files.find("memory.usage_in_bytes", parse::number)?;
            // Two readings: without swap they differ by what was charged between them. `total_swap`
            // settles it.
            let swapped = files.find("memory.stat", |text| parse::key(text, b"total_swap"));
            Some(swapped.unwrap_or_else(|| both.saturating_sub(memory)))
        });
        vitals.swap = swap.map(Bytes::new);
    }

    fn pressure(&mut self, vitals: &mut Vitals) {
        let files = &mut self.files;
        vitals.psi_some_us = files.find("memory.pressure", parse::psi_some_us);
        vitals.psi_full_us = files.find("memory.pressure", parse::psi_full_us);
        vitals.cpu_psi_us = files.find("cpu.pressure", parse::psi_some_us);
        vitals.io_psi_us = files.find("io.pressure", parse::psi_some_us);
    }

    fn block(&mut self) -> Option<BlockIo> {
        let files = &mut self.files;
        if let Some((bytes, operations)) = files.find("io.stat", |text| Some(parse::io_stat(text)))
        {
            return Some(BlockIo {
                source: IoSource::IoStat,
                read_bytes: bytes.read,
                written_bytes: bytes.written,
                reads: Some(operations.read),
                writes: Some(operations.written),
            });
        }
        let bytes = files.find("blkio.throttle.io_service_bytes", parse::blkio)?;
        let operations = files.find("blkio.throttle.io_serviced", parse::blkio);
        Some(BlockIo {
            source: IoSource::Blkio,
            read_bytes: bytes.read,
            written_bytes: bytes.written,
            reads: operations.map(|row| row.read),
            writes: operations.map(|row| row.written),
        })
    }
}

/// A value in microseconds, in nanoseconds.
fn key_ns(text: &[u8], key: &[u8]) -> Option<u64> {
    parse::key(text, key).map(|us| us.saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn group(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let procs = format!("{}\n", std::process::id());
        fs::write(dir.path().join("cgroup.procs"), procs).unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    fn measure(dirs: &[&tempfile::TempDir]) -> Vitals {
        let dirs = dirs.iter().map(|dir| dir.path().to_owned()).collect();
        Probe::new(dirs).measure(LifeId(1)).unwrap()
    }

    #[test]
    fn measures_this_very_process() {
        let dir = group(&[
            ("cpu.stat", "usage_usec 1500\nuser_usec 900\nnr_throttled 1\nthrottled_usec 20\n"),
            ("memory.pressure", "some avg10=0.00 total=42\nfull avg10=0.00 total=7\n"),
            ("io.stat", "8:0 rbytes=1 wbytes=2 rios=3 wios=4\n"),
            ("memory.events", "low 0\nhigh 5\nmax 6\noom 0\n"),
            ("memory.stat", "file 100\nshmem 40\npgfault 9\npgmajfault 1\n"),
            ("memory.swap.current", "0\n"),
        ]);
        let vitals = measure(&[&dir]);
        assert_eq!((vitals.cpu_ns, vitals.cpu_user_ns), (Some(1_500_000), Some(900_000)));
        assert_eq!((vitals.throttled_ns, vitals.throttled_periods), (Some(20_000), Some(1)));
        assert_eq!((vitals.psi_some_us, vitals.psi_full_us), (Some(42), Some(7)));
        assert_eq!((vitals.high_events, vitals.max_events), (Some(5), Some(6)));
        assert_eq!((vitals.page_faults, vitals.major_faults), (Some(9), Some(1)));
        assert_eq!((vitals.cache, vitals.swap), (Some(Bytes::new(60)), Some(Bytes::ZERO)));
        assert_eq!(vitals.block.unwrap().writes, Some(4));
        assert_eq!(vitals.processes, 1);
        assert!(vitals.threads >= 2, "the test's own thread and the main one");
        assert!(vitals.open_files.unwrap() >= 3);
        assert!(vitals.largest[0].rss > Bytes::from_kib(500), "{:?}", vitals.largest);
        assert_eq!(vitals.others, None);
        assert_eq!(vitals.sockets, None, "the namespace is this test's own");
    }

    #[test]
    fn what_a_kernel_does_not_tell_is_none() {
        let vitals = measure(&[&group(&[])]);
        assert_eq!(vitals.cpu_ns, None);
        assert_eq!((vitals.cpu_psi_us, vitals.io_psi_us, vitals.psi_full_us), (None, None, None));
        assert_eq!((vitals.cpu_per_core_ns, vitals.block), (None, None));
        assert_eq!((vitals.page_faults, vitals.high_events, vitals.swap), (None, None, None));
    }

    #[test]
    fn on_a_hybrid_host_each_value_comes_from_the_hierarchy_that_has_it() {
        let unified = group(&[
            ("cpu.stat", "usage_usec 5\nuser_usec 4\n"),
            ("cpu.pressure", "some avg10=0.00 total=11\n"),
        ]);
        let cpu = group(&[("cpu.stat", "nr_periods 4\nnr_throttled 3\nthrottled_time 99\n")]);
        let account = group(&[
            ("cpuacct.usage", "5000\n"),
            ("cpuacct.usage_user", "0\n"),
            ("cpuacct.usage_sys", "1000\n"),
            ("cpuacct.usage_percpu", "2000 3000 \n"),
        ]);
        let memory = group(&[
            ("memory.failcnt", "16\n"),
            ("memory.memsw.failcnt", "100\n"),
            ("memory.memsw.usage_in_bytes", "500\n"),
            ("memory.usage_in_bytes", "300\n"),
        ]);
        let blkio = group(&[("blkio.throttle.io_service_bytes", "Total 0\n")]);
        let vitals = measure(&[&unified, &cpu, &account, &memory, &blkio]);
        assert_eq!(vitals.cpu_ns, Some(5000));
        assert_eq!((vitals.cpu_user_ns, vitals.cpu_system_ns), (Some(4000), Some(1000)));
        assert_eq!(vitals.cpu_per_core_ns, Some(vec![2000, 3000]));
        assert_eq!((vitals.throttled_ns, vitals.throttled_periods), (Some(99), Some(3)));
        assert_eq!(vitals.cpu_psi_us, Some(11));
        assert_eq!((vitals.high_events, vitals.max_events), (None, Some(116)));
        assert_eq!(vitals.swap, Some(Bytes::new(200)));
        let limit = |name| (name, "500\n");
        let one_limit = group(&[
            limit("memory.limit_in_bytes"),
            limit("memory.memsw.limit_in_bytes"),
            ("memory.failcnt", "0\n"),
        ]);
        assert_eq!(measure(&[&one_limit]).max_events, None, "the kernel may hide them");
        assert_eq!(vitals.block, None, "a kernel that does not count says `Total 0`");
    }

    #[test]
    fn a_container_that_is_gone_has_no_vitals() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Probe::new(vec![dir.path().to_owned()]).measure(LifeId(1)), None);
    }

    #[tokio::test]
    async fn a_measure_out_of_turn_comes_before_its_answer() {
        let dir = group(&[]);
        let (events, mut receiver) = tokio::sync::mpsc::channel(16);
        let job = VitalsJob { life: LifeId(4), dirs: vec![dir.path().to_owned()] };
        let sampler = VitalsSampler::start(job, Clock::start(), events).unwrap();
        sampler.measure().await.unwrap();
        sampler.stop().unwrap();
        let mut seen = Vec::new();
        while let Some(event) = receiver.recv().await {
            seen.push(event.what);
        }
        let vitals = |what: &&What| matches!(what, What::Vitals(_));
        assert_eq!(seen.iter().filter(vitals).count(), 2);
    }
}
