//! The command line: one file a verb, exit codes, errors with help.
//!
//! Results go to standard output, everything else (progress, notes, errors) to standard error.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is the one module that talks to the terminal"
)]

mod clean;
mod exit;
mod fault;
mod options;
mod report;
mod run;
mod signals;

use clap::{Parser, Subcommand};

pub use exit::Exit;
use fault::Fault;

/// Will this service be OOM-killed, and what memory limit does it need?
#[derive(Debug, Parser)]
#[command(name = "highwater", version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Do the whole run: startup trials, phases, report
    Run(Box<options::Run>),
    /// Run the startup trials only
    Startup(options::Startup),
    /// Analyse and render a run directory again
    Report(options::Report),
    /// Remove what a killed run left behind
    Clean(options::Clean),
}

/// Runs the program with the arguments that it was started with.
#[must_use]
pub fn main() -> Exit {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Exit::BadUse } else { Exit::Pass };
        }
    };
    let done = match arguments.verb {
        Verb::Run(options) => run::run(&options),
        Verb::Startup(options) => run::startup(&options),
        Verb::Report(options) => report::report(&options),
        Verb::Clean(options) => clean::clean(&options),
    };
    done.unwrap_or_else(|fault: Fault| {
        fault.print();
        fault.exit
    })
}
