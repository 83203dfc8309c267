//! What can be wrong with recorded traffic.

use super::lines;

/// Why nothing can be read of a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is nothing in it.
    #[error("the log is empty")]
    Empty,
    /// No line has a known format.
    #[error("no line of the log can be read; line {line} is `{shown}`: {fault}")]
    Foreign {
        /// The first line that is not blank, from 1.
        line: u64,
        /// It, cut.
        shown: String,
        /// What is wrong with the first line that was tried.
        fault: String,
    },
    /// It is an HTTP Archive, but a broken or an empty one.
    #[error("the HTTP Archive can't be read: {fault}")]
    Har {
        /// What is wrong with it.
        fault: String,
    },
}

impl Error {
    /// The error about a file whose first line is `line`.
    pub(super) fn foreign(number: u64, line: &[u8], fault: String) -> Self {
        // Four bytes a character are the most that the cut leaves.
        let head = line.get(..1024).unwrap_or(line);
        Self::Foreign { line: number, shown: lines::cut(&String::from_utf8_lossy(head)), fault }
    }

    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> &'static str {
        match self {
            Self::Empty => "give a file that holds requests",
            Self::Foreign { .. } => {
                "known are the common and the combined log format, one JSON object a line with at \
                 least a method and a path, and HAR 1.2; compressed files must be unpacked first"
            }
            Self::Har { .. } => "export it again, whole, as HAR 1.2",
        }
    }
}
