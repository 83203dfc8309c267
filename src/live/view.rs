//! Draws how a run stands into a buffer of any size.
//!
//! From 14 rows on memory is drawn over time: full blocks for what the kernel can't drop, light
//! ones for the rest of what is charged, a dot where the charged peak was higher. What a column
//! stands for is the greatest of its time. Colours only repeat what glyphs say.

use std::fmt::Write as _;
use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};

use super::history::Piece;
use super::state::{Kind, State, Watched};
use super::text::{clean, clock, short_time};
use crate::clock::Moment;
use crate::units::{Bytes, Limit};

/// Rows beside the picture and the log.
const FIXED_ROWS: u16 = 9;
/// Rows from which on there is a picture.
const PICTURE_FROM: u16 = 14;
/// Columns of the numbers beside the picture.
const SCALE: u16 = 10;
/// Eighths of a block, from below.
const EIGHTHS: [&str; 9] = [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];
/// Watched targets in a table.
const NAME: usize = 30;

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);

/// Which styles there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Palette {
    pub(super) color: bool,
}

impl Palette {
    const fn of(self, color: Color) -> Style {
        if self.color { Style::new().fg(color) } else { Style::new() }
    }

    const fn dim(self) -> Style {
        if self.color { Style::new().fg(Color::DarkGray) } else { Style::new() }
    }

    /// By how much of the limit is in use.
    fn level(self, share: Option<f64>) -> Style {
        match share {
            Some(share) if share >= 90.0 => self.of(Color::Red).add_modifier(Modifier::BOLD),
            Some(share) if share >= 80.0 => self.of(Color::Yellow),
            _ => Style::new(),
        }
    }

    fn kind(self, kind: Kind) -> Style {
        match kind {
            Kind::Step => Style::new(),
            Kind::Note => self.of(Color::Cyan),
            Kind::Spike => self.of(Color::Yellow),
            Kind::Bad => self.of(Color::Red).add_modifier(Modifier::BOLD),
        }
    }
}

/// Writes line after line.
struct Pen<'a> {
    buffer: &'a mut Buffer,
    area: Rect,
    row: u16,
    palette: Palette,
}

impl Pen<'_> {
    /// A line of pieces, as far as it fits.
    fn line(&mut self, pieces: &[(&str, Style)]) {
        if self.row >= self.area.height {
            return;
        }
        let (mut x, y) = (self.area.x, self.area.y + self.row);
        for (text, style) in pieces {
            let room = self.area.right().saturating_sub(x);
            (x, _) = self.buffer.set_stringn(x, y, text, usize::from(room), *style);
        }
        self.row += 1;
    }

    /// Something at the right end of the line that was written last.
    fn at_right(&mut self, text: &str, style: Style) {
        let width = u16::try_from(text.chars().count()).unwrap_or(u16::MAX);
        if self.row > 0 && width < self.area.width {
            let (x, y) = (self.area.right() - width, self.area.y + self.row - 1);
            self.buffer.set_string(x, y, text, style);
        }
    }

    const fn left(&self) -> u16 {
        self.area.height.saturating_sub(self.row)
    }
}

/// Draws the whole; `elapsed` is the time since the program began.
pub(super) fn draw(
    state: &State,
    palette: Palette,
    elapsed: Duration,
    area: Rect,
    buffer: &mut Buffer,
) {
    let mut pen = Pen { buffer, area, row: 0, palette };
    head(&mut pen, state, elapsed);
    let spare = area.height.saturating_sub(FIXED_ROWS);
    if state.watched.len() > 1 {
        table(&mut pen, state, spare * 2 / 3);
    } else {
        if area.height >= PICTURE_FROM && (state.memory.is_some() || state.rate().is_none()) {
            picture(&mut pen, state, spare * 3 / 5);
        }
        memory(&mut pen, state);
    }
    numbers(&mut pen, state);
    log(&mut pen, state);
    keys(&mut pen, state);
}

