//! What is measured about once a second: everything of a container beside its memory's levels.
//!
//! Counters run from the start of the life; only their movement within one life means anything.
//! What the kernel at hand does not tell is none. Fields came by addition: recordings of before
//! have fewer.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::life::LifeId;
use crate::units::Bytes;

/// Slow measures of a life, about once a second.
///
/// "v1" and "v2" name the version of the cgroup files that a value is read from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vitals {
    /// The life that was measured.
    pub life: Option<LifeId>,
    /// CPU time used since the life began, in nanoseconds: v2 `cpu.stat` `usage_usec`, v1
    /// `cpuacct.usage`.
    pub cpu_ns: Option<u64>,
    /// Time in which the container was throttled, since the life began, in nanoseconds: `cpu.stat`,
    /// v2 `throttled_usec`, v1 `throttled_time`.
    pub throttled_ns: Option<u64>,
    /// Processes in the container: `cgroup.procs`.
    pub processes: u32,
    /// Threads of all of them; of more than 512 processes as the cgroup counts them
    /// (`pids.current`), or of the first 512.
    pub threads: u32,
    /// Open descriptors of all of them; none where they may not be read, or are more than 512
    /// processes'.
    pub open_files: Option<u32>,
    /// Time in which some task waited for memory, in microseconds: `memory.pressure`, `some total`.
    pub psi_some_us: Option<u64>,
    /// Time in which all tasks waited for memory, in microseconds: `memory.pressure`, `full total`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub psi_full_us: Option<u64>,
    /// Time in which some task waited for a CPU, in microseconds: `cpu.pressure`, `some total`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_psi_us: Option<u64>,
    /// Time in which some task waited for I/O, in microseconds: `io.pressure`, `some total`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io_psi_us: Option<u64>,
    /// CPU time in user mode, in nanoseconds: v2 and hybrid `cpu.stat` `user_usec`, v1
    /// `cpuacct.usage_user` (whole timer ticks).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_user_ns: Option<u64>,
    /// CPU time in the kernel, in nanoseconds: v2 and hybrid `cpu.stat` `system_usec`, v1
    /// `cpuacct.usage_sys` (whole timer ticks).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_system_ns: Option<u64>,
    /// CPU time on each core, in nanoseconds: v1 `cpuacct.usage_percpu`. v2 does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_per_core_ns: Option<Vec<u64>>,
    /// Periods in which the container was throttled: `cpu.stat`, `nr_throttled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttled_periods: Option<u64>,
    /// Traffic with block devices, as the cgroup counts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<BlockIo>,
    /// Traffic with block devices, as the processes count it; none where one of them may not be
    /// read, or there are more than 512.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_io: Option<TaskIo>,
    /// Page faults: `memory.stat` `pgfault`, v1 `total_pgfault`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_faults: Option<u64>,
    /// Page faults that waited for a device: `memory.stat` `pgmajfault`, v1 `total_pgmajfault`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub major_faults: Option<u64>,
    /// Pages read again that had been dropped a short while before: the sum of `memory.stat`'s
    /// `workingset_refault_*` (before 5.9 `workingset_refault`), v1 with `total_` before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refaults: Option<u64>,
    /// Times that the container was slowed down at `memory.high`: v2 `memory.events` `high`. v1 has
    /// no such limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high_events: Option<u64>,
    /// Times that a charge met the limit: v2 `memory.events` `max`, v1 `memory.failcnt` and
    /// `memory.memsw.failcnt`; none where newer kernels hide them, with swap off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_events: Option<u64>,
    /// Swap in use: v2 `memory.swap.current`, v1 `memory.memsw.usage_in_bytes` less
    /// `memory.usage_in_bytes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap: Option<Bytes>,
    /// Page cache charged to the container, without tmpfs: `memory.stat`, `file` − `shmem`, v1
    /// `total_cache` − `total_shmem`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Bytes>,
    /// Sockets in the container's network namespace; none where that is the host's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sockets: Option<Sockets>,
    /// The processes with the largest RSS, the largest first: 16 at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub largest: Vec<ProcessRss>,
    /// The rest of the processes that were looked at, summed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub others: Option<Others>,
    /// Bytes that the target has printed in this life so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_bytes: Option<u64>,
    /// Whether nothing in the container could run: each process is stopped (SIGSTOP), or the cgroup
    /// is frozen (v1 `freezer.state`, v2 `cgroup.events`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub halted: bool,
}

/// Who counted bytes read and written.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum IoSource {
    /// v2 `io.stat`: what went to and came from block devices, written back later too.
    #[serde(rename = "io.stat")]
    IoStat,
    /// v1 `blkio.throttle.io_service_bytes`: misses what the kernel's own threads write back.
    Blkio,
    /// `/proc/<pid>/io` of the processes: bytes made dirty for a block device, and bytes fetched
    /// from one. A process that ended counts with the parent that waited for it. On a file system in
    /// user space (`fuse-overlayfs`) a byte was seen to count twice.
    Proc,
}

impl IoSource {
    /// The name that `run.json` uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::IoStat => "io.stat",
            Self::Blkio => "blkio",
            Self::Proc => "proc",
        }
    }
}

/// Traffic of a cgroup with block devices since the life began, over all devices: where one device
/// lies on another, both count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockIo {
    /// Which file tells so.
    pub source: IoSource,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Read operations.
    pub reads: Option<u64>,
    /// Write operations.
    pub writes: Option<u64>,
}

/// Traffic of processes with block devices, from `/proc/<pid>/io`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskIo {
    /// Bytes fetched from devices: `read_bytes`.
    pub read_bytes: u64,
    /// Bytes made dirty, to be written to devices: `write_bytes`.
    pub written_bytes: u64,
}

