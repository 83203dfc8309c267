//! A run against its baseline, as `run` and `report` do it.

use super::compare::{shares, stored, update};
use super::options::Against;
use super::print::note;
use super::{Exit, Fault};
use crate::analysis::Findings;
use crate::analysis::compare::{Baseline, Refusal, Run, RunDocument, Settings};
use crate::record::RunDirectory;
use crate::report::{Renderer, RunJson};

/// A baseline to hold a run against, read before the run begins.
pub(super) struct Held<'a> {
    options: &'a Against,
    stored: Option<Baseline>,
    settings: Settings,
}

/// Reads the baseline that is asked for; none where none is.
pub(super) fn held(options: &Against) -> Result<Option<Held<'_>>, Fault> {
    let Some(path) = &options.baseline else { return Ok(None) };
    let settings = Settings { shares: shares(&options.share)?, anyway: false };
    let stored = stored(path, options.update_baseline)?;
    Ok(Some(Held { options, stored, settings }))
}

impl Held<'_> {
    /// Adds to the findings what the baseline has to say, and updates it where that is asked for.
    /// Gives the exit code of an update that failed, which is told.
    pub(super) fn judge(self, directory: &RunDirectory, findings: &mut Findings) -> Option<Exit> {
        let name = directory.path().display().to_string();
        let document = RunDocument::read(&RunJson.render(findings))
            .expect("what this version writes, it reads");
        let runs = [Run { name, document }];
        let accepted = self.options.update_baseline;
        if let Some(stored) = &self.stored {
            match stored.compare(&runs, &self.settings) {
                Ok(comparison) => findings.hold_against(&comparison, accepted),
                // Told by the run's own verdict.
                Err(Refusal::Broken { .. }) => {}
                Err(Refusal::Unlike { .. }) if accepted => {}
                Err(Refusal::Unlike { texts }) => findings.without_baseline(&texts.join("; ")),
                Err(other) => findings.without_baseline(&other.to_string()),
            }
        }
        if let (true, Some(path)) = (accepted, &self.options.baseline)
            && let Err(fault) = update(path, self.stored, &runs, &self.settings)
        {
            // The run's reports come all the same.
            note("the baseline was not updated:");
            fault.print();
            return Some(fault.exit);
        }
        None
    }
}
