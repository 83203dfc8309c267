//! `startup.svg`: the startup trials side by side.

use super::draw::{Anchor, BLUE, Canvas, GREEN, MUTED, ORANGE, RED, TEXT, Type, close};
use super::{Renderer, text};
use crate::analysis::{Findings, Startup, Trial};
use crate::units::Bytes;

const WIDTH: u32 = 800;
const LEFT: f64 = 130.0;
const RIGHT: f64 = 640.0;
const TOP: f64 = 76.0;
const ROW: f64 = 40.0;
/// Trials that are drawn.
const MOST: usize = 20;

/// Renders `startup.svg`.
#[derive(Debug, Clone, Copy)]
pub struct StartupSvg;

impl Renderer for StartupSvg {
    fn render(&self, findings: &Findings) -> String {
        let none = Startup::default();
        let startup = findings.startup.as_ref().unwrap_or(&none);
        let shown = startup.trials.len().min(MOST);
        let rows = u32::try_from(shown).expect("at most twenty");
        let height = 110 + 40 * rows;
        let mut body = String::new();
        let mut canvas = Canvas::new(&mut body, WIDTH, height);
        draw(&mut canvas, findings, startup);
        canvas.finish();
        let title = format!("{}: startup", findings.name);
        let peak = startup.peak.map_or_else(
            || "No peak is known.".to_owned(),
            |peak| format!("The highest charged peak is {peak}."),
        );
        let description = format!("Memory in {} startup trials. {peak}", startup.trials.len());
        close(&body, WIDTH, height, &title, &description)
    }
}

fn draw(canvas: &mut Canvas<'_>, findings: &Findings, startup: &Startup) {
    let name = text::clean(&findings.name, 40);
    let kind = Type::new(16.0, TEXT).bold();
    canvas.text((24.0, 26.0), &format!("{name}: startup"), kind);
    let legend = [("charged peak", ORANGE), ("RSS peak", GREEN), ("settled", BLUE)];
    let mut x = 24.0;
    for (name, ink) in legend {
        canvas.rect((x, 47.0), (x + 12.0, 57.0), ink, 1.0);
        let kind = Type::new(12.0, MUTED);
        canvas.text((x + 18.0, 52.0), name, kind);
        x += 36.0 + kind.width(name);
    }
    let peaks = startup.trials.iter().filter_map(|trial| trial.peak).max();
    let peak = peaks.unwrap_or(Bytes::from_mib(1));
    let limit = findings.limit.bytes();
    let limit = limit.filter(|limit| limit.as_f64() <= peak.as_f64() * 8.0);
    let most = limit.map_or(peak, |limit| limit.max(peak)).as_f64();
    let place = |size: Bytes| LEFT + (RIGHT - LEFT) * size.as_f64() / most.max(1.0);
    let mut y = TOP;
    for trial in startup.trials.iter().take(MOST) {
        row(canvas, y, trial, &place);
        y += ROW;
    }
    if let Some(limit) = limit {
        let x = place(limit);
        canvas.dashes((x, TOP - 4.0), (x, y), TEXT, 1.5);
        let kind = Type::new(11.0, TEXT).at(Anchor::Middle);
        canvas.text((x, y + 14.0), &format!("limit {limit}"), kind);
    }
}

fn row(canvas: &mut Canvas<'_>, y: f64, trial: &Trial, place: &dyn Fn(Bytes) -> f64) {
    let name = if trial.unlimited {
        format!("{} without limit", trial.number)
    } else {
        format!("trial {}", trial.number)
    };
    let kind = Type::new(12.0, TEXT).at(Anchor::Right);
    canvas.text((LEFT - 10.0, y + 14.0), &name, kind);
    let bars =
        [(trial.peak, ORANGE, 0.0), (trial.rss_peak, GREEN, 10.0), (trial.settled, BLUE, 20.0)];
    for (size, ink, down) in bars {
        if let Some(size) = size {
            let to = (place(size), y + down + 8.0);
            canvas.rect((LEFT, y + down), to, ink, 1.0);
        }
    }
    let peak = trial.peak.map_or_else(|| "–".to_owned(), |peak| peak.to_string());
    let kind = Type::new(12.0, TEXT).bold();
    canvas.text((RIGHT + 14.0, y + 6.0), &format!("peak {peak}"), kind);
    let (note, ink) = match (trial.killed, trial.ready_ms) {
        (true, _) => ("OOM-killed".to_owned(), RED),
        (false, Some(ms)) => (format!("ready in {}", text::millis(ms)), MUTED),
        (false, None) => ("not ready".to_owned(), MUTED),
    };
    canvas.text((RIGHT + 14.0, y + 22.0), &note, Type::new(12.0, ink));
}
