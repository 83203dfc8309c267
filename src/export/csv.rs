//! CSV with a header line; `time` in RFC 3339, empty cells for what is not known.

use std::io::{self, Write};

use super::{Cell, Row, Rows, Sink, unix_ns};
use crate::clock::Anchor;

/// Writes CSV.
pub struct CsvSink<W: Write> {
    writer: csv::Writer<W>,
    anchor: Anchor,
}

impl<W: Write> CsvSink<W> {
    /// Begins a table on `out`.
    ///
    /// # Errors
    /// When the header can't be written.
    pub fn new(out: W, rows: &dyn Rows, anchor: Anchor) -> io::Result<Self> {
        let mut writer = csv::Writer::from_writer(out);
        writer.write_record(
            std::iter::once("time").chain(rows.columns().iter().map(|column| column.name)),
        )?;
        Ok(Self { writer, anchor })
    }
}

impl<W: Write> Sink for CsvSink<W> {
    fn row(&mut self, row: &Row) -> io::Result<()> {
        let time = jiff::Timestamp::from_nanosecond(unix_ns(self.anchor, row.at).into());
        self.writer.write_field(time.map_or_else(|_| String::new(), |at| format!("{at:.9}")))?;
        for cell in &row.cells {
            match cell {
                Cell::Empty => self.writer.write_field("")?,
                Cell::Whole(number) => self.writer.write_field(number.to_string())?,
                Cell::Real(number) => self.writer.write_field(number.to_string())?,
                Cell::Text(text) => self.writer.write_field(text)?,
            }
        }
        Ok(self.writer.write_record(None::<&[u8]>)?)
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.writer.flush()
    }
}
