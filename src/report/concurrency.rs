//! `concurrency.svg`: memory, threads and descriptors, throughput and latency against load, on one
//! axis of load for each phase whose load climbs.

use super::concurrency_words;
use super::draw::{
    Anchor, BLUE, Canvas, GREEN, GRID, Ink, MUTED, ORANGE, PURPLE, RED, SKY, TEXT, Type, close,
};
use super::scale::ValueScale;
use super::{Renderer, text};
use crate::analysis::{Concurrency, Findings, LoadAxis, LoadLevel};
use crate::units::{Bytes, Limit};

const WIDTH: u32 = 900;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 876.0;
/// The picture's own heading.
const HEAD: u32 = 44;
/// A chart: heading, panels, names of the axis.
const CHART: u32 = 620;
/// Below a chart's top, where its panels begin and end.
const PANELS: [(f64, f64); 4] = [(66.0, 186.0), (226.0, 306.0), (346.0, 426.0), (466.0, 566.0)];
/// Charts that are drawn.
const MOST: usize = 4;

/// Renders `concurrency.svg`.
#[derive(Debug, Clone, Copy)]
pub struct ConcurrencySvg;

impl ConcurrencySvg {
    /// Whether there is anything to draw.
    #[must_use]
    pub fn has_any(findings: &Findings) -> bool {
        charts(findings).next().is_some()
    }
}

fn charts(findings: &Findings) -> impl Iterator<Item = &Concurrency> {
    findings.concurrency.iter().filter(|row| row.refused.is_none()).take(MOST)
}

impl Renderer for ConcurrencySvg {
    fn render(&self, findings: &Findings) -> String {
        let count = u32::try_from(charts(findings).count()).expect("at most four");
        let height = HEAD + CHART * count + 8;
        let mut body = String::new();
        let mut canvas = Canvas::new(&mut body, WIDTH, height);
        let name = text::clean(&findings.name, 40);
        let kind = Type::new(16.0, TEXT).bold();
        canvas.text((24.0, 26.0), &format!("{name}: what more load did"), kind);
        let mut top = f64::from(HEAD);
        for row in charts(findings) {
            Chart::new(row, top).draw(&mut canvas, findings.limit);
            top += f64::from(CHART);
        }
        canvas.finish();
        let said: Vec<String> = charts(findings)
            .map(|row| {
                let lines = concurrency_words::lines(row).join(". ");
                format!("{}: {lines}.", concurrency_words::title(row))
            })
            .collect();
        let title = format!("{}: what more load did", findings.name);
        close(&body, WIDTH, height, &title, &said.join(" "))
    }
}

/// One chart under way.
struct Chart<'a> {
    row: &'a Concurrency,
    top: f64,
    /// Loads, from left to right.
    across: ValueScale,
}

type Of = fn(&LoadLevel) -> Option<f64>;

/// A measure, its name and its ink.
struct Series {
    name: &'static str,
    ink: Ink,
    of: Of,
}

impl<'a> Chart<'a> {
    fn new(row: &'a Concurrency, top: f64) -> Self {
        let most = row.levels.iter().map(|level| level.load).fold(row.range.1, f64::max);
        Self { row, top, across: ValueScale::numbers(most, RIGHT, LEFT) }
    }

    fn draw(&self, canvas: &mut Canvas<'_>, limit: Limit) {
        let title = text::clean(&concurrency_words::title(self.row), 90);
        canvas.text((24.0, self.top + 16.0), &title, Type::new(14.0, TEXT).bold());
        self.axis(canvas);
        self.memory(canvas, limit);
        let counts = [
            Series { name: "threads", ink: PURPLE, of: |row| row.threads },
            Series { name: "descriptors", ink: BLUE, of: |row| row.open_files },
            Series { name: "sockets", ink: SKY, of: |row| row.sockets },
        ];
        self.numbers(canvas, 1, "Threads, descriptors, sockets", &counts);
        let rates = [
            Series { name: "succeeded", ink: GREEN, of: |row| row.throughput },
            Series { name: "failed", ink: RED, of: failed_rate },
        ];
        self.numbers(canvas, 2, "Requests per second", &rates);
        self.latency(canvas);
        self.marks(canvas);
    }

    fn x(&self, load: f64) -> f64 {
        self.across.y(load)
    }

    fn panel(&self, index: usize) -> (f64, f64) {
        let (top, bottom) = PANELS[index];
        (self.top + top, self.top + bottom)
    }

    /// Round loads, and what they are.
    fn axis(&self, canvas: &mut Canvas<'_>) {
        let (top, foot) = (self.panel(0).0, self.panel(3).1);
        for (x, name) in self.across.ticks() {
            canvas.line(&[(x, top), (x, foot)], GRID, 0.75);
            canvas.text((x, foot + 14.0), name, Type::new(11.0, MUTED).at(Anchor::Middle));
        }
        let unit = match self.row.axis {
            LoadAxis::Users => "users",
            LoadAxis::Rate => "requests due per second",
            LoadAxis::InFlight => "requests in flight",
        };
        canvas.text((RIGHT, foot + 30.0), unit, Type::new(11.0, MUTED).at(Anchor::Right));
    }