fn head(pen: &mut Pen<'_>, state: &State, elapsed: Duration) {
    let (palette, bold) = (pen.palette, BOLD);
    let name = clean(&state.outline.name);
    pen.line(&[("highwater  ", palette.dim()), (&name, bold)]);
    let time = if state.now == Moment::START { elapsed } else { state.now.since(Moment::START) };
    pen.at_right(&format!(" {}", clock(time)), palette.dim());
    let Some(phase) = state.phase else {
        return pen.line(&[(&clean(&state.stage), Style::new())]);
    };
    let all = &state.outline.phases;
    let name = clean(all.get(phase.index).map_or("", |row| row.name.as_str()));
    let which = match all.len() {
        1 => format!("{name}  "),
        count => format!("phase {} of {count}: {name}  ", phase.index + 1),
    };
    let since = state.now.since(phase.begins);
    let Some(ends) = phase.ends else {
        return pen.line(&[(&which, bold), (&format!("for {}", clock(since)), Style::new())]);
    };
    let left = ends.since(state.now);
    let share = since.as_secs_f64() / ends.since(phase.begins).as_secs_f64().max(1e-9);
    let mut words = format!(" {} left", clock(left));
    if let Some(rest) = state.left_after().filter(|rest| !rest.is_zero()) {
        let _ = write!(words, ", {} in all", clock(left + rest));
    }
    pen.line(&[(&which, bold), (&bar(share, 20), palette.of(Color::Blue)), (&words, Style::new())]);
}

/// A share as so many blocks.
fn bar(share: f64, width: usize) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a few columns"
    )]
    let full = (share.clamp(0.0, 1.0) * width as f64).round() as usize;
    format!("{}{}", "█".repeat(full), "░".repeat(width - full))
}

/// A share of the limit in percent; none without a limit.
fn share_of(bytes: Bytes, limit: Limit) -> Option<f64> {
    let limit = limit.bytes().filter(|limit| limit.get() > 0)?;
    Some(100.0 * bytes.as_f64() / limit.as_f64())
}

fn with_share(bytes: Bytes, limit: Limit) -> String {
    match share_of(bytes, limit) {
        Some(share) => format!("{bytes} ({share:.0} %)"),
        None => bytes.to_string(),
    }
}

/// Memory over time, on `rows` rows with the one below that tells what is what.
fn picture(pen: &mut Pen<'_>, state: &State, rows: u16) {
    // An even number of rows has one for the half.
    let height = rows.saturating_sub(1).min(pen.left()) & !1;
    let width = pen.area.width.saturating_sub(SCALE);
    if height < 2 || width < 10 {
        return;
    }
    let columns = state.history.columns(state.recent, usize::from(width));
    let highest = columns.iter().map(|piece| piece.peak.max(piece.usage)).max();
    // Without a limit the highest peak fills the picture.
    let top = state.limit.bytes().unwrap_or_else(|| highest.unwrap_or_default());
    let top = top.max(Bytes::from_mib(1));
    let (palette, first) = (pen.palette, pen.row);
    for row in 0..height {
        let text = if row == 0 {
            top.to_string()
        } else if row == height / 2 {
            Bytes::new(top.get() / u64::from(height) * u64::from(height - row)).to_string()
        } else {
            String::new()
        };
        pen.line(&[(&format!("{text:>8} │"), palette.dim())]);
    }
    for (x, piece) in (pen.area.x + SCALE..).zip(&columns) {
        column(pen, x, first, height, piece, top);
    }
    if state.limit.bytes().is_some() {
        limit_line(pen, first, width);
    }
    let windows = state.history.windows(state.recent);
    let time = Duration::from_nanos(windows.saturating_mul(state.outline.window_ns));
    let what = if state.recent { "the last" } else { "over" };
    pen.line(&[
        ("       0 ┴ ", palette.dim()),
        ("█", palette.of(Color::Blue)),
        (" unreclaimable ", palette.dim()),
        ("░", palette.of(Color::Cyan)),
        (" the rest ", palette.dim()),
        ("•", palette.of(Color::Yellow)),
        (&format!(" peak   {what} {}", clock(time)), palette.dim()),
    ]);
}

