//! Raw ticks, one a row: those of startup and around spikes, or all of a run with `--raw`.

use super::{Cell, Column, ColumnKind, Row, Rows, column, ms, whole};
use crate::event::{Event, What};

const COLUMNS: [Column; 4] = [
    column("at_ms", ColumnKind::Real),
    column("life", ColumnKind::Whole),
    column("usage_bytes", ColumnKind::Whole),
    column("peak_bytes", ColumnKind::Whole),
];

/// Raw ticks, as far as they were recorded. A block that can't be read has no rows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ticks;

impl Rows for Ticks {
    fn name(&self) -> &'static str {
        "highwater_ticks"
    }

    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn take(&mut self, event: &Event, rows: &mut Vec<Row>) {
        let What::Ticks(block) = &event.what else { return };
        for tick in block.unpack().unwrap_or_default() {
            let sizes = [tick.usage, tick.peak].map(|size| Cell::Whole(size.get()));
            let [usage, peak] = sizes;
            rows.push(Row {
                at: tick.at,
                cells: vec![ms(tick.at), whole(Some(block.life.0)), usage, peak],
            });
        }
    }
}
