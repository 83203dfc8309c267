//! Windows of memory, one a row.

use std::collections::BTreeMap;

use super::{Cell, Column, ColumnKind, Row, Rows, column, ms, phase_name, text, whole};
use crate::event::{Band, Event, LifeId, LifeRole, What};
use crate::judge::{Placed, Places};
use crate::plan::Outline;
use crate::units::Bytes;

const COLUMNS: [Column; 34] = {
    use ColumnKind::{Label, Real, Whole};
    [
        column("start_ms", Real),
        column("end_ms", Real),
        column("life", Whole),
        column("role", Label),
        column("phase", Label),
        column("ticks", Whole),
        column("missed_ticks", Whole),
        column("peak_bytes", Whole),
        column("peak_at_ms", Real),
        column("usage_min_bytes", Whole),
        column("usage_max_bytes", Whole),
        column("usage_last_bytes", Whole),
        column("rss_min_bytes", Whole),
        column("rss_max_bytes", Whole),
        column("rss_last_bytes", Whole),
        column("cache_min_bytes", Whole),
        column("cache_max_bytes", Whole),
        column("cache_last_bytes", Whole),
        column("shmem_min_bytes", Whole),
        column("shmem_max_bytes", Whole),
        column("shmem_last_bytes", Whole),
        column("working_set_min_bytes", Whole),
        column("working_set_max_bytes", Whole),
        column("working_set_last_bytes", Whole),
        column("unreclaimable_low_min_bytes", Whole),
        column("unreclaimable_low_max_bytes", Whole),
        column("unreclaimable_low_last_bytes", Whole),
        column("unreclaimable_high_min_bytes", Whole),
        column("unreclaimable_high_max_bytes", Whole),
        column("unreclaimable_high_last_bytes", Whole),
        column("kernel_max_bytes", Whole),
        column("held_mean_bytes", Whole),
        column("limit_hits", Whole),
        column("oom_kills", Whole),
    ]
};

/// Windows of memory, of every life: startup trials, the main container, watched targets. They are
/// those that the analysis counts, and in the phases in which it counts them.
#[derive(Debug)]
pub struct Windows<'a> {
    outline: &'a Outline,
    places: Places,
    /// The names of targets that are watched.
    names: BTreeMap<LifeId, String>,
}

impl<'a> Windows<'a> {
    /// Windows of a recording with this outline.
    #[must_use]
    pub fn new(outline: &'a Outline) -> Self {
        Self { outline, places: Places::default(), names: BTreeMap::new() }
    }

    fn role(&self, placed: &Placed<'_>) -> String {
        match placed.role {
            LifeRole::Trial { number } => format!("trial {number}"),
            LifeRole::Unlimited { number } => format!("trial {number} without a limit"),
            LifeRole::Main => {
                // What is watched goes by its name.
                let name = self.names.get(&placed.window.life).cloned();
                name.unwrap_or_else(|| "main".to_owned())
            }
        }
    }

    fn row(&self, placed: &Placed<'_>) -> Row {
        let (at, window) = (placed.at, placed.window);
        let mut cells = vec![
            ms(window.start),
            ms(at),
            whole(Some(window.life.0)),
            text(Some(self.role(placed))),
            text(placed.phase.and_then(|phase| phase_name(self.outline, phase))),
            whole(Some(window.ticks)),
            whole(Some(window.missed)),
            whole(Some(window.peak.get())),
            ms(window.peak_at),
        ];
        for band in [
            &window.usage,
            &window.rss,
            &window.cache,
            &window.shmem,
            &window.working_set,
            &window.unreclaimable_low,
            &window.unreclaimable_high,
        ] {
            cells.extend(levels(band));
        }
        cells.push(whole(window.kernel.map(|kernel| kernel.total.max.get())));
        cells.push(whole(window.held_mean.map(Bytes::get)));
        cells.push(whole(window.limit_hits));
        cells.push(whole(window.oom_kills));
        Row { at, cells }
    }
}

fn levels(band: &Band) -> [Cell; 3] {
    [band.min, band.max, band.last].map(|level| Cell::Whole(level.get()))
}

impl Rows for Windows<'_> {
    fn name(&self) -> &'static str {
        "highwater_memory"
    }

    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn take(&mut self, event: &Event, rows: &mut Vec<Row>) {
        if let What::Watched(start) = &event.what {
            self.names.insert(start.life, start.name.clone());
        }
        let placed = self.places.feed(event);
        rows.extend(placed.windows(event).map(|placed| self.row(&placed)));
    }

    fn finish(&mut self, rows: &mut Vec<Row>) {
        let placed = self.places.finish();
        rows.extend(placed.waited().map(|placed| self.row(&placed)));
    }
}
