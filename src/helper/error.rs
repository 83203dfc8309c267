//! What can go wrong between the harness and its helper.

use std::io;

/// Why the helper can't do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection to the helper ended.
    #[error("the helper container ended unexpectedly{words}")]
    Gone {
        /// Its last words, ready to be printed.
        words: String,
    },
    /// Something else than the agreed messages came.
    #[error("the helper container sent something that is no message: {text}")]
    Garbled {
        /// What is wrong with it.
        text: String,
    },
    /// It tried and failed.
    #[error("the helper container failed to {action}: {text}")]
    Failed {
        /// What it was asked to do.
        action: &'static str,
        /// Its words.
        text: String,
    },
    /// The connection can't be used.
    #[error("failed to talk to the helper container")]
    Io(#[from] io::Error),
}
