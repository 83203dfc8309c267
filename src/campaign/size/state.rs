//! The file that a search goes by: what it is about on the first line, then a line for each run.
//! Append-only; a last line that was cut off by a crash counts as not written.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Error;
use super::search::Scope;
use crate::analysis::SizeRun;
use crate::plan::Plan;

const FILE: &str = "size.jsonl";
/// The version of the format.
const FORMAT: u32 = 1;

/// What a search is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    format: u32,
    /// The version that began it.
    pub highwater: String,
    /// The scenario's name.
    pub name: String,
    /// Tells whether the scenario is still the same.
    fingerprint: u64,
    /// What the search may do.
    pub scope: Scope,
    /// The phases of its runs.
    pub phases: Vec<String>,
    /// The phases that are left out.
    pub left_out: Vec<String>,
    /// Rules that are a share of the limit.
    pub shares: Vec<String>,
}

impl Header {
    /// Of a scenario's plan, and of the one that its runs have. `program` stands for what is run,
    /// where that is known.
    #[must_use]
    pub fn new(whole: &Plan, runs: &Plan, shares: Vec<String>, scope: Scope, program: u64) -> Self {
        let phases: Vec<String> = runs.phases.iter().map(|phase| phase.name.clone()).collect();
        let left_out = whole.phases.iter().map(|phase| phase.name.clone());
        let left_out = left_out.filter(|name| !phases.contains(name)).collect();
        Self {
            format: FORMAT,
            highwater: env!("CARGO_PKG_VERSION").to_owned(),
            name: whole.name.clone(),
            fingerprint: fingerprint(runs) ^ program,
            scope,
            phases,
            left_out,
            shares,
        }
    }

    /// Whether another search is about the same.
    pub(super) fn is_of_same(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
            && self.scope == other.scope
            && self.phases == other.phases
            && self.shares == other.shares
    }
}

/// A number that differs where the plan does.
fn fingerprint(plan: &Plan) -> u64 {
    // What plans hold is printed whole, secrets aside.
    checksum(format!("{plan:?}").as_bytes())
}

/// A checksum that stays the same from one version of Rust to the next.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u64 {
    let mut low = flate2::Crc::new();
    low.update(bytes);
    u64::from(low.sum()) << 32 | u64::from(low.amount())
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Search(Header),
    Run(SizeRun),
}

/// The open file.
#[derive(Debug)]
pub(super) struct State {
    path: PathBuf,
    file: File,
}

pub(super) fn is_in(directory: &Path) -> bool {
    directory.join(FILE).exists()
}

impl State {
    pub(super) fn create(directory: &Path, header: &Header) -> Result<Self, Error> {
        let refused = |source| Error::State {
            action: "make the directory",
            path: directory.to_owned(),
            source,
        };
        fs::create_dir_all(directory).map_err(refused)?;
        let path = directory.join(FILE);
        let file = OpenOptions::new().create_new(true).append(true).open(&path);
        let file = file.map_err(|source| failed("make", &path, source))?;
        let mut state = Self { path, file };
        state.write(&Line::Search(header.clone()))?;
        Ok(state)
    }

    pub(super) fn open(directory: &Path) -> Result<(Self, Header, Vec<SizeRun>), Error> {
        let path = directory.join(FILE);
        let text = fs::read_to_string(&path).map_err(|e| failed("read", &path, e))?;
        // What follows the last line's end was cut off.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let mut header = None;
        let mut runs = Vec::new();
        for (line, number) in text[..whole].lines().zip(1..) {
            let damaged = |text: String| Error::Damaged { path: path.clone(), line: number, text };
            match serde_json::from_str(line).map_err(|error| damaged(error.to_string()))? {
                Line::Search(found) if found.format > FORMAT => {
                    return Err(damaged(format!("it is of a later version, {}", found.highwater)));
                }
                Line::Search(found) => header = Some(found),
                Line::Run(run) => runs.push(run),
            }
        }
        let Some(header) = header else {
            let text = "it does not say what it is about".to_owned();
            return Err(Error::Damaged { path, line: 1, text });
        };
        // Rendering again must do without the right to write.
        let file = OpenOptions::new().append(true).open(&path).or_else(|_| File::open(&path));
        let file = file.map_err(|error| failed("open", &path, error))?;
        if whole < text.len() {
            let _ = file.set_len(whole as u64);
        }
        Ok((Self { path, file }, header, runs))
    }

    pub(super) fn append(&mut self, run: &SizeRun) -> Result<(), Error> {
        self.write(&Line::Run(run.clone()))
    }

    fn write(&mut self, line: &Line) -> Result<(), Error> {
        let mut text = serde_json::to_string(line).expect("plain structs always serialise");
        text.push('\n');
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(|error| failed("write", &self.path, error))
    }
}

fn failed(action: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::State { action, path: path.to_owned(), source }
}
