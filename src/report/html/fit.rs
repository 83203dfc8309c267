//! Small pictures of series, drawn as plain SVG: raw ticks around a spike, and floors with their
//! fitted line.

use std::fmt::Write;
use std::time::Duration;

use maud::{Markup, html};

use crate::analysis::{Clip, Growth, float};
use crate::report::text;
use crate::units::Bytes;

/// Raw ticks around a spike: the level, and the peaks above it.
pub(super) fn ticks(clip: &Clip, number: usize) -> Markup {
    const WIDE: f64 = 150.0;
    const HIGH: f64 = 34.0;
    let (Some(first), Some(last)) = (clip.ticks.first(), clip.ticks.last()) else {
        return html! {};
    };
    let length = last.at.since(first.at).as_secs_f64().max(1e-6);
    let low = clip.ticks.iter().map(|row| row.least).min().unwrap_or_default();
    let high = clip.ticks.iter().map(|row| row.peak.max(row.most)).max().unwrap_or_default();
    let reach = (high - low).as_f64().max(1.0);
    let y = |size: Bytes| 1.0 + (HIGH - 2.0) * (1.0 - (size - low).as_f64() / reach);
    let (mut level, mut peaks) = (String::new(), String::new());
    for row in &clip.ticks {
        let x = WIDE * row.at.since(first.at).as_secs_f64() / length;
        let (top, most) = (y(row.peak), y(row.most));
        // Writing to a string never fails.
        let _ = write!(level, "{}{x:.1} {most:.1}", if level.is_empty() { 'M' } else { 'L' });
        if most - top > 0.5 {
            let _ = write!(peaks, "M{x:.1} {most:.1}V{top:.1}");
        }
    }
    let name = format!(
        "Raw ticks around spike {number}: {}, from {low} to {high}",
        text::millis(length * 1e3)
    );
    html! {
        svg.spark viewBox="0 0 150 34" width="150" height="34" role="img" aria-label=(name) {
            path.peaks d=(peaks); path.level d=(level);
        }
    }
}

/// The floors that were compared, the fitted line, and the lines of its interval.
pub(super) fn floors(growth: &Growth) -> Markup {
    const WIDE: f64 = 720.0;
    const HIGH: f64 = 150.0;
    const LEFT: f64 = 70.0;
    let (Some(first), Some(last)) = (growth.floors.first(), growth.floors.last()) else {
        return html! {};
    };
    if growth.floors.len() < 3 {
        return html! {};
    }
    let since = |at: Duration| at.saturating_sub(first.0).as_secs_f64();
    let length = since(last.0).max(1e-6);
    let values = || growth.floors.iter().map(|row| row.1.as_f64());
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
    let room = ((high - low) * 0.15).max(float(64 << 10));
    let (low, high) = ((low - room).max(0.0), high + room);
    let y =
        |value: f64| 8.0 + (HIGH - 34.0) * (1.0 - (value.clamp(low, high) - low) / (high - low));
    let x = |seconds: f64| LEFT + (WIDE - LEFT - 8.0) * seconds / length;
    let points = growth.floors.iter().map(|row| (x(since(row.0)), y(row.1.as_f64())));
    let points: Vec<(f64, f64)> = points.collect();
    // Theil and Sen's line goes through the middle in both directions.
    let middle = crate::analysis::median(&values().collect::<Vec<_>>()).unwrap_or(low);
    let line = |per_hour: f64| {
        let half = per_hour / 3600.0 * length / 2.0;
        format!("M{:.1} {:.1}L{:.1} {:.1}", x(0.0), y(middle - half), x(length), y(middle + half))
    };
    let ends = [(low, y(low)), (high, y(high))].map(|(value, y)| (bytes(value).to_string(), y));
    let (from, to) = (text::clock(first.0), text::clock(last.0));
    let name = format!(
        "{} floors from {from} to {to} of {}, with the fitted line",
        points.len(),
        growth.phase
    );
    html! {
        div.scroll { svg.floors viewBox="0 0 720 150" width="720" height="150" role="img" aria-label=(text::clean(&name, 300)) {
            @if let Some((least, most)) = growth.ci95 { path.interval d=(line(least)); path.interval d=(line(most)); }
            @if let Some(rate) = growth.bytes_per_hour { path.fitted d=(line(rate)); }
            @for (x, y) in &points { circle cx=(format!("{x:.1}")) cy=(format!("{y:.1}")) r="2.6" {} }
            @for (name, y) in &ends { text x="62" y=(format!("{:.0}", y + 4.0)) text-anchor="end" { (name) } }
            text x="70" y="146" { (from) }
            text x="712" y="146" text-anchor="end" { (to) }
        } }
        p.help { "Each point is the least unreclaimable memory of one cycle; the line is the fitted slope, the thin ones its interval." }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "sizes from zero on")]
fn bytes(value: f64) -> Bytes {
    Bytes::new(value.round() as u64)
}
