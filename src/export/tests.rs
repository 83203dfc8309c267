//! Tables of made-up and of real recordings.

use std::path::Path;
use std::sync::{Arc, Mutex};

use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::Field;

use super::*;
use crate::event::{ErrorKind, Request, RequestBlock, What};
use crate::record::{Recording, RunDirectory};

/// Bytes that are still there when the sink that wrote them is gone.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl io::Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const KINDS: [&str; 3] = ["csv", "parquet", "influx"];

fn exported(
    kind: &str,
    outline: &Outline,
    anchor: Anchor,
    make: impl Fn() -> Box<dyn Rows>,
    events: &[Event],
) -> Vec<u8> {
    let page = Page::default();
    let mut rows = make();
    let sink: Box<dyn Sink> = match kind {
        "csv" => Box::new(CsvSink::new(page.clone(), rows.as_ref(), anchor).unwrap()),
        "parquet" => Box::new(ParquetSink::new(page.clone(), rows.as_ref(), anchor).unwrap()),
        _ => Box::new(InfluxSink::new(page.clone(), rows.as_ref(), anchor, &outline.name)),
    };
    write_table(rows.as_mut(), sink, events.iter().cloned()).unwrap();
    let bytes = page.0.lock().unwrap();
    bytes.clone()
}

/// A column of CSV, empty cells as none.
fn csv_column(bytes: &[u8], name: &str) -> Vec<Option<String>> {
    let mut reader = ::csv::Reader::from_reader(bytes);
    let place = reader.headers().unwrap().iter().position(|column| column == name).expect(name);
    let cells = reader.records().map(|record| record.unwrap()[place].to_owned());
    cells.map(|cell| (!cell.is_empty()).then_some(cell)).collect()
}

fn parquet_column(bytes: &[u8], name: &str) -> Vec<Option<String>> {
    let reader = SerializedFileReader::new(bytes::Bytes::copy_from_slice(bytes)).unwrap();
    let rows = reader.get_row_iter(None).unwrap().map(Result::unwrap);
    let cell = |row: ::parquet::record::Row| {
        let (_, field) = row.get_column_iter().find(|(column, _)| *column == name).expect(name);
        match field {
            Field::Null => None,
            Field::Str(text) => Some(text.clone()),
            Field::Double(number) => Some(number.to_string()),
            other => Some(other.to_string()),
        }
    };
    rows.map(cell).collect()
}

/// The example of the repository, as far as a test needs it.
fn example() -> (Outline, Anchor, Vec<Event>, serde_json::Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("reports/example");
    let recording = Recording::open(&RunDirectory::open(&path).unwrap()).unwrap();
    let events = recording.events().map(|event| event.unwrap().into_event()).collect();
    let json = std::fs::read_to_string(path.join("run.json")).unwrap();
    let header = recording.header();
    (header.outline.clone(), header.anchor, events, serde_json::from_str(&json).unwrap())
}

#[test]
fn the_peak_of_windows_is_that_of_run_json_in_each_format() {
    let (outline, anchor, events, json) = example();
    let outline: &'static Outline = Box::leak(Box::new(outline));
    let make = || -> Box<dyn Rows> { Box::new(Windows::new(outline)) };
    let peak = json["memory"]["peak_bytes"].as_u64();
    assert!(peak.is_some());
    let phase_peak = json["phases"][0]["memory"]["peak_bytes"].as_u64();
    for kind in ["csv", "parquet"] {
        let bytes = exported(kind, outline, anchor, make, &events);
        let column = |name| match kind {
            "csv" => csv_column(&bytes, name),
            _ => parquet_column(&bytes, name),
        };
        let (roles, phases, peaks) = (column("role"), column("phase"), column("peak_bytes"));
        let greatest = |is: &dyn Fn(usize) -> bool| {
            let rows = (0..peaks.len()).filter(|row| is(*row));
            rows.map(|row| peaks[row].as_ref().unwrap().parse::<u64>().unwrap()).max()
        };
        assert_eq!(greatest(&|row| roles[row].as_deref() == Some("main")), peak, "{kind}");
        let name = json["phases"][0]["name"].as_str();
        assert_eq!(greatest(&|row| phases[row].as_deref() == name), phase_peak, "{kind}");
        assert!(roles.contains(&Some("trial 1".to_owned())));
    }
    let lines = String::from_utf8(exported("influx", outline, anchor, make, &events)).unwrap();
    let main = lines.lines().filter(|line| line.contains(",role=main"));
    let peaks = main.map(|line| {
        let (_, after) = line.split_once("peak_bytes=").unwrap();
        after.split('i').next().unwrap().parse::<u64>().unwrap()
    });
    assert_eq!(peaks.max(), peak);
}

