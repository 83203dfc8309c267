//! What is printed when something can't be done: what, why, and the way out.

use std::error::Error;
use std::fmt::Write as _;

use super::Exit;
use super::print::note;

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
        if let Some(help) = help {
            let _ = write!(text, "\n  help: {help}");
        }
        Self { exit, text }
    }

    /// A fault that is a sentence of our own.
    pub(super) fn plain(exit: Exit, text: &str, help: &str) -> Self {
        Self { exit, text: format!("error: {text}\n  help: {help}") }
    }

    /// A fault that was rendered elsewhere, with places in a file.
    pub(super) const fn rendered(exit: Exit, text: String) -> Self {
        Self { exit, text }
    }

    pub(super) fn print(&self) {
        note(self.text.trim_end());
    }
}

impl From<crate::record::Error> for Fault {
    fn from(error: crate::record::Error) -> Self {
        use crate::record::Error as E;
        let exit = match error {
            E::Missing { .. } | E::Foreign { .. } | E::TooNew { .. } | E::Exists { .. } => {
                Exit::BadUse
            }
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
