//! Requests one by one, as far as `--samples` kept them.

use super::{Cell, Column, ColumnKind, Row, Rows, column, ms, phase_name, step_names, text, whole};
use crate::event::{Event, What};
use crate::plan::Outline;

const COLUMNS: [Column; 12] = {
    use ColumnKind::{Label, Real, Text, Whole};
    [
        column("due_ms", Real),
        column("sent_ms", Real),
        column("first_byte_ms", Real),
        column("end_ms", Real),
        column("phase", Label),
        column("scenario", Label),
        column("step", Label),
        column("status", Whole),
        column("error", Text),
        column("sent_bytes", Whole),
        column("received_bytes", Whole),
        column("weight", Real),
    ]
};

/// Requests that were kept. `weight` says how many requests of that time each stands for: 1 where
/// all were kept.
#[derive(Debug, Clone, Copy)]
pub struct Requests<'a> {
    outline: &'a Outline,
}

impl<'a> Requests<'a> {
    /// Requests of a recording with this outline.
    #[must_use]
    pub const fn new(outline: &'a Outline) -> Self {
        Self { outline }
    }
}

impl Rows for Requests<'_> {
    fn name(&self) -> &'static str {
        "highwater_requests"
    }

    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn take(&mut self, event: &Event, rows: &mut Vec<Row>) {
        let What::Requests(block) = &event.what else { return };
        #[expect(clippy::cast_precision_loss, reason = "a second has far fewer requests")]
        let weight = block.of as f64 / f64::from(block.count.max(1));
        for request in block.unpack().unwrap_or_default() {
            let mut cells: Vec<Cell> =
                [request.due, request.sent, request.first_byte, Some(request.ended)]
                    .map(|at| at.map_or(Cell::Empty, ms))
                    .into();
            cells.push(text(phase_name(self.outline, request.phase)));
            cells.extend(step_names(self.outline, request.step));
            cells.push(whole(request.status));
            cells.push(text(request.error.map(crate::event::ErrorKind::name)));
            cells.push(whole(Some(request.sent_bytes)));
            cells.push(whole(Some(request.received_bytes)));
            cells.push(Cell::Real(weight));
            rows.push(Row { at: request.ended, cells });
        }
    }
}
