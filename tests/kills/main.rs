//! It keeps its data and leaves nothing: runs that are killed, interrupted, broken down, or run out
//! of disk, in all their phases.
//!
//! `cargo test --test kills` runs each fault once and a few SIGKILLs. The whole suite is
//! `HIGHWATER_SUITE=kills cargo test --test kills`: 200 SIGKILLs at moments drawn from a
//! seed (`HIGHWATER_SUITE_SEED`), three runs side by side, with a table of what was lost and left.
//! A filter behind `--` picks some (`-- kill/docker`).

#![allow(clippy::print_stdout, reason = "the table is the result")]

#[path = "../support/mod.rs"]
mod support;

mod broken;
mod damaged;
mod full_disk;
mod interrupted;
mod kill;
mod left;
mod neighbours;
mod read_only;
mod recorded;
mod table;

use std::sync::{Arc, Mutex, PoisonError};

use libtest_mimic::{Arguments, Failed, Trial};
use support::harness::{Bench, Ended, Runtime};
use table::Table;

/// Kills in the whole suite, and in CI.
const ALL: u64 = 200;
const FEW: u64 = 4;

/// Runs side by side in the whole suite.
const AT_ONCE: usize = 3;

fn main() {
    let mut arguments = Arguments::from_args();
    let whole = std::env::var("HIGHWATER_SUITE").as_deref() == Ok("kills");
    let seed = std::env::var("HIGHWATER_SUITE_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or(1);
    arguments.test_threads = Some(if whole { AT_ONCE } else { 1 });
    let table = Arc::new(Mutex::new(Table::new(seed)));
    let mut trials = kills(if whole { ALL } else { FEW }, seed, &table);
    if !whole {
        trials.extend(faults());
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
    let reached = arguments.list || table.finish(whole);
    if conclusion.has_failed() || !reached {
        std::process::exit(101);
    }
}

fn kills(count: u64, seed: u64, table: &Arc<Mutex<Table>>) -> Vec<Trial> {
    let trial = |number| {
        let case = kill::Case::draw(seed, number);
        let table = Arc::clone(table);
        Trial::test(case.name(), move || {
            if !case.is_possible() {
                return Ok(());
            }
            let row = kill::run(&case)?;
            let wrong = row.wrong();
            table.lock().unwrap_or_else(PoisonError::into_inner).add(row);
            if wrong.is_empty() { Ok(()) } else { Err(Failed::from(wrong.join("\n"))) }
        })
    };
    (1..=count).map(trial).collect()
}

fn faults() -> Vec<Trial> {
    let of = [
        full_disk::trials,
        read_only::trials,
        broken::trials,
        interrupted::trials,
        neighbours::trials,
        damaged::trials,
    ];
    of.into_iter().flat_map(|trials| trials()).collect()
}

/// A trial on each runtime that is there.
pub(crate) fn on_each_runtime(name: &str, test: fn(Runtime, &Bench)) -> Vec<Trial> {
    let trial = |runtime: Runtime| {
        Trial::test(format!("{name}/{}", runtime.name()), move || {
            if runtime.is_there() && support::is_root() {
                let bench = Bench::new();
                test(runtime, &bench);
                left::nothing_of(&bench);
            }
            Ok(())
        })
    };
    Runtime::BOTH.into_iter().map(trial).collect()
}

/// `highwater report` on a run's directory, with its `run.json`.
pub(crate) fn reported(bench: &Bench, more: &[&str]) -> Ended {
    bench.run(&[&["report", "out", "--json"], more].concat())
}
