//! What `/proc` tells of a process and of those beside it.

use std::path::Path;

use procfs::process::Process;

/// The start time of a process, which with its id names it for good.
pub(super) fn start_time(pid: i32) -> Option<u64> {
    // One that has ended and is not waited for yet runs no more.
    let stat = Process::new(pid).ok()?.stat().ok().filter(|stat| stat.state != 'Z');
    stat.map(|stat| stat.starttime)
}

/// Who else is in a cgroup than this process, in words; none where nobody is.
pub(super) fn others_in(leaf: &Path, pid: i32) -> Option<String> {
    let text = std::fs::read_to_string(leaf.join("cgroup.procs")).unwrap_or_default();
    let others: Vec<i32> =
        text.lines().filter_map(|line| line.parse().ok()).filter(|other| *other != pid).collect();
    let own = others.iter().filter(|other| is_descendant(**other, pid)).count();
    let processes = |count: usize| match count {
        1 => "1 other process".to_owned(),
        more => format!("{more} other processes"),
    };
    match (others.len(), own) {
        (0, _) => None,
        (all, own) if all == own => Some(format!("{}, all its own children", processes(all))),
        (all, 0) => Some(processes(all)),
        (all, own) => Some(format!("{}, {own} of them its own children", processes(all))),
    }
}

fn is_descendant(of: i32, ancestor: i32) -> bool {
    let mut pid = of;
    // A chain of parents is short; a loop can't be, but a process id may be used again meanwhile.
    for _ in 0..64 {
        let Some(stat) = Process::new(pid).ok().and_then(|process| process.stat().ok()) else {
            return false;
        };
        if stat.ppid == ancestor {
            return true;
        }
        if stat.ppid <= 1 {
            return false;
        }
        pid = stat.ppid;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_told_from_strangers() {
        let own = std::process::id().cast_signed();
        let mut child = std::process::Command::new("sleep").arg("5").spawn().unwrap();
        assert!(is_descendant(child.id().cast_signed(), own));
        assert!(!is_descendant(1, own));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
