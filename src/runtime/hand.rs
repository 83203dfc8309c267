//! Reaching a target that runs, from beside: a signal, a program run where it runs.

use super::mask::Mask;
use super::{docker, native};
use crate::units::is_harmful;

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

/// The end of what a program prints, without the target's secrets.
#[derive(Debug)]
pub(super) struct Ending {
    mask: Option<Mask>,
    held: Vec<u8>,
    kept: Vec<u8>,
}

impl Ending {
    pub(super) const fn new(mask: Option<Mask>) -> Self {
        Self { mask, held: Vec::new(), kept: Vec::new() }
    }

    /// Takes in the next piece.
    pub(super) fn add(&mut self, piece: &[u8]) {
        let shown = self.mask.as_ref().map(|mask| mask.pass(&mut self.held, piece));
        self.keep(shown.as_deref().unwrap_or(piece));
    }

    fn keep(&mut self, shown: &[u8]) {
        self.kept.extend_from_slice(shown);
        let excess = self.kept.len().saturating_sub(LAST_WORDS);
        self.kept.drain(..excess);
    }

    /// The end of it, on one line, without what could harm a terminal or a page.
    pub(super) fn text(mut self) -> String {
        if let Some(mask) = self.mask.take() {
            let rest = mask.rest(&mut self.held);
            self.keep(&rest);
        }
        let text = String::from_utf8_lossy(&self.kept);
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        words.chars().filter(|c| !is_harmful(*c)).collect()
    }
}

/// How a program ended, where that is a failure.
pub(super) fn outcome(code: Option<i64>, printed: &str) -> Result<(), String> {
    let end = if printed.is_empty() { String::new() } else { format!(": {printed}") };
    match code {
        Some(0) => Ok(()),
        Some(code) => Err(format!("exit code {code}{end}")),
        None => Err(format!("ended nobody knows how{end}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::EnvVar;

    #[test]
    fn the_end_of_what_is_printed_holds_no_secret_and_no_escape() {
        let secret =
            EnvVar { name: "KEY".to_owned(), value: "hush-hush-hush".to_owned(), secret: true };
        let mut ending = Ending::new(Mask::of(&[secret]));
        ending.add(&b"x".repeat(3 * LAST_WORDS));
        ending.add(b" the key is hush-hu");
        ending.add(b"sh-hush\n\x1b[31mfailed");
        let text = ending.text();
        assert!(text.ends_with(" the key is *** [31mfailed"), "{text}");
        assert!(text.len() <= LAST_WORDS);
    }
}
