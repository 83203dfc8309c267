//! `highwater init`: a scenario for what stands here.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

use super::options::Init;
use super::print::print_all;
use super::{Exit, Fault};
use crate::draft::{self, Clues, Draft, Wanted};
use crate::runtime;

const FILE: &str = "highwater.toml";

/// `highwater init`
pub(super) fn init(options: &Init) -> Result<Exit, Fault> {
    let path = Path::new(FILE);
    if !options.force && path.exists() {
        return Err(exists());
    }
    let draft = match &options.image {
        Some(name) => Draft::of_image(name, clues_of_image(name)?),
        None => {
            let wanted = Wanted { package: options.package.clone(), bin: options.bin.clone() };
            draft::look(Path::new("."), &wanted)
                .map_err(|error| Fault::new(Exit::BadUse, &error, error.help()))?
        }
    };
    write(path, &draft.scenario(), options.force)?;
    let account = draft.account();
    print_all(&format!(
        "Wrote {FILE}:\n{account}\nNext: look at the guesses, then `highwater run`"
    ))?;
    Ok(Exit::Pass)
}

/// What the engine says of an image; where it says nothing, that is noted.
fn clues_of_image(name: &str) -> Result<Clues, Fault> {
    let facts = super::run::tokio_runtime()?.block_on(runtime::image_facts(name));
    Ok(match facts {
        Ok(facts) => draft::clues_of_image(&facts.exposed_ports, &facts.health_check, &facts.env),
        Err(error) => {
            let why = runtime::explain(&error);
            let note = format!("the image could not be looked at, all is a guess: {why}");
            Clues { notes: vec![note], ..Clues::default() }
        }
    })
}

fn exists() -> Fault {
    let text = format!("there is a `{FILE}` already");
    Fault::plain(Exit::BadUse, &text, "`--force` writes over it")
}

fn write(path: &Path, text: &str, over: bool) -> Result<(), Fault> {
    let mut options = OpenOptions::new();
    options.write(true);
    if over {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    let written = options.open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| {
        if error.kind() == ErrorKind::AlreadyExists {
            return exists();
        }
        let text = format!("failed to write `{}`: {error}", path.display());
        Fault::plain(Exit::HostCannot, &text, "is the directory writable?")
    })
}
