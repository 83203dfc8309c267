//! A limit as other tools want it written: Kubernetes, Compose, `docker run`.

use super::text;
use crate::analysis::{Findings, Sizing};
use crate::units::Bytes;

/// Who the limit is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Snippet {
    /// A container's `resources:` of a manifest.
    Kubernetes,
    /// A service of a Compose file.
    Compose,
    /// Flags of `docker run`.
    Docker,
}

impl Snippet {
    /// All, with the names of their files.
    pub const FILES: [(Self, &'static str); 3] = [
        (Self::Kubernetes, "kubernetes.yaml"),
        (Self::Compose, "compose.yaml"),
        (Self::Docker, "docker-run.txt"),
    ];

    /// The text; none where no limit is recommended.
    #[must_use]
    pub fn text(self, findings: &Findings) -> Option<String> {
        let sizing = findings.sizing.as_ref()?;
        let limit = sizing.recommended?;
        let head = head(sizing);
        let request = sizing.request.unwrap_or(limit).min(limit);
        Some(match self {
            Self::Kubernetes => {
                let (limit, request) = (kubernetes(limit), kubernetes(request));
                format!(
                    "{head}resources:\n  requests:\n    memory: {request}\n  limits:\n    \
                     memory: {limit}\n"
                )
            }
            Self::Compose => {
                let (limit, request) = (docker(limit), docker(request));
                let name = service(&findings.name);
                format!(
                    "{head}services:\n  {name}:\n    memswap_limit: {limit} # no swap beside it\n    \
                     deploy:\n      resources:\n        limits:\n          memory: {limit}\n        \
                     reservations:\n          memory: {request}\n"
                )
            }
            Self::Docker => {
                let (limit, request) = (docker(limit), docker(request));
                format!("--memory {limit} --memory-swap {limit} --memory-reservation {request}\n")
            }
        })
    }
}

fn head(sizing: &Sizing) -> String {
    let how = if sizing.verified { "proved" } else { "a guess, not proved" };
    format!("# highwater ({how}): {}\n", text::clean(&sizing.reason, 300))
}

/// In the largest unit that it is a whole number of.
fn in_units(size: Bytes, units: [&str; 3]) -> String {
    let bytes = size.get();
    let (count, unit) = if bytes.is_multiple_of(1 << 20) {
        (bytes >> 20, units[2])
    } else if bytes.is_multiple_of(1 << 10) {
        (bytes >> 10, units[1])
    } else {
        (bytes, units[0])
    };
    format!("{count}{unit}")
}

/// As a Kubernetes quantity.
pub(super) fn kubernetes(size: Bytes) -> String {
    in_units(size, ["", "Ki", "Mi"])
}

/// As Docker writes sizes: `k` and `m` are of 1024.
fn docker(size: Bytes) -> String {
    in_units(size, ["b", "k", "m"])
}

/// A name that a Compose file takes.
fn service(name: &str) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let name: String = name.chars().take(60).map(fits).collect();
    let name = name.trim_start_matches(['-', '_', '.']);
    if name.is_empty() { "service".to_owned() } else { name.to_ascii_lowercase() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::synthetic::Script;

    #[test]
    fn sizes_are_exact_in_every_spelling() {
        assert_eq!(kubernetes(Bytes::from_mib(54)), "54Mi");
        assert_eq!(kubernetes(Bytes::from_kib(6_208)), "6208Ki");
        assert_eq!(docker(Bytes::from_kib(6_208)), "6208k");
        for size in [Bytes::new(7), Bytes::from_kib(3), Bytes::from_mib(9)] {
            assert_eq!(kubernetes(size).parse(), Ok(size));
        }
    }

    #[test]
    fn a_guess_is_called_one() {
        let mut findings = Script::default().findings();
        findings.name = "Shop API: \"x\"\n".to_owned();
        let compose = Snippet::Compose.text(&findings).unwrap();
        assert!(compose.starts_with("# highwater (a guess, not proved): "), "{compose}");
        assert!(compose.contains("\n  shop-api---x--:\n"), "{compose}");
        let flags = Snippet::Docker.text(&findings).unwrap();
        assert!(flags.starts_with("--memory "), "{flags}");
        findings.sizing = None;
        assert_eq!(Snippet::Kubernetes.text(&findings), None);
    }
}
