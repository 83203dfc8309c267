//! What a cgroup that somebody else made is bound by.

use std::fs;
use std::path::{Path, PathBuf};

use super::Version;
use super::parse;
use crate::units::{Bytes, Limit};

/// From here on a v1 limit means none: the kernel's own "none" is the greatest page-aligned value.
const NO_LIMIT: u64 = 1 << 62;

/// What a cgroup is bound by, and its high-water mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// The lowest limit of it and of the cgroups around it.
    pub limit: Limit,
    /// Whose limit that is, where it is not the cgroup's own.
    pub inherited_from: Option<PathBuf>,
    /// The charged peak since it was made, or since somebody reset it; none before Linux 5.19 on
    /// v2.
    pub peak: Option<Bytes>,
}

/// Reads what the cgroup in `dir` is bound by, up to the hierarchy's `root`.
#[must_use]
pub fn bounds(version: Version, root: &Path, dir: &Path) -> Bounds {
    let (limit_file, peak_file) = match version {
        Version::V1 => ("memory.limit_in_bytes", "memory.max_usage_in_bytes"),
        Version::V2 => ("memory.max", "memory.peak"),
    };
    let number = |path: PathBuf| fs::read(path).ok().and_then(|text| parse::number(&text));
    let mut lowest: Option<(u64, &Path)> = None;
    for group in dir.ancestors().take_while(|group| group.starts_with(root)) {
        // `max` is no number; a root has no such file on v2.
        let limit = number(group.join(limit_file)).filter(|limit| *limit < NO_LIMIT);
        if let Some(limit) = limit
            && lowest.is_none_or(|(least, _)| limit < least)
        {
            lowest = Some((limit, group));
        }
    }
    Bounds {
        limit: lowest.map_or(Limit::Unlimited, |(limit, _)| Limit::Bytes(Bytes::new(limit))),
        inherited_from: lowest.filter(|(_, group)| *group != dir).map(|(_, group)| group.into()),
        peak: number(dir.join(peak_file)).map(Bytes::new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_limit_counts_wherever_it_is_set() {
        let dir = tempfile::tempdir().unwrap();
        let leaf = dir.path().join("slice/leaf");
        fs::create_dir_all(&leaf).unwrap();
        let read = || bounds(Version::V2, dir.path(), &leaf);
        assert_eq!(read().limit, Limit::Unlimited);
        fs::write(leaf.join("memory.max"), "max\n").unwrap();
        fs::write(leaf.join("memory.peak"), "4096\n").unwrap();
        fs::write(dir.path().join("slice/memory.max"), "1048576\n").unwrap();
        let found = read();
        assert_eq!(found.limit, Limit::Bytes(Bytes::from_mib(1)));
        assert_eq!(found.inherited_from, Some(dir.path().join("slice")));
        assert_eq!(found.peak, Some(Bytes::new(4096)));
        fs::write(leaf.join("memory.max"), "524288\n").unwrap();
        assert_eq!(read().inherited_from, None);
    }

    #[test]
    fn the_greatest_value_of_v1_is_no_limit() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("memory.limit_in_bytes"), "9223372036854771712\n").unwrap();
        assert_eq!(bounds(Version::V1, dir.path(), dir.path()).limit, Limit::Unlimited);
    }
}
