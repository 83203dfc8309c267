//! The panels of a timeline: one below the other, on one time axis.

use super::draw::{
    Anchor, BLUE, Canvas, GREEN, GRID, GROUND, Ink, MUTED, ORANGE, PURPLE, RED, SKY, TEXT, Type,
};
use super::scale::{TimeScale, ValueScale};
use super::text;
use crate::analysis::{Findings, FlowColumn, LatencyColumn, MemoryColumn, VitalColumn};
use crate::clock::Moment;
use crate::units::{Bytes, Limit};

/// Where the panels begin and end across the picture.
pub(super) const LEFT: f64 = 76.0;
pub(super) const RIGHT: f64 = 1176.0;

/// The spikes that a picture marks.
const MARKED: usize = 40;
/// The restarts that it marks.
const RESTARTS: usize = 100;

/// The actions that it marks.
const ACTIONS: usize = 100;

/// One panel: its frame and its time axis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Panel {
    pub(super) time: TimeScale,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

/// How a series is named beside its panel's title.
#[derive(Debug, Clone, Copy)]
enum Sign {
    Line,
    Band,
    Dash,
    Mark,
}

impl Panel {
    fn head(&self, canvas: &mut Canvas<'_>, title: &str, legend: &[(Sign, Ink, String)]) {
        let y = self.top - 13.0;
        let kind = Type::new(13.0, TEXT).bold();
        canvas.text((LEFT, y), title, kind);
        let mut x = LEFT + kind.width(title) + 22.0;
        for (sign, ink, name) in legend {
            match sign {
                Sign::Line => canvas.line(&[(x, y), (x + 16.0, y)], *ink, 2.0),
                Sign::Band => canvas.rect((x, y - 4.0), (x + 16.0, y + 4.0), *ink, 0.4),
                Sign::Dash => canvas.dashes((x, y), (x + 16.0, y), *ink, 1.5),
                Sign::Mark => canvas.mark((x + 8.0, y + 6.0), *ink),
            }
            let kind = Type::new(12.0, MUTED);
            canvas.text((x + 21.0, y), name, kind);
            x += 21.0 + kind.width(name) + 18.0;
        }
    }
}

/// Named values, with a line across each.
fn grid(canvas: &mut Canvas<'_>, scale: &ValueScale) {
    for (y, name) in scale.ticks() {
        canvas.line(&[(LEFT, y), (RIGHT, y)], GRID, 0.75);
        let kind = Type::new(11.0, MUTED).at(Anchor::Right);
        canvas.text((LEFT - 8.0, y), name, kind);
    }
}

/// The middle of a column on the time axis.
fn middle(time: &TimeScale, start: Moment, end: Moment) -> f64 {
    f64::midpoint(time.x(start), time.x(end))
}

/// Cuts columns where time is missing between two of them, or `apart` says so.
fn stretches<T>(
    rows: &[T],
    span: impl Fn(&T) -> (Moment, Moment),
    patience: f64,
    apart: impl Fn(&T, &T) -> bool,
) -> Vec<&[T]> {
    let joined = |a: &T, b: &T| {
        let ((start, end), (next, _)) = (span(a), span(b));
        let width = end.since(start).as_secs_f64();
        next.since(end).as_secs_f64() <= (patience * width).max(patience * 0.1) && !apart(a, b)
    };
    rows.chunk_by(joined).collect()
}

/// A band between two levels, as one outline.
fn band<T>(rows: &[T], x: impl Fn(&T) -> f64, y: impl Fn(&T) -> (f64, f64)) -> Vec<(f64, f64)> {
    let upper = rows.iter().map(|row| (x(row), y(row).1));
    let lower = rows.iter().rev().map(|row| (x(row), y(row).0));
    upper.chain(lower).collect()
}

