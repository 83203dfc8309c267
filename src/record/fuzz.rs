//! Recordings of any bytes, for the fuzz targets.

use super::{Recording, RunDirectory, store};
use crate::event::{Event, What};

/// A stored batch: deflated, plain, or one of format 1, plain `MessagePack`; as its first byte says.
pub fn batch(data: &[u8]) {
    let [first, body @ ..] = data else { return };
    let events = match first % 3 {
        0 => store::decode(body).unwrap_or_default(),
        1 => rmp_serde::from_slice(body).unwrap_or_default(),
        _ => store::decode_plain(body).unwrap_or_default(),
    };
    for event in &events {
        take(event);
    }
    // What was read is written and read again as it is.
    let (mut small, mut packed) = (store::Batch::default(), store::Batch::default());
    for event in &events {
        packed.pack(event, small.push(event));
    }
    // Not a number is not itself.
    let same = !format!("{events:?}").contains("NaN");
    for again in [small, packed] {
        let read = store::decode(&again.body(store::QUICK)).expect("what is written is read");
        assert!(!same || read == events, "{events:?}");
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
