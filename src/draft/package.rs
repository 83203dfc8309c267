//! The binary that a crate is run by.

use std::path::{Path, PathBuf};

use cargo_metadata::{Metadata, MetadataCommand, Package, Target};

use super::{Clues, Error, Guess, Wanted};

/// The binary that was chosen.
pub(super) struct Found {
    /// The package, where the directory's own manifest does not name it.
    pub(super) package: Option<String>,
    pub(super) bin: String,
    pub(super) features: Vec<String>,
    /// The package's directory.
    pub(super) directory: PathBuf,
    /// The file that holds `main`.
    pub(super) main: PathBuf,
    /// What its framework does where nothing else is said.
    pub(super) habits: Clues,
}

/// The binary that is meant in the package or workspace at `place`.
pub(super) fn find(place: &Path, wanted: &Wanted) -> Result<Found, Error> {
    let metadata = MetadataCommand::new()
        .current_dir(place)
        .no_deps()
        .exec()
        .map_err(|source| Error::Cargo { place: place.to_owned(), source })?;
    let (package, own) = choose_package(&metadata, place, wanted)?;
    let bin = choose_bin(package, place, wanted)?;
    let directory = package.manifest_path.parent().map(|path| path.as_std_path().to_owned());
    Ok(Found {
        package: (!own).then(|| package.name.to_string()),
        bin: bin.name.clone(),
        features: bin.required_features.clone(),
        directory: directory.unwrap_or_else(|| place.to_owned()),
        main: bin.src_path.as_std_path().to_owned(),
        habits: habits(package),
    })
}

fn bins(package: &Package) -> impl Iterator<Item = &Target> {
    package.targets.iter().filter(|target| target.is_bin())
}

/// The package, and whether the manifest at `place` is its own.
fn choose_package<'a>(
    metadata: &'a Metadata,
    place: &Path,
    wanted: &Wanted,
) -> Result<(&'a Package, bool), Error> {
    let members = || metadata.packages.iter().filter(|row| bins(row).next().is_some());
    let manifest = place.join("Cargo.toml").canonicalize().ok();
    let is_own = |package: &Package| {
        manifest.as_deref() == package.manifest_path.as_std_path().canonicalize().ok().as_deref()
    };
    if let Some(name) = &wanted.package {
        let found = members().find(|package| package.name.as_str() == name);
        return found.map(|package| (package, is_own(package))).ok_or_else(|| Error::Unknown {
            kind: "package with a binary named",
            name: name.clone(),
            known: members().map(|package| package.name.to_string()).collect(),
        });
    }
    let has_wanted = |package: &Package| {
        wanted.bin.as_ref().is_none_or(|name| bins(package).any(|bin| bin.name == *name))
    };
    if let Some(package) = members().find(|package| is_own(package) && has_wanted(package)) {
        return Ok((package, true));
    }
    let fitting: Vec<&Package> = members().filter(|package| has_wanted(package)).collect();
    match (fitting.as_slice(), &wanted.bin) {
        ([only], _) => Ok((only, is_own(only))),
        ([], Some(name)) => Err(Error::Unknown {
            kind: "binary",
            name: name.clone(),
            known: members().flat_map(bins).map(|bin| bin.name.clone()).collect(),
        }),
        ([], None) => Err(Error::NoBinary { place: place.to_owned() }),
        (several, _) => Err(Error::Several {
            kind: "packages with a binary",
            option: "--package",
            names: several.iter().map(|package| package.name.to_string()).collect(),
        }),
    }
}

/// The wanted binary, the one that `cargo run` runs, the package's namesake, or the only one.
fn choose_bin<'a>(
    package: &'a Package,
    place: &Path,
    wanted: &Wanted,
) -> Result<&'a Target, Error> {
    let all: Vec<&Target> = bins(package).collect();
    let names = || all.iter().map(|bin| bin.name.clone()).collect();
    let named = |name: &str| all.iter().find(|bin| bin.name == name).copied();
    if let Some(name) = &wanted.bin {
        return named(name).ok_or_else(|| Error::Unknown {
            kind: "binary",
            name: name.clone(),
            known: names(),
        });
    }
    let usual = package.default_run.as_deref().and_then(named);
    match all.as_slice() {
        [] => Err(Error::NoBinary { place: place.to_owned() }),
        [only] => Ok(only),
        _ => usual.or_else(|| named(&package.name)).ok_or_else(|| Error::Several {
            kind: "binaries",
            option: "--bin",
            names: names(),
        }),
    }
}

/// Ports that frameworks take where nothing else is said.
fn habits(package: &Package) -> Clues {
    let mut clues = Clues::default();
    if package.dependencies.iter().any(|dependency| dependency.name == "rocket") {
        clues.port = Some(Guess::new(8000, "Rocket's default"));
    }
    clues
}