/// Memory: levels, peaks, limit, spikes, kills.
pub(super) fn memory(
    canvas: &mut Canvas<'_>,
    panel: &Panel,
    findings: &Findings,
    rows: &[MemoryColumn],
) {
    let drawn = rows.iter().map(|row| row.peak).max().unwrap_or_default();
    let limit = findings.limit.bytes();
    // A limit far above would press everything to the ground.
    let shown_limit = limit.filter(|limit| limit.as_f64() <= drawn.as_f64() * 8.0);
    let most = shown_limit.map_or(drawn, |limit| limit.max(drawn));
    let roof = Bytes::new(most.get() + most.get() / 9);
    let scale = ValueScale::sizes(roof, panel.top, panel.bottom);
    grid(canvas, &scale);
    memory_head(canvas, panel, findings, shown_limit.is_some());
    let span = |row: &MemoryColumn| (row.start, row.end);
    for part in stretches(rows, span, 3.0, |a, b| a.life != b.life) {
        levels(canvas, panel, &scale, part);
    }
    if let Some(limit) = shown_limit {
        let y = scale.y(limit.as_f64());
        canvas.dashes((LEFT, y), (RIGHT, y), TEXT, 1.5);
        let kind = Type::new(11.0, TEXT);
        canvas.text((LEFT + 4.0, y - 9.0), &format!("limit {limit}"), kind);
    }
    if let Some(size) = recommended_limit(findings).filter(|size| *size <= roof) {
        let y = scale.y(size.as_f64());
        canvas.dashes((LEFT, y), (RIGHT, y), GREEN, 1.25);
        let kind = Type::new(11.0, TEXT).at(Anchor::Right);
        canvas.text((RIGHT - 4.0, y - 9.0), &recommended_name(findings, size), kind);
    }
    hits(canvas, panel, rows);
    for spike in findings.spikes.iter().take(MARKED) {
        let at = (panel.time.x(spike.at), scale.y(spike.peak.as_f64()));
        canvas.mark(at, RED);
    }
    highest(canvas, panel, &scale, findings);
}

/// The limit that is recommended, where it is another one than there was.
pub(super) fn recommended_limit(findings: &Findings) -> Option<Bytes> {
    let size = findings.sizing.as_ref()?.recommended?;
    (findings.limit.bytes() != Some(size)).then_some(size)
}

/// What its line is called: a guess is called one.
pub(super) fn recommended_name(findings: &Findings, size: Bytes) -> String {
    let proved = findings.sizing.as_ref().is_some_and(|sizing| sizing.verified);
    let how = if proved { "" } else { " (a guess)" };
    format!("recommended limit {}{how}", Limit::Bytes(size))
}

fn memory_head(canvas: &mut Canvas<'_>, panel: &Panel, findings: &Findings, limit: bool) {
    let mut legend = vec![
        (Sign::Line, BLUE, "usage".to_owned()),
        (Sign::Line, ORANGE, "charged peaks".to_owned()),
        (Sign::Band, PURPLE, "unreclaimable, low to high".to_owned()),
        (Sign::Line, GREEN, "RSS".to_owned()),
        (Sign::Line, MUTED, "page cache".to_owned()),
    ];
    match findings.limit.bytes() {
        Some(_) if limit => legend.push((Sign::Dash, TEXT, "limit".to_owned())),
        Some(size) => legend.push((Sign::Dash, TEXT, format!("limit {size}, above the picture"))),
        None => {}
    }
    if let Some(total) = findings.spikes_total.filter(|total| *total > 0) {
        let shown = findings.spikes.len().min(MARKED);
        let name = if total > shown as u64 {
            format!("spikes ({shown} largest of {total})")
        } else {
            format!("spikes ({total})")
        };
        legend.push((Sign::Mark, RED, name));
    }
    let hits = findings.memory.as_ref().and_then(|memory| memory.limit_hits);
    if let Some(hits) = hits.filter(|hits| *hits > 0) {
        legend.push((Sign::Band, RED, format!("limit hits ({hits})")));
    }
    panel.head(canvas, "Memory", &legend);
}

