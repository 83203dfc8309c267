//! What is known of this host.

use std::fs;
use std::path::Path;

use crate::cgroup::Hierarchies;
use crate::event::HostFacts;

/// What this host tells of itself, without a container engine's view.
#[must_use]
pub fn bare_host_facts() -> HostFacts {
    let kernel = nix::sys::utsname::uname()
        .map(|name| name.release().to_string_lossy().into_owned())
        .unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let huge = |file: &str| {
        let path = Path::new("/sys/kernel/mm/transparent_hugepage").join(file);
        fs::read_to_string(path).ok().and_then(|text| chosen(&text))
    };
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    HostFacts {
        kernel,
        cpus: u32::try_from(cpus).unwrap_or(u32::MAX),
        cgroup_driver: None,
        thp: huge("enabled"),
        docker: None,
        thp_defrag: huge("defrag"),
        memory_bytes: meminfo(&memory, "MemTotal"),
        swap_bytes: meminfo(&memory, "SwapTotal"),
        cgroup: Hierarchies::discover().ok().map(|found| found.layout().to_owned()),
        in_container: Some(in_container()),
    }
}

/// What tells one boot of one kernel from all others: processes with the same share its clocks.
#[must_use]
pub fn boot_id() -> Option<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned())
}

/// Whether this process sees the host's own processes and cgroups, not those of a container.
///
/// The initial namespaces have fixed numbers: `include/linux/proc_ns.h`.
pub(super) fn sees_the_host() -> bool {
    let is = |name: &str, number: u32| {
        let link = fs::read_link(format!("/proc/self/ns/{name}"));
        link.is_ok_and(|link| link.to_string_lossy() == format!("{name}:[{number}]"))
    };
    is("pid", 0xEFFF_FFFC) && is("cgroup", 0xEFFF_FFFB)
}

/// Whether this very process runs in a container: engines leave a file at the root, or say so in
/// the environment of the first process.
fn in_container() -> bool {
    let files = ["/.dockerenv", "/run/.containerenv"];
    let variables = ["container", "KUBERNETES_SERVICE_HOST"];
    files.iter().any(|path| Path::new(path).exists())
        || variables.iter().any(|name| std::env::var_os(name).is_some())
        || fs::read("/proc/1/environ").is_ok_and(|text| {
            text.split(|byte| *byte == 0).any(|variable| variable.starts_with(b"container="))
        })
}

/// A size of `/proc/meminfo`, in bytes: `SwapTotal:   0 kB`.
pub(super) fn meminfo(text: &str, key: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    let kib: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The chosen one of `always [madvise] never`.
pub(super) fn chosen(text: &str) -> Option<String> {
    let (_, after) = text.split_once('[')?;
    after.split_once(']').map(|(mode, _)| mode.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_chosen_mode() {
        assert_eq!(chosen("always [madvise] never\n").as_deref(), Some("madvise"));
        assert_eq!(chosen(""), None);
    }

    #[test]
    fn reads_sizes_of_the_machine() {
        let text = "MemTotal:        8131648 kB\nSwapTotalFoo: 3 kB\nSwapTotal:             0 kB\n";
        assert_eq!(meminfo(text, "MemTotal"), Some(8_326_807_552));
        assert_eq!(meminfo(text, "SwapTotal"), Some(0));
        assert_eq!(meminfo(text, "Swap"), None);
        assert_eq!(meminfo("MemTotal: many\n", "MemTotal"), None);
    }
}
