//! Why no scenario can be drafted.

use std::path::PathBuf;

/// What can go wrong while looking around.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nothing to start from.
    #[error("found neither a `Cargo.toml` nor a `Dockerfile` in `{}`", place.display())]
    Nothing {
        /// Where was looked.
        place: PathBuf,
    },
    /// A crate without a program.
    #[error("found no binary in `{}`", place.display())]
    NoBinary {
        /// Its directory.
        place: PathBuf,
    },
    /// A name that is not there.
    #[error("found no {kind} `{name}`")]
    Unknown {
        /// What it would be: a package, a binary.
        kind: &'static str,
        /// The name.
        name: String,
        /// Those that are there.
        known: Vec<String>,
    },
    /// Several to choose from.
    #[error("found several {kind}: {}", names.join(", "))]
    Several {
        /// What they are: packages, binaries.
        kind: &'static str,
        /// The option that chooses.
        option: &'static str,
        /// Their names.
        names: Vec<String>,
    },
    /// Cargo has its own reasons.
    #[error("failed to read the package in `{}`", place.display())]
    Cargo {
        /// Its directory.
        place: PathBuf,
        /// What cargo says.
        source: cargo_metadata::Error,
    },
    /// A file can't be read.
    #[error("failed to read `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Error {
    /// The way out.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Nothing { .. } => Some(
                "go to a crate's directory or one with a Dockerfile, or name an image with `--image`"
                    .to_owned(),
            ),
            Self::NoBinary { .. } => Some(
                "go to the package of the service itself, or name an image with `--image`"
                    .to_owned(),
            ),
            Self::Unknown { known, .. } => Some(format!("there are: {}", known.join(", "))),
            Self::Several { option, .. } => Some(format!("choose one with `{option} NAME`")),
            Self::Cargo { .. } | Self::File { .. } => None,
        }
    }
}
