//! `sizing.svg`: what was tried, a column for each limit.

use super::draw::{Anchor, BLUE, Canvas, GREEN, GRID, GROUND, MUTED, ORANGE, RED, SHADE, SKY};
use super::draw::{Ink, TEXT, Type, close};
use super::{Renderer, text};
use crate::analysis::{Findings, SizeSearch, SizeTrial, Sizing};
use crate::units::Bytes;

const WIDTH: u32 = 800;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 784.0;
const TOP: f64 = 84.0;
/// The height of the row with the runs, and of each row of bars.
const RUNS: f64 = 92.0;
const PANEL: f64 = 74.0;
const HEIGHT: u32 = 602;
/// The width of a column at most.
const COLUMN: f64 = 96.0;
/// Runs of one limit that are drawn.
const MOST_RUNS: u32 = 5;

/// Renders `sizing.svg`.
#[derive(Debug, Clone, Copy)]
pub struct SizingSvg;

/// One row of bars: its name, its colour, its values, and how they are told.
struct Panel {
    name: &'static str,
    ink: Ink,
    of: fn(&SizeTrial) -> Option<f64>,
    told: fn(f64) -> String,
    /// What fills the row at least: little stays little.
    least: f64,
}

const PANELS: [Panel; 5] = [
    Panel {
        name: "peak",
        ink: BLUE,
        of: |row| row.peak.map(Bytes::as_f64),
        told: size,
        least: 0.0,
    },
    Panel { name: "p99", ink: SKY, of: |row| row.p99_ms, told: text::millis, least: 0.0 },
    Panel {
        name: "waiting for memory",
        ink: ORANGE,
        of: |row| row.psi_percent,
        told: text::percent,
        least: 10.0,
    },
    Panel {
        name: "CPU, cores",
        ink: BLUE,
        of: |row| row.cpu_cores,
        told: |cores| format!("{cores:.2}"),
        least: 0.0,
    },
    Panel {
        name: "requests/s",
        ink: SKY,
        of: |row| row.rate,
        told: |rate| format!("{rate:.0}"),
        least: 0.0,
    },
];

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was a size")]
fn size(bytes: f64) -> String {
    Bytes::new(bytes as u64).to_string()
}

impl Renderer for SizingSvg {
    fn render(&self, findings: &Findings) -> String {
        let none = Sizing::default();
        let sizing = findings.sizing.as_ref().unwrap_or(&none);
        let mut body = String::new();
        let mut canvas = Canvas::new(&mut body, WIDTH, HEIGHT);
        let name = text::clean(&findings.name, 40);
        canvas.text((24.0, 26.0), &format!("{name}: limits tried"), Type::new(16.0, TEXT).bold());
        legend(&mut canvas);
        if let Some(search) = &sizing.search {
            draw(&mut canvas, sizing, search);
        }
        canvas.finish();
        let title = format!("{}: limits tried", findings.name);
        close(&body, WIDTH, HEIGHT, &title, &description(sizing))
    }
}

fn description(sizing: &Sizing) -> String {
    let rows = sizing.search.iter().flat_map(|search| &search.trials).map(|row| {
        let (limit, survived, runs) = (row.limit, row.survived, row.runs);
        format!("{limit}: {survived} of {runs} survived")
    });
    format!("{}. {}.", sizing.reason, rows.collect::<Vec<_>>().join("; "))
}

fn legend(canvas: &mut Canvas<'_>) {
    let mut x = 24.0;
    for (name, ink) in [("survived", GREEN), ("killed", RED), ("survived, but worse", ORANGE)] {
        canvas.rect((x, 47.0), (x + 12.0, 57.0), ink, 1.0);
        let kind = Type::new(12.0, MUTED);
        canvas.text((x + 18.0, 52.0), name, kind);
        x += 36.0 + kind.width(name);
    }
}

