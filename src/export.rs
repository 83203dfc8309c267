//! A recording's data as tables, for pandas, polars, `DuckDB`, `InfluxDB` and the like.
//!
//! [`Rows`] makes rows of events, one table a kind; a [`Sink`] writes them. Both work row by row,
//! so that a day's soak takes no more memory than a minute. Columns carry their unit in the name;
//! what was not measured is empty.

mod csv;
mod influx;
mod parquet;
mod requests;
mod ticks;
mod traffic;
mod windows;

use std::borrow::Borrow;
use std::io;

use crate::clock::{Anchor, Moment};
use crate::event::Event;
use crate::plan::Outline;

pub use self::csv::CsvSink;
pub use self::influx::InfluxSink;
pub use self::parquet::ParquetSink;
pub use requests::Requests;
pub use ticks::Ticks;
pub use traffic::Traffic;
pub use windows::Windows;

/// A column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Its name, with the unit at the end where it has one.
    pub name: &'static str,
    /// What its cells hold.
    pub kind: ColumnKind,
}

/// What the cells of a column hold, beside nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// Whole numbers.
    Whole,
    /// Numbers.
    Real,
    /// Text of many kinds.
    Text,
    /// Text that names what the row is of, such as a phase.
    Label,
}

/// A cell; of the kind of its column, or empty.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// What was not measured, or does not apply.
    Empty,
    /// A whole number.
    Whole(u64),
    /// A number.
    Real(f64),
    /// Text, or a label.
    Text(String),
}

/// A row of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The moment that it is of: the column `time` of each table.
    pub at: Moment,
    /// Its other cells, as many as there are columns.
    pub cells: Vec<Cell>,
}

/// Makes the rows of one kind of table.
pub trait Rows {
    /// What the table is called.
    fn name(&self) -> &'static str;

    /// Its columns, but for `time`, which comes first.
    fn columns(&self) -> &'static [Column];

    /// Takes in the next event; adds the rows that it gives.
    fn take(&mut self, event: &Event, rows: &mut Vec<Row>);

    /// Adds the rows that waited for an event that did not come any more.
    fn finish(&mut self, _rows: &mut Vec<Row>) {}
}

/// Writes rows.
pub trait Sink {
    /// Writes one row.
    ///
    /// # Errors
    /// When it can't be written.
    fn row(&mut self, row: &Row) -> io::Result<()>;

    /// Ends the table.
    ///
    /// # Errors
    /// When what is left can't be written.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// Writes a whole table; gives how many rows it has.
///
/// # Errors
/// When a row can't be written.
pub fn write_table(
    rows: &mut dyn Rows,
    mut sink: Box<dyn Sink + '_>,
    events: impl IntoIterator<Item: Borrow<Event>>,
) -> io::Result<u64> {
    let (mut made, mut count) = (Vec::new(), 0);
    let mut events = events.into_iter();
    loop {
        let event = events.next();
        match &event {
            Some(event) => rows.take(event.borrow(), &mut made),
            None => rows.finish(&mut made),
        }
        for row in made.drain(..) {
            sink.row(&row)?;
            count += 1;
        }
        if event.is_none() {
            break;
        }
    }
    sink.finish()?;
    Ok(count)
}

/// Nanoseconds since 1970 of a moment of the run.
fn unix_ns(anchor: Anchor, at: Moment) -> u64 {
    anchor.unix_ns.saturating_add(at.as_nanos())
}

const fn column(name: &'static str, kind: ColumnKind) -> Column {
    Column { name, kind }
}

fn whole(number: Option<impl Into<u64>>) -> Cell {
    number.map_or(Cell::Empty, |number| Cell::Whole(number.into()))
}

fn real(number: Option<f64>) -> Cell {
    number.filter(|number| number.is_finite()).map_or(Cell::Empty, Cell::Real)
}

fn text(words: Option<impl Into<String>>) -> Cell {
    words.map_or(Cell::Empty, |words| Cell::Text(words.into()))
}

fn ms(at: Moment) -> Cell {
    Cell::Real(at.as_millis_f64())
}

/// A phase's name.
fn phase_name(outline: &Outline, phase: u16) -> Option<&str> {
    outline.phases.get(usize::from(phase)).map(|phase| phase.name.as_str())
}

/// A scenario's and a step's name.
fn step_names(outline: &Outline, step: u16) -> [Cell; 2] {
    let step = outline.steps.get(usize::from(step));
    [text(step.map(|step| step.scenario.as_str())), text(step.map(|step| step.step.as_str()))]
}

#[cfg(test)]
mod tests;