/// The limit, where nothing stands in the top row.
fn limit_line(pen: &mut Pen<'_>, row: u16, width: u16) {
    let style = pen.palette.of(Color::Red);
    for x in pen.area.x + SCALE..pen.area.x + SCALE + width {
        let cell = &mut pen.buffer[(x, pen.area.y + row)];
        if cell.symbol() == " " {
            cell.set_symbol("─").set_style(style);
        }
    }
}

/// A piece of time, as one column.
fn column(pen: &mut Pen<'_>, x: u16, first: u16, height: u16, piece: &Piece, top: Bytes) {
    let palette = pen.palette;
    let eighths = |bytes: Bytes| {
        let most = u64::from(height) * 8;
        let value = u128::from(bytes.get()) * u128::from(most) / u128::from(top.get().max(1));
        u64::try_from(value).unwrap_or(most).min(most)
    };
    let (full, charged) = (eighths(piece.unreclaimable), eighths(piece.usage));
    let peak = eighths(piece.peak).saturating_sub(1) / 8;
    for step in 0..u64::from(height) {
        let offset = u16::try_from(u64::from(height) - 1 - step).unwrap_or_default();
        let cell = &mut pen.buffer[(x, pen.area.y + first + offset)];
        let part = usize::try_from(full.saturating_sub(step * 8).min(8)).unwrap_or_default();
        if part > 0 {
            cell.set_symbol(EIGHTHS[part]).set_style(palette.of(Color::Blue));
        } else if charged >= step * 8 + 4 {
            cell.set_symbol("░").set_style(palette.of(Color::Cyan));
        }
        // Only where it stands out: every window's peak is a little above what was read.
        if step == peak && cell.symbol() == " " {
            cell.set_symbol("•").set_style(palette.of(Color::Yellow));
        }
        if piece.killed && step + 1 == u64::from(height) {
            cell.set_symbol("✗").set_style(palette.kind(Kind::Bad));
        }
    }
}

fn memory(pen: &mut Pen<'_>, state: &State) {
    let palette = pen.palette;
    let Some(memory) = &state.memory else { return };
    let usage = with_share(memory.usage.last, state.limit);
    let unreclaimable = format!("  unreclaimable {}", memory.unreclaimable_high.last);
    let peak = state.peak.map_or_else(String::new, |(peak, at)| {
        let at = clock(at.since(Moment::START));
        format!("  peak {} at {at}", with_share(peak, state.limit))
    });
    // Page cache is no danger: what the kernel can't drop is.
    let danger = palette.level(share_of(state.unreclaimable_peak, state.limit));
    pen.line(&[
        ("Memory   ", palette.dim()),
        (&usage, BOLD),
        (&unreclaimable, danger),
        (&peak, Style::new()),
    ]);
}

fn numbers(pen: &mut Pen<'_>, state: &State) {
    let (palette, plain) = (pen.palette, Style::new());
    if let Some((rate, in_flight)) = state.rate() {
        let words = format!("{rate:.0}/s  {in_flight} in flight  {} answers", state.requests);
        let failed = format!("  {} failed", state.failed);
        let style = if state.failed > 0 { palette.kind(Kind::Bad) } else { plain };
        pen.line(&[
            ("Traffic  ", palette.dim()),
            (&words, plain),
            (&failed, style),
            ("  ", plain),
            (&rates(state, 40), palette.of(Color::Blue)),
        ]);
    }
    let times = [50.0, 95.0, 99.0].map(|percent| state.latency_us.percentile(percent));
    if let ([Some(p50), Some(p95), Some(p99)], Some(max)) = (times, state.latency_us.max()) {
        let [p50, p95, p99, max] = [p50, p95, p99, max].map(short_time);
        let words = format!("p50 {p50}  p95 {p95}  p99 {p99}  max {max}");
        pen.line(&[
            ("Latency  ", palette.dim()),
            (&words, plain),
            ("  of this phase", palette.dim()),
        ]);
    }
    if let Some((threads, files)) = state.counts() {
        let cpu = state.cpu_cores.map_or_else(String::new, |cores| format!("{cores:.2} CPUs  "));
        let files = files.map_or_else(String::new, |files| format!("  {files} open files"));
        let pressure =
            state.pressure.map(|share| format!("  memory pressure {:.1} %", 100.0 * share));
        let words = format!("{cpu}{threads} threads{files}{}", pressure.unwrap_or_default());
        pen.line(&[("Target   ", palette.dim()), (&words, plain)]);
    }
}

