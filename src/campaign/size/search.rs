//! Which limit to try next: a search apart from what runs it.
//!
//! [`next`] reads everything that was tried so far and says what comes next, so that an
//! interrupted search goes on by reading its runs back. In order:
//!
//! 1. The given limit. Where it kills: up, at most to the bound.
//! 2. Down: just above what a run with room held, then below it, in steps of a fifth at most.
//! 3. Between the highest limit that failed and the lowest that survived, until they are so close
//!    that no more is to be gained.
//! 4. Both ends once more, for near the edge survival is a matter of chance: a limit counts as
//!    failed where any run under it failed.
//! 5. The recommendation, which is the lowest limit that survived and a margin, is run itself.
//!
//! Runs are few. Where they run short, the checks go before the proof does.

use serde::{Deserialize, Serialize};

use crate::units::{Bytes, Limit};

/// Failed and survived limits that are so close, as a share, are close enough.
const GAP: f64 = 0.04;
/// What a recommendation is above the least limit that survived, as a share.
const MARGIN: f64 = 0.06;
/// The same where chance decided under some limit.
const MARGIN_BY_CHANCE: f64 = 0.09;
/// The margin follows how far bursts lie apart up to this share.
const MARGIN_MOST: f64 = 0.2;
/// Runs under the recommendation where chance plays a part.
const PROOFS_BY_CHANCE: u32 = 5;
/// What it is above the most that was surely held in any run.
const ABOVE_HELD: f64 = 0.03;
/// A first step down goes so much above what was held, as a share.
const ABOVE_NEED: f64 = 0.02;
/// A step down goes to this share at the lowest.
const STEEPEST: f64 = 0.8;
/// Limits that were tried stand for others so close, as a share.
const SAME: f64 = 0.02;
/// Runs that the lowest surviving limit has.
const REPEATS: u32 = 2;

/// How a run under a limit went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was as good as with room.
    Survived,
    /// It was OOM-killed, or ended by itself.
    Killed,
    /// It was not killed, but worse than with room.
    Thrashed,
}

/// A run that was made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tried {
    /// Its limit.
    pub limit: Limit,
    /// How it went.
    pub fate: Fate,
    /// The unreclaimable memory that it held at its peak, lower and upper bound; where it was
    /// killed while starting, what it took without a limit.
    pub need: Option<(Bytes, Bytes)>,
    /// By what share the highest of its bursts was above their median; 0 where bursts don't decide.
    pub spread: f64,
}

/// What the search may do.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Scope {
    /// The limit that is tried first.
    pub start: Limit,
    /// The smallest limit that can be set.
    pub least: Bytes,
    /// The largest that may be tried.
    pub most: Bytes,
    /// How many runs there may be.
    pub runs: u32,
    /// How many times the recommendation is run.
    pub proofs: u32,
    /// The recommendation is at least so many times what was held (rules that are a share of the
    /// limit); 1 where there are none.
    pub room: f64,
}

/// What a run is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To see what is held where there is room.
    First,
    /// To find a limit that survives.
    Up,
    /// To find one that does not.
    Down,
    /// To come closer to the edge.
    Narrow,
    /// To see whether one end of the edge holds a second time.
    Check,
    /// To prove the recommendation.
    Prove,
}

impl Purpose {
    /// What it is for, in words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::First => "to see what it needs",
            Self::Up => "looking upwards for a limit that survives",
            Self::Down => "looking downwards for one that does not",
            Self::Narrow => "narrowing down the edge",
            Self::Check => "once more, to see whether that was chance",
            Self::Prove => "proving the recommendation",
        }
    }
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// A run.
    Try {
        /// Its limit.
        limit: Limit,
        /// What it is for.
        purpose: Purpose,
    },
    /// Nothing.
    End,
}

