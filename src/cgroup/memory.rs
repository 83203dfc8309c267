//! Reading memory: levels, peaks, `memory.stat` and counters, on descriptors that stay open.
//!
//! Files are opened once and read by `pread` at offset 0; nothing is allocated at a reading. Once
//! the cgroup is gone, readings give `ENODEV` (see [`is_gone`]).
//!
//! Kernel behaviour: `Documentation/admin-guide/cgroup-v2.rst` (Memory) and
//! `cgroup-v1/memory.rst`.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::errno::Errno;

use super::Version;
use super::parse;
use crate::units::Bytes;

/// Longest `memory.stat` that is read whole; the kernel's is about 1.5 KiB.
const BUFFER: usize = 8192;

/// Whether a failed reading means that the cgroup no longer exists.
#[must_use]
pub fn is_gone(error: &io::Error) -> bool {
    [Errno::ENODEV, Errno::ENOENT].iter().any(|gone| error.raw_os_error() == Some(*gone as i32))
}

/// One file that holds a single number.
#[derive(Debug)]
struct NumberFile(File);

impl NumberFile {
    fn open(path: &Path) -> io::Result<Self> {
        File::open(path).map(Self)
    }

    fn open_writable(path: &Path) -> io::Result<Self> {
        OpenOptions::new().read(true).write(true).open(path).map(Self)
    }

    fn read(&self) -> io::Result<u64> {
        let mut buffer = [0; 32];
        let length = self.0.read_at(&mut buffer, 0)?;
        parse::number(&buffer[..length]).ok_or_else(|| invalid("a number was expected"))
    }

    /// Any write sets the high-water mark back to the present level.
    fn reset(&self) -> io::Result<()> {
        self.0.write_at(b"0", 0).map(drop)
    }
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// How a [`TickReader`] knows the peak since the reading before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeakSource {
    /// By resetting the high-water mark at each reading.
    Reset,
    /// From a high-water mark that can't be reset: exact where it rises.
    Lifetime,
    /// Not at all: only the level at the reading.
    Sampled,
}

/// One reading of a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Charged memory now.
    pub usage: Bytes,
    /// The highest charge since the reading before, as far as the source tells.
    pub peak: Bytes,
}

/// Reads the level and the peak of a cgroup, tick by tick.
#[derive(Debug)]
pub struct TickReader {
    usage: NumberFile,
    peaks: Vec<NumberFile>,
    source: PeakSource,
    /// For [`PeakSource::Lifetime`]: the mark at the reading before.
    mark: u64,
}

impl TickReader {
    /// Opens the files of nested cgroups, outermost first; the level is read from the innermost.
    ///
    /// Reading a mark and resetting it are two steps, and a spike between them would be lost.
    /// So there are two marks, those of two nested cgroups, read and reset in turn, of which the
    /// larger counts. Two descriptors of one v2 file won't do: a reset by one takes the spike from
    /// the other too (seen on Linux 6.12). With one cgroup only, the gap stays.
    ///
    /// # Errors
    /// When the level can't be read.
    pub fn open(version: Version, nested: &[&Path], may_reset: bool) -> io::Result<Self> {
        let inner = nested.last().ok_or_else(|| invalid("no cgroup to read"))?;
        let (level, mark) = match version {
            Version::V1 => ("memory.usage_in_bytes", "memory.max_usage_in_bytes"),
            Version::V2 => ("memory.current", "memory.peak"),
        };
        let usage = NumberFile::open(&inner.join(level))?;
        let marks: Vec<_> = nested.iter().rev().take(2).map(|dir| dir.join(mark)).collect();
        let resettable = |path: &std::path::PathBuf| {
            let file = NumberFile::open_writable(path)?;
            // On v2 before 6.12 opening for writing succeeds and only the write is refused.
            file.reset()?;
            io::Result::Ok(file)
        };
        if may_reset && let Ok(peaks) = marks.iter().map(resettable).collect() {
            return Ok(Self { usage, peaks, source: PeakSource::Reset, mark: 0 });
        }
        if let Ok(lifetime) = NumberFile::open(&marks[0]) {
            let mark = lifetime.read()?;
            let (peaks, source) = (vec![lifetime], PeakSource::Lifetime);
            return Ok(Self { usage, peaks, source, mark });
        }
        Ok(Self { usage, peaks: Vec::new(), source: PeakSource::Sampled, mark: 0 })
    }

    /// How peaks are known.
    #[must_use]
    pub const fn source(&self) -> PeakSource {
        self.source
    }

    /// Reads the level and the peak since the reading before.
    ///
    /// # Errors
    /// When a file can't be read; see [`is_gone`].
    pub fn read(&mut self) -> io::Result<Reading> {
        let mut peak = 0;
        for file in &self.peaks {
            let mark = file.read()?;
            match self.source {
                PeakSource::Reset => {
                    file.reset()?;
                    peak = peak.max(mark);
                }
                PeakSource::Lifetime | PeakSource::Sampled => {
                    if mark > self.mark {
                        self.mark = mark;
                        peak = mark;
                    }
                }
            }
        }
        let usage = self.usage.read()?;
        Ok(Reading { usage: Bytes::new(usage), peak: Bytes::new(peak.max(usage)) })
    }
}

