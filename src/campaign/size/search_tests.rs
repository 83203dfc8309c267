//! The search against services whose need is known.

use proptest::prelude::*;

use super::*;

/// A service that is run again and again.
#[derive(Debug, Clone)]
struct Service {
    /// The most that a run ever needs.
    edge: Bytes,
    /// By so much the need of a run may be less, as a share.
    chance: f64,
    /// Below so many times its need it thrashes.
    knee: f64,
    /// How far the bounds of what was held lie apart, below and above, as shares.
    bounds: (f64, f64),
    /// Draws.
    draws: Vec<f64>,
}

impl Service {
    fn run(&self, limit: Limit, number: usize) -> Tried {
        let draw = self.draws[number % self.draws.len()];
        let need = times(self.edge, 1.0 - self.chance * draw);
        let fate = match limit {
            Limit::Bytes(limit) if limit < need => Fate::Killed,
            Limit::Bytes(limit) if limit < times(need, self.knee) => Fate::Thrashed,
            _ => Fate::Survived,
        };
        let room = limit.bytes().unwrap_or(Bytes::from_mib(1 << 20));
        let (low, high) = (times(need, 1.0 - self.bounds.0), times(need, 1.0 + self.bounds.1));
        let need = (fate != Fate::Killed).then(|| (low, high.min(room)));
        Tried { limit, fate, need, spread: 0.0 }
    }

    fn search(&self, scope: &Scope) -> Vec<Tried> {
        let mut tried = Vec::new();
        while let Step::Try { limit, .. } = next(scope, &tried) {
            tried.push(self.run(limit, tried.len()));
            assert!(tried.len() <= 12, "{tried:?}");
        }
        tried
    }
}

fn scope(start: Limit) -> Scope {
    let (least, most) = (Bytes::from_mib(6), Bytes::from_mib(16 << 10));
    Scope { start, least, most, runs: 12, proofs: 3, room: 1.0 }
}

fn starts() -> impl Strategy<Value = Limit> {
    let size = (8_u64..4096).prop_map(|mib| Limit::Bytes(Bytes::from_mib(mib)));
    prop_oneof![1 => Just(Limit::Unlimited), 4 => size]
}

/// So many times what is needed is tried first.
#[derive(Debug, Clone, Copy)]
struct Room(Option<f64>);

impl Room {
    fn of(self, service: &Service) -> Limit {
        self.0.map_or(Limit::Unlimited, |room| Limit::Bytes(round_up(times(truth(service), room))))
    }
}

fn rooms() -> impl Strategy<Value = Room> {
    prop_oneof![Just(Room(None)), (0.6..8.0).prop_map(|room| Room(Some(room)))]
}

prop_compose! {
    fn services(chance: f64, knee: f64)(
        edge in 8_u64 * 16..2048 * 16,
        chance in 0.0..=chance,
        knee in 1.0..=knee,
        low in 0.0..0.35,
        high in 0.0..0.35,
        draws in prop::collection::vec(0.0..1.0, 16),
    ) -> Service {
        Service { edge: Bytes::from_kib(edge * 64), chance, knee, bounds: (low, high), draws }
    }
}

/// The smallest limit that a run never fails under.
fn truth(service: &Service) -> Bytes {
    times(service.edge, service.knee)
}

fn check(service: &Service, start: Limit) -> Result<(), TestCaseError> {
    check_within(service, start, 1.15)
}

fn check_within(service: &Service, start: Limit, most: f64) -> Result<(), TestCaseError> {
    let scope = scope(start);
    let tried = service.search(&scope);
    let found = conclude(&scope, &tried);
    let truth = truth(service);
    let limit = found.recommended.expect("there is room enough");
    prop_assert!(limit >= truth, "{limit} of {truth}: {tried:?}");
    prop_assert!(limit <= times(truth, most), "{limit} of {truth}: {tried:?}");
    prop_assert!(found.proofs >= 1, "{found:?}: {tried:?}");
    Ok(())
}

