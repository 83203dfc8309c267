//! A comparison on a terminal (80 columns) and in Markdown.

use std::fmt::Write;

use super::markdown::plain;
use super::summary::wrapped;
use super::text;
use crate::analysis::Verdict;
use crate::analysis::compare::{Comparison, Outcome, Row, show};

const WIDTH: usize = 80;
/// So many metrics that could not be told, but seem changed, are shown.
const UNCLEAR: usize = 8;

/// Renders a comparison for a terminal.
#[derive(Debug, Clone, Copy, Default)]
pub struct ComparisonText {
    /// Whether to colour the words that judge.
    pub color: bool,
    /// Whether to show all metrics, or only what changed and those of the whole run.
    pub all: bool,
}

/// Renders a comparison for a pull request.
#[derive(Debug, Clone, Copy, Default)]
pub struct ComparisonMarkdown;

impl ComparisonText {
    /// The text.
    #[must_use]
    pub fn render(&self, comparison: &Comparison) -> String {
        let mut out = String::new();
        self.write(&mut out, comparison).expect("writing into a string never fails");
        out
    }

    fn write(self, out: &mut String, comparison: &Comparison) -> std::fmt::Result {
        let verdict = comparison.verdict();
        let word = verdict.name().to_uppercase();
        let room = WIDTH - word.len() - 2;
        let head = text::clean(&headline(comparison), room);
        writeln!(out, "{}  {head}", self.paint(color_of(verdict), &word))?;
        wrapped(out, " ", &sides(comparison))?;
        for fact in &comparison.facts {
            wrapped(out, " ", &format!("{}: {}", outcome_word(fact.outcome), fact.text))?;
        }
        self.table(out, comparison)?;
        let told: Vec<String> = told(comparison).collect();
        if !told.is_empty() {
            writeln!(out)?;
        }
        for note in told {
            wrapped(out, "Note    ", &note)?;
        }
        Ok(())
    }

    fn table(self, out: &mut String, comparison: &Comparison) -> std::fmt::Result {
        let rows = shown(comparison, self.all);
        if !rows.is_empty() {
            let heads = ["", "metric", "base", "new", "change", "95 %"];
            writeln!(out, "\n{}", cells(heads.map(str::to_owned)).trim_end())?;
        }
        for row in &rows {
            let unit = row.id.kind.unit();
            let word = outcome_word(row.outcome);
            let line = cells([
                word.to_owned(),
                name_of(row),
                show(unit, row.base),
                show(unit, row.new),
                row.change_words(),
                interval(row),
            ]);
            let line = line.trim_end();
            // The word stands at the third column.
            let rest = &line[2 + word.len()..];
            let painted = match row.outcome {
                Outcome::Regression => self.paint("31", word),
                Outcome::Improvement => self.paint("32", word),
                Outcome::Same | Outcome::Unclear => word.to_owned(),
            };
            writeln!(out, "  {painted}{rest}")?;
        }
        let hidden = comparison.rows.len() - rows.len();
        if hidden > 0 {
            let words = format!("{hidden} more metrics (`--all` shows them)");
            writeln!(out, "  {words}")?;
        }
        Ok(())
    }

    fn paint(self, color: &str, word: &str) -> String {
        if self.color { format!("\u{1b}[1;{color}m{word}\u{1b}[0m") } else { word.to_owned() }
    }
}

impl ComparisonMarkdown {
    /// The text.
    #[must_use]
    pub fn render(self, comparison: &Comparison) -> String {
        let mut out = String::new();
        markdown(&mut out, comparison).expect("writing into a string never fails");
        out
    }
}

fn markdown(out: &mut String, comparison: &Comparison) -> std::fmt::Result {
    let verdict = comparison.verdict().name().to_uppercase();
    writeln!(out, "## {verdict}: {}\n", plain(&headline(comparison)))?;
    writeln!(out, "{}\n", plain(&sides(comparison)))?;
    for fact in &comparison.facts {
        writeln!(out, "- {}: {}", outcome_word(fact.outcome), plain(&fact.text))?;
    }
    if !comparison.facts.is_empty() {
        writeln!(out)?;
    }
    let few = shown(comparison, false);
    rows_of(out, &few)?;
    let others: Vec<&Row> = comparison.rows.iter().filter(|row| !few.contains(row)).collect();
    if !others.is_empty() {
        writeln!(out, "\n<details><summary>{} more metrics</summary>\n", others.len())?;
        rows_of(out, &others)?;
        writeln!(out, "\n</details>")?;
    }
    let told: Vec<String> = told(comparison).collect();
    if !told.is_empty() {
        writeln!(out)?;
    }
    for note in told {
        writeln!(out, "- {}", plain(&note))?;
    }
    Ok(())
}