/// What the runs so far come to.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Conclusion {
    /// The limit to recommend; it was run, and no run under it or a higher one failed.
    pub recommended: Option<Bytes>,
    /// How many runs it survived.
    pub proofs: u32,
    /// Whether it is close to the least limit that survives, or only a limit that does.
    pub narrow: bool,
    /// The lowest limit that survived each time, with none that failed above it.
    pub least: Option<Bytes>,
    /// The highest limit that failed.
    pub failed: Option<Bytes>,
    /// Whether under some limit one run survived and another did not.
    pub by_chance: bool,
    /// By what share the highest burst of a run was above the median, at most.
    pub spread: f64,
}

/// What to do after these runs.
#[must_use]
pub fn next(scope: &Scope, tried: &[Tried]) -> Step {
    let left = scope.runs.saturating_sub(count(tried));
    let view = View::of(tried);
    if tried.is_empty() {
        return Step::Try { limit: scope.start, purpose: Purpose::First };
    }
    if left == 0 {
        return Step::End;
    }
    let Some(good) = view.good else { return up(scope, &view, tried) };
    if let Some(limit) = closer(scope, &view, good)
        && (left > 1 || matches!(good, Limit::Unlimited))
    {
        let purpose = if view.bad.is_some() { Purpose::Narrow } else { Purpose::Down };
        return Step::Try { limit: Limit::Bytes(limit), purpose };
    }
    let Some(least) = good.bytes() else { return Step::End };
    let proof = view.proof(scope, least);
    let proved = proof.map_or(0, |(_, runs)| runs);
    // The proof comes first where runs are short.
    let proofs = view.proofs(scope);
    let spare = left > scope.proofs.saturating_sub(proved);
    if spare && view.runs(good) < REPEATS && proved == 0 {
        return Step::Try { limit: good, purpose: Purpose::Check };
    }
    if let Some(bad) = view.bad
        && spare
        && proved == 0
        && view.runs(Limit::Bytes(bad)) < REPEATS
    {
        return Step::Try { limit: Limit::Bytes(bad), purpose: Purpose::Check };
    }
    if proved >= proofs {
        return Step::End;
    }
    let limit = proof.map_or_else(|| view.recommendation(scope, least), |(limit, _)| limit);
    Step::Try { limit: Limit::Bytes(limit), purpose: Purpose::Prove }
}

/// What these runs come to, whether the search ended by itself or not.
#[must_use]
pub fn conclude(scope: &Scope, tried: &[Tried]) -> Conclusion {
    let view = View::of(tried);
    let least = view.good.and_then(Limit::bytes);
    let mut conclusion = Conclusion {
        least,
        failed: view.bad,
        by_chance: view.by_chance,
        spread: view.spread,
        ..Conclusion::default()
    };
    let Some(least) = least else { return conclusion };
    let close = closer(scope, &view, Limit::Bytes(least)).is_none();
    if let Some((limit, runs)) = view.proof(scope, least).filter(|_| close) {
        (conclusion.recommended, conclusion.proofs) = (Some(limit), runs);
        conclusion.narrow = true;
        return conclusion;
    }
    // Not narrowed down: the lowest limit that has the margin and has survived, or the highest.
    let wanted = view.recommendation(scope, least);
    let held = || view.survived.iter().filter(|row| row.0 >= least);
    let chosen = held().find(|row| row.0 >= wanted).or_else(|| held().next_back());
    (conclusion.recommended, conclusion.proofs) =
        (chosen.map(|row| row.0), chosen.map_or(0, |row| row.1));
    conclusion
}

fn count(tried: &[Tried]) -> u32 {
    u32::try_from(tried.len()).unwrap_or(u32::MAX)
}

/// What the runs so far show.
#[derive(Debug)]
struct View {
    /// The highest limit under which a run failed.
    bad: Option<Bytes>,
    /// The lowest limit above it under which runs survived.
    good: Option<Limit>,
    /// What the last run there held.
    need: Option<(Bytes, Bytes)>,
    /// The most that any run surely held, and held at most.
    held: Option<(Bytes, Bytes)>,
    by_chance: bool,
    /// Runs that survived worse than with room.
    thrashed: usize,
    /// By what share the highest burst of a run was above the median, at most.
    spread: f64,
    /// Finite limits above `bad` that survived, and how many times.
    survived: Vec<(Bytes, u32)>,
    tried: Vec<Tried>,
}

