//! The last lines that a target printed, each with its moment.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Moment;
use crate::event::PrintedLine;
use crate::plan::Budget;
use crate::units::is_harmful;

/// The last lines.
#[derive(Debug, Default)]
pub(super) struct Recent(VecDeque<(Moment, Vec<u8>)>);

impl Recent {
    /// A line that ended now. Its text is looked at only where it is asked for: of a flood, no line
    /// is.
    pub(super) fn push(&mut self, at: Moment, line: &[u8]) {
        let room = if self.0.len() == Budget::RECENT_LINES { self.0.pop_front() } else { None };
        let mut kept = room.map_or_else(Vec::new, |(_, text)| text);
        kept.clear();
        kept.extend_from_slice(&line[..line.len().min(Budget::RECENT_LINE)]);
        self.0.push_back((at, kept));
    }

    /// The lines that ended nearest to a moment, in their order.
    pub(super) fn near(&self, at: Moment, within: Duration) -> Vec<PrintedLine> {
        let off = |line: &Moment| at.since(*line).max(line.since(at));
        let mut rows: Vec<&(Moment, Vec<u8>)> =
            self.0.iter().filter(|row| off(&row.0) <= within).collect();
        rows.sort_by_key(|row| off(&row.0));
        rows.truncate(Budget::LINES_NEAR_SPIKE);
        rows.sort_by_key(|row| row.0);
        rows.into_iter().map(|(at, line)| PrintedLine { at: *at, text: shown(line) }).collect()
    }
}

fn shown(line: &[u8]) -> String {
    String::from_utf8_lossy(line).chars().filter(|c| !is_harmful(*c)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Moment {
        Moment::from_millis(ms)
    }

    #[test]
    fn the_nearest_lines_are_told_in_their_order() {
        let mut recent = Recent::default();
        for n in 0..100 {
            recent.push(ms(n * 10), format!("line {n}").as_bytes());
        }
        let lines = recent.near(ms(502), Duration::from_secs(1));
        let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts, ["line 48", "line 49", "line 50", "line 51", "line 52"]);
        assert_eq!(lines[2].at, ms(500));
        assert_eq!(recent.near(ms(2000), Duration::from_secs(1)).len(), 0, "too far");
    }

    #[test]
    fn lines_are_bounded_in_number_and_length_and_harmless() {
        let mut recent = Recent::default();
        for n in 0..10_000 {
            recent.push(ms(n), &[b'x'; 1000]);
        }
        recent.push(ms(10_000), b"\x1b[31mred\xff");
        assert_eq!(recent.0.len(), Budget::RECENT_LINES);
        let lines = recent.near(ms(10_000), Duration::from_millis(1));
        assert_eq!(lines[0].text.len(), Budget::RECENT_LINE);
        assert_eq!(lines[1].text, "[31mred\u{fffd}");
    }
}
