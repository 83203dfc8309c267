//! The target's output, kept bounded: the first half of what is allowed from its start, the rest
//! from its end. The last lines stay at hand for error messages. Secrets of the target's environment
//! are masked before anything else is done with it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use regex::Regex;

use super::Error;
use super::mask::Mask;
use super::recent::Recent;
use crate::clock::{Clock, Moment};
use crate::event::PrintedLine;
use crate::plan::Budget;
use crate::units::is_harmful;

/// A line longer than this is cut where it is quoted or matched.
const LINE_MAX: usize = Budget::LOG_LINE;

/// Which of its outputs a target wrote to: each has lines of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Channel {
    Out,
    Err,
}

/// Takes a target's output. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Output {
    state: Arc<Mutex<State>>,
    /// All bytes so far, those left out too.
    count: Arc<AtomicU64>,
}

#[derive(Debug)]
struct State {
    file: File,
    path: PathBuf,
    head_left: usize,
    tail: VecDeque<u8>,
    tail_max: usize,
    left_out: u64,
    mask: Option<Mask>,
    /// What waits for the rest of what may be a secret, by channel.
    held: [Vec<u8>; 2],
    /// The line that is not over yet, by channel.
    line: [Vec<u8>; 2],
    lines: VecDeque<String>,
    lines_max: usize,
    recent: Recent,
    pattern: Option<Regex>,
    matched: Option<Moment>,
    clock: Clock,
}

impl Output {
    /// Keeps output in a file. `pattern` is looked for in each line, as it was masked.
    pub(super) fn create(
        path: &Path,
        budget: &Budget,
        pattern: Option<Regex>,
        mask: Option<Mask>,
        clock: &Clock,
    ) -> Result<Self, Error> {
        let file = File::create(path).map_err(|source| Error::File {
            action: "create",
            path: path.to_owned(),
            source,
        })?;
        let half = usize::try_from(budget.target_output.get() / 2).unwrap_or(usize::MAX);
        let state = State {
            file,
            path: path.to_owned(),
            head_left: half,
            tail: VecDeque::new(),
            tail_max: half,
            left_out: 0,
            mask,
            held: [Vec::new(), Vec::new()],
            line: [Vec::new(), Vec::new()],
            lines: VecDeque::new(),
            lines_max: budget.quoted_log_lines,
            recent: Recent::default(),
            pattern,
            matched: None,
            clock: clock.clone(),
        };
        Ok(Self { state: Arc::new(Mutex::new(state)), count: Arc::default() })
    }

