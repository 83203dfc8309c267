//! What is no figure: kills and leaks.

use statrs::distribution::{DiscreteCDF, Hypergeometric};

use super::{ALPHA, Outcome, Run};

/// Something that runs showed or did not show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// `oom_kill` or `leak`.
    pub id: &'static str,
    /// What became of it.
    pub outcome: Outcome,
    /// A sentence for people.
    pub text: String,
}

/// In how many of a side's runs something was seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) hits: usize,
    pub(super) of: usize,
}

impl Seen {
    fn words(self) -> String {
        match self {
            Self { hits: 0, of } => format!("none of {of}"),
            Self { hits, of } => format!("{hits} of {of}"),
        }
    }
}

pub(super) fn compare(base: &[Run], new: &[Run]) -> Vec<Fact> {
    let [base, new] = [base, new].map(|side| [killed(side), leaking(side)]);
    [kills(base[0], new[0]), leaks(base[1], new[1])].into_iter().flatten().collect()
}

pub(super) fn killed(runs: &[Run]) -> Seen {
    Seen { hits: runs.iter().filter(|run| run.document.is_killed()).count(), of: runs.len() }
}

/// Among runs whose growth is clear.
pub(super) fn leaking(runs: &[Run]) -> Seen {
    let clear: Vec<bool> = runs.iter().filter_map(|run| run.document.is_leaking()).collect();
    Seen { hits: clear.iter().filter(|leak| **leak).count(), of: clear.len() }
}

/// A kill where there was none is worse, however few runs there are: it was seen.
pub(super) fn kills(base: Seen, new: Seen) -> Option<Fact> {
    let outcome = match (base.hits, new.hits) {
        (0, 0) => return None,
        (0, _) => Outcome::Regression,
        (_, 0) => Outcome::Improvement,
        _ => shares(base, new),
    };
    let text = format!("OOM-killed: {} new runs, {} base runs", new.words(), base.words());
    Some(Fact { id: "oom_kill", outcome, text })
}

/// A leak is the analysis's judgement of a run: most runs have to have it.
pub(super) fn leaks(base: Seen, new: Seen) -> Option<Fact> {
    let mostly = |seen: Seen| 2 * seen.hits > seen.of;
    let outcome = match (base.hits, new.hits) {
        (0, 0) => return None,
        _ if base.of == 0 || new.of == 0 => Outcome::Unclear,
        (0, _) if mostly(new) => Outcome::Regression,
        (_, 0) if mostly(base) => Outcome::Improvement,
        _ if mostly(base) && mostly(new) => Outcome::Same,
        _ => shares(base, new),
    };
    let text = format!(
        "memory grows as a leak: {} new runs, {} base runs, of those where it is clear",
        new.words(),
        base.words()
    );
    Some(Fact { id: "leak", outcome, text })
}

/// By Fisher's exact test.
fn shares(base: Seen, new: Seen) -> Outcome {
    let whole = |count: usize| count as u64;
    let (runs, hits) = (whole(base.of + new.of), whole(base.hits + new.hits));
    let Ok(chance) = Hypergeometric::new(runs, hits, whole(new.of)) else {
        return Outcome::Unclear;
    };
    let at_least = if new.hits == 0 { 1.0 } else { chance.sf(whole(new.hits) - 1) };
    let at_most = chance.cdf(whole(new.hits));
    if at_least <= ALPHA {
        Outcome::Regression
    } else if at_most <= ALPHA {
        Outcome::Improvement
    } else {
        Outcome::Unclear
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_kill_is_enough_where_there_was_none() {
        let seen = |hits, of| Seen { hits, of };
        let of = |base, new| kills(base, new).map(|fact| fact.outcome);
        assert_eq!(of(seen(0, 5), seen(0, 5)), None);
        assert_eq!(of(seen(0, 5), seen(1, 5)), Some(Outcome::Regression));
        assert_eq!(of(seen(1, 1), seen(0, 1)), Some(Outcome::Improvement));
        assert_eq!(of(seen(1, 5), seen(2, 5)), Some(Outcome::Unclear));
        // Fisher: 11/4368 + … of 1 of 8 against 8 of 8 is 0.0007.
        assert_eq!(of(seen(1, 8), seen(8, 8)), Some(Outcome::Regression));
    }

    #[test]
    fn a_leak_has_to_be_in_most_runs() {
        let seen = |hits, of| Seen { hits, of };
        let of = |base, new| leaks(base, new).map(|fact| fact.outcome);
        assert_eq!(of(seen(0, 1), seen(1, 1)), Some(Outcome::Regression));
        assert_eq!(of(seen(0, 5), seen(1, 5)), Some(Outcome::Unclear));
        assert_eq!(of(seen(0, 0), seen(1, 1)), Some(Outcome::Unclear));
        assert_eq!(of(seen(5, 5), seen(5, 5)), Some(Outcome::Same));
        assert_eq!(of(seen(1, 1), seen(0, 1)), Some(Outcome::Improvement));
    }
}
