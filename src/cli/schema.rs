//! `highwater schema`: what editors and programs check scenarios and `run.json` against.

use super::options::Schema;
use super::print::print_all;
use super::{Exit, Fault};

/// `highwater schema [--run]`
pub(super) fn schema(options: &Schema) -> Result<Exit, Fault> {
    let text = if options.run { crate::report::run_schema() } else { crate::scenario::schema() };
    print_all(text.trim_end())?;
    Ok(Exit::Pass)
}
