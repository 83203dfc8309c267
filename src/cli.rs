//! The command line: one file a verb, exit codes, errors with help.
//!
//! Results go to standard output, everything else (progress, notes, errors) to standard error.

mod baseline;
mod clean;
mod compare;
mod doctor;
mod exit;
mod export;
mod fault;
mod helper;
mod init;
mod load;
mod load_text;
mod machines;
mod options;
mod panics;
mod print;
mod report;
mod run;
mod schema;
mod serve;
mod shell;
mod signals;
mod size;
mod supervise;
mod watch;

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
    /// Find the smallest memory limit that survives, by runs under other limits
    Size(Box<options::Size>),
    /// Send traffic to a URL, and say how it was answered
    Load(Box<options::Load>),
    /// Watch what runs already: containers, a process, a cgroup
    Watch(Box<options::Watch>),
    /// Analyse and render a run directory again
    Report(options::Report),
    /// Compare runs with others, or with a baseline; fails on a regression
    Compare(Box<options::Compare>),
    /// Show the report of a run in a browser, while the run goes on or afterwards
    Serve(options::Serve),
    /// Give a recording's data to other programs
    Export(options::Export),
    /// Print the JSON Schema of scenarios, or of run.json
    Schema(options::Schema),
    /// Write a scenario for the crate, the Dockerfile or the image here
    Init(options::Init),
    /// Say what this host can do, and how to let it do more
    Doctor(options::Doctor),
    /// Remove what a killed run left behind
    Clean(options::Clean),
    /// Print completions for a shell
    Completions(options::Completions),
    /// Print the man page, or that of one verb
    Man(options::Man),
    /// Sample and send traffic for a harness at the other end of standard input and output
    #[command(hide = true)]
    Helper(options::Helper),
}

/// Whether arguments would be understood; what is asked of files, hosts and scenarios is not looked
/// at. The first one is the program's name.
///
/// # Errors
/// What is wrong with them, as it would be printed.
pub fn understands(arguments: &[String]) -> Result<(), String> {
    Arguments::try_parse_from(arguments).map(|_| ()).map_err(|error| error.to_string())
}

/// Runs the program with the arguments that it was started with.
#[must_use]
pub fn main() -> Exit {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let printed = print::printed(error.print());
            return match printed {
                _ if error.use_stderr() => Exit::BadUse,
                Ok(()) => Exit::Pass,
                Err(fault) => told(&fault),
            };
        }
    };
    let done = match arguments.verb {
        Verb::Run(options) => run::run(&options),
        Verb::Startup(options) => run::startup(&options),
        Verb::Size(options) => size::size(&options),
        Verb::Load(options) => load::load(&options),
        Verb::Watch(options) => watch::watch(&options),
        Verb::Report(options) => report::report(&options),
        Verb::Compare(options) => compare::compare(&options),
        Verb::Serve(options) => serve::serve(&options),
        Verb::Export(options) => export::export(&options),
        Verb::Schema(options) => schema::schema(&options),
        Verb::Init(options) => init::init(&options),
        Verb::Doctor(options) => doctor::doctor(&options),
        Verb::Clean(options) => clean::clean(&options),
        Verb::Completions(options) => shell::completions(&options),
        Verb::Man(options) => shell::man(&options),
        Verb::Helper(options) => helper::helper(&options),
    };
    done.unwrap_or_else(|fault| told(&fault))
}

/// Tells why it ends early; gives the exit that goes with it.
fn told(fault: &Fault) -> Exit {
    fault.print();
    fault.exit
}
