//! A walk through a container's processes, bounded.

use procfs::ProcError;
use procfs::process::Process;

use crate::event::{Others, ProcessRss, TaskIo};
use crate::plan::Budget;
use crate::units::{Bytes, is_harmful};

/// Processes that are looked at one by one; the rest of a fork bomb is only counted.
const PROCESSES_MAX: usize = Budget::PROCESSES;

/// Processes that are named.
const NAMED: usize = Budget::NAMED_PROCESSES;

/// The longest name that is kept; the kernel's own have 15 bytes.
const NAME_MAX: usize = Budget::PROCESS_NAME;

/// What a walk through the processes found.
#[derive(Debug, Default)]
pub(super) struct Walk {
    pub(super) threads: u32,
    /// None where one of them may not be read.
    pub(super) open_files: Option<u32>,
    /// None where one of them may not be read.
    pub(super) io: Option<TaskIo>,
    /// The largest first.
    pub(super) largest: Vec<ProcessRss>,
    pub(super) others: Others,
    /// Whether all that were looked at are stopped, by a signal or a debugger.
    pub(super) stopped: bool,
}

/// Whether these are more than are looked at.
pub(super) const fn are_many(pids: &[i32]) -> bool {
    pids.len() > PROCESSES_MAX
}

/// The ids in a `cgroup.procs`.
pub(super) fn pids(text: &[u8]) -> Vec<i32> {
    let lines = text.split(|byte| *byte == b'\n');
    lines.filter_map(|line| std::str::from_utf8(line).ok()?.parse().ok()).collect()
}

/// Looks at processes; those that have ended meanwhile are passed over.
pub(super) fn walk(pids: &[i32]) -> Walk {
    let mut walk = Walk { open_files: Some(0), io: Some(TaskIo::default()), ..Walk::default() };
    let page = procfs::page_size();
    let (mut rows, mut stopped) = (Vec::new(), 0);
    for pid in pids.iter().take(PROCESSES_MAX) {
        let Ok(process) = Process::new(*pid) else { continue };
        let Ok(stat) = process.stat() else { continue };
        let threads = u32::try_from(stat.num_threads).unwrap_or(0);
        walk.threads = walk.threads.saturating_add(threads);
        let rss = Bytes::new(stat.rss.saturating_mul(page));
        stopped += usize::from(matches!(stat.state, 'T' | 't'));
        rows.push(ProcessRss { pid: *pid, name: name(&stat.comm), rss });
        match process.fd_count() {
            Ok(count) => {
                let count = u32::try_from(count).unwrap_or(u32::MAX);
                walk.open_files = walk.open_files.map(|sum| sum.saturating_add(count));
            }
            Err(error) if is_gone(&error) => {}
            Err(_) => walk.open_files = None,
        }
        match process.io() {
            Ok(io) => {
                if let Some(sum) = &mut walk.io {
                    sum.read_bytes = sum.read_bytes.saturating_add(io.read_bytes);
                    sum.written_bytes = sum.written_bytes.saturating_add(io.write_bytes);
                }
            }
            Err(error) if is_gone(&error) => {}
            Err(_) => walk.io = None,
        }
    }
    walk.stopped = stopped > 0 && stopped == rows.len();
    if are_many(pids) {
        // What the rest has read and opened is not known.
        (walk.open_files, walk.io) = (None, None);
    }
    (walk.largest, walk.others) = split(rows);
    walk
}

/// Whether the process ended while it was looked at.
fn is_gone(error: &ProcError) -> bool {
    const ESRCH: i32 = nix::libc::ESRCH;
    match error {
        ProcError::NotFound(_) => true,
        ProcError::Io(error, _) => error.raw_os_error() == Some(ESRCH),
        _ => false,
    }
}

/// The largest processes, and the sum of the others.
fn split(mut rows: Vec<ProcessRss>) -> (Vec<ProcessRss>, Others) {
    rows.sort_by(|a, b| b.rss.cmp(&a.rss).then(a.pid.cmp(&b.pid)));
    let rest = rows.split_off(rows.len().min(NAMED));
    let others = Others {
        count: u32::try_from(rest.len()).unwrap_or(u32::MAX),
        rss: rest.iter().fold(Bytes::ZERO, |sum, row| sum + row.rss),
    };
    (rows, others)
}

/// A process may call itself anything: what controls a terminal or turns text around is left out.
pub(super) fn name(raw: &str) -> String {
    raw.chars().filter(|c| !is_harmful(*c)).take(NAME_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_largest_are_named_and_the_rest_is_summed() {
        let row = |pid: i32| ProcessRss {
            pid,
            name: "a".to_owned(),
            rss: Bytes::new(u64::from(pid.unsigned_abs()) * 10),
        };
        let (largest, others) = split((1..=20).map(row).collect());
        assert_eq!(largest.len(), 16);
        assert_eq!((largest[0].pid, largest[15].pid), (20, 5));
        assert_eq!(others, Others { count: 4, rss: Bytes::new(100) });
    }

    #[test]
    fn processes_that_are_gone_are_passed_over() {
        let own = i32::try_from(std::process::id()).unwrap();
        let walk = walk(&[own, i32::MAX]);
        assert_eq!(walk.largest.len(), 1);
        assert!(walk.open_files.is_some() && walk.io.is_some(), "{walk:?}");
    }

    #[test]
    fn a_name_is_harmless() {
        assert_eq!(name("a\u{1b}[31m\nb\u{202e}c"), "a[31mbc");
    }

    proptest! {
        #[test]
        fn lists_of_processes_never_panic(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = pids(&text);
        }

        #[test]
        fn names_are_short_and_free_of_control(raw in any::<String>()) {
            let name = name(&raw);
            prop_assert!(name.chars().count() <= NAME_MAX && !name.contains(char::is_control));
        }
    }
}
