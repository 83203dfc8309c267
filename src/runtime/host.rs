//! What is known of this host.

use std::fs;

use crate::event::HostFacts;

/// Reads the host's facts.
pub(super) fn facts() -> HostFacts {
    let kernel = nix::sys::utsname::uname()
        .map(|name| name.release().to_string_lossy().into_owned())
        .unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    HostFacts {
        kernel,
        cpus: u32::try_from(cpus).unwrap_or(u32::MAX),
        cgroup_driver: None,
        thp: fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled")
            .ok()
            .and_then(|text| chosen(&text)),
        docker: None,
    }
}

/// The chosen one of `always [madvise] never`.
fn chosen(text: &str) -> Option<String> {
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
}