/// The parts of charged memory, from `memory.stat` (and v1's kernel counter).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Parts {
    /// Anonymous memory: RSS.
    pub anon: Bytes,
    /// tmpfs and shared memory.
    pub shmem: Bytes,
    /// File pages without tmpfs.
    pub cache: Bytes,
    /// File pages that were not used for long.
    pub inactive_file: Bytes,
    /// Kernel memory that is surely not reclaimable.
    pub kernel_low: Bytes,
    /// Kernel memory that may not be reclaimable.
    pub kernel_high: Bytes,
    /// Kernel memory that surely is reclaimable.
    pub kernel_reclaimable: Bytes,
    /// All kernel memory, with socket buffers.
    pub kernel: Bytes,
    /// What it is made of, where that is told apart.
    pub kernel_split: Option<KernelSplit>,
    /// Whether kernel memory is told incompletely: v2 before Linux 5.18.
    pub kernel_has_gaps: bool,
}

/// Parts of kernel memory that v2 tells apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KernelSplit {
    /// Slab that can't be reclaimed (since Linux 4.6).
    pub slab: Option<Bytes>,
    /// Socket buffers (since Linux 4.5).
    pub sock: Option<Bytes>,
    /// Page tables (since Linux 5.11).
    pub page_tables: Option<Bytes>,
}

impl Parts {
    /// What the kernel can't drop without swap, at least.
    #[must_use]
    pub fn unreclaimable_low(&self) -> Bytes {
        self.anon + self.shmem + self.kernel_low
    }

    /// What the kernel can't drop without swap, at most, at a level of `usage`. The statistics may
    /// lag behind the level after memory was given back; where they have gaps, all that is not
    /// surely reclaimable counts.
    #[must_use]
    pub fn unreclaimable_high(&self, usage: Bytes) -> Bytes {
        let told = (self.anon + self.shmem + self.kernel_high).min(usage);
        if self.kernel_has_gaps { told.max(usage - self.reclaimable()) } else { told }
    }

    /// What the kernel can drop.
    #[must_use]
    pub fn reclaimable(&self) -> Bytes {
        self.cache + self.kernel_reclaimable
    }
}

/// Reads [`Parts`].
#[derive(Debug)]
pub struct PartsReader {
    version: Version,
    stat: File,
    kernel: Option<NumberFile>,
    /// Kept, so that a reading touches no more of it than the file is long.
    buffer: Box<[u8; BUFFER]>,
}

impl PartsReader {
    /// Opens the files of a cgroup.
    ///
    /// # Errors
    /// When `memory.stat` can't be opened.
    pub fn open(version: Version, dir: &Path) -> io::Result<Self> {
        let stat = File::open(dir.join("memory.stat"))?;
        let kernel = match version {
            Version::V1 => NumberFile::open(&dir.join("memory.kmem.usage_in_bytes")).ok(),
            Version::V2 => None,
        };
        Ok(Self { version, stat, kernel, buffer: Box::new([0; BUFFER]) })
    }

    /// Reads the parts. They may be some hundred KiB behind: the kernel gathers them by CPU.
    ///
    /// # Errors
    /// When a file can't be read; see [`is_gone`].
    pub fn read(&mut self) -> io::Result<Parts> {
        let length = self.stat.read_at(&mut *self.buffer, 0)?;
        let text = &self.buffer[..length];
        match self.version {
            Version::V2 => Ok(parse::stat_v2(text)),
            Version::V1 => {
                let kernel = self.kernel.as_ref().map_or(Ok(0), NumberFile::read)?;
                Ok(parse::stat_v1(text, Bytes::new(kernel)))
            }
        }
    }
}

/// Counts of what the limit did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LimitCounts {
    /// Charges that met the limit.
    pub limit_hits: u64,
    /// Processes that the OOM killer killed.
    pub oom_kills: u64,
}

/// Reads [`LimitCounts`].
///
/// On v2 the counts of a cgroup hold those of its children; on v1 each cgroup has only its own,
/// so there the container's own cgroup must be read, which goes with the container.
#[derive(Debug)]
pub struct LimitReader(LimitFiles);

#[derive(Debug)]
enum LimitFiles {
    /// `memory.failcnt`, `memory.memsw.failcnt` and `memory.oom_control`.
    V1 { hits: File, with_swap: Option<File>, control: File, limits: Option<[NumberFile; 2]> },
    /// `memory.events`.
    V2 { events: File },
}

impl LimitReader {
    /// Opens the files of a cgroup.
    ///
    /// # Errors
    /// When they can't be opened.
    pub fn open(version: Version, dir: &Path) -> io::Result<Self> {
        Ok(Self(match version {
            Version::V1 => LimitFiles::V1 {
                hits: File::open(dir.join("memory.failcnt"))?,
                // With swap off both limits are one, and the one that counts swap is met first.
                with_swap: File::open(dir.join("memory.memsw.failcnt")).ok(),
                control: File::open(dir.join("memory.oom_control"))?,
                limits: both_limits(dir).ok(),
            },
            Version::V2 => LimitFiles::V2 { events: File::open(dir.join("memory.events"))? },
        }))
    }

