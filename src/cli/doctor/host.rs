//! What of the host itself bears on a run: room, swap, huge pages, limits.

use std::path::Path;

use nix::sys::resource::{Resource, getrlimit};
use nix::sys::statvfs::statvfs;

use super::Line;
use crate::runtime;
use crate::units::Bytes;

/// Room below which a long soak's recording may not fit, and below which none does.
const ROOM_WANTED: Bytes = Bytes::from_mib(1024);
const ROOM_NEEDED: Bytes = Bytes::from_mib(64);
/// Open files that suffice for a thousand users and what else there is.
const FILES_WANTED: u64 = 2048;

/// All of it, line by line.
pub(super) fn lines() -> Vec<Line> {
    let facts = runtime::bare_host_facts();
    vec![
        cpus(facts.cpus),
        swap(facts.swap_bytes),
        huge_pages(facts.thp.as_deref()),
        pressure(),
        open_files(),
        room(),
    ]
}

fn cpus(cpus: u32) -> Line {
    if cpus > 1 {
        Line::good("CPUs", format!("{cpus}: the target and the traffic need not share one"))
    } else {
        let fix = "with one CPU the traffic takes time from the target: expect higher latencies";
        Line::poor("CPUs", "1", fix)
    }
}

fn swap(bytes: Option<u64>) -> Line {
    match bytes {
        Some(0) => Line::good("swap", "none"),
        Some(bytes) => {
            let size = Bytes::new(bytes);
            Line::good("swap", format!("{size} on this host; targets get none of it"))
        }
        None => Line::poor("swap", "unknown", "make /proc/meminfo readable"),
    }
}

fn huge_pages(mode: Option<&str>) -> Line {
    match mode {
        Some("always") => {
            let fix = "memory grows in steps of 2 MiB then: see that production has the same mode";
            Line::poor("huge pages", "always", fix)
        }
        Some(mode) => Line::good("huge pages", mode.to_owned()),
        None => Line::good("huge pages", "not in this kernel"),
    }
}

fn pressure() -> Line {
    if Path::new("/proc/pressure/memory").exists() {
        Line::good("pressure", "the kernel tells how long tasks wait for memory (PSI)")
    } else {
        Line::poor("pressure", "not told by this kernel", "boot with `psi=1`")
    }
}

fn open_files() -> Line {
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((_, hard)) if hard < FILES_WANTED => {
            let fix = "each user of a load takes one: raise it with `ulimit -Hn` or in limits.conf";
            Line::poor("open files", format!("{hard} at most"), fix)
        }
        Ok((_, hard)) => Line::good("open files", format!("{hard} at most, one a connection")),
        Err(error) => Line::poor("open files", error.to_string(), "see what `ulimit -n` says"),
    }
}

fn room() -> Line {
    let free = match statvfs(".") {
        Ok(found) => Bytes::new(found.blocks_available().saturating_mul(found.fragment_size())),
        Err(error) => {
            let fix = "go to a directory that can be written to, or use `--out`";
            return Line::bad("room", format!("this directory can't be looked at: {error}"), fix);
        }
    };
    let found = format!("{free} free here for reports");
    if free >= ROOM_WANTED {
        Line::good("room", found)
    } else if free >= ROOM_NEEDED {
        Line::poor("room", found, "enough for minutes; for a night's soak use `--out` elsewhere")
    } else {
        Line::bad("room", found, "make room, or use `--out` elsewhere")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_has_a_fix_unless_all_is_well() {
        let all = [
            cpus(1),
            cpus(4),
            swap(None),
            swap(Some(0)),
            swap(Some(1 << 30)),
            huge_pages(Some("always")),
            huge_pages(Some("madvise")),
            huge_pages(None),
        ];
        for line in all.iter().chain(&lines()) {
            assert_eq!(line.fix.is_none(), line.good == Some(true), "{}", line.text());
        }
    }
}
