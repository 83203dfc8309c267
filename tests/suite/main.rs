//! Are the answers right? Runs of fixture services whose truth is known, with parameters drawn from
//! a seed, and a table of how often the verdict, the costs and the suspects were right.
//!
//! `cargo test --test suite` runs a few short ones. All of them, as the README of `tests/suite`
//! tells, run by `HIGHWATER_SUITE=all cargo test --release --test suite`; `HIGHWATER_SUITE_SEED`
//! draws others, and a filter behind `--` picks some (`-- growth`, `-- costs/2`).
//! `HIGHWATER_SUITE_KEEP=DIR` keeps the scenarios and run directories of all cases there.

#![allow(clippy::print_stdout, reason = "the table is the result")]

#[path = "../support/mod.rs"]
mod support;

mod cases;
mod draw;
mod rules;
mod score;
mod size;
mod table;

use std::sync::{Arc, Mutex, PoisonError};

use cases::Case;
use libtest_mimic::{Arguments, Failed, Trial};
use support::harness::{Bench, Runtime};
use table::{Row, Table};

/// How much is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// A few short runs, for CI.
    Few,
    /// Every kind several times, as long as it takes.
    All,
}

fn main() {
    let mut arguments = Arguments::from_args();
    // Runs are measured: one at a time.
    arguments.test_threads = Some(1);
    let extent = match std::env::var("HIGHWATER_SUITE").as_deref() {
        Ok("all") => Extent::All,
        _ => Extent::Few,
    };
    let seed = std::env::var("HIGHWATER_SUITE_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or(1);
    let table = Arc::new(Mutex::new(Table::new(seed)));
    let trials = cases::all(extent, seed).into_iter().map(|case| trial(case, &table)).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    let table = table.lock().unwrap_or_else(PoisonError::into_inner);
    let reached = arguments.list || table.finish(extent);
    if conclusion.has_failed() || !reached {
        std::process::exit(101);
    }
}

fn trial(case: Case, table: &Arc<Mutex<Table>>) -> Trial {
    let table = Arc::clone(table);
    let skipped = !Runtime::Docker.is_there();
    let trial = Trial::test(case.name.clone(), move || {
        let row = run(&case)?;
        let text = row.told();
        let wrong = row.is_wrong();
        table.lock().unwrap_or_else(PoisonError::into_inner).add(row);
        if wrong { Err(Failed::from(text)) } else { Ok(()) }
    });
    trial.with_ignored_flag(skipped)
}

/// Keeps the scenario and the run's directory of a case where asked to.
fn keep(case: &Case, bench: &std::path::Path) {
    let Some(folder) = std::env::var_os("HIGHWATER_SUITE_KEEP") else { return };
    let to = std::path::Path::new(&folder).join(case.name.replace('/', "-"));
    let kept = std::fs::create_dir_all(&to)
        .and_then(|()| std::process::Command::new("cp").arg("-r").arg(bench).arg(&to).status());
    if !kept.is_ok_and(|status| status.success()) {
        println!("{} could not be kept", case.name);
    }
}

fn run(case: &Case) -> Result<Row, Failed> {
    let bench = Bench::new();
    let service: Vec<&str> = case.service.iter().map(String::as_str).collect();
    bench.scenario(&service, &case.rest);
    if let cases::Truth::Size { .. } = case.truth {
        return size::run(case, &bench);
    }
    let ended = bench.run_scenario(Runtime::Docker);
    keep(case, bench.path());
    if !matches!(ended.code, 0 | 1) {
        return Err(Failed::from(format!("exit {}\n{}", ended.code, ended.stderr)));
    }
    let json = ended.json();
    let mut row = score::score(case, &json);
    row.rules = rules::compare(&ended.out, &json);
    Ok(row)
}