fn draw(canvas: &mut Canvas<'_>, sizing: &Sizing, search: &SizeSearch) {
    // Upwards, as axes go.
    let rows: Vec<&SizeTrial> = search.trials.iter().rev().collect();
    let count = crate::analysis::float(rows.len() as u64).max(1.0);
    let width = ((RIGHT - LEFT) / count).min(COLUMN);
    let bottom = TOP + RUNS + PANEL * crate::analysis::float(PANELS.len() as u64);
    let mut left = LEFT;
    let mut columns = Vec::new();
    for row in rows {
        columns.push((left, row));
        left += width;
    }
    for (x, row) in &columns {
        let recommended = row.limit.bytes().is_some() && row.limit.bytes() == sizing.recommended;
        if recommended {
            canvas.rect((*x, TOP - 12.0), (*x + width, bottom + 36.0), SHADE, 1.0);
        }
    }
    let kind = Type::new(12.0, TEXT).at(Anchor::Right);
    canvas.text((LEFT - 12.0, TOP + RUNS - 16.0), "runs", kind);
    for (x, row) in &columns {
        runs(canvas, *x + width / 2.0, row);
    }
    let mut top = TOP + RUNS;
    for panel in &PANELS {
        bars(canvas, panel, top, width, &columns);
        top += PANEL;
    }
    for (x, row) in &columns {
        let bytes = row.limit.bytes();
        let recommended = bytes.is_some() && bytes == sizing.recommended;
        let kind = Type::new(11.0, TEXT).at(Anchor::Middle);
        let kind = if recommended { kind.bold() } else { kind };
        let at = (*x + width / 2.0, bottom + 14.0);
        canvas.text(at, &row.limit.to_string(), kind);
        if recommended {
            let words = if sizing.verified { "proved" } else { "a guess" };
            let kind = Type::new(10.0, MUTED).at(Anchor::Middle);
            canvas.text((at.0, bottom + 28.0), words, kind);
        }
    }
}

/// A square for each run, from below: survived, worse, killed.
fn runs(canvas: &mut Canvas<'_>, middle: f64, row: &SizeTrial) {
    let kinds = [(row.survived, GREEN), (row.thrashed, ORANGE), (row.killed, RED)];
    let each = kinds.iter().flat_map(|(count, ink)| {
        let count = (*count).min(MOST_RUNS);
        (0..count).map(move |_| *ink)
    });
    let mut y = TOP + RUNS - 22.0;
    for ink in each.take(MOST_RUNS as usize) {
        canvas.rect((middle - 6.0, y), (middle + 6.0, y + 10.0), ink, 1.0);
        if ink == RED {
            canvas.line(&[(middle - 3.0, y + 2.0), (middle + 3.0, y + 8.0)], GROUND, 1.5);
            canvas.line(&[(middle - 3.0, y + 8.0), (middle + 3.0, y + 2.0)], GROUND, 1.5);
        }
        y -= 14.0;
    }
}

fn bars(
    canvas: &mut Canvas<'_>,
    panel: &Panel,
    top: f64,
    width: f64,
    columns: &[(f64, &SizeTrial)],
) {
    let bottom = top + PANEL - 10.0;
    let kind = Type::new(12.0, TEXT).at(Anchor::Right);
    canvas.text((LEFT - 12.0, bottom - 8.0), panel.name, kind);
    canvas.line(&[(LEFT, bottom), (RIGHT, bottom)], GRID, 1.0);
    let values = columns.iter().filter_map(|(_, row)| (panel.of)(row));
    let most = values.fold(panel.least, f64::max);
    for (x, row) in columns {
        let middle = x + width / 2.0;
        let Some(value) = (panel.of)(row) else {
            let kind = Type::new(10.0, MUTED).at(Anchor::Middle);
            canvas.text((middle, bottom - 8.0), "–", kind);
            continue;
        };
        let height = if most > 0.0 { (bottom - top - 20.0) * value / most } else { 0.0 };
        let half = (width * 0.3).min(20.0);
        canvas.rect((middle - half, bottom - height), (middle + half, bottom), panel.ink, 1.0);
        let kind = Type::new(10.0, TEXT).at(Anchor::Middle);
        canvas.text((middle, bottom - height - 7.0), &(panel.told)(value), kind);
    }
}