impl View {
    fn of(tried: &[Tried]) -> Self {
        let failed = |row: &&Tried| row.fate != Fate::Survived;
        let bad = tried.iter().filter(failed).filter_map(|row| row.limit.bytes()).max();
        let never = tried.iter().any(|row| failed(&row) && row.limit == Limit::Unlimited);
        let survived = || tried.iter().filter(|row| row.fate == Fate::Survived);
        let above = |row: &&Tried| row.limit.bytes().is_none_or(|limit| Some(limit) > bad);
        let good = survived().filter(above).map(|row| row.limit).min_by_key(|limit| rank(*limit));
        let good = good.filter(|_| !never);
        let need = survived().rev().find(|row| Some(row.limit) == good).and_then(|row| row.need);
        let most =
            |of: fn((Bytes, Bytes)) -> Bytes| survived().filter_map(|r| r.need).map(of).max();
        let mut limits: Vec<Bytes> =
            survived().filter(above).filter_map(|row| row.limit.bytes()).collect();
        limits.sort_unstable();
        let mut rows: Vec<(Bytes, u32)> = Vec::new();
        for limit in limits {
            match rows.last_mut() {
                Some(last) if last.0 == limit => last.1 += 1,
                _ => rows.push((limit, 1)),
            }
        }
        Self {
            bad,
            good,
            need,
            held: most(|need| need.0).zip(most(|need| need.1)),
            spread: survived().map(|row| row.spread).fold(0.0, f64::max),
            thrashed: tried.iter().filter(|row| row.fate == Fate::Thrashed).count(),
            by_chance: survived().any(|row| row.limit.bytes().is_some_and(|l| Some(l) <= bad)),
            survived: rows,
            tried: tried.to_vec(),
        }
    }

    fn runs(&self, limit: Limit) -> u32 {
        let same = self.tried.iter().filter(|row| row.limit == limit);
        u32::try_from(same.count()).unwrap_or(u32::MAX)
    }

    /// How many runs the recommendation gets.
    fn proofs(&self, scope: &Scope) -> u32 {
        let chance = self.by_chance || self.spread > MARGIN;
        if chance { PROOFS_BY_CHANCE.max(scope.proofs) } else { scope.proofs }
    }

    /// The limit to recommend, were nothing known of it.
    fn recommendation(&self, scope: &Scope, least: Bytes) -> Bytes {
        let margin = if self.by_chance { MARGIN_BY_CHANCE } else { MARGIN };
        // Other runs have other bursts: what lies apart within one lies apart between them.
        let margin = margin.max(self.spread.min(MARGIN_MOST));
        let margin = if self.bad.is_none() && least <= scope.least { 0.0 } else { margin };
        let (low, high) = self.held.unwrap_or_default();
        let wanted = times(least, 1.0 + margin)
            .max(times(low, 1.0 + ABOVE_HELD))
            .max(if scope.room > 1.0 { times(high, scope.room) } else { Bytes::ZERO });
        round_up(wanted).clamp(scope.least, scope.most.max(least))
    }

    /// The limit that stands for the recommendation, where it has been run, and how many times.
    fn proof(&self, scope: &Scope, least: Bytes) -> Option<(Bytes, u32)> {
        let wanted = self.recommendation(scope, least);
        let range = times(wanted, 1.0 - SAME)..=times(wanted, 1.0 + SAME);
        // With a share of the limit to be kept free, no less than wanted will do.
        let range = if scope.room > 1.0 { wanted..=*range.end() } else { range };
        self.survived.iter().copied().find(|row| range.contains(&row.0))
    }
}

