//! Watching over a run: signals and deadlines, its end whatever that is, and everything cleared
//! away afterwards.

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::JoinHandle;

use super::print::note;
use super::signals::Signals;
use super::{Exit, Fault};
use crate::event::Finish;
use crate::live::Progress;
use crate::record::LastWords;
use crate::runtime::Runtime;
use crate::session::StopHandle;

/// What is left of a run that was ended at once.
pub(super) const KEPT: &str = "the recording is kept: `highwater report` renders what there is";

/// What is shown of a run, to be told by several.
pub(super) type SharedProgress = Arc<Mutex<Progress>>;

/// The progress, whoever broke down while holding it.
pub(super) fn shown(progress: &SharedProgress) -> MutexGuard<'_, Progress> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How a run is watched over.
pub(super) struct Supervision<'a> {
    /// Asks it to stop.
    pub(super) handle: &'a StopHandle,
    /// When to, at the latest.
    pub(super) deadline: Option<Duration>,
    pub(super) progress: Option<&'a SharedProgress>,
    /// What its recording says at the end where it is ended at once.
    pub(super) last_words: &'a LastWords,
    /// What is told to be left then.
    pub(super) left: &'a str,
}

impl Supervision<'_> {
    /// Waits for the run. The first signal, and the deadline, ask it to stop; the second ends it
    /// now. The terminal is its user's again afterwards.
    pub(super) async fn wait(
        &self,
        work: JoinHandle<Result<Finish, Fault>>,
        signals: &mut Signals,
    ) -> Result<Finish, Fault> {
        // A breakdown of what only shows and waits must not keep things from being cleared away.
        let done = AssertUnwindSafe(self.wait_for(work, signals)).catch_unwind().await;
        if let Some(progress) = self.progress {
            shown(progress).close();
        }
        done.unwrap_or_else(|_| Err(bug("what waits for the run broke down")))
    }

    async fn wait_for(
        &self,
        mut work: JoinHandle<Result<Finish, Fault>>,
        signals: &mut Signals,
    ) -> Result<Finish, Fault> {
        let out_of_time = async {
            match self.deadline {
                Some(time) => tokio::time::sleep(time).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(out_of_time);
        let mut asked = false;
        loop {
            tokio::select! {
                done = &mut work => {
                    return done.unwrap_or_else(|error| Err(bug(&format!("the run broke down: {error}"))));
                }
                () = signals.next() => {
                    if asked || signals.is_urgent() {
                        self.last_words.say(Finish::Interrupted);
                        work.abort();
                        let _ = (&mut work).await;
                        return Err(Fault::plain(Exit::Interrupted, "ended at once", self.left));
                    }
                    asked = true;
                    self.handle.stop();
                    if let Some(progress) = self.progress {
                        shown(progress).stopping();
                    }
                }
                () = &mut out_of_time, if !asked => {
                    asked = true;
                    self.handle.stop();
                }
            }
        }
    }
}

fn bug(text: &str) -> Fault {
    let help = "this is a fault of Highwater itself: please report it";
    Fault::plain(Exit::Bug, text, help)
}

/// Clears away all that a run made; one more signal after the second ends even that.
pub(super) async fn clear_away(runtime: &Runtime, signals: &mut Signals) -> Result<(), Fault> {
    let mut cleaning = std::pin::pin!(runtime.clean_up());
    let before = signals.count();
    loop {
        tokio::select! {
            done = &mut cleaning => return done.map_err(|error| super::run::runtime_fault(&error)),
            () = signals.next() => {
                if signals.is_urgent() && signals.count() > before.max(1) {
                    let text = "ended before everything was cleared away";
                    return Err(Fault::plain(Exit::Interrupted, text, "`highwater clean` removes it"));
                }
            }
        }
    }
}

/// Lets signals end the program while reports are written, which takes a moment only: at once
/// where the run was interrupted already, else the second one.
pub(super) fn heed_signals_while_rendering(
    tokio: &tokio::runtime::Runtime,
    directory: &Path,
    interrupted: bool,
) {
    let directory = directory.to_owned();
    tokio.spawn(async move {
        let Ok(mut signals) = Signals::new() else { return };
        signals.next().await;
        if !interrupted {
            note("the run is over and its reports are being written; once more ends that");
            signals.next().await;
        }
        forget_unfinished(&directory);
        note(&format!("ended at once\n  help: {KEPT}"));
        end(Exit::Interrupted);
    });
}

/// Removes reports that are not whole yet.
fn forget_unfinished(directory: &Path) {
    let prefix = crate::event::temporary_prefix("");
    let prefix = prefix.trim_end_matches('-');
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

#[expect(clippy::exit, reason = "the thread that renders can't be told to end")]
fn end(exit: Exit) {
    std::process::exit(i32::from(exit.code()));
}
