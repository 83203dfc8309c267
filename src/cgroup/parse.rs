//! Pure parsers of cgroup files. They take bytes as the kernel wrote them; those that run at every
//! tick never allocate.

use super::memory::{KernelSplit, Parts};
use crate::units::Bytes;

/// The number at the start of a file.
#[must_use]
pub fn number(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    let mut value = None;
    for digit in digits {
        let so_far: u64 = value.unwrap_or(0);
        value = Some(so_far.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?);
    }
    value
}

/// The value of a key in a file of `key value` lines.
#[must_use]
pub fn key(text: &[u8], wanted: &[u8]) -> Option<u64> {
    let mut found = pairs(text).filter(|(name, _)| *name == wanted);
    found.find_map(|(_, value)| number(value))
}

/// The `key value` lines of a file, values as they are written. A file has dozens of lines of which
/// few are wanted, and is read a hundred times a second.
fn pairs(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = text;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            let line = &rest[..end];
            rest = rest.get(end + 1..).unwrap_or_default();
            if let Some(space) = memchr::memchr(b' ', line) {
                return Some((&line[..space], &line[space + 1..]));
            }
        }
        None
    })
}

/// `memory.stat` of v1, with the kernel memory that `memory.kmem.usage_in_bytes` counts.
///
/// v1 doesn't tell which kernel memory is reclaimable, so it counts towards the upper bound only.
/// The `total_` lines hold the children's.
#[must_use]
pub fn stat_v1(text: &[u8], kernel: Bytes) -> Parts {
    let mut parts = Parts { kernel, kernel_high: kernel, ..Parts::default() };
    let mut cache_with_shmem = Bytes::ZERO;
    for (name, value) in pairs(text) {
        let part = match name {
            b"total_rss" => &mut parts.anon,
            b"total_shmem" => &mut parts.shmem,
            b"total_cache" => &mut cache_with_shmem,
            b"total_inactive_file" => &mut parts.inactive_file,
            _ => continue,
        };
        *part = number(value).map_or(*part, Bytes::new);
    }
    parts.cache = cache_with_shmem - parts.shmem;
    parts
}

/// `memory.stat` of v2.
///
/// `kernel` is there since Linux 5.18; before, its parts are added up. Socket memory is apart.
#[must_use]
pub fn stat_v2(text: &[u8]) -> Parts {
    let mut parts = Parts::default();
    let (mut file, mut kernel, mut kernel_parts) = (Bytes::ZERO, None, Bytes::ZERO);
    let mut split = KernelSplit::default();
    for (name, value) in pairs(text) {
        let value = || number(value).map(Bytes::new);
        let part = match name {
            b"anon" => &mut parts.anon,
            b"shmem" => &mut parts.shmem,
            b"file" => &mut file,
            b"inactive_file" => &mut parts.inactive_file,
            b"slab_reclaimable" => &mut parts.kernel_reclaimable,
            b"sock" => {
                split.sock = value();
                continue;
            }
            b"kernel" => {
                kernel = value();
                continue;
            }
            b"slab_unreclaimable" => {
                split.slab = value();
                kernel_parts += split.slab.unwrap_or_default();
                continue;
            }
            b"pagetables" => {
                split.page_tables = value();
                kernel_parts += split.page_tables.unwrap_or_default();
                continue;
            }
            b"kernel_stack" | b"percpu" | b"vmalloc" => {
                kernel_parts += value().unwrap_or_default();
                continue;
            }
            _ => continue,
        };
        *part = value().unwrap_or(*part);
    }
    parts.cache = file - parts.shmem;
    let fixed = kernel.map_or(kernel_parts, |all| all - parts.kernel_reclaimable);
    let fixed = fixed + split.sock.unwrap_or_default();
    parts.kernel_has_gaps = kernel.is_none();
    parts.kernel = fixed + parts.kernel_reclaimable;
    parts.kernel_split = Some(split);
    parts.kernel_low = fixed;
    parts.kernel_high = fixed;
    parts
}

/// The cumulative stall time of the `some` line of a PSI file, in microseconds.
#[must_use]
pub fn psi_some_us(text: &[u8]) -> Option<u64> {
    psi_us(text, b"some ")
}

/// The cumulative stall time of the `full` line of a PSI file, in microseconds.
#[must_use]
pub fn psi_full_us(text: &[u8]) -> Option<u64> {
    psi_us(text, b"full ")
}

fn psi_us(text: &[u8], kind: &[u8]) -> Option<u64> {
    let line = lines(text).find(|line| line.starts_with(kind))?;
    number(fields(line).find_map(|field| field.strip_prefix(b"total="))?)
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n')
}

fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b' ').filter(|field| !field.is_empty())
}

/// Bytes and operations of block devices, summed over devices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IoCounts {
    /// What was read: bytes or operations.
    pub read: u64,
    /// What was written.
    pub written: u64,
}

/// Bytes and operations in an `io.stat` of v2: lines `8:0 rbytes=1 wbytes=2 rios=3 wios=4 …`. A
/// file without lines tells of no traffic.
#[must_use]
pub fn io_stat(text: &[u8]) -> (IoCounts, IoCounts) {
    let (mut bytes, mut operations) = (IoCounts::default(), IoCounts::default());
    for field in lines(text).flat_map(fields) {
        let Some(at) = field.iter().position(|byte| *byte == b'=') else { continue };
        let sum = match &field[..at] {
            b"rbytes" => &mut bytes.read,
            b"wbytes" => &mut bytes.written,
            b"rios" => &mut operations.read,
            b"wios" => &mut operations.written,
            _ => continue,
        };
        *sum = sum.saturating_add(number(&field[at + 1..]).unwrap_or(0));
    }
    (bytes, operations)
}

/// What a `blkio.throttle.*` file of v1 counts: lines `8:0 Read 1`, `8:0 Write 2` …
///
/// None where no device is listed: the file's own `Total 0` does not tell a container without
/// traffic from a kernel that does not count (since Linux 6.10 v1 counts only on devices that have
/// a limit).
#[must_use]
pub fn blkio(text: &[u8]) -> Option<IoCounts> {
    let mut found = None;
    for line in lines(text) {
        let mut fields = fields(line);
        let (_device, kind, value) = (fields.next(), fields.next(), fields.next());
        let (Some(kind), Some(value)) = (kind, value.and_then(number)) else { continue };
        let counts: &mut IoCounts = found.get_or_insert_default();
        match kind {
            b"Read" => counts.read = counts.read.saturating_add(value),
            b"Write" => counts.written = counts.written.saturating_add(value),
            _ => {}
        }
    }
    found
}

/// Numbers in a row, as in `cpuacct.usage_percpu`: 4096 at most. None where there is none.
#[must_use]
pub fn numbers(text: &[u8]) -> Option<Vec<u64>> {
    let first = lines(text).next()?;
    let found: Vec<u64> = fields(first).map_while(number).take(4096).collect();
    (!found.is_empty()).then_some(found)
}

/// Faults and page cache in a `memory.stat`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// Page faults.
    pub all: Option<u64>,
    /// Those that waited for a device.
    pub major: Option<u64>,
    /// Pages read again that had been dropped a short while before.
    pub refaults: Option<u64>,
    /// Page cache without tmpfs.
    pub cache: Option<Bytes>,
}

