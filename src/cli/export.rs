//! `highwater export`: a recording's data for other programs.

use std::io::{BufWriter, IsTerminal, Write};
use std::path::Path;

use super::options::{Export, ExportFormat};
use super::print::note;
use super::{Exit, Fault};
use crate::export::{
    CsvSink, InfluxSink, ParquetSink, Requests, Rows, Sink, Ticks, Traffic, Windows, write_table,
};
use crate::record::{Recording, RunDirectory};
use crate::report::write_latency_log;

/// `highwater export DIR`
pub(super) fn export(options: &Export) -> Result<Exit, Fault> {
    let is_table = options.format != ExportFormat::Hlog;
    if !is_table && (options.raw || options.traffic || options.samples) {
        let text = "`--format hlog` has histograms only";
        return Err(Fault::plain(Exit::BadUse, text, "tables are for csv, parquet and influx"));
    }
    if options.samples && options.format == ExportFormat::Influx {
        let text = "requests of one moment would take each other's place in InfluxDB";
        return Err(Fault::plain(Exit::BadUse, text, "use csv or parquet for `--samples`"));
    }
    let to_terminal = options.out.is_none() && std::io::stdout().is_terminal();
    if options.format == ExportFormat::Parquet && to_terminal {
        let help = "name a file: `--out windows.parquet`";
        return Err(Fault::plain(Exit::BadUse, "Parquet is nothing for a terminal", help));
    }
    let recording = Recording::open(&RunDirectory::open(&options.directory)?)?;
    let done = match &options.out {
        Some(path) => std::fs::File::create(path)
            .and_then(|file| written(&recording, options, BufWriter::new(file))),
        None => written(&recording, options, BufWriter::new(std::io::stdout())),
    };
    match done {
        Ok(0) => {
            let (text, help) = nothing(options);
            Err(Fault::plain(Exit::BadUse, text, help))
        }
        Ok(_) => Ok(Exit::Pass),
        // Whoever reads has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(Exit::Pass),
        Err(error) => {
            Err(Fault::new(Exit::HostCannot, &error, Some("is the place writable?".to_owned())))
        }
    }
}

/// Writes what a run recorded as `InfluxDB`'s line protocol: windows of memory, then traffic.
pub(super) fn influx(directory: &RunDirectory, path: &Path) -> Result<(), Fault> {
    let recording = Recording::open(directory)?;
    let write = || -> std::io::Result<()> {
        let mut out = BufWriter::new(std::fs::File::create(path)?);
        for traffic in [false, true] {
            let options = Export {
                directory: directory.path().to_owned(),
                format: ExportFormat::Influx,
                raw: false,
                traffic,
                samples: false,
                out: None,
            };
            written(&recording, &options, &mut out)?;
        }
        Ok(())
    };
    write().map_err(|error| {
        Fault::new(Exit::HostCannot, &error, Some("is the directory writable?".to_owned()))
    })
}

/// What is said where a recording holds nothing of what was asked for.
const fn nothing(options: &Export) -> (&'static str, &'static str) {
    if options.samples {
        ("the recording holds no requests one by one", "`highwater run --samples all` keeps them")
    } else if options.raw {
        ("the recording holds no raw ticks", "`highwater run --raw` keeps all of them")
    } else if options.traffic || matches!(options.format, ExportFormat::Hlog) {
        ("the recording holds no traffic", "only runs with traffic have times to export")
    } else {
        ("the recording holds no window of memory", "`--traffic` is what `highwater load` records")
    }
}

/// Writes what was asked for; gives how many rows that was.
fn written(
    recording: &Recording,
    options: &Export,
    mut out: impl Write + Send,
) -> std::io::Result<u64> {
    let header = recording.header();
    let (outline, anchor) = (&header.outline, header.anchor);
    let mut damage = None;
    let events = recording.events().filter_map(|event| match event {
        Ok(event) => Some(event),
        Err(error) => {
            damage.get_or_insert(error);
            None
        }
    });
    let count = if options.format == ExportFormat::Hlog {
        write_latency_log(&mut out, outline, anchor, events)?
    } else {
        let mut rows: Box<dyn Rows> = if options.samples {
            Box::new(Requests::new(outline))
        } else if options.raw {
            Box::new(Ticks)
        } else if options.traffic {
            Box::new(Traffic::new(outline))
        } else {
            Box::new(Windows::new(outline))
        };
        let sink: Box<dyn Sink + '_> = match options.format {
            ExportFormat::Parquet => Box::new(ParquetSink::new(&mut out, rows.as_ref(), anchor)?),
            ExportFormat::Influx => {
                Box::new(InfluxSink::new(&mut out, rows.as_ref(), anchor, &outline.name))
            }
            ExportFormat::Csv | ExportFormat::Hlog => {
                Box::new(CsvSink::new(&mut out, rows.as_ref(), anchor)?)
            }
        };
        write_table(rows.as_mut(), sink, events)?
    };
    out.flush()?;
    if let Some(error) = damage {
        note(&format!("warning: {error}; what was written covers the rest"));
    }
    Ok(count)
}
