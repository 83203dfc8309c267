//! Traffic by phase and step, about a second a row.

use super::{
    Cell, Column, ColumnKind, Row, Rows, column, ms, phase_name, real, step_names, text, whole,
};
use crate::event::{Event, Histogram, What};
use crate::plan::Outline;

const COLUMNS: [Column; 20] = {
    use ColumnKind::{Label, Real, Whole};
    [
        column("start_ms", Real),
        column("end_ms", Real),
        column("phase", Label),
        column("scenario", Label),
        column("step", Label),
        column("due", Whole),
        column("sent", Whole),
        column("ended", Whole),
        column("failed", Whole),
        column("unsent", Whole),
        column("sent_bytes", Whole),
        column("received_bytes", Whole),
        column("latency_p50_ms", Real),
        column("latency_p95_ms", Real),
        column("latency_p99_ms", Real),
        column("latency_max_ms", Real),
        column("duration_p50_ms", Real),
        column("duration_p95_ms", Real),
        column("duration_p99_ms", Real),
        column("duration_max_ms", Real),
    ]
};

/// Traffic, as it was counted: by the phase in which it was due.
#[derive(Debug, Clone, Copy)]
pub struct Traffic<'a> {
    outline: &'a Outline,
}

impl<'a> Traffic<'a> {
    /// Traffic of a recording with this outline.
    #[must_use]
    pub const fn new(outline: &'a Outline) -> Self {
        Self { outline }
    }
}

fn times(histogram: &Histogram) -> [Cell; 4] {
    #[expect(clippy::cast_precision_loss, reason = "times are below 2^53 microseconds")]
    let ms = |us: Option<u64>| real(us.map(|us| us as f64 / 1e3));
    let of = |percent| ms(histogram.percentile(percent));
    [of(50.0), of(95.0), of(99.0), ms(histogram.max())]
}

impl Rows for Traffic<'_> {
    fn name(&self) -> &'static str {
        "highwater_traffic"
    }

    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn take(&mut self, event: &Event, rows: &mut Vec<Row>) {
        let What::Traffic(window) = &event.what else { return };
        let counts = &window.counts;
        let mut cells =
            vec![ms(window.start), ms(event.at), text(phase_name(self.outline, window.phase))];
        cells.extend(step_names(self.outline, window.step));
        let numbers = [
            counts.due,
            counts.sent,
            counts.ended,
            counts.failed,
            counts.unsent,
            counts.bytes_sent,
            counts.bytes_received,
        ];
        cells.extend(numbers.map(|number| whole(Some(number))));
        cells.extend(times(&window.latency_us));
        cells.extend(times(&window.duration_us));
        rows.push(Row { at: event.at, cells });
    }
}
