//! Recordings of any bytes, for the fuzz targets.

use super::{Recording, RunDirectory, store};
use crate::event::{Event, What};

/// A stored batch: deflated where its first byte is even, else plain `MessagePack`.
pub fn batch(data: &[u8]) {
    let [first, body @ ..] = data else { return };
    let events = if first % 2 == 0 {
        store::decode(body).unwrap_or_default()
    } else {
        rmp_serde::from_slice(body).unwrap_or_default()
    };
    for event in &events {
        take(event);
    }
    // What was read is written and read again as it is.
    let mut again = store::Batch::default();
    for event in &events {
        again.push(event);
    }
    let read = store::decode(&again.body(store::QUICK)).expect("what is written is read");
    // Not a number is not itself.
    if !format!("{events:?}").contains("NaN") {
        assert_eq!(read, events);
    }
}

fn take(event: &Event) {
    match &event.what {
        What::Ticks(block) => drop(block.unpack()),
        What::Requests(block) => drop(block.unpack()),
        What::Traffic(window) => {
            let times = [&window.latency_us, &window.duration_us, &window.waiting_us];
            for times in times {
                for percent in [0.0, 50.0, 99.0, 100.0] {
                    let _ = times.percentile(percent);
                }
                let _ = (times.min(), times.max(), times.mean(), times.count_above(1000));
            }
        }
        _ => {}
    }
}

/// The file of a recording.
pub fn file(data: &[u8]) {
    let shared = std::path::Path::new("/dev/shm");
    let dir = if shared.is_dir() { tempfile::tempdir_in(shared) } else { tempfile::tempdir() };
    let dir = dir.expect("a temporary directory");
    std::fs::write(dir.path().join("recording.db"), data).expect("room for a file");
    let directory = RunDirectory::open(dir.path()).expect("it is there");
    match Recording::open(&directory) {
        Ok(recording) => {
            for event in recording.events().take(100_000) {
                match event {
                    Ok(event) => take(&event),
                    Err(error) => drop(format!("{error}{:?}", error.help())),
                }
            }
        }
        Err(error) => drop(format!("{error}{:?}", error.help())),
    }
}