fn levels(canvas: &mut Canvas<'_>, panel: &Panel, scale: &ValueScale, rows: &[MemoryColumn]) {
    let x = |row: &MemoryColumn| middle(&panel.time, row.start, row.end);
    let y = |size: Bytes| scale.y(size.as_f64());
    let unreclaimable = band(rows, x, |row| (y(row.low.min), y(row.high.max)));
    canvas.area(&unreclaimable, PURPLE, 0.35);
    let low: Vec<_> = rows.iter().map(|row| (x(row), y(row.low.max))).collect();
    canvas.line(&low, PURPLE, 1.0);
    let usage = band(rows, x, |row| (y(row.usage.min), y(row.usage.max)));
    canvas.area(&usage, SKY, 0.3);
    let mut peaks = Vec::new();
    for row in rows {
        let (base, top) = ((x(row), y(row.usage.max)), (x(row), y(row.peak)));
        peaks.push(base);
        if base.1 - top.1 >= 1.0 {
            peaks.extend([(panel.time.x(row.peak_at), top.1), base]);
        }
    }
    canvas.line(&peaks, ORANGE, 1.0);
    let cache: Vec<_> = rows.iter().map(|row| (x(row), y(row.cache.max))).collect();
    canvas.line(&cache, MUTED, 0.75);
    let usage: Vec<_> = rows.iter().map(|row| (x(row), y(row.usage.max))).collect();
    canvas.line(&usage, BLUE, 1.5);
    let rss: Vec<_> = rows.iter().map(|row| (x(row), y(row.rss.max))).collect();
    canvas.line(&rss, GREEN, 1.25);
}

/// Where charges met the limit: along the panel's roof.
fn hits(canvas: &mut Canvas<'_>, panel: &Panel, rows: &[MemoryColumn]) {
    for row in rows.iter().filter(|row| row.hits > 0) {
        let (from, to) = (panel.time.x(row.start), panel.time.x(row.end));
        let to = to.max(from + 1.5);
        canvas.rect((from, panel.top), (to, panel.top + 4.0), RED, 0.6);
    }
}

/// The run's peak by name: the number that tables show.
fn highest(canvas: &mut Canvas<'_>, panel: &Panel, scale: &ValueScale, findings: &Findings) {
    let Some(memory) = &findings.memory else {
        return;
    };
    let at = (panel.time.x(memory.peak_at), scale.y(memory.peak.as_f64()));
    let name = format!("peak {}", memory.peak);
    let kind = Type::new(11.0, TEXT).bold();
    let half = kind.width(&name) / 2.0 + 3.0;
    let x = at.0.clamp(LEFT + half, RIGHT - half);
    let y = at.1 - 19.0;
    canvas.rect((x - half, y - 8.0), (x + half, y + 8.0), GROUND, 0.8);
    canvas.text((x, y), &name, kind.at(Anchor::Middle));
}

/// Requests sent per second.
pub(super) fn rate(canvas: &mut Canvas<'_>, panel: &Panel, rows: &[FlowColumn]) {
    let most = rows.iter().map(|row| row.rate.1).fold(0.0, f64::max);
    let scale = ValueScale::numbers(most * 1.08, panel.top, panel.bottom);
    grid(canvas, &scale);
    panel.head(canvas, "Requests sent per second", &[]);
    flow_series(canvas, panel, rows, &scale, BLUE, |row| row.rate);
}

/// Requests in flight.
pub(super) fn in_flight(canvas: &mut Canvas<'_>, panel: &Panel, rows: &[FlowColumn]) {
    let number = |row: &FlowColumn| crate::analysis::float(row.in_flight);
    let most = rows.iter().map(number).fold(0.0, f64::max);
    let scale = ValueScale::numbers(most * 1.08, panel.top, panel.bottom);
    grid(canvas, &scale);
    panel.head(canvas, "Requests in flight", &[]);
    flow_series(canvas, panel, rows, &scale, PURPLE, |row| (0.0, number(row)));
}

