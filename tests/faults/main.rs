//! Faults that are really made, and targets that mean harm: what the harness says, keeps and leaves.
//!
//! `cargo test --test faults` makes those that cost seconds, as CI does; all of them, as the README
//! beside this tells, are made by `HIGHWATER_SUITE=faults cargo test --release --test faults`. A
//! filter behind `--` picks some (`-- engine/`).

#![allow(clippy::print_stdout, reason = "the table is the result")]

#[path = "../support/mod.rs"]
mod support;

mod daemon;
mod engine;
mod flood;
mod harness;
mod hostile;
mod rights;
mod run;
mod secrets;
mod shim;
mod standstill;
mod table;
mod taken;
mod world;

use std::sync::{Arc, Mutex, PoisonError};

use libtest_mimic::{Arguments, Failed, Trial};
use table::{Row, Table};

/// When a fault is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// Always.
    Always,
    /// Only where all are asked for: it takes long, or an engine of its own.
    OnRequest,
}

/// One fault, and what came of it in a sentence; none where this host can't make it.
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    pub(crate) when: When,
    pub(crate) make: fn() -> Option<String>,
}

fn main() {
    let mut arguments = Arguments::from_args();
    // Runs are measured: one at a time.
    arguments.test_threads = Some(1);
    let all = std::env::var("HIGHWATER_SUITE").is_ok_and(|suite| suite == "faults");
    let groups = [
        hostile::FAULTS,
        flood::FAULTS,
        secrets::FAULTS,
        rights::FAULTS,
        standstill::FAULTS,
        taken::FAULTS,
        world::FAULTS,
        harness::FAULTS,
        engine::FAULTS,
    ];
    let faults = groups.into_iter().flatten().filter(|fault| all || fault.when == When::Always);
    let table = Arc::new(Mutex::new(Table::default()));
    let trials = faults.map(|fault| trial(fault, &table)).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    if all && !arguments.list {
        table.lock().unwrap_or_else(PoisonError::into_inner).finish();
    }
    conclusion.exit();
}

fn trial(fault: &'static Fault, table: &Arc<Mutex<Table>>) -> Trial {
    let table = Arc::clone(table);
    Trial::test(fault.name, move || {
        let began = std::time::Instant::now();
        let found = std::panic::catch_unwind(fault.make);
        let (found, failed) = match found {
            Ok(Some(found)) => (found, None),
            Ok(None) => ("skipped".to_owned(), None),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
                ("FAILED".to_owned(), Some(Failed::from(text.unwrap_or_default())))
            }
        };
        let row = Row { name: fault.name, took: began.elapsed(), found };
        table.lock().unwrap_or_else(PoisonError::into_inner).add(row);
        failed.map_or(Ok(()), Err)
    })
}