/// Sockets of a network namespace, from `/proc/<pid>/net`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sockets {
    /// TCP sockets, of IPv4 and IPv6, by state: `established`, `listen`, `time_wait` … A state that
    /// no socket is in is left out. A connection on the loopback to one that listens there counts
    /// once, at that end: the other may be the load's.
    pub tcp: BTreeMap<String, u32>,
    /// UDP sockets, of IPv4 and IPv6.
    pub udp: Option<u32>,
    /// Unix sockets.
    pub unix: Option<u32>,
}

/// A process and its resident memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRss {
    /// Its id, as this host sees it.
    pub pid: i32,
    /// The name that the kernel keeps for it (`comm`, 15 bytes), without control characters.
    pub name: String,
    /// Resident memory: shared pages count with each process that maps them.
    pub rss: Bytes,
}

/// Processes that are not named one by one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Others {
    /// How many.
    pub count: u32,
    /// Their resident memory, summed.
    pub rss: Bytes,
}

impl Vitals {
    /// Bytes read from and written to block devices since the life began, by the most complete
    /// count that is there.
    ///
    /// v1 counts what a process writes to a device itself, not what the kernel writes back for it
    /// later, and since Linux 6.10 only on devices with a limit: there the processes' own counts
    /// come first.
    #[must_use]
    pub fn disk(&self) -> Option<(IoSource, TaskIo)> {
        let block = self.block.map(|row| {
            let BlockIo { read_bytes, written_bytes, .. } = row;
            (row.source, TaskIo { read_bytes, written_bytes })
        });
        let own = self.task_io.map(|row| (IoSource::Proc, row));
        let whole = block.filter(|row| row.0 == IoSource::IoStat);
        whole.or(own).or(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Moment;
    use crate::event::{Event, What};
    use proptest::prelude::*;

    /// Vitals as they were before there was more to tell.
    #[derive(Serialize)]
    struct Before {
        life: Option<LifeId>,
        cpu_ns: Option<u64>,
        throttled_ns: Option<u64>,
        processes: u32,
        threads: u32,
        open_files: Option<u32>,
        psi_some_us: Option<u64>,
    }

    #[derive(Serialize)]
    enum WhatBefore {
        Vitals(Before),
    }

    #[derive(Serialize)]
    struct EventBefore {
        at: Moment,
        what: WhatBefore,
    }

    #[test]
    fn vitals_of_an_old_recording_still_read() {
        let old = EventBefore {
            at: Moment::from_millis(7),
            what: WhatBefore::Vitals(Before {
                life: Some(LifeId(3)),
                cpu_ns: Some(5),
                throttled_ns: None,
                processes: 2,
                threads: 9,
                open_files: Some(40),
                psi_some_us: Some(6),
            }),
        };
        let bytes = rmp_serde::to_vec_named(&old).unwrap();
        let read: Event = rmp_serde::from_slice(&bytes).unwrap();
        let vitals = Vitals {
            life: Some(LifeId(3)),
            cpu_ns: Some(5),
            processes: 2,
            threads: 9,
            open_files: Some(40),
            psi_some_us: Some(6),
            ..Vitals::default()
        };
        let what = What::Vitals(Box::new(vitals));
        assert_eq!(read, Event { at: Moment::from_millis(7), what });
    }

    proptest! {
        #[test]
        fn vitals_read_back(
            counts in prop::array::uniform12(prop::option::of(any::<u64>())),
            cores in prop::option::of(prop::collection::vec(any::<u64>(), 0..5)),
            tcp in prop::collection::btree_map("[a-z_]{1,9}", any::<u32>(), 0..4),
            names in prop::collection::vec("\\PC{0,9}", 0..4),
        ) {
            let [a, b, c, d, e, f, g, h, i, j, k, l] = counts;
            let row = |name: &String| ProcessRss { pid: 7, name: name.clone(), rss: Bytes::new(4) };
            let task_io = a.zip(b).map(|(read, written)| TaskIo {
                read_bytes: read,
                written_bytes: written,
            });
            let block = c.zip(d).map(|(read_bytes, written_bytes)| BlockIo {
                source: IoSource::IoStat, read_bytes, written_bytes, reads: e, writes: None,
            });
            let vitals = Vitals {
                life: Some(LifeId(1)),
                psi_full_us: f,
                cpu_user_ns: g,
                cpu_per_core_ns: cores,
                throttled_periods: h,
                page_faults: i,
                high_events: j,
                swap: k.map(Bytes::new),
                log_bytes: l,
                block,
                task_io,
                sockets: a.map(|_| Sockets { tcp, udp: Some(1), unix: None }),
                largest: names.iter().map(row).collect(),
                others: b.map(|_| Others { count: 1, rss: Bytes::new(2) }),
                ..Vitals::default()
            };
            let bytes = rmp_serde::to_vec_named(&vitals).unwrap();
            prop_assert_eq!(rmp_serde::from_slice::<Vitals>(&bytes).unwrap(), vitals);
        }
    }

    #[test]
    fn the_most_complete_count_of_the_disk_is_taken() {
        let block =
            |source| BlockIo { source, read_bytes: 1, written_bytes: 2, reads: None, writes: None };
        let own = TaskIo { read_bytes: 10, written_bytes: 20 };
        let of = |block, task_io| Vitals { block, task_io, ..Vitals::default() }.disk();
        let source = |found: Option<(IoSource, TaskIo)>| found.map(|row| row.0);
        assert_eq!(source(of(Some(block(IoSource::IoStat)), Some(own))), Some(IoSource::IoStat));
        assert_eq!(of(Some(block(IoSource::Blkio)), Some(own)), Some((IoSource::Proc, own)));
        assert_eq!(source(of(Some(block(IoSource::Blkio)), None)), Some(IoSource::Blkio));
        assert_eq!(of(None, None), None);
    }
}
