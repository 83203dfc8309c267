//! The `highwater` command. See [`highwater`] for how it is built.

use std::process::ExitCode;

fn main() -> ExitCode {
    highwater::cli::main().into()
}
