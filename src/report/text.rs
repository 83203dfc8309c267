//! Text that is safe to show.

use std::time::Duration;

use crate::analysis::Findings;
use crate::clock::Moment;
use crate::event::RunFacts;
use crate::units::{Human, is_harmful};

/// A text on one line, without control characters or marks that change the direction of text,
/// cut to `most` characters.
pub(super) fn clean(text: &str, most: usize) -> String {
    let shown = |c: char| match c {
        '\n' | '\r' | '\t' => ' ',
        c if is_harmful(c) => '\u{fffd}',
        c => c,
    };
    let mut out: String = text.chars().take(most).map(shown).collect();
    if text.chars().nth(most).is_some() {
        out.pop();
        out.push('…');
    }
    out
}

/// The characters that XML gives a meaning to, escaped.
pub(super) fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// A time of the run: `02:05`, `1:02:05`.
pub(super) fn clock(at: Duration) -> String {
    let seconds = at.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes:02}:{seconds:02}")
    }
}

/// A time of the run counted from its start.
pub(super) fn moment(at: Moment) -> String {
    clock(at.since(Moment::START))
}

/// A length of time given in milliseconds.
pub(super) fn millis(ms: f64) -> String {
    let time = Duration::try_from_secs_f64(ms.max(0.0) / 1e3).unwrap_or(Duration::MAX);
    Human(time).to_string()
}

/// A share in percent, with one place where it is not whole.
pub(super) fn percent(value: f64) -> String {
    let text = format!("{value:.1}");
    format!("{} %", text.strip_suffix(".0").unwrap_or(&text))
}

/// What was run, for headings.
pub(super) fn target(facts: &RunFacts) -> String {
    clean(facts.image.as_deref().unwrap_or("unknown target"), 60)
}

/// When the run started, as RFC 3339 in UTC.
pub(super) fn started_at(findings: &Findings) -> String {
    let nanos = i128::from(findings.anchor.unix_ns);
    jiff::Timestamp::from_nanosecond(nanos).map_or_else(|_| String::new(), |at| format!("{at:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_harmless() {
        assert_eq!(clean("a\u{1b}[31mb\nc\u{202e}d", 80), "a\u{fffd}[31mb c\u{fffd}d");
        assert_eq!(clean("abcdef", 4), "abc…");
        assert_eq!(xml("<script>&'\""), "&lt;script&gt;&amp;&#39;&quot;");
    }

    #[test]
    fn times_read_as_on_a_clock() {
        assert_eq!(clock(Duration::from_secs(125)), "02:05");
        assert_eq!(clock(Duration::from_secs(3725)), "1:02:05");
        assert_eq!(millis(612.4), "612 ms");
        assert_eq!(percent(74.0), "74 %");
    }
}