/// The rates of late, as bars; the highest is as high as a line.
fn rates(state: &State, width: usize) -> String {
    let skipped = state.rates.len().saturating_sub(width);
    let shown = || state.rates.iter().skip(skipped);
    let most = shown().copied().max().unwrap_or_default().max(1);
    let block =
        |rate: &u64| EIGHTHS[usize::try_from((rate * 8).div_ceil(most)).unwrap_or(8).min(8)];
    shown().map(block).collect()
}

/// What is watched, one row each.
fn table(pen: &mut Pen<'_>, state: &State, rows: u16) {
    let palette = pen.palette;
    let head =
        format!("{:<NAME$} {:>10} {:>10} {:>10}  kills", "Target", "memory", "peak", "limit");
    pen.line(&[(&head, palette.dim())]);
    let room = usize::from(rows.saturating_sub(2).max(1));
    for row in state.watched.values().take(room) {
        pen.line(&[
            (&watched(row), Style::new()),
            (
                &format!("  {}", row.kills),
                if row.kills > 0 { palette.kind(Kind::Bad) } else { Style::new() },
            ),
        ]);
    }
    if state.watched.len() > room {
        pen.line(&[(&format!("{} more", state.watched.len() - room), palette.dim())]);
    }
}

fn watched(row: &Watched) -> String {
    let name: String = row.name.chars().take(NAME).collect();
    let sizes = [row.usage.to_string(), row.peak.to_string(), row.limit.to_string()];
    let [usage, peak, limit] = sizes;
    format!("{name:<NAME$} {usage:>10} {peak:>10} {limit:>10}")
}

/// The last lines of the log, on all rows but the last.
fn log(pen: &mut Pen<'_>, state: &State) {
    let palette = pen.palette;
    let page = state.page.as_ref().filter(|_| pen.left() >= 2);
    let rows = pen.left().saturating_sub(if page.is_some() { 2 } else { 1 });
    if let Some(url) = page {
        let row = std::mem::replace(&mut pen.row, pen.area.height - 2);
        pen.line(&[("live page ", palette.dim()), (url, Style::new())]);
        pen.row = row;
    }
    if rows < 2 {
        return;
    }
    let mut title = "Events".to_owned();
    if state.restarts > 0 {
        let _ = write!(title, ", {} restarts", state.restarts);
    }
    pen.line(&[(&title, palette.dim())]);
    let skipped = state.log.len().saturating_sub(usize::from(rows) - 1);
    for entry in state.log.iter().skip(skipped) {
        let at = entry.at.map_or_else(String::new, |at| clock(at.since(Moment::START)));
        pen.line(&[
            (&format!("{at:>8}  "), palette.dim()),
            (&entry.text, palette.kind(entry.kind)),
        ]);
    }
}

fn keys(pen: &mut Pen<'_>, state: &State) {
    let palette = pen.palette;
    pen.row = pen.area.height.saturating_sub(1);
    if state.stopping {
        let words = "stopping and reporting; Ctrl-C once more ends at once";
        return pen.line(&[(words, palette.of(Color::Yellow))]);
    }
    let time = if state.recent { "the whole" } else { "the last minute" };
    let words = format!("q stop and report   t show {time}   Ctrl-C twice: end at once");
    pen.line(&[(&words, palette.dim())]);
}
