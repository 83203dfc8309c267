//! What is printed when something can't be done: what, why, and the way out.

use std::error::Error;
use std::fmt::Write as _;

use super::Exit;
use super::print::note;
use crate::units::is_harmful;

/// The way out where this process may open no more files.
const MORE_FILES: &str = "allow it to open more files: `ulimit -n 1024`";

/// A reason to end early, ready to be printed.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) exit: Exit,
    text: String,
}

impl Fault {
    /// A fault told in one paragraph: the error, its causes, and the way out.
    pub(super) fn new(exit: Exit, error: &dyn Error, help: Option<String>) -> Self {
        let mut text = format!("error: {error}");
        let mut cause = error.source();
        while let Some(inner) = cause {
            let _ = write!(text, "\n  because: {inner}");
            cause = inner.source();
        }
        // Whatever was to be done: without descriptors nothing can be.
        let full = text.contains("(os error 24)").then(|| MORE_FILES.to_owned());
        if let Some(help) = full.or(help) {
            let _ = write!(text, "\n  help: {help}");
        }
        Self { exit, text: harmless(&text) }
    }

    /// A fault that is a sentence of our own.
    pub(super) fn plain(exit: Exit, text: &str, help: &str) -> Self {
        Self { exit, text: harmless(&format!("error: {text}\n  help: {help}")) }
    }

    /// A fault that was rendered elsewhere, with places in a file.
    pub(super) const fn rendered(exit: Exit, text: String) -> Self {
        Self { exit, text }
    }

    pub(super) fn print(&self) {
        note(self.text.trim_end());
    }
}

/// What a target or an engine said may be in an error: nothing of it moves a terminal's cursor.
fn harmless(text: &str) -> String {
    text.chars().filter(|c| *c == '\n' || !is_harmful(*c)).collect()
}

impl From<crate::record::Error> for Fault {
    fn from(error: crate::record::Error) -> Self {
        use crate::record::Error as E;
        let exit = match error {
            E::Missing { .. }
            | E::Foreign { .. }
            | E::TooNew { .. }
            | E::Exists { .. }
            | E::InUse { .. } => Exit::BadUse,
            E::Create { .. }
            | E::Store { .. }
            | E::NoRoom { .. }
            | E::Damaged { .. }
            | E::Lost { .. }
            | E::Writer => Exit::HostCannot,
        };
        Self::new(exit, &error, error.help())
    }
}
