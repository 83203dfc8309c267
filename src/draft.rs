//! A first scenario for what stands here: a crate, a Dockerfile or an image.
//!
//! [`look`] finds out what can be run, on which port it listens, how it tells that it is ready and
//! what can be asked of it. Little of that is written down anywhere, so most is guessed from the
//! source's own text: each [`Guess`] keeps where it comes from, and [`Draft::scenario`] says so in
//! a comment beside the value. Nothing is built, started or written here.

mod clues;
mod code;
mod dockerfile;
mod error;
mod package;
mod sources;
mod text;

use std::path::Path;

pub use clues::{Clues, Guess};
pub use code::clues as clues_of_code;
pub use dockerfile::{clues as clues_of_dockerfile, clues_of_image};
pub use error::Error;
pub use sources::SourceText;

/// What of several things is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The package, where a workspace has several.
    pub package: Option<String>,
    /// The binary, where there are several.
    pub bin: Option<String>,
}

/// Where the program comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A binary of a package in this directory.
    Package {
        /// The package, where the directory's own manifest does not name it.
        package: Option<String>,
        /// The binary.
        bin: String,
        /// Features that it takes.
        features: Vec<String>,
        /// A Dockerfile that stands beside it.
        dockerfile: Option<String>,
    },
    /// A Dockerfile in this directory.
    Dockerfile(String),
    /// An image that the engine has or can get.
    Image(String),
}

/// What a scenario is written from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The scenario's name.
    pub name: String,
    /// Where the program comes from.
    pub origin: Origin,
    /// What is known of it.
    pub clues: Clues,
}

/// Looks at the directory `place`: a crate with a binary first, else a Dockerfile.
///
/// # Errors
/// When there is neither, when there are several to choose from, or when cargo can't tell.
pub fn look(place: &Path, wanted: &Wanted) -> Result<Draft, Error> {
    let dockerfile = dockerfile::find(place)?;
    if place.join("Cargo.toml").exists() {
        match package::find(place, wanted) {
            // A crate without a program of its own may still have an image.
            Err(Error::NoBinary { .. }) if dockerfile.is_some() && *wanted == Wanted::default() => {
            }
            found => return Ok(of_package(found?, dockerfile)),
        }
    }
    let Some((file, text)) = dockerfile else {
        return Err(Error::Nothing { place: place.to_owned() });
    };
    let name = place.canonicalize().ok();
    let name = name.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy());
    let mut clues = dockerfile::clues(&file, &text);
    clues.fill(code::clues(&sources::read(place, None)));
    Ok(Draft {
        name: name.map_or_else(|| "service".to_owned(), std::borrow::Cow::into_owned),
        origin: Origin::Dockerfile(file),
        clues,
    })
}

fn of_package(found: package::Found, dockerfile: Option<(String, String)>) -> Draft {
    let mut clues = Clues::default();
    if let Some((file, text)) = &dockerfile {
        clues = dockerfile::clues(file, text);
    }
    clues.fill(code::clues(&sources::read(&found.directory, Some(&found.main))));
    clues.fill(found.habits);
    Draft {
        name: found.bin.clone(),
        origin: Origin::Package {
            package: found.package,
            bin: found.bin,
            features: found.features,
            dockerfile: dockerfile.map(|(file, _)| file),
        },
        clues,
    }
}

impl Draft {
    /// A draft for an image, of which `clues` are known.
    #[must_use]
    pub fn of_image(image: &str, clues: Clues) -> Self {
        let short = image.rsplit('/').next().unwrap_or(image);
        let short = short.split([':', '@']).next().unwrap_or(short);
        Self { name: short.to_owned(), origin: Origin::Image(image.to_owned()), clues }
    }

    /// The scenario: commented TOML without faults.
    #[must_use]
    pub fn scenario(&self) -> String {
        text::scenario(self)
    }

    /// What was found and what was guessed, a line each.
    #[must_use]
    pub fn account(&self) -> String {
        text::account(self)
    }
}
