//! How requests fail, read for people: what climbs, what came as a burst, what comes before the
//! target is saturated.

use super::findings::{LoadAxis, LoadLevel, Saturation};
use super::rows::{AnswerCounts, Rows, Span, TrafficRow};
use crate::analysis::growth::trend::trend;
use crate::clock::Moment;
use crate::judge::float;

/// Shares of failures below this are none to speak of.
const TELLING: f64 = 0.01;
/// Growing errors are told from this share on, at the end.
const GROWN: f64 = 0.005;
/// What climbs is so many times as much in the end.
const CLIMBS: f64 = 2.0;
/// Fewer answers than this say nothing.
const LEAST: u64 = 50;
/// A burst has so many answers at least.
const LEAST_BURST: u64 = 10;
/// It holds this share of all its like, in this share of the time at most.
const MOST_OF_THEM: f64 = 0.8;
const SHORT: f64 = 0.2;
/// And so large a share of what was answered meanwhile.
const DENSE: f64 = 0.05;
/// Parts in which a trend over time is looked for.
const PARTS: usize = 8;
/// A trend is no chance below this p-value.
const CHANCE: f64 = 0.05;
/// Failures come before saturation where they begin below this share of its load.
const BEFORE: f64 = 0.9;

/// A way in which requests failed.
#[derive(Debug, Clone, PartialEq)]
pub struct FailurePattern {
    /// What kind of it.
    pub kind: FailureKind,
    /// In words and numbers.
    pub text: String,
    /// When it began, where it is of a time.
    pub at: Option<Moment>,
    /// From which load on, where it is of a load.
    pub from_load: Option<f64>,
}

/// The ways in which requests fail that have a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// 429 becomes more.
    RateLimited,
    /// 502, 503 and 504 for a short while.
    UnavailableBurst,
    /// Errors of the server become more as time goes on.
    ErrorsGrow,
    /// Requests fail although throughput still follows the load.
    BeforeSaturation,
}

impl FailureKind {
    /// The name that `run.json` uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RateLimited => "rate_limited",
            Self::UnavailableBurst => "unavailable_burst",
            Self::ErrorsGrow => "errors_grow",
            Self::BeforeSaturation => "before_saturation",
        }
    }
}

/// A phase's load, where it climbs.
pub(super) struct Climb<'a> {
    pub(super) axis: LoadAxis,
    pub(super) levels: &'a [LoadLevel],
    pub(super) throughput: Option<Saturation>,
}

/// What there is to say of a phase's failures; `load` gives the load of a stretch of time.
pub(super) fn patterns(
    rows: &Rows,
    climb: Option<&Climb<'_>>,
    load: impl Fn(Span) -> Option<f64>,
) -> Vec<FailurePattern> {
    let rows: Vec<&TrafficRow> = rows.traffic.rows().collect();
    if rows.iter().map(|row| row.ended).sum::<u64>() < LEAST {
        return Vec::new();
    }
    let limited = limited(&rows, climb.map(|climb| climb.axis), load);
    let found = [limited, burst(&rows, climb.is_some()), growing(&rows), climb.and_then(early)];
    found.into_iter().flatten().collect()
}

fn share(part: u64, whole: u64) -> f64 {
    float(part) / float(whole.max(1))
}

fn percent(share: f64) -> String {
    let value = 100.0 * share;
    if value >= 10.0 { format!("{value:.0} %") } else { format!("{value:.1} %") }
}

/// The shares in the lower and the upper third of a measure; none where one third is empty.
fn ends(
    rows: &[&TrafficRow],
    of: impl Fn(&TrafficRow) -> Option<f64>,
    count: fn(AnswerCounts) -> u64,
) -> Option<(f64, f64)> {
    let placed: Vec<(f64, &TrafficRow)> =
        rows.iter().filter_map(|row| Some((of(row)?, *row))).collect();
    let least = placed.iter().map(|row| row.0).fold(f64::INFINITY, f64::min);
    let most = placed.iter().map(|row| row.0).fold(f64::NEG_INFINITY, f64::max);
    let of_third = |third: std::ops::RangeInclusive<f64>| {
        let inside = placed
            .iter()
            .filter(|row| third.contains(&((row.0 - least) / (most - least).max(1e-9))));
        let (part, whole) = inside.fold((0, 0), |sums: (u64, u64), (_, row)| {
            (sums.0 + count(row.answers), sums.1 + row.ended)
        });
        (whole > 0).then(|| share(part, whole))
    };
    of_third(0.0..=1.0 / 3.0).zip(of_third(2.0 / 3.0..=1.0))
}

fn limited(
    rows: &[&TrafficRow],
    axis: Option<LoadAxis>,
    load: impl Fn(Span) -> Option<f64>,
) -> Option<FailurePattern> {
    let by_load = |row: &TrafficRow| load(row.span);
    let by_time = |row: &TrafficRow| Some(row.span.middle());
    let count = |answers: AnswerCounts| answers.limited;
    let ((low, high), along) = match axis {
        Some(_) => (ends(rows, by_load, count)?, "as the load rises"),
        None => (ends(rows, by_time, count)?, "as time goes on"),
    };
    // Where most are turned away at once, it is those that get through which become fewer.
    let fewer = CLIMBS * (1.0 - high) <= 1.0 - low && high > low;
    if high < TELLING || (high < CLIMBS * low && !fewer) {
        return None;
    }
    let seen = rows.iter().filter(|row| share(row.answers.limited, row.ended) >= TELLING);
    let first = seen.min_by(|a, b| a.span.from.total_cmp(&b.span.from))?;
    let from_load = axis.and(load(first.span));
    let from = from_load
        .zip(axis)
        .map_or_else(String::new, |(from, axis)| format!(", from {from:.0} {} on", axis.unit()));
    Some(FailurePattern {
        kind: FailureKind::RateLimited,
        text: format!("429 climbs {along}: {} to {}{from}", percent(low), percent(high)),
        at: Some(moment(first.span.from)),
        from_load,
    })
}

