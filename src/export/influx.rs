//! `InfluxDB`'s line protocol, with nanoseconds: labels are tags, everything else is a field.
//!
//! Written by hand: a line is a dozen escapes, and the crates for it bring a client.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::{Cell, Column, ColumnKind, Row, Rows, Sink, unix_ns};
use crate::clock::Anchor;

/// Writes line protocol.
pub struct InfluxSink<W: Write> {
    out: W,
    measurement: &'static str,
    columns: &'static [Column],
    anchor: Anchor,
    /// The tag `name` of each line: the run's.
    run: String,
}

impl<W: Write> InfluxSink<W> {
    /// Begins a table on `out`; `run` is the run's name, a tag of each line.
    #[must_use]
    pub fn new(out: W, rows: &dyn Rows, anchor: Anchor, run: &str) -> Self {
        let (measurement, columns) = (rows.name(), rows.columns());
        Self { out, measurement, columns, anchor, run: tag(run) }
    }
}

impl<W: Write> Sink for InfluxSink<W> {
    fn row(&mut self, row: &Row) -> io::Result<()> {
        let mut line = String::from(self.measurement);
        if !self.run.is_empty() {
            let _ = write!(line, ",name={}", self.run);
        }
        let mut fields = String::new();
        for (column, cell) in self.columns.iter().zip(&row.cells) {
            let name = column.name;
            let comma = if fields.is_empty() { "" } else { "," };
            let _ = match cell {
                Cell::Empty => Ok(()),
                Cell::Text(text) if column.kind == ColumnKind::Label => {
                    let value = tag(text);
                    // An empty tag is no tag, and a fault.
                    if value.is_empty() { Ok(()) } else { write!(line, ",{name}={value}") }
                }
                Cell::Text(text) => write!(fields, "{comma}{name}=\"{}\"", field(text)),
                Cell::Whole(number) => {
                    write!(fields, "{comma}{name}={}i", (*number).min(i64::MAX.cast_unsigned()))
                }
                Cell::Real(number) => write!(fields, "{comma}{name}={number}"),
            };
        }
        if fields.is_empty() {
            return Ok(());
        }
        writeln!(self.out, "{line} {fields} {}", unix_ns(self.anchor, row.at))
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.out.flush()
    }
}

/// A tag's value. A backslash at its end would escape what follows.
fn tag(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            ',' | '=' | ' ' => out.extend(['\\', c]),
            '\\' => out.push('/'),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// The text of a field, without its quotes.
fn field(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_a_tag_or_a_field_is_escaped() {
        assert_eq!(tag("GET /a, b=c\\\n"), "GET\\ /a\\,\\ b\\=c/\u{fffd}");
        assert_eq!(field("a\"b\\\n"), "a\\\"b\\\\\u{fffd}");
    }
}
