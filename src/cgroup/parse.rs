//! Pure parsers of cgroup files. They take bytes as the kernel wrote them and never allocate.

use super::memory::Parts;
use crate::units::Bytes;

/// The number at the start of a file.
#[must_use]
pub fn number(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&text[..digits]).ok()?.parse().ok()
}

/// The value of a key in a file of `key value` lines.
#[must_use]
pub fn key(text: &[u8], wanted: &[u8]) -> Option<u64> {
    pairs(text).find(|(name, _)| *name == wanted).map(|(_, value)| value)
}

/// The `key value` lines of a file whose value is a number.
fn pairs(text: &[u8]) -> impl Iterator<Item = (&[u8], u64)> {
    text.split(|byte| *byte == b'\n').filter_map(|line| {
        let space = line.iter().position(|byte| *byte == b' ')?;
        Some((&line[..space], number(&line[space + 1..])?))
    })
}

/// `memory.stat` of v1, with the kernel memory that `memory.kmem.usage_in_bytes` counts.
///
/// v1 doesn't tell which kernel memory is reclaimable, so it counts towards the upper bound only.
/// The `total_` lines hold the children's.
#[must_use]
pub fn stat_v1(text: &[u8], kernel: Bytes) -> Parts {
    let mut parts = Parts { kernel_high: kernel, ..Parts::default() };
    let mut cache_with_shmem = Bytes::ZERO;
    for (name, value) in pairs(text) {
        let value = Bytes::new(value);
        match name {
            b"total_rss" => parts.anon = value,
            b"total_shmem" => parts.shmem = value,
            b"total_cache" => cache_with_shmem = value,
            b"total_inactive_file" => parts.inactive_file = value,
            _ => {}
        }
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
    let (mut file, mut kernel, mut socket) = (Bytes::ZERO, None, Bytes::ZERO);
    let mut kernel_parts = Bytes::ZERO;
    for (name, value) in pairs(text) {
        let value = Bytes::new(value);
        match name {
            b"anon" => parts.anon = value,
            b"shmem" => parts.shmem = value,
            b"file" => file = value,
            b"inactive_file" => parts.inactive_file = value,
            b"sock" => socket = value,
            b"kernel" => kernel = Some(value),
            b"slab_reclaimable" => parts.kernel_reclaimable = value,
            b"slab_unreclaimable" | b"kernel_stack" | b"pagetables" | b"percpu" | b"vmalloc" => {
                kernel_parts += value;
            }
            _ => {}
        }
    }
    parts.cache = file - parts.shmem;
    let fixed = kernel.map_or(kernel_parts, |all| all - parts.kernel_reclaimable) + socket;
    parts.kernel_low = fixed;
    parts.kernel_high = fixed;
    parts
}

/// The cumulative stall time of the `some` line of a PSI file, in microseconds.
#[must_use]
pub fn psi_some_us(text: &[u8]) -> Option<u64> {
    let line = text.split(|byte| *byte == b'\n').find(|line| line.starts_with(b"some "))?;
    let total = line.split(|byte| *byte == b' ').find_map(|field| field.strip_prefix(b"total="))?;
    number(total)
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
        assert_eq!(parts.unreclaimable_high(), Bytes::new(1750));
        assert_eq!(parts.inactive_file, Bytes::new(300));
    }

    #[test]
    fn v2_counts_fixed_kernel_memory_and_sockets() {
        let text = b"anon 700\nfile 5000\nkernel 90\nsock 5\nshmem 1000\ninactive_file 300\n\
                     slab_reclaimable 30\nslab_unreclaimable 20\n";
        let parts = stat_v2(text);
        assert_eq!(parts.unreclaimable_low(), Bytes::new(1765));
        assert_eq!(parts.unreclaimable_low(), parts.unreclaimable_high());
        assert_eq!(parts.reclaimable(), Bytes::new(4030));
    }

    #[test]
    fn v2_before_5_18_adds_the_kernel_parts_up() {
        let text = b"anon 1\nkernel_stack 10\npagetables 20\nslab_unreclaimable 5\npercpu 2\n";
        assert_eq!(stat_v2(text).unreclaimable_low(), Bytes::new(38));
    }

    #[test]
    fn reads_pressure_and_keys() {
        let text = b"some avg10=0.00 avg60=0.00 avg300=0.00 total=1234\nfull avg10=0.0 total=9\n";
        assert_eq!(psi_some_us(text), Some(1234));
        assert_eq!(key(b"low 0\nmax 7\noom 1\noom_kill 2\n", b"oom_kill"), Some(2));
        assert_eq!(key(b"oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", b"oom_kill"), Some(3));
    }

    proptest! {
        #[test]
        fn never_panics(text in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = (stat_v1(&text, Bytes::ZERO), stat_v2(&text), psi_some_us(&text), number(&text));
        }
    }
}