/// The shortest stretch that holds most answers of 502, 503 and 504.
fn burst(rows: &[&TrafficRow], climbs: bool) -> Option<FailurePattern> {
    let of = |row: &TrafficRow| row.answers.shed + row.answers.gateway;
    let all: u64 = rows.iter().map(|row| of(row)).sum();
    if all < LEAST_BURST {
        return None;
    }
    let (first, last) = (rows.first()?.span.from, rows.last()?.span.to);
    let wanted = MOST_OF_THEM * float(all);
    let mut best: Option<(usize, usize)> = None;
    let (mut begin, mut held) = (0, 0);
    let length = |(begin, end): (usize, usize)| rows[end].span.to - rows[begin].span.from;
    for (end, row) in rows.iter().enumerate() {
        held += of(row);
        while float(held - of(rows[begin])) >= wanted {
            held -= of(rows[begin]);
            begin += 1;
        }
        if float(held) >= wanted && best.is_none_or(|best| length((begin, end)) < length(best)) {
            best = Some((begin, end));
        }
    }
    let (begin, end) = best?;
    let stretch = &rows[begin..=end];
    let (count, ended) =
        stretch.iter().fold((0, 0), |sums: (u64, u64), row| (sums.0 + of(row), sums.1 + row.ended));
    let seconds = length((begin, end));
    // At the end of a climb they are no burst: that is where the load is too much.
    let at_the_top = climbs && end + 1 >= rows.len();
    if seconds > SHORT * (last - first) || share(count, ended) < DENSE || at_the_top {
        return None;
    }
    let at = moment(stretch.first()?.span.from);
    Some(FailurePattern {
        kind: FailureKind::UnavailableBurst,
        text: format!(
            "a burst of 502, 503 or 504: {count} within {seconds:.1} s, {} of what was answered then",
            percent(share(count, ended))
        ),
        at: Some(at),
        from_load: None,
    })
}

/// Errors of the server that become more and more.
fn growing(rows: &[&TrafficRow]) -> Option<FailurePattern> {
    let (first, last) = (rows.first()?.span.from, rows.last()?.span.to);
    let mut parts = [(0_u64, 0_u64); PARTS];
    for row in rows {
        let place = (row.span.middle() - first) / (last - first).max(1e-9);
        let part = part_of(place);
        parts[part].0 += row.answers.errors;
        parts[part].1 += row.ended;
    }
    let known: Vec<(f64, f64)> = (0_u32..)
        .zip(parts)
        .filter(|(_, part)| part.1 > 0)
        .map(|(n, part)| (f64::from(n), share(part.0, part.1)))
        .collect();
    if known.len() < PARTS {
        return None;
    }
    let (x, y): (Vec<f64>, Vec<f64>) = known.iter().copied().unzip();
    let trend = trend(&x, &y)?;
    let (early, late) = (f64::midpoint(y[0], y[1]), f64::midpoint(y[PARTS - 2], y[PARTS - 1]));
    let grows = trend.low > 0.0 && trend.p < CHANCE && late >= GROWN && late >= CLIMBS * early;
    grows.then(|| FailurePattern {
        kind: FailureKind::ErrorsGrow,
        text: format!(
            "errors of the server (5xx) grow as time goes on: {} to {} of the answers",
            percent(early),
            percent(late)
        ),
        at: None,
        from_load: None,
    })
}

/// Failures that begin while throughput still follows the load.
fn early(climb: &Climb<'_>) -> Option<FailurePattern> {
    let most = climb.levels.last()?.load;
    let saturated = climb.throughput.and_then(|row| row.from);
    let answered = || climb.levels.iter().filter(|row| row.requests > 0);
    let of = |row: &LoadLevel| share(row.failed, row.requests);
    let first = answered().find(|row| of(row) >= TELLING && row.failed >= 2)?;
    let after: (u64, u64) = answered()
        .filter(|row| row.load >= first.load)
        .fold((0, 0), |sums, row| (sums.0 + row.failed, sums.1 + row.requests));
    let all_fail = climb.throughput.is_none();
    if first.load >= BEFORE * saturated.unwrap_or(most)
        || share(after.0, after.1) < TELLING
        || all_fail
    {
        return None;
    }
    let (load, unit, now) = (first.load, climb.axis.unit(), percent(of(first)));
    let than = saturated.map_or_else(
        || "though throughput still rises".to_owned(),
        |from| format!("before throughput is saturated at {from:.0}"),
    );
    Some(FailurePattern {
        kind: FailureKind::BeforeSaturation,
        text: format!("requests fail from {load:.0} {unit} on ({now}), {than}"),
        at: None,
        from_load: Some(load),
    })
}

fn moment(seconds: f64) -> Moment {
    let time = std::time::Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default();
    Moment::START + time
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of eight")]
fn part_of(place: f64) -> usize {
    ((place.clamp(0.0, 1.0) * float(PARTS as u64)) as usize).min(PARTS - 1)
}

#[cfg(test)]
#[path = "failing_tests.rs"]
mod tests;