#[test]
fn traffic_adds_up_to_the_requests_of_run_json() {
    let (outline, anchor, events, json) = example();
    let outline: &'static Outline = Box::leak(Box::new(outline));
    let make = || -> Box<dyn Rows> { Box::new(Traffic::new(outline)) };
    let bytes = exported("csv", outline, anchor, make, &events);
    let ended = csv_column(&bytes, "ended").into_iter().flatten();
    let phases = json["phases"].as_array().unwrap();
    let requests = phases.iter().filter_map(|phase| phase["traffic"]["requests"].as_u64());
    assert_eq!(ended.map(|cell| cell.parse::<u64>().unwrap()).sum::<u64>(), requests.sum::<u64>());
}

#[test]
fn ticks_are_all_that_were_recorded() {
    let (outline, anchor, events, _) = example();
    let recorded: u64 = events
        .iter()
        .filter_map(|event| match &event.what {
            What::Ticks(block) => Some(u64::from(block.count)),
            _ => None,
        })
        .sum();
    assert!(recorded > 100, "{recorded}");
    let make = || -> Box<dyn Rows> { Box::new(Ticks) };
    for kind in KINDS {
        let bytes = exported(kind, &outline, anchor, make, &events);
        let rows = match kind {
            "csv" => csv_column(&bytes, "peak_bytes").len(),
            "parquet" => parquet_column(&bytes, "peak_bytes").len(),
            _ => String::from_utf8_lossy(&bytes).lines().count(),
        };
        assert_eq!(rows as u64, recorded, "{kind}");
    }
}

#[test]
fn requests_keep_what_is_not_known_empty() {
    let (outline, anchor, _, _) = example();
    let outline: &'static Outline = Box::leak(Box::new(outline));
    let at = Moment::from_millis;
    let good = Request {
        phase: 0,
        step: 0,
        due: Some(at(10)),
        sent: Some(at(11)),
        first_byte: Some(at(12)),
        ended: at(15),
        status: Some(200),
        error: None,
        sent_bytes: 100,
        received_bytes: 200,
    };
    let bad = Request {
        due: None,
        sent: None,
        first_byte: None,
        status: None,
        error: Some(ErrorKind::Refused),
        ended: at(20),
        ..good
    };
    let block = RequestBlock::pack(&[good, bad], 10);
    let events = [Event { at: at(1000), what: What::Requests(block) }];
    let make = || -> Box<dyn Rows> { Box::new(Requests::new(outline)) };
    let some = |text: &str| Some(text.to_owned());
    for kind in ["csv", "parquet"] {
        let bytes = exported(kind, outline, anchor, make, &events);
        let column = |name| match kind {
            "csv" => csv_column(&bytes, name),
            _ => parquet_column(&bytes, name),
        };
        assert_eq!(column("due_ms"), [some("10"), None], "{kind}");
        assert_eq!(column("end_ms"), [some("15"), some("20")]);
        assert_eq!(column("status"), [some("200"), None]);
        assert_eq!(column("error"), [None, some("refused")]);
        assert_eq!(column("weight"), [some("5"), some("5")]);
        assert_eq!(column("step")[0].as_deref(), Some(outline.steps[0].step.as_str()));
    }
}

#[test]
fn more_rows_than_a_group_of_parquet_holds_are_all_there() {
    let (outline, anchor, _, _) = example();
    let ticks: Vec<crate::event::Tick> = (0..70_000)
        .map(|n| crate::event::Tick {
            at: Moment::from_millis(n),
            usage: crate::units::Bytes::new(4096 * n),
            peak: crate::units::Bytes::new(4096 * n),
        })
        .collect();
    let block = crate::event::TickBlock::pack(crate::event::LifeId(0), &ticks);
    let events = [Event { at: Moment::START, what: What::Ticks(block) }];
    let make = || -> Box<dyn Rows> { Box::new(Ticks) };
    let bytes = exported("parquet", &outline, anchor, make, &events);
    let usage = parquet_column(&bytes, "usage_bytes");
    assert_eq!((usage.len(), usage[69_999].as_deref()), (70_000, Some("286715904")));
}
