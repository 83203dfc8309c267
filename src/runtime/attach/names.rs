//! Names of containers: which could be one, which come close, and which of a path is one.

use super::super::Error;
use super::super::docker::Engine;
use super::AttachError;

/// Names that are offered in place of a wrong one.
const OFFERED: usize = 5;

/// From this likeness on, a name may be what was meant.
const ALIKE: f64 = 0.8;

/// Whether a container could have this name or id, by Docker's own rule.
pub(super) fn is_container_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

/// Where the engine can't decide between several containers, which those are.
pub(super) async fn why_refused(engine: &Engine, name: &str, error: Error) -> AttachError {
    let running = engine.running(&[]).await.unwrap_or_default();
    let begin = running.into_iter().filter(|(id, _)| id.starts_with(name));
    let names: Vec<String> = begin.map(|row| row.1).take(OFFERED).collect();
    match names.len() {
        0 | 1 => error.into(),
        _ => AttachError::Several { what: name.to_owned(), names },
    }
}

/// The part of a cgroup's path up to the component that holds a container's id.
pub(super) fn up_to_id<'a>(group: &'a str, id: &str) -> &'a str {
    match group.find(id) {
        Some(at) if !id.is_empty() => {
            let end = group[at..].find('/').map_or(group.len(), |slash| at + slash);
            &group[..end]
        }
        _ => group,
    }
}

/// The names closest to a wrong one, the closest first, with whether it may have been meant.
pub(super) fn near(what: &str, names: Vec<String>) -> Vec<(String, bool)> {
    let likeness = |name: &str| strsim::jaro_winkler(what, name);
    let mut rows: Vec<(f64, String)> = names.into_iter().map(|n| (likeness(&n), n)).collect();
    rows.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    rows.truncate(OFFERED);
    rows.into_iter().map(|(likeness, name)| (name, likeness >= ALIKE)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_containers_cgroup_is_the_one_with_its_id() {
        assert_eq!(up_to_id("/docker/abc/init.scope", "abc"), "/docker/abc");
        assert_eq!(
            up_to_id("/machine.slice/libpod-abc.scope/container", "abc"),
            "/machine.slice/libpod-abc.scope"
        );
        assert_eq!(up_to_id("/docker/abc", "abc"), "/docker/abc");
        assert_eq!(up_to_id("/elsewhere", "abc"), "/elsewhere");
    }

    #[test]
    fn only_names_of_containers_are_asked_for() {
        for name in ["web", "a1b2", "shop_api.1-x"] {
            assert!(is_container_name(name), "{name}");
        }
        for name in ["", "..", "%2e", "a b", "-x", "a/b"] {
            assert!(!is_container_name(name), "{name}");
        }
    }

    #[test]
    fn offers_the_names_that_are_close() {
        let names = ["redis", "shop-api", "shop-db"].map(str::to_owned).to_vec();
        let near = near("shop-ap", names);
        assert_eq!(near[0], ("shop-api".to_owned(), true));
        assert_eq!(near[2], ("redis".to_owned(), false));
    }
}