proptest! {
    // The same cases each time: of noise, chance decides what a statistic says.
    #![proptest_config(ProptestConfig {
        cases: 2000,
        rng_seed: proptest::test_runner::RngSeed::Fixed(1),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_sharp_edge_is_found_within_twelve_runs(service in services(0.0, 1.0), start in starts()) {
        check(&service, start)?;
    }

    #[test]
    fn survival_by_chance_is_kept_clear_of(service in services(0.04, 1.0), room in rooms()) {
        check(&service, room.of(&service))?;
    }

    #[test]
    fn a_knee_counts_like_a_cliff(service in services(0.03, 1.3), room in rooms()) {
        check(&service, room.of(&service))?;
    }

    #[test]
    fn the_knee_of_what_lives_on_page_cache_is_found_far_above_what_it_holds(
        service in services(0.03, 20.0),
        room in (1.2..4.0).prop_map(|room| Room(Some(room))),
    ) {
        prop_assume!(times(truth(&service), 1.2) < scope(Limit::Unlimited).most);
        check_within(&service, room.of(&service), 1.3)?;
    }

    #[test]
    fn any_story_ends_within_its_runs_and_recommends_only_what_survived(
        fates in prop::collection::vec(0_u8..3, 16),
        start in starts(),
        runs in 1_u32..14,
        room in prop_oneof![Just(1.0), 1.0..2.0],
        spread in prop_oneof![Just(0.0), 0.0..0.5],
    ) {
        let scope = Scope { runs, room, ..scope(start) };
        let mut tried: Vec<Tried> = Vec::new();
        while let Step::Try { limit, .. } = next(&scope, &tried) {
            let inside = limit.bytes().is_none_or(|l| l >= scope.least && l <= scope.most);
            prop_assert!(inside, "{limit}");
            let fate = [Fate::Survived, Fate::Killed, Fate::Thrashed];
            let fate = fate[usize::from(fates[tried.len()])];
            let held = limit.bytes().unwrap_or(Bytes::from_mib(100));
            tried.push(Tried { limit, fate, need: Some((times(held, 0.5), held)), spread });
            prop_assert!(count(&tried) <= runs, "{tried:?}");
        }
        let found = conclude(&scope, &tried);
        if let Some(limit) = found.recommended {
            let under = tried.iter().filter(|row| row.limit == Limit::Bytes(limit));
            prop_assert!(under.clone().count() > 0);
            let failed = |row: &&Tried| row.fate != Fate::Survived;
            let above = |row: &&Tried| row.limit.bytes().is_some_and(|other| other >= limit);
            prop_assert_eq!(tried.iter().filter(failed).filter(above).count(), 0);
        }
    }
}

fn fixed(edge: u64) -> Service {
    let edge = Bytes::from_mib(edge);
    Service { edge, chance: 0.0, knee: 1.0, bounds: (0.03, 0.03), draws: vec![0.0] }
}

#[test]
fn a_limit_that_kills_is_followed_by_higher_ones() {
    let tried = fixed(300).search(&scope(Limit::Bytes(Bytes::from_mib(32))));
    let limits: Vec<String> = tried.iter().take(4).map(|row| row.limit.to_string()).collect();
    assert_eq!(limits, ["32 MiB", "64 MiB", "16 GiB", "316 MiB"]);
}

/// A service whose need differs from burst to burst: a run needs what its highest one does.
#[test]
fn bursts_that_lie_far_apart_get_a_margin_and_proofs_of_their_own() {
    let scope = scope(Limit::Bytes(Bytes::from_mib(256)));
    let mut tried = Vec::new();
    while let Step::Try { limit, .. } = next(&scope, &tried) {
        let service = Service { chance: 0.1, draws: vec![0.5, 1.0, 0.7, 0.9], ..fixed(90) };
        let run = service.run(limit, tried.len());
        tried.push(Tried { spread: 0.14, ..run });
    }
    let found = conclude(&scope, &tried);
    let limit = found.recommended.unwrap();
    assert!(limit >= Bytes::from_mib(90), "{limit}: {tried:?}");
    assert!(found.proofs >= 3, "{tried:?}");
    assert!(tried.len() <= 12, "{tried:?}");
}

#[test]
fn no_room_at_all_ends_without_a_recommendation() {
    let scope = Scope { most: Bytes::from_mib(128), ..scope(Limit::Bytes(Bytes::from_mib(64))) };
    let tried = fixed(300).search(&scope);
    assert_eq!(tried.len(), 2, "{tried:?}");
    let found = conclude(&scope, &tried);
    assert_eq!((found.recommended, found.failed), (None, Some(Bytes::from_mib(128))));
}

#[test]
fn what_needs_next_to_nothing_gets_the_least_limit() {
    let service = Service { edge: Bytes::from_mib(2), ..fixed(2) };
    let scope = scope(Limit::Unlimited);
    let found = conclude(&scope, &service.search(&scope));
    assert_eq!((found.recommended, found.failed), (Some(scope.least), None));
}

#[test]
fn rules_that_are_a_share_of_the_limit_get_their_room() {
    let scope = Scope { room: 1.25, ..scope(Limit::Bytes(Bytes::from_mib(512))) };
    let tried = fixed(100).search(&scope);
    let found = conclude(&scope, &tried);
    let limit = found.recommended.unwrap();
    assert!(limit >= Bytes::from_mib(128), "{limit}: {tried:?}");
    assert!(found.least.unwrap() < Bytes::from_mib(105));
}

#[test]
fn out_of_runs_a_limit_that_survived_is_better_than_none() {
    let scope = Scope { runs: 3, ..scope(Limit::Bytes(Bytes::from_mib(512))) };
    let tried = fixed(100).search(&scope);
    let found = conclude(&scope, &tried);
    assert!(found.recommended.is_some(), "{tried:?}");
    assert_eq!(found.proofs, 1);
}