fn rows_of(out: &mut String, rows: &[&Row]) -> std::fmt::Result {
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "| | metric | base | new | change | interval | counts from |\n\
         |---|---|---:|---:|---:|---:|---:|"
    )?;
    for row in rows {
        let unit = row.id.kind.unit();
        let word = match row.outcome {
            Outcome::Regression | Outcome::Improvement => {
                format!("**{}**", outcome_word(row.outcome))
            }
            other => outcome_word(other).to_owned(),
        };
        writeln!(
            out,
            "| {word} | {} | {} | {} | {} | {} | {} |",
            plain(&name_of(row)),
            show(unit, row.base),
            show(unit, row.new),
            row.change_words(),
            interval(row),
            row.limit_words(),
        )?;
    }
    Ok(())
}

fn color_of(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "32",
        Verdict::Fail => "31",
        _ => "33",
    }
}

/// What became of a metric, in a word that fits.
const fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Regression => "worse",
        Outcome::Improvement => "better",
        Outcome::Unclear => "unclear",
        Outcome::Same => "same",
    }
}

fn headline(comparison: &Comparison) -> String {
    let count = |outcome, word: &str| {
        let facts = comparison.facts.iter().filter(|fact| fact.outcome == outcome).count();
        format!("{} {word}", comparison.count(outcome) + facts)
    };
    let counts = [
        count(Outcome::Regression, "worse"),
        count(Outcome::Improvement, "better"),
        count(Outcome::Same, "same"),
        count(Outcome::Unclear, "unclear"),
    ];
    format!("{}: {}", comparison.new.name, counts.join(", "))
}

fn sides(comparison: &Comparison) -> String {
    let runs = |count: usize| match count {
        1 => "1 run".to_owned(),
        count => format!("{count} runs"),
    };
    let new = runs(comparison.new.count);
    match &comparison.since {
        Some(since) => {
            let since = since.get(..10).unwrap_or(since);
            format!(
                "{new} against the baseline since {since} ({} so far)",
                runs(comparison.base.count)
            )
        }
        None => format!("{new} against {}", runs(comparison.base.count)),
    }
}

/// The rows that a reader has to see: what changed, what may have, and the whole run.
fn shown(comparison: &Comparison, all: bool) -> Vec<&Row> {
    let mut left = UNCLEAR;
    let mut rows: Vec<&Row> = comparison
        .rows
        .iter()
        .filter(|row| {
            let whole = row.id.phase.is_none();
            let seems = row.outcome == Outcome::Unclear && row.change.abs() > row.limit;
            match row.outcome {
                Outcome::Regression | Outcome::Improvement => true,
                _ if all || whole => true,
                _ if seems && left > 0 => {
                    left -= 1;
                    true
                }
                _ => false,
            }
        })
        .collect();
    // Stable: within an outcome the weightiest stay first.
    rows.sort_by_key(|row| row.outcome);
    rows
}

/// A metric's name for people: `p99 latency burst, POST /orders`.
pub(super) fn name_of(row: &Row) -> String {
    let mut name = row.id.kind.name().replace('_', " ");
    if let Some(phase) = &row.id.phase {
        let _ = write!(name, ", {}", text::clean(phase, 40));
    }
    if let Some((_, step)) = &row.id.step {
        let _ = write!(name, ", {}", text::clean(step, 40));
    }
    name
}

/// The interval in percent of the base where the change is told so.
fn interval(row: &Row) -> String {
    let Some(interval) = row.interval else { return String::new() };
    let percent = |value: f64| 100.0 * value / row.base;
    if row.percent().is_none() {
        return String::new();
    }
    let (low, high) = (percent(interval.low), percent(interval.high));
    let places = usize::from(low.abs().max(high.abs()) < 9.95);
    // No `-0`.
    let round = |value: f64| {
        let unit = 10_f64.powi(i32::from(places == 1));
        (value * unit).round() / unit + 0.0
    };
    let mut text = format!("{:+.places$}…{:+.places$} %", round(low), round(high));
    if interval.confidence < 0.945 {
        text.push('*');
    }
    text
}

fn cells([word, name, base, new, change, interval]: [String; 6]) -> String {
    let name = text::clean(&name, 24);
    format!("  {word:<7} {name:<24} {base:>10} {new:>10} {change:>9} {interval:>13}")
}

/// What else is to be known, in sentences.
fn told(comparison: &Comparison) -> impl Iterator<Item = String> {
    let lesser = comparison
        .rows
        .iter()
        .filter_map(|row| row.interval)
        .map(|interval| interval.confidence)
        .filter(|confidence| *confidence < 0.945)
        .min_by(f64::total_cmp);
    let lesser = lesser.map(|confidence| {
        format!("intervals with a * are of {:.0} %, as values are few", 100.0 * confidence)
    });
    let only = |ids: &[crate::analysis::compare::MetricId], side: &str| {
        let first = ids.first()?;
        let more = ids.len() - 1;
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        Some(format!("only {side} has {first}{rest}"))
    };
    let only =
        [only(&comparison.only_base, "the base"), only(&comparison.only_new, "the new side")];
    let differences = comparison.differences.iter().map(|row| row.text.clone());
    comparison
        .notes
        .iter()
        .cloned()
        .chain(differences)
        .chain(only.into_iter().flatten())
        .chain(lesser)
        .collect::<Vec<_>>()
        .into_iter()
}