/// Upwards, after a kill.
fn up(scope: &Scope, view: &View, tried: &[Tried]) -> Step {
    let Some(bad) = view.bad.filter(|bad| *bad < scope.most) else { return Step::End };
    let wants = tried.iter().filter_map(|row| row.need).map(|need| need.1).max();
    let near = tried.iter().any(|row| row.fate == Fate::Survived);
    let kills = tried.len();
    let limit = match wants {
        Some(high) if high > bad => times(high, 1.0 + GAP),
        _ if near => times(bad, 1.0 + GAP),
        _ if kills <= 1 => times(bad, 2.0),
        // Rather than to creep: with all the room that there may be it shows what it needs.
        _ => scope.most,
    };
    let limit = round_up(limit.max(times(bad, 1.0 + GAP))).min(scope.most);
    Step::Try { limit: Limit::Bytes(limit), purpose: Purpose::Up }
}

/// A limit that brings what failed and what survived closer together; none where they are close.
fn closer(scope: &Scope, view: &View, good: Limit) -> Option<Bytes> {
    let (low, high) = view.need.unzip();
    let just_above = high.map(|high| round_up(times(high, 1.0 + ABOVE_NEED)));
    let just_below = low.map(|low| round_up(times(low, 1.0 - ABOVE_NEED)));
    let Limit::Bytes(good) = good else {
        let guess = just_above.unwrap_or(scope.most);
        let floor = view.bad.map_or(scope.least, |bad| times(bad, 1.0 + GAP));
        return Some(guess.clamp(scope.least.max(floor).min(scope.most), scope.most));
    };
    if good <= scope.least {
        return None;
    }
    let Some(bad) = view.bad else {
        if let Some(limit) = just_above.filter(|limit| *limit < times(good, 1.0 - GAP)) {
            return Some(limit.max(scope.least));
        }
        let steepest = times(good, STEEPEST);
        let below = just_below.unwrap_or(steepest).min(times(good, 1.0 - GAP));
        return Some(round_up(below.max(steepest)).max(scope.least));
    };
    if good <= round_up(times(bad, 1.0 + GAP)) {
        return None;
    }
    let inside = |limit: &Bytes| {
        let (low, high) = (times(bad, 1.0 + GAP / 2.0), times(good, 1.0 - GAP / 2.0));
        (low..=high).contains(limit)
    };
    let half = (good.as_f64() / bad.as_f64()).sqrt();
    // What is held says nothing of what a service reads again and again: the knee of one that lives
    // on its page cache may be anywhere.
    let middle = if view.thrashed > 1 { half } else { half.min(2.0 - STEEPEST) };
    let middle = round_up(times(bad, middle));
    let is_bad = |row: &&Tried| row.limit == Limit::Bytes(bad);
    let chance = view.tried.iter().filter(is_bad).any(|row| row.fate == Fate::Survived);
    if chance && times(bad, 1.0 + 2.0 * GAP) < good {
        // It survived there once: the edge is near.
        return Some(round_up(times(bad, 1.0 + GAP)));
    }
    // Far apart, what was held leads faster than halving.
    let far = good > times(bad, 1.0 + 3.0 * GAP);
    let led = just_above.filter(inside).or_else(|| just_below.filter(inside)).filter(|_| far);
    Some(led.unwrap_or(middle)).filter(|limit| *limit > bad && *limit < good)
}

fn rank(limit: Limit) -> u64 {
    limit.bytes().map_or(u64::MAX, Bytes::get)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
fn times(size: Bytes, factor: f64) -> Bytes {
    Bytes::new((size.as_f64() * factor) as u64)
}

/// Up to what people write: whole mebibytes, quarters below 100 MiB, 64 KiB below 32 MiB.
fn round_up(size: Bytes) -> Bytes {
    let grain = match size.get() >> 20 {
        0..32 => 64 << 10,
        32..100 => 256 << 10,
        _ => 1 << 20,
    };
    Bytes::new(size.get().div_ceil(grain) * grain)
}

#[cfg(test)]
#[path = "search_tests.rs"]
mod tests;