fn flow_series(
    canvas: &mut Canvas<'_>,
    panel: &Panel,
    rows: &[FlowColumn],
    scale: &ValueScale,
    ink: Ink,
    of: impl Fn(&FlowColumn) -> (f64, f64),
) {
    let x = |row: &FlowColumn| middle(&panel.time, row.start, row.end);
    for part in stretches(rows, |row| (row.start, row.end), 3.0, |_, _| false) {
        let outline = band(part, x, |row| (scale.y(of(row).0), scale.y(of(row).1)));
        canvas.area(&outline, ink, 0.3);
        let top: Vec<_> = part.iter().map(|row| (x(row), scale.y(of(row).1))).collect();
        canvas.line(&top, ink, 1.25);
    }
}

/// Latency from due to the last byte.
pub(super) fn latency(canvas: &mut Canvas<'_>, panel: &Panel, rows: &[LatencyColumn]) {
    type Of = fn(&LatencyColumn) -> f64;
    let series: [(&str, Ink, Of, f64); 4] = [
        ("max", RED, |row| row.max, 1.0),
        ("p99", ORANGE, |row| row.p99, 1.25),
        ("p95", GREEN, |row| row.p95, 1.25),
        ("p50", BLUE, |row| row.p50, 1.5),
    ];
    let least = rows.iter().map(|row| row.p50).fold(f64::INFINITY, f64::min);
    let most = rows.iter().map(|row| row.max).fold(0.0, f64::max);
    let least = if least.is_finite() { least } else { 1.0 };
    let scale = ValueScale::times(least, most, panel.top, panel.bottom);
    grid(canvas, &scale);
    let title = if scale.is_log() { "Latency (log scale)" } else { "Latency" };
    let names = series.iter().rev();
    let legend: Vec<_> = names.map(|row| (Sign::Line, row.1, row.0.to_owned())).collect();
    panel.head(canvas, title, &legend);
    let x = |row: &LatencyColumn| middle(&panel.time, row.start, row.end);
    for part in stretches(rows, |row| (row.start, row.end), 30.0, |_, _| false) {
        for (_, ink, of, width) in series {
            let mut points: Vec<_> = part.iter().map(|row| (x(row), scale.y(of(row)))).collect();
            if let [only] = points.as_slice() {
                points = vec![(only.0 - 1.0, only.1), (only.0 + 1.0, only.1)];
            }
            canvas.line(&points, ink, width);
        }
    }
}

/// CPU time used per wall time.
pub(super) fn cpu(canvas: &mut Canvas<'_>, panel: &Panel, rows: &[VitalColumn]) {
    let most = rows.iter().filter_map(|row| row.cores).fold(0.0, f64::max);
    let scale = ValueScale::numbers(most * 1.08, panel.top, panel.bottom);
    grid(canvas, &scale);
    panel.head(canvas, "CPU, cores in use", &[]);
    steps(canvas, panel, rows, &scale, BLUE, |row| row.cores);
}

/// Share of time in which some task of the target waited.
pub(super) fn waiting(canvas: &mut Canvas<'_>, panel: &Panel, rows: &[VitalColumn]) {
    type Of = fn(&VitalColumn) -> Option<f64>;
    let all: [(&str, Ink, Of); 3] = [
        ("I/O", GREEN, |row| row.io),
        ("CPU", ORANGE, |row| row.cpu),
        ("memory", RED, |row| row.memory),
    ];
    let values = all.iter().flat_map(|(_, _, of)| rows.iter().filter_map(of));
    let most = values.fold(1.0, f64::max);
    let scale = ValueScale::numbers(most * 1.08, panel.top, panel.bottom);
    grid(canvas, &scale);
    let known = all.iter().filter(|(_, _, of)| rows.iter().any(|row| of(row).is_some()));
    let legend: Vec<_> =
        known.clone().rev().map(|row| (Sign::Line, row.1, row.0.to_owned())).collect();
    let title = if legend.is_empty() {
        "Waiting: this host does not tell (no PSI)"
    } else {
        "Waiting, % of the time, for"
    };
    panel.head(canvas, title, &legend);
    for (_, ink, of) in known {
        steps(canvas, panel, rows, &scale, *ink, of);
    }
}

