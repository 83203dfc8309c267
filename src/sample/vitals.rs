//! Slow measures of the target, about once a second: CPU, threads, descriptors, pressure.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use procfs::process::Process;
use tokio::sync::mpsc::Sender;

use super::Error;
use crate::cgroup::parse;
use crate::clock::Clock;
use crate::event::{Event, LifeId, Vitals, What};

/// Time between two measures.
const EVERY: Duration = Duration::from_secs(1);

/// Processes that are looked at one by one; the rest of a fork bomb is only counted.
const PROCESSES_MAX: usize = 512;

/// Measures a container's vitals until stopped.
#[derive(Debug)]
pub struct VitalsSampler {
    stop: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl VitalsSampler {
    /// Starts measuring the container whose own cgroup has these directories, one a hierarchy.
    ///
    /// # Errors
    /// When no thread can be made.
    pub fn start(
        life: LifeId,
        dirs: Vec<PathBuf>,
        clock: Clock,
        events: Sender<Event>,
    ) -> Result<Self, Error> {
        let (stop, stopped) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("vitals".to_owned())
            .spawn(move || measure_until_stopped(life, &dirs, &clock, &events, &stopped))
            .map_err(Error::Thread)?;
        Ok(Self { stop, thread })
    }

    /// Stops, after a last measure.
    ///
    /// # Errors
    /// When the thread had panicked.
    pub fn stop(self) -> Result<(), Error> {
        let _ = self.stop.try_send(());
        self.thread.join().map_err(|_| Error::Panicked)
    }
}

fn measure_until_stopped(
    life: LifeId,
    dirs: &[PathBuf],
    clock: &Clock,
    events: &Sender<Event>,
    stopped: &Receiver<()>,
) {
    loop {
        if let Some(vitals) = measure(life, dirs) {
            // When the session is busy this measure is left out: the next is a second away.
            let _ = events.try_send(Event { at: clock.now(), what: What::Vitals(vitals) });
        }
        if stopped.recv_timeout(EVERY) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

/// One measure; none once the container is gone.
fn measure(life: LifeId, dirs: &[PathBuf]) -> Option<Vitals> {
    let procs = first_file(dirs, "cgroup.procs")?;
    let pids: Vec<i32> = procs.lines().filter_map(|line| line.parse().ok()).collect();
    if pids.is_empty() {
        return None;
    }
    let mut vitals = Vitals {
        life: Some(life),
        cpu_ns: cpu_ns(dirs),
        throttled_ns: throttled_ns(dirs),
        processes: u32::try_from(pids.len()).unwrap_or(u32::MAX),
        threads: 0,
        open_files: Some(0),
        psi_some_us: first_file(dirs, "memory.pressure")
            .and_then(|text| parse::psi_some_us(text.as_bytes())),
    };
    for pid in pids.into_iter().take(PROCESSES_MAX) {
        let Ok(process) = Process::new(pid) else {
            continue;
        };
        let threads = process.stat().map_or(0, |stat| stat.num_threads);
        vitals.threads = vitals.threads.saturating_add(u32::try_from(threads).unwrap_or(0));
        let files = process.fd_count().ok().and_then(|count| u32::try_from(count).ok());
        vitals.open_files =
            vitals.open_files.zip(files).map(|(sum, more)| sum.saturating_add(more));
    }
    Some(vitals)
}

/// The text of the first of the files that is there.
fn first_file(dirs: &[PathBuf], name: &str) -> Option<String> {
    dirs.iter().find_map(|dir: &PathBuf| fs::read_to_string(Path::join(dir, name)).ok())
}

/// CPU time used: v2 `cpu.stat`, v1 `cpuacct.usage`.
fn cpu_ns(dirs: &[PathBuf]) -> Option<u64> {
    if let Some(text) = first_file(dirs, "cpuacct.usage") {
        return parse::number(text.as_bytes());
    }
    let text = first_file(dirs, "cpu.stat")?;
    parse::key(text.as_bytes(), b"usage_usec").map(|us| us * 1000)
}

/// Time throttled: v2 in µs, v1 in ns.
fn throttled_ns(dirs: &[PathBuf]) -> Option<u64> {
    let text = first_file(dirs, "cpu.stat")?;
    let text = text.as_bytes();
    let v2 = parse::key(text, b"throttled_usec").map(|us| us * 1000);
    v2.or_else(|| parse::key(text, b"throttled_time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_this_very_process() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("cgroup.procs", &format!("{}\n", std::process::id()));
        write("cpu.stat", "usage_usec 1500\nnr_throttled 1\nthrottled_usec 20\n");
        write("memory.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=42\n");
        let vitals = measure(LifeId(1), &[dir.path().to_owned()]).unwrap();
        assert_eq!(vitals.cpu_ns, Some(1_500_000));
        assert_eq!(vitals.throttled_ns, Some(20_000));
        assert_eq!(vitals.psi_some_us, Some(42));
        assert_eq!(vitals.processes, 1);
        assert!(vitals.threads >= 2, "the test's own thread and the main one");
        assert!(vitals.open_files.unwrap() >= 3);
    }

    #[test]
    fn a_container_that_is_gone_has_no_vitals() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(measure(LifeId(1), &[dir.path().to_owned()]), None);
    }
}
