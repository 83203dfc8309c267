//! Stretches of time, bucket by bucket.

use super::*;

fn question(aggregate: Aggregate, operator: Operator, bound: f64) -> Question {
    Question { aggregate, operator, bound: Some(bound), scale: 1.0 }
}

fn second(n: f64) -> Moment {
    Moment::START + Duration::from_secs_f64(n)
}

/// A level, told ten times a second.
fn tell(mut take: impl FnMut(&Stretch), seconds: std::ops::Range<u64>, level: f64) {
    for n in seconds.start * 10..seconds.end * 10 {
        let (start, end) = (Moment::from_millis(n * 100), Moment::from_millis(n * 100 + 100));
        take(&Stretch { start, ..Stretch::point(end, level) });
    }
}

const LENGTH: Duration = Duration::from_secs(10);
const PACE: Duration = Duration::from_millis(100);

#[test]
fn a_level_breaks_a_rule_only_where_it_stays_beyond() {
    let mut held = Held::new(question(Aggregate::Max, Operator::Less, 80.0), LENGTH, PACE);
    for (seconds, level) in [(0..20, 50.0), (20..29, 90.0), (29..30, 60.0), (30..39, 95.0)] {
        tell(|stretch| held.level(stretch), seconds, level);
    }
    assert_eq!((held.broken_at(), held.worst()), (None, Some(60.0)));
    tell(|stretch| held.level(stretch), 39..45, 85.0);
    assert_eq!((held.broken_at(), held.worst()), (Some(second(40.0)), Some(85.0)));
}

#[test]
fn exactly_as_long_is_long_enough_and_a_gap_is_a_break() {
    let mut held = Held::new(question(Aggregate::Max, Operator::Less, 80.0), LENGTH, PACE);
    tell(|stretch| held.level(stretch), 3..13, 90.0);
    assert_eq!(held.broken_at(), Some(second(13.0)));
    let mut held = Held::new(question(Aggregate::Max, Operator::Less, 80.0), LENGTH, PACE);
    tell(|stretch| held.level(stretch), 0..9, 90.0);
    tell(|stretch| held.level(stretch), 20..29, 90.0);
    assert_eq!((held.broken_at(), held.worst()), (None, None));
}

#[test]
fn a_level_too_low_for_long_breaks_a_lower_bound() {
    let mut held = Held::new(question(Aggregate::Min, Operator::AtLeast, 2.0), LENGTH, PACE);
    tell(|stretch| held.level(stretch), 0..20, 3.0);
    assert_eq!((held.broken_at(), held.worst()), (None, Some(3.0)));
    tell(|stretch| held.level(stretch), 20..31, 1.0);
    assert_eq!((held.broken_at(), held.worst()), (Some(second(30.0)), Some(1.0)));
}

#[test]
fn the_worst_stretch_counts_and_what_is_shorter_is_not_judged() {
    let ask = question(Aggregate::Avg, Operator::Less, 50.0);
    let mut sliding = Sliding::new(ask, LENGTH, PACE);
    tell(|stretch| sliding.level(stretch), 0..9, 90.0);
    assert_eq!(sliding.worst(), None);
    tell(|stretch| sliding.level(stretch), 9..30, 10.0);
    let worst = sliding.worst().unwrap();
    assert!((worst - 82.0).abs() < 0.5, "{worst}");
    assert!(sliding.broken_at().is_some_and(|at| at >= second(9.99) && at < second(10.5)));
}

#[test]
fn percentiles_are_of_one_stretch_only() {
    let ask = question(Aggregate::Percentile(95.0), Operator::Less, 200.0);
    let ask = Question { scale: 1e-3, ..ask };
    let mut sliding = Sliding::new(ask, LENGTH, Duration::from_secs(1));
    sliding.begin(Moment::START);
    for n in 0..60_u32 {
        let mut times = Histogram::new();
        let us = if (20..26).contains(&n) { 400_000 } else { 1000 };
        (0..50).for_each(|_| times.record(us));
        sliding.advance(second(f64::from(n) + 0.5));
        sliding.add(Sum::times(&times, &ask));
    }
    sliding.advance(second(60.0));
    let worst = sliding.worst().unwrap();
    assert!((worst - 400.0).abs() < 1.0, "{worst}");
    assert_eq!(sliding.broken_at(), Some(second(21.0)));
    // Only the last stretch's are kept.
    assert_eq!(sliding.values.values().sum::<u64>(), 500);
    assert_eq!(sliding.whole.len(), 10);
}

#[test]
fn a_stretch_without_traffic_counts_none() {
    let ask = question(Aggregate::Count, Operator::AtLeast, 5.0);
    let mut sliding = Sliding::new(ask, LENGTH, Duration::from_secs(1));
    sliding.begin(Moment::START);
    for n in 0..12_u32 {
        sliding.advance(second(f64::from(n) + 0.5));
        sliding.add(Sum::share(1, 1));
    }
    assert_eq!(sliding.worst(), Some(10.0));
    sliding.advance(second(40.0));
    assert_eq!(sliding.worst(), Some(0.0));
    assert_eq!(sliding.broken_at(), Some(second(18.0)));
}

#[test]
fn the_last_part_of_a_stretch_is_judged_too() {
    let ask = question(Aggregate::Count, Operator::Less, 50.0);
    let mut sliding = Sliding::new(ask, Duration::from_secs(60), Duration::from_secs(1));
    sliding.begin(Moment::START);
    sliding.advance(second(60.0));
    sliding.add(Sum::share(70, 70));
    sliding.advance(second(60.5));
    assert_eq!(sliding.worst(), Some(0.0));
    sliding.close();
    assert_eq!((sliding.worst(), sliding.broken_at()), (Some(70.0), Some(second(60.5))));
}

#[test]
fn slopes_are_of_each_stretch() {
    let ask = question(Aggregate::Slope, Operator::Less, 100.0);
    let mut sliding = Sliding::new(ask, Duration::from_secs(600), PACE);
    for n in 0..3600_u32 {
        let level = f64::from(n.clamp(1000, 1600));
        let stretch = Stretch {
            start: second(n.into()),
            ..Stretch::point(second(f64::from(n) + 1.0), level)
        };
        sliding.level(&stretch);
    }
    // One a second while it rises.
    let worst = sliding.worst().unwrap();
    assert!((worst - 3600.0).abs() < 40.0, "{worst}");
}

#[test]
fn memory_does_not_grow_with_the_run() {
    let ask = question(Aggregate::Percentile(99.0), Operator::Less, 1e9);
    let mut sliding = Sliding::new(ask, Duration::from_secs(1), PACE);
    for n in 0..50_000_u32 {
        tell(|stretch| sliding.level(stretch), u64::from(n)..u64::from(n) + 1, f64::from(n));
    }
    let values: usize = sliding.whole.iter().map(|sum| sum.values.len()).sum();
    assert!(values <= 10 && sliding.values.len() <= 10 && sliding.whole.len() <= 10);
}
