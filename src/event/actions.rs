//! What is done at set times, beside the traffic.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What kind of thing is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActionKind {
    /// A program is run beside the target.
    Exec,
    /// The target gets a signal.
    Signal,
    /// A request is sent; what became of it is in the traffic.
    Request,
}

impl ActionKind {
    /// The name that `run.json` uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exec => "exec",
            Self::Signal => "signal",
            Self::Request => "request",
        }
    }
}

/// Something that was to be done at a set time begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionBegan {
    /// Counts the actions of a run, from 0.
    pub number: u32,
    /// What kind of thing it is.
    pub kind: ActionKind,
    /// What is done, in words.
    pub text: String,
}

/// It is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionEnded {
    /// Which one.
    pub number: u32,
    /// Why it failed, where it did.
    pub failed: Option<String>,
}
