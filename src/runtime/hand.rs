//! Reaching a target that runs, from beside: a signal, a program run where it runs.

use super::{docker, native};

/// The end of a program's output that is told when it failed, in bytes.
pub(super) const LAST_WORDS: usize = 400;

/// Reaches a target that runs. It keeps nothing alive: what it does to a target that has ended
/// fails.
#[derive(Debug, Clone)]
pub struct Hand(pub(super) HandKind);

#[derive(Debug, Clone)]
pub(super) enum HandKind {
    Docker(docker::Hand),
    Native(native::Hand),
    /// A target that is only a script does nothing that is asked.
    #[cfg(test)]
    Scripted,
}

impl Hand {
    /// Sends a signal to the target's first process.
    ///
    /// # Errors
    /// Why that could not be done.
    pub async fn signal(&self, name: &str) -> Result<(), String> {
        match &self.0 {
            HandKind::Docker(hand) => hand.signal(name).await,
            HandKind::Native(hand) => hand.signal(name),
            #[cfg(test)]
            HandKind::Scripted => Ok(()),
        }
    }

    /// Runs a program in the target's container, or in its cgroup and network, and waits for its
    /// end. What it needs of memory counts as the target's.
    ///
    /// # Errors
    /// Why it could not be run, or how it failed and the end of what it printed.
    pub async fn exec(&self, words: &[String]) -> Result<(), String> {
        match &self.0 {
            HandKind::Docker(hand) => hand.exec(words).await,
            HandKind::Native(hand) => hand.exec(words).await,
            #[cfg(test)]
            HandKind::Scripted => Ok(()),
        }
    }
}

/// Keeps the end of what is printed.
pub(super) fn keep_end(kept: &mut Vec<u8>, more: &[u8]) {
    kept.extend_from_slice(more);
    let excess = kept.len().saturating_sub(LAST_WORDS);
    kept.drain(..excess);
}

/// How a program ended, where that is a failure.
pub(super) fn outcome(code: Option<i64>, printed: &[u8]) -> Result<(), String> {
    let words = String::from_utf8_lossy(printed);
    let words = words.trim();
    let end = if words.is_empty() { String::new() } else { format!(": {words}") };
    match code {
        Some(0) => Ok(()),
        Some(code) => Err(format!("exit code {code}{end}")),
        None => Err(format!("ended nobody knows how{end}")),
    }
}
