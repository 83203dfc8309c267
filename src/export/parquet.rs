//! Parquet, by its own crate without arrow: columns are buffered for a row group at a time.

use std::io::{self, Write};
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::parser::parse_message_type;

use super::{Cell, ColumnKind, Row, Rows, Sink, unix_ns};
use crate::clock::Anchor;

/// Rows in a row group: some 10 MiB of a wide table.
const GROUP: usize = 32_768;

/// Writes Parquet.
pub struct ParquetSink<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    anchor: Anchor,
    times: Vec<i64>,
    columns: Vec<Buffer>,
}

/// What is buffered of a column: for each row whether there is a value, and the values.
struct Buffer {
    levels: Vec<i16>,
    values: Values,
}

enum Values {
    Whole(Vec<i64>),
    Real(Vec<f64>),
    Text(Vec<ByteArray>),
}

impl<W: Write + Send> ParquetSink<W> {
    /// Begins a table on `out`.
    ///
    /// # Errors
    /// When the file's head can't be written.
    pub fn new(out: W, rows: &dyn Rows, anchor: Anchor) -> io::Result<Self> {
        let mut fields = "REQUIRED INT64 time (TIMESTAMP(NANOS,true));".to_owned();
        for column in rows.columns() {
            let kind = match column.kind {
                ColumnKind::Whole => format!("INT64 {}", column.name),
                ColumnKind::Real => format!("DOUBLE {}", column.name),
                ColumnKind::Text | ColumnKind::Label => {
                    format!("BYTE_ARRAY {} (STRING)", column.name)
                }
            };
            fields.push_str(" OPTIONAL ");
            fields.push_str(&kind);
            fields.push(';');
        }
        let message = format!("message {} {{ {fields} }}", rows.name());
        let schema = parse_message_type(&message).map_err(told)?;
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let writer =
            SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties)).map_err(told)?;
        let columns = rows.columns().iter().map(|column| Buffer {
            levels: Vec::new(),
            values: match column.kind {
                ColumnKind::Whole => Values::Whole(Vec::new()),
                ColumnKind::Real => Values::Real(Vec::new()),
                ColumnKind::Text | ColumnKind::Label => Values::Text(Vec::new()),
            },
        });
        Ok(Self { writer, anchor, times: Vec::new(), columns: columns.collect() })
    }

    /// Writes what is buffered as a row group.
    fn flush(&mut self) -> io::Result<()> {
        if self.times.is_empty() {
            return Ok(());
        }
        let mut group = self.writer.next_row_group().map_err(told)?;
        let mut buffers = self.columns.iter_mut();
        let mut is_first = true;
        while let Some(mut writer) = group.next_column().map_err(told)? {
            if std::mem::take(&mut is_first) {
                writer.typed::<Int64Type>().write_batch(&self.times, None, None).map_err(told)?;
            } else if let Some(buffer) = buffers.next() {
                buffer.write(&mut writer).map_err(told)?;
            }
            writer.close().map_err(told)?;
        }
        group.close().map_err(told)?;
        self.times.clear();
        Ok(())
    }
}

impl Buffer {
    fn push(&mut self, cell: &Cell) {
        let is_there = match (&mut self.values, cell) {
            (Values::Whole(values), Cell::Whole(number)) => {
                values.push(i64::try_from(*number).unwrap_or(i64::MAX));
                true
            }
            (Values::Real(values), Cell::Real(number)) => {
                values.push(*number);
                true
            }
            (Values::Text(values), Cell::Text(text)) => {
                values.push(text.as_str().into());
                true
            }
            _ => false,
        };
        self.levels.push(i16::from(is_there));
    }

    /// Writes the values, and forgets them.
    fn write(&mut self, writer: &mut SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let levels = Some(self.levels.as_slice());
        match &mut self.values {
            Values::Whole(values) => {
                writer.typed::<Int64Type>().write_batch(values, levels, None)?;
                values.clear();
            }
            Values::Real(values) => {
                writer.typed::<DoubleType>().write_batch(values, levels, None)?;
                values.clear();
            }
            Values::Text(values) => {
                writer.typed::<ByteArrayType>().write_batch(values, levels, None)?;
                values.clear();
            }
        }
        self.levels.clear();
        Ok(())
    }
}

impl<W: Write + Send> Sink for ParquetSink<W> {
    fn row(&mut self, row: &Row) -> io::Result<()> {
        let time = unix_ns(self.anchor, row.at);
        self.times.push(i64::try_from(time).unwrap_or(i64::MAX));
        for (buffer, cell) in self.columns.iter_mut().zip(&row.cells) {
            buffer.push(cell);
        }
        if self.times.len() >= GROUP { self.flush() } else { Ok(()) }
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.flush()?;
        self.writer.close().map(|_| ()).map_err(told)
    }
}

fn told(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(inner) => *inner,
            Err(inner) => io::Error::other(inner),
        },
        other => io::Error::other(other),
    }
}