/// Threads and open descriptors.
pub(super) fn counts(canvas: &mut Canvas<'_>, panel: &Panel, rows: &[VitalColumn]) {
    let threads = |row: &VitalColumn| row.threads.map(f64::from);
    let files = |row: &VitalColumn| row.open_files.map(f64::from);
    let values = rows.iter().flat_map(|row| [threads(row), files(row)]).flatten();
    let scale = ValueScale::numbers(values.fold(1.0, f64::max) * 1.08, panel.top, panel.bottom);
    grid(canvas, &scale);
    let mut legend = vec![(Sign::Line, BLUE, "threads".to_owned())];
    if rows.iter().any(|row| row.open_files.is_some()) {
        legend.push((Sign::Line, ORANGE, "open files and sockets".to_owned()));
    }
    panel.head(canvas, "Threads and descriptors", &legend);
    steps(canvas, panel, rows, &scale, BLUE, threads);
    steps(canvas, panel, rows, &scale, ORANGE, files);
}

/// A value that holds from one reading to the next.
fn steps(
    canvas: &mut Canvas<'_>,
    panel: &Panel,
    rows: &[VitalColumn],
    scale: &ValueScale,
    ink: Ink,
    of: impl Fn(&VitalColumn) -> Option<f64>,
) {
    for part in stretches(rows, |row| (row.start, row.end), 3.0, |a, b| a.life != b.life) {
        let known = part.iter().filter_map(|row| Some((row, scale.y(of(row)?))));
        let points: Vec<_> = known
            .flat_map(|(row, y)| [(panel.time.x(row.start), y), (panel.time.x(row.end), y)])
            .collect();
        canvas.line(&points, ink, 1.5);
    }
}

/// New lives after the first: a line through all panels, and a name at the top.
pub(super) fn restarts(canvas: &mut Canvas<'_>, panel: &Panel, findings: &Findings, foot: f64) {
    let mut named_until = f64::NEG_INFINITY;
    for life in findings.lives.iter().skip(1).take(RESTARTS) {
        let x = panel.time.x(life.start);
        canvas.line(&[(x, panel.top), (x, foot)], SKY, 1.5);
        let kind = Type::new(11.0, MUTED);
        if x > named_until && x + kind.width("restart") < RIGHT {
            canvas.text((x + 4.0, panel.top + 10.0), "restart", kind);
            named_until = x + kind.width("restart") + 8.0;
        }
    }
}

/// What was done at set times: a thin dashed line through all panels, and a name at the top, above
/// the limit's line; below the names of restarts where there are any.
pub(super) fn actions(canvas: &mut Canvas<'_>, panel: &Panel, findings: &Findings, foot: f64) {
    let mut named_until = f64::NEG_INFINITY;
    let y = panel.top + if findings.lives.len() > 1 { 24.0 } else { 10.0 };
    for row in findings.actions.rows.iter().take(ACTIONS) {
        let x = panel.time.x(row.at);
        canvas.dashes((x, panel.top), (x, foot), PURPLE, 1.0);
        let kind = Type::new(11.0, MUTED);
        let name = text::clean(&row.text, 28);
        if x > named_until && x + kind.width(&name) < RIGHT {
            canvas.text((x + 4.0, y), &name, kind);
            named_until = x + kind.width(&name) + 8.0;
        }
    }
}

/// OOM kills: a line through all panels, and a name at the top.
pub(super) fn kills(canvas: &mut Canvas<'_>, panel: &Panel, findings: &Findings, foot: f64) {
    let mut named_until = f64::NEG_INFINITY;
    for kill in &findings.timeline.kills {
        let x = panel.time.x(*kill);
        canvas.line(&[(x, panel.top), (x, foot)], RED, 1.75);
        let name = format!("OOM kill {}", text::moment(*kill));
        let kind = Type::new(12.0, GROUND).bold();
        let width = kind.width(&name) + 12.0;
        let left = (x - width / 2.0).clamp(LEFT, RIGHT - width);
        if left < named_until {
            continue;
        }
        named_until = left + width + 6.0;
        let y = panel.bottom - 12.0;
        canvas.rect((left, y - 9.0), (left + width, y + 9.0), RED, 1.0);
        canvas.text((left + 6.0, y), &name, kind);
    }
}