/// The faults in a `memory.stat`. On v1 the `total_` lines hold the children's; where they stand,
/// only they count.
#[must_use]
pub fn faults(text: &[u8]) -> Faults {
    let hierarchical = pairs(text).any(|(name, _)| name == b"total_pgfault");
    let mut faults = Faults::default();
    let (mut file, mut shmem) = (None, 0);
    for (name, value) in pairs(text) {
        let name = if hierarchical { name.strip_prefix(b"total_") } else { Some(name) };
        match name {
            Some(b"pgfault") => faults.all = number(value),
            Some(b"pgmajfault") => faults.major = number(value),
            Some(b"file" | b"cache") => file = number(value),
            Some(b"shmem") => shmem = number(value).unwrap_or(0),
            Some(name) if name.starts_with(b"workingset_refault") => {
                let more = number(value).unwrap_or(0);
                faults.refaults = Some(faults.refaults.unwrap_or(0).saturating_add(more));
            }
            _ => {}
        }
    }
    faults.cache = file.map(|file: u64| Bytes::new(file.saturating_sub(shmem)));
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn v1_tells_a_range_for_kernel_memory() {
        let text = b"cache 9\nrss 9\ntotal_cache 5000\ntotal_rss 700\ntotal_shmem 1000\n\
                     total_inactive_file 300\ntotal_unevictable 0\n";
        let parts = stat_v1(text, Bytes::new(50));
        assert_eq!(parts.cache, Bytes::new(4000));
        assert_eq!(parts.unreclaimable_low(), Bytes::new(1700));
        assert_eq!(parts.unreclaimable_high(Bytes::from_mib(1)), Bytes::new(1750));
        assert_eq!(parts.inactive_file, Bytes::new(300));
    }

    #[test]
    fn v2_counts_fixed_kernel_memory_and_sockets() {
        let text = b"anon 700\nfile 5000\nkernel 90\nsock 5\nshmem 1000\ninactive_file 300\n\
                     slab_reclaimable 30\nslab_unreclaimable 20\n";
        let parts = stat_v2(text);
        assert_eq!(parts.unreclaimable_low(), Bytes::new(1765));
        assert_eq!(parts.unreclaimable_low(), parts.unreclaimable_high(Bytes::from_mib(1)));
        assert_eq!(parts.unreclaimable_high(Bytes::new(1000)), Bytes::new(1000));
        assert_eq!(parts.reclaimable(), Bytes::new(4030));
    }

    #[test]
    fn v2_before_5_18_adds_the_kernel_parts_up() {
        let text = b"anon 1\nkernel_stack 10\npagetables 20\nslab_unreclaimable 5\npercpu 2\n";
        let parts = stat_v2(text);
        assert_eq!(parts.unreclaimable_low(), Bytes::new(38));
        // What is not told may be anything that is not surely reclaimable.
        let usage = parts.reclaimable() + Bytes::new(9999);
        assert_eq!(parts.unreclaimable_high(usage), Bytes::new(9999));
    }

    #[test]
    fn reads_pressure_and_keys() {
        let text = b"some avg10=0.00 avg60=0.00 avg300=0.00 total=1234\nfull avg10=0.0 total=9\n";
        assert_eq!(psi_some_us(text), Some(1234));
        assert_eq!(key(b"low 0\nmax 7\noom 1\noom_kill 2\n", b"oom_kill"), Some(2));
        assert_eq!(key(b"oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", b"oom_kill"), Some(3));
    }

    #[test]
    fn pressure_has_two_lines_and_cpu_may_have_one() {
        let text = b"some avg10=0.00 avg60=0.00 avg300=0.00 total=1234\nfull avg10=0.0 total=9\n";
        assert_eq!(psi_full_us(text), Some(9));
        assert_eq!(psi_full_us(b"some avg10=0.00 total=1\n"), None);
    }

    #[test]
    fn sums_devices() {
        let text = b"8:16 rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=0 dios=0\n\
                     8:0 rbytes=100 wbytes=4 rios=1 wios=1 dbytes=50331648 dios=3021\n7:0 \n";
        let bytes = IoCounts { read: 1_459_300, written: 314_773_508 };
        assert_eq!(io_stat(text), (bytes, IoCounts { read: 193, written: 354 }));
        let text = b"8:0 Read 10\n8:0 Write 20\n8:0 Sync 30\n8:0 Total 30\n\
                     8:16 Read 1\n8:16 Write 2\nTotal 33\n";
        assert_eq!(blkio(text), Some(IoCounts { read: 11, written: 22 }));
        assert_eq!(blkio(b"Total 0\n"), None, "a kernel that does not count says this too");
    }

    #[test]
    fn reads_time_on_each_core() {
        assert_eq!(numbers(b"6340214 29012178 \n"), Some(vec![6_340_214, 29_012_178]));
        assert_eq!(numbers(b"\n"), None);
    }

    #[test]
    fn faults_of_both_versions() {
        let v1 = b"cache 1\npgfault 2\nworkingset_refault_anon 1\ntotal_cache 5000\n\
                   total_shmem 1000\ntotal_workingset_refault_anon 3\n\
                   total_workingset_refault_file 38\ntotal_pgfault 1272\ntotal_pgmajfault 1\n";
        let cache = Some(Bytes::new(4000));
        let (all, major, refaults) = (Some(1272), Some(1), Some(41));
        assert_eq!(faults(v1), Faults { all, major, refaults, cache });
        let v2 = b"anon 7\nfile 5000\nshmem 1000\nfile_mapped 3\nworkingset_refault_anon 3\n\
                   workingset_refault_file 38\npgfault 1272\npgmajfault 1\n";
        assert_eq!(faults(v2), Faults { all, major, refaults, cache });
        assert_eq!(faults(b"anon 1\n"), Faults::default());
    }

    proptest! {
        #[test]
        fn never_panics(text in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = (stat_v1(&text, Bytes::ZERO), stat_v2(&text), psi_some_us(&text), number(&text));
            let _ = (psi_full_us(&text), io_stat(&text), blkio(&text), numbers(&text), faults(&text));
        }

        #[test]
        fn never_panics_on_near_files(
            text in "((8:0|Total|total_|pgfault|file|[rw](bytes|ios)=|Read|Write|[0-9]{1,22})[ \n]{0,2}){0,30}"
        ) {
            let text = text.as_bytes();
            let _ = (io_stat(text), blkio(text), numbers(text), faults(text));
        }
    }
}