    /// Whether a count of no hits proves nothing: on v1, with swap off, the limit with swap is met
    /// first, and neither count may move though the limit was met (seen on Linux 6.18).
    #[must_use]
    pub fn hides_hits(&self) -> bool {
        match &self.0 {
            LimitFiles::V1 { limits: Some([memory, with_swap]), .. } => {
                matches!((memory.read(), with_swap.read()), (Ok(memory), Ok(both)) if both <= memory)
            }
            _ => false,
        }
    }

    /// Reads the counts.
    ///
    /// # Errors
    /// When a file can't be read; see [`is_gone`].
    pub fn read(&self) -> io::Result<LimitCounts> {
        let mut buffer = [0; 512];
        match &self.0 {
            LimitFiles::V1 { hits, with_swap, control, .. } => {
                let mut limit_hits = 0_u64;
                for file in std::iter::once(hits).chain(with_swap) {
                    let length = file.read_at(&mut buffer, 0)?;
                    let hits = parse::number(&buffer[..length]).unwrap_or(0);
                    limit_hits = limit_hits.saturating_add(hits);
                }
                let length = control.read_at(&mut buffer, 0)?;
                let oom_kills = parse::key(&buffer[..length], b"oom_kill").unwrap_or(0);
                Ok(LimitCounts { limit_hits, oom_kills })
            }
            LimitFiles::V2 { events } => {
                let length = events.read_at(&mut buffer, 0)?;
                let text = &buffer[..length];
                let limit_hits = parse::key(text, b"max").unwrap_or(0);
                Ok(LimitCounts {
                    limit_hits,
                    oom_kills: parse::key(text, b"oom_kill").unwrap_or(0),
                })
            }
        }
    }
}

/// v1's limits of memory, and of memory with swap.
fn both_limits(dir: &Path) -> io::Result<[NumberFile; 2]> {
    let open = |name: &str| NumberFile::open(&dir.join(name));
    Ok([open("memory.limit_in_bytes")?, open("memory.memsw.limit_in_bytes")?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn v1_level(usage: u64, peak: u64) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("memory.usage_in_bytes"), format!("{usage}\n")).unwrap();
        fs::write(dir.path().join("memory.max_usage_in_bytes"), format!("{peak}\n")).unwrap();
        dir
    }

    #[test]
    fn the_larger_of_two_nested_marks_counts_and_both_are_reset() {
        let (outer, inner) = (v1_level(100, 0), v1_level(90, 0));
        let dirs = [outer.path(), inner.path()];
        let mut reader = TickReader::open(Version::V1, &dirs, true).unwrap();
        assert_eq!(reader.source(), PeakSource::Reset);
        fs::write(outer.path().join("memory.max_usage_in_bytes"), "700\n").unwrap();
        fs::write(inner.path().join("memory.max_usage_in_bytes"), "600\n").unwrap();
        let reading = reader.read().unwrap();
        assert_eq!(reading, Reading { usage: Bytes::new(90), peak: Bytes::new(700) });
        for dir in dirs {
            let left = fs::read_to_string(dir.join("memory.max_usage_in_bytes")).unwrap();
            assert!(left.starts_with('0'), "{left}");
        }
    }

    #[test]
    fn a_mark_that_may_not_be_reset_tells_only_record_breaking_peaks() {
        let dir = v1_level(50, 400);
        let mut reader = TickReader::open(Version::V1, &[dir.path()], false).unwrap();
        assert_eq!(reader.source(), PeakSource::Lifetime);
        assert_eq!(reader.read().unwrap().peak, Bytes::new(50));
        fs::write(dir.path().join("memory.max_usage_in_bytes"), "450\n").unwrap();
        assert_eq!(reader.read().unwrap().peak, Bytes::new(450));
        assert_eq!(reader.read().unwrap().peak, Bytes::new(50));
    }

    #[test]
    fn on_v1_both_limits_count_where_there_are_two() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("memory.failcnt", "2\n");
        write("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n");
        let read = || LimitReader::open(Version::V1, dir.path()).unwrap().read().unwrap();
        assert_eq!((read().limit_hits, read().oom_kills), (2, 1));
        write("memory.limit_in_bytes", "1000\n");
        write("memory.memsw.limit_in_bytes", "1000\n");
        assert!(LimitReader::open(Version::V1, dir.path()).unwrap().hides_hits());
        write("memory.memsw.limit_in_bytes", "2000\n");
        assert!(!LimitReader::open(Version::V1, dir.path()).unwrap().hides_hits());
        write("memory.memsw.failcnt", "116\n");
        assert_eq!(read().limit_hits, 118);
    }

    #[test]
    fn without_a_mark_peaks_are_sampled() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("memory.current"), "77\n").unwrap();
        let mut reader = TickReader::open(Version::V2, &[dir.path()], true).unwrap();
        assert_eq!(reader.source(), PeakSource::Sampled);
        assert_eq!(reader.read().unwrap().peak, Bytes::new(77));
    }
}