    /// All bytes that were written so far, kept or not.
    pub(super) fn bytes(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// The lines of late that ended nearest to a moment, in their order.
    pub(super) fn lines_near(&self, at: Moment, within: Duration) -> Vec<PrintedLine> {
        self.state().recent.near(at, within)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes more output.
    pub(super) fn write(&self, channel: Channel, bytes: &[u8]) {
        self.count.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.state().take(channel, bytes);
    }

    /// When a line first matched the pattern.
    pub(super) fn matched(&self) -> Option<Moment> {
        self.state().matched
    }

    /// The last lines, each on a line of its own after a heading; empty where there are none.
    /// What would control a terminal is left out.
    pub(super) fn quote(&self) -> String {
        let mut state = self.state();
        state.end_channels();
        if state.lines.is_empty() {
            return "; it printed nothing".to_owned();
        }
        let mut text = "; its last lines:".to_owned();
        for line in &state.lines {
            text += "\n    | ";
            text.extend(line.chars().filter(|c| !is_harmful(*c)));
        }
        text
    }

    /// Writes what was kept from the end.
    pub(super) fn finish(&self) -> Result<(), Error> {
        self.state().finish()
    }
}

impl State {
    fn take(&mut self, channel: Channel, bytes: &[u8]) {
        match &self.mask {
            None => self.take_masked(channel, bytes),
            Some(mask) => {
                let shown = mask.pass(&mut self.held[channel as usize], bytes);
                self.take_masked(channel, &shown);
            }
        }
    }

    fn take_masked(&mut self, channel: Channel, bytes: &[u8]) {
        self.keep(bytes);
        self.split_lines(channel, bytes);
    }

    /// Nothing is to follow what was begun.
    fn end_channels(&mut self) {
        for channel in [Channel::Out, Channel::Err] {
            if let Some(mask) = &self.mask {
                let rest = mask.rest(&mut self.held[channel as usize]);
                self.take_masked(channel, &rest);
            }
            self.end_line(channel);
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let (head, rest) = bytes.split_at(bytes.len().min(self.head_left));
        self.head_left -= head.len();
        // A full disk must not end the run: what can't be written is counted as left out.
        if self.file.write_all(head).is_err() {
            self.left_out += head.len() as u64;
        }
        self.tail.extend(rest);
        let excess = self.tail.len().saturating_sub(self.tail_max);
        self.tail.drain(..excess);
        self.left_out += excess as u64;
    }

    fn split_lines(&mut self, channel: Channel, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = part.strip_suffix(b"\n").unwrap_or(part);
            let line = &mut self.line[channel as usize];
            let room = LINE_MAX.saturating_sub(line.len()).min(text.len());
            line.extend_from_slice(&text[..room]);
            if part.ends_with(b"\n") {
                self.end_line(channel);
            }
        }
    }

    fn end_line(&mut self, channel: Channel) {
        let line = &mut self.line[channel as usize];
        if line.is_empty() {
            return;
        }
        let bytes = std::mem::take(line);
        self.recent.push(self.clock.now(), &bytes);
        let line = String::from_utf8_lossy(&bytes).into_owned();
        let matches = || self.pattern.as_ref().is_some_and(|pattern| pattern.is_match(&line));
        if self.matched.is_none() && matches() {
            self.matched = Some(self.clock.now());
        }
        if self.lines.len() == self.lines_max {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.end_channels();
        let tail: Vec<u8> = self.tail.drain(..).collect();
        let mut write = || {
            if self.left_out > 0 {
                writeln!(self.file, "\n[{} bytes left out]", self.left_out)?;
            }
            self.file.write_all(&tail)
        };
        write().map_err(|source| Error::File { action: "write", path: self.path.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::EnvVar;
    use crate::units::Bytes;

    fn output(pattern: Option<&str>) -> (tempfile::TempDir, Output) {
        let dir = tempfile::tempdir().unwrap();
        let budget =
            Budget { target_output: Bytes::new(40), quoted_log_lines: 2, ..Budget::default() };
        let pattern = pattern.map(|text| Regex::new(text).unwrap());
        let output =
            Output::create(&dir.path().join("log"), &budget, pattern, None, &Clock::start())
                .unwrap();
        (dir, output)
    }

    #[test]
    fn keeps_the_start_and_the_end() {
        let (dir, output) = output(None);
        for n in 0..100 {
            output.write(Channel::Out, format!("line {n:02}\n").as_bytes());
        }
        output.finish().unwrap();
        let text = std::fs::read_to_string(dir.path().join("log")).unwrap();
        assert!(text.starts_with("line 00\nline 01\n"), "{text}");
        assert!(text.ends_with("line 98\nline 99\n"), "{text}");
        assert!(text.contains("[760 bytes left out]"), "{text}");
        assert_eq!(output.bytes(), 800, "what is left out counts");
    }

    #[test]
    fn quotes_the_last_lines_without_control_characters() {
        let (_dir, output) = output(None);
        output.write(Channel::Out, b"one\ntwo\nthr\x1b[31mee\nfour");
        assert_eq!(output.quote(), "; its last lines:\n    | thr[31mee\n    | four");
    }

    #[test]
    fn an_endless_line_is_cut_and_a_match_is_seen_once() {
        let (_dir, output) = output(Some("listening on \\d+"));
        output.write(Channel::Out, &vec![b'x'; 1_000_000]);
        assert_eq!(output.matched(), None);
        output.write(Channel::Out, b"\nlistening on 80");
        assert_eq!(output.matched(), None, "the line is not over");
        output.write(Channel::Out, b"80\n");
        assert!(output.matched().is_some());
    }

    #[test]
    fn each_channel_has_lines_of_its_own() {
        let (_dir, output) = output(None);
        output.write(Channel::Out, b"one ");
        output.write(Channel::Err, b"else\n");
        output.write(Channel::Out, b"line\n");
        assert_eq!(output.quote(), "; its last lines:\n    | else\n    | one line");
    }

    #[test]
    fn secrets_are_masked_before_they_are_kept_matched_or_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let secret = EnvVar { name: "A".into(), value: "s3cret!".into(), secret: true };
        let (path, mask) = (dir.path().join("log"), Mask::of(&[secret]));
        let pattern = Some(Regex::new("key (.*)!").unwrap());
        let budget = Budget::default();
        let output = Output::create(&path, &budget, pattern, mask, &Clock::start()).unwrap();
        output.write(Channel::Out, b"key s3c");
        output.write(Channel::Err, b"other\n");
        output.write(Channel::Out, b"ret!\nkey s3");
        assert_eq!(output.matched(), None);
        assert_eq!(output.quote(), "; its last lines:\n    | other\n    | key ***\n    | key s3");
        output.finish().unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), "key other\n***\nkey s3");
    }
}
