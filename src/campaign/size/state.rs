//! The file that a search goes by: what it is about on the first line, then a line for each run,
//! and one for what it may do where it was told to go further. Append-only; a last line that was
//! cut off by a crash counts as not written.

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

    /// Whether another search is about the same; one that may make more runs, or try larger
    /// limits, is.
    pub(super) fn is_of_same(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
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
        let (header, runs) = read(&text[..whole]).map_err(|(line, text)| Error::Damaged {
            path: path.clone(),
            line,
            text,
        })?;
        // Rendering again must do without the right to write.
        let file = OpenOptions::new().append(true).open(&path).or_else(|_| File::open(&path));
        let file = file.map_err(|error| failed("open", &path, error))?;
        if whole < text.len() {
            let _ = file.set_len(whole as u64);
        }
        Ok((Self { path, file }, header, runs))
    }

    /// Says anew what the search may do.
    pub(super) fn go_further(&mut self, header: &Header) -> Result<(), Error> {
        self.write(&Line::Search(header.clone()))
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

/// The lines of a search; else the number of the one that can't be read, and why.
pub(super) fn read(text: &str) -> Result<(Header, Vec<SizeRun>), (usize, String)> {
    let mut header = None;
    let mut runs = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        match serde_json::from_str(line).map_err(|error| (number, error.to_string()))? {
            Line::Search(found) if found.format > FORMAT => {
                return Err((number, format!("it is of a later version, {}", found.highwater)));
            }
            Line::Search(found) => header = Some(found),
            Line::Run(run) => runs.push(run),
        }
    }
    let header = header.ok_or_else(|| (1, "it does not say what it is about".to_owned()))?;
    Ok((header, runs))
}

fn failed(action: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::State { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::analysis::{SizeEnding, SizePhase};
    use crate::units::{Bytes, Limit};

    fn header() -> Header {
        let scope = Scope {
            start: Limit::Bytes(Bytes::from_mib(256)),
            least: Bytes::from_mib(8),
            most: Bytes::from_mib(1024),
            runs: 9,
            proofs: 2,
            room: 1.25,
        };
        Header {
            format: FORMAT,
            highwater: "0.1.0".to_owned(),
            name: "shop".to_owned(),
            fingerprint: 7,
            scope,
            phases: vec!["burst".to_owned()],
            left_out: vec!["soak".to_owned()],
            shares: vec!["memory max<80%".to_owned()],
        }
    }

    /// A number as a measurement gives it: finite, and written with as many places as it has.
    fn number() -> impl Strategy<Value = Option<f64>> {
        prop::option::of((0_u32..1_000_000).prop_map(|number| f64::from(number) / 64.0))
    }

    fn run() -> impl Strategy<Value = SizeRun> {
        let ending = prop_oneof![
            Just(SizeEnding::Whole),
            Just(SizeEnding::Interrupted),
            ".{0,20}".prop_map(SizeEnding::Killed),
            ".{0,20}".prop_map(SizeEnding::Ended),
            ".{0,20}".prop_map(SizeEnding::Host),
        ];
        let limit = prop_oneof![
            Just(Limit::Unlimited),
            any::<u64>().prop_map(|bytes| Limit::Bytes(Bytes::new(bytes))),
        ];
        let phase = (".{0,9}", [number(), number(), number(), number(), number()]).prop_map(
            |(name, [p99_ms, psi_percent, cpu_cores, rate, failed_percent])| SizePhase {
                name,
                p99_ms,
                psi_percent,
                major_faults: rate.map(|_| 3),
                read_bytes: rate.map(|_| 4096),
                cpu_cores,
                rate,
                failed_percent,
            },
        );
        let need = prop::option::of(any::<(u64, u64)>());
        let texts = (".{0,20}", prop::option::of(".{0,9}"), prop::collection::vec(".{0,9}", 0..3));
        let phases = prop::collection::vec(phase, 0..3);
        (ending, limit, phases, need, texts, number(), any::<bool>()).prop_map(
            |(ending, limit, phases, need, (directory, untrusted, broken), spread, leaks)| {
                SizeRun {
                    directory,
                    limit,
                    ending,
                    untrusted,
                    broken,
                    need: need.map(|(low, high)| (Bytes::new(low), Bytes::new(high))),
                    request: None,
                    spread_percent: spread,
                    leaks,
                    phases,
                }
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn runs_read_back_and_a_line_that_was_cut_off_costs_no_other(
            runs in prop::collection::vec(run(), 0..5),
            cut in 1_usize..40,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let mut state = State::create(dir.path(), &header()).unwrap();
            for run in &runs {
                state.append(run).unwrap();
            }
            let (_, read, all) = State::open(dir.path()).unwrap();
            prop_assert_eq!(read, header());
            prop_assert_eq!(&all, &runs);
            let path = dir.path().join(FILE);
            let text = fs::read(&path).unwrap();
            let last = text[..text.len() - 1].iter().rposition(|byte| *byte == b'\n');
            let longest = text.len() - last.map_or(0, |at| at + 1);
            fs::write(&path, &text[..text.len() - cut.min(longest)]).unwrap();
            match State::open(dir.path()) {
                Ok((_, _, left)) => prop_assert_eq!(left.as_slice(), &runs[..runs.len() - 1]),
                // The line that says what it is about.
                Err(_) => prop_assert!(runs.is_empty()),
            }
        }
    }
}
