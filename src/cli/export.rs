//! `highwater export`: a recording's data for other programs.

use std::io::{BufWriter, Write};

use super::options::{Export, ExportFormat};
use super::print::note;
use super::{Exit, Fault};
use crate::record::{Recording, RunDirectory};
use crate::report::write_latency_log;

/// `highwater export DIR`
pub(super) fn export(options: &Export) -> Result<Exit, Fault> {
    let recording = Recording::open(&RunDirectory::open(&options.directory)?)?;
    let ExportFormat::Hlog = options.format;
    let done = match &options.out {
        Some(path) => std::fs::File::create(path).and_then(|file| hlog(&recording, file)),
        None => hlog(&recording, std::io::stdout().lock()),
    };
    match done {
        Ok(0) => {
            let help = "only runs with traffic have times to export";
            Err(Fault::plain(Exit::BadUse, "the recording holds no traffic", help))
        }
        Ok(_) => Ok(Exit::Pass),
        // Whoever reads has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(Exit::Pass),
        Err(error) => {
            Err(Fault::new(Exit::HostCannot, &error, Some("is the place writable?".to_owned())))
        }
    }
}

fn hlog(recording: &Recording, out: impl Write) -> std::io::Result<u64> {
    let mut out = BufWriter::new(out);
    let header = recording.header();
    let mut damage = None;
    let events = recording.events().map_while(|event| match event {
        Ok(event) => Some(event),
        Err(error) => {
            damage = Some(error);
            None
        }
    });
    let written = write_latency_log(&mut out, &header.outline, header.anchor, events)?;
    out.flush()?;
    if let Some(error) = damage {
        note(&format!("warning: {error}; what was written covers what comes before"));
    }
    Ok(written)
}