    fn memory(&self, canvas: &mut Canvas<'_>, limit: Limit) {
        let (top, bottom) = self.panel(0);
        let values = self.row.levels.iter().flat_map(|row| [row.memory, row.memory_peak]);
        let most = bytes(values.flatten().fold(0.0, f64::max));
        let limit = limit.bytes().filter(|limit| limit.as_f64() <= 3.0 * most.as_f64());
        let roof = limit.map_or(most, |limit| limit.max(most));
        let scale = ValueScale::sizes(Bytes::new(roof.get() + roof.get() / 12), top, bottom);
        grid(canvas, &scale);
        let peak = Series { name: "highest", ink: ORANGE, of: |row| row.memory_peak };
        let level = Series { name: "at the median", ink: BLUE, of: |row| row.memory };
        head(canvas, top, "Unreclaimable memory", [&level, &peak].into_iter());
        for series in [&peak, &level] {
            self.line(canvas, &scale, series);
        }
        if let Some(limit) = limit {
            let y = scale.y(limit.as_f64());
            canvas.dashes((LEFT, y), (RIGHT, y), TEXT, 1.5);
            let name = format!("limit {limit}");
            canvas.text((LEFT + 4.0, y + 9.0), &name, Type::new(11.0, TEXT));
        }
    }

    fn numbers(&self, canvas: &mut Canvas<'_>, index: usize, title: &str, series: &[Series]) {
        let (top, bottom) = self.panel(index);
        let known =
            || series.iter().filter(|row| self.row.levels.iter().any(|l| (row.of)(l).is_some()));
        let values = known().flat_map(|row| self.row.levels.iter().filter_map(row.of));
        let scale = ValueScale::numbers(values.fold(0.0, f64::max) * 1.08, top, bottom);
        grid(canvas, &scale);
        head(canvas, top, title, known());
        for row in known() {
            self.line(canvas, &scale, row);
        }
    }

    fn latency(&self, canvas: &mut Canvas<'_>) {
        let (top, bottom) = self.panel(3);
        let levels = &self.row.levels;
        let least = levels.iter().filter_map(|row| row.p50_ms).fold(f64::INFINITY, f64::min);
        let most = levels.iter().filter_map(|row| row.p99_ms).fold(0.0, f64::max);
        let least = if least.is_finite() { least } else { 1.0 };
        let scale = ValueScale::times(least, most, top, bottom);
        grid(canvas, &scale);
        let title = if scale.is_log() { "Latency (log scale)" } else { "Latency" };
        let p50 = Series { name: "p50", ink: BLUE, of: |row| row.p50_ms };
        let p99 = Series { name: "p99", ink: ORANGE, of: |row| row.p99_ms };
        head(canvas, top, title, [&p50, &p99].into_iter());
        for series in [&p99, &p50] {
            self.line(canvas, &scale, series);
        }
    }

    fn line(&self, canvas: &mut Canvas<'_>, scale: &ValueScale, series: &Series) {
        let known = self.row.levels.iter().filter_map(|row| Some((row.load, (series.of)(row)?)));
        let points: Vec<_> = known.map(|(load, value)| (self.x(load), scale.y(value))).collect();
        canvas.line(&points, series.ink, 1.75);
        for (x, y) in points {
            canvas.rect((x - 1.75, y - 1.75), (x + 1.75, y + 1.75), series.ink, 1.0);
        }
    }

    /// Where throughput stops to follow, and where it falls: lines through all panels.
    fn marks(&self, canvas: &mut Canvas<'_>) {
        let Some(row) = self.row.throughput else { return };
        for (from, name, ink) in
            [(row.from, "saturated", MUTED), (row.collapses_from, "collapses", RED)]
        {
            let Some(from) = from else { continue };
            let x = self.x(from);
            for index in 0..PANELS.len() {
                let (top, bottom) = self.panel(index);
                canvas.dashes((x, top), (x, bottom), ink, 1.25);
            }
            let kind = Type::new(11.0, ink);
            let fits = x + 4.0 + kind.width(name) < RIGHT;
            let (at, kind) = if fits { (x + 4.0, kind) } else { (x - 4.0, kind.at(Anchor::Right)) };
            canvas.text((at, self.panel(2).1 - 8.0), name, kind);
        }
    }
}

fn failed_rate(row: &LoadLevel) -> Option<f64> {
    let (failed, requests) =
        (crate::analysis::float(row.failed), crate::analysis::float(row.requests));
    let good = requests - failed;
    // Of the rate of all, which is known by that of the successes.
    (failed > 0.0 && good > 0.0).then(|| row.throughput.map(|rate| rate * failed / good)).flatten()
}

fn head<'s>(
    canvas: &mut Canvas<'_>,
    top: f64,
    title: &str,
    legend: impl Iterator<Item = &'s Series>,
) {
    let y = top - 13.0;
    let kind = Type::new(12.0, TEXT).bold();
    canvas.text((LEFT, y), title, kind);
    let mut x = LEFT + kind.width(title) + 22.0;
    for series in legend {
        canvas.line(&[(x, y), (x + 16.0, y)], series.ink, 2.0);
        let kind = Type::new(11.0, MUTED);
        canvas.text((x + 21.0, y), series.name, kind);
        x += 21.0 + kind.width(series.name) + 16.0;
    }
}

fn grid(canvas: &mut Canvas<'_>, scale: &ValueScale) {
    for (y, name) in scale.ticks() {
        canvas.line(&[(LEFT, y), (RIGHT, y)], GRID, 0.75);
        canvas.text((LEFT - 8.0, y), name, Type::new(11.0, MUTED).at(Anchor::Right));
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates at 0")]
fn bytes(value: f64) -> Bytes {
    Bytes::new(value.round() as u64)
}
