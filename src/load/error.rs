//! What can keep the load engine from working.

use std::io;

use crate::load::step::MakeError;

/// How the message about a failed setup begins.
pub const SETUP: &str = "the setup step";

/// Why load can't be driven.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A thread can't be made.
    #[error("failed to start a thread of the load engine")]
    Thread(#[source] io::Error),
    /// A worker's event loop can't be made.
    #[error("failed to start the event loop of a load worker")]
    Runtime(#[source] io::Error),
    /// The target's network namespace can't be entered.
    #[error("failed to enter the target's network namespace")]
    Namespace(#[source] io::Error),
    /// A step's method, path or headers can't be sent by HTTP.
    #[error("failed to make a request of step `{step}`")]
    Request {
        /// The step's name.
        step: String,
        /// Why.
        #[source]
        why: MakeError,
    },
    /// A step of a setup failed, without which the scenario can't run.
    #[error("{SETUP} `{step}` failed: {why}")]
    Setup {
        /// The step's name.
        step: String,
        /// What happened.
        why: String,
    },
    /// There are more users than connections that may be open.
    #[error(
        "this load needs {needed} open files at once, {connections} of them for connections, and \
         this process may have {limit} (`ulimit -n`)"
    )]
    Descriptors {
        /// Connections at once.
        connections: u64,
        /// All descriptors at once, those among them.
        needed: u64,
        /// How many this process may have.
        limit: u64,
    },
    /// A worker panicked.
    #[error("failed to drive load: a worker stopped working")]
    Panicked,
}

impl Error {
    /// The way out, where there is one to name.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Descriptors { needed, .. } => {
                Some(format!("raise the limit with `ulimit -n {needed}`, or let fewer users come"))
            }
            _ => None,
        }
    }
}
