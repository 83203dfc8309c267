//! `feed`: records from a CSV or JSON-lines file.

use std::path::Path;

use serde_json::Value as Json;

use super::Context;
use super::templates::Names;
use crate::scenario::reader::Reader;
use crate::scenario::tree::{Node, Value};
use crate::scenario::{Feed, FeedOrder};

/// The largest feed file: its records are kept in memory.
const FILE_MAX: u64 = 256 << 20;

/// `feed = "users.csv"`, or `{ file, order, when-out }`. Its columns become names; nobody knows
/// which, where it can't be read.
pub(super) fn feed(table: &Reader<'_>, names: &mut Names, context: &Context<'_>) -> Option<Feed> {
    let node = table.node("feed")?;
    let feed = given(node, names, context);
    if feed.is_none() {
        names.add_unreadable();
    }
    feed
}

fn given(node: &Node, names: &mut Names, context: &Context<'_>) -> Option<Feed> {
    let (file, order, again) = match &node.value {
        Value::Table(_) => settings(node, context)?,
        Value::String(text) => (text.clone(), FeedOrder::Sequential, true),
        other => {
            let message = format!("`feed` is {}", other.kind());
            context.notes.fault(&node.place, message, "write `feed = \"users.csv\"`");
            return None;
        }
    };
    match read(&context.path(&file)) {
        Ok((columns, rows)) => {
            for column in &columns {
                if !Names::is_fit(column) {
                    let message = format!("a column of `{file}` can't be called `{column}`");
                    let help = "letters, digits and `_`, and no name that templates have already";
                    context.notes.fault(&node.place, message, help);
                }
                names.add(column);
            }
            Some(Feed { columns, rows: rows.into(), order, again })
        }
        Err(why) => {
            let message = format!("failed to read the feed `{file}`: {why}");
            let help = "a CSV file whose first line names the columns, or an object a line; \
                        paths are relative to the scenario's directory";
            context.notes.fault(&node.place, message, help);
            None
        }
    }
}

fn settings(node: &Node, context: &Context<'_>) -> Option<(String, FeedOrder, bool)> {
    let table = Reader::new("`feed`", node, context.notes)?;
    let file = table.string("file");
    let order = table.string("order");
    let when_out = table.string("when-out");
    let (place, has_file) = (table.place, table.has("file"));
    table.finish();
    let order = match order.as_ref().map(|at| at.value.as_str()) {
        None | Some("sequential") => FeedOrder::Sequential,
        Some("random") => FeedOrder::Random,
        Some("unique") => FeedOrder::Unique,
        Some(other) => {
            let message = format!("`order` can't be `{other}`");
            context.notes.fault(place, message, "write `sequential`, `random` or `unique`");
            FeedOrder::Sequential
        }
    };
    let again = match when_out.as_ref().map(|at| at.value.as_str()) {
        // Who asks for records of one's own would be wrong about shared ones.
        None => order != FeedOrder::Unique,
        Some("again") => true,
        Some("stop") => false,
        Some(other) => {
            let message = format!("`when-out` can't be `{other}`");
            context.notes.fault(place, message, "write `again` or `stop`");
            true
        }
    };
    if !has_file {
        context.notes.fault(place, "`feed` names no file", "add `file = \"users.csv\"`");
    }
    Some((file?.value, order, again))
}

type Table = (Vec<String>, Vec<Vec<Json>>);

fn read(path: &Path) -> Result<Table, String> {
    let length = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length > FILE_MAX {
        return Err(format!("it is larger than {} MiB", FILE_MAX >> 20));
    }
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    let table = parse(&bytes)?;
    if table.1.is_empty() {
        return Err("it holds no record".to_owned());
    }
    Ok(table)
}

/// JSON lines where the first line is an object, else CSV.
fn parse(bytes: &[u8]) -> Result<Table, String> {
    if bytes.trim_ascii_start().starts_with(b"{") { json_lines(bytes) } else { csv(bytes) }
}

fn csv(bytes: &[u8]) -> Result<Table, String> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes);
    let columns = reader.headers().map_err(|error| error.to_string())?;
    let columns: Vec<String> = columns.iter().map(str::to_owned).collect();
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| error.to_string())?;
        rows.push(record.iter().map(|field| Json::from(field.to_owned())).collect());
    }
    Ok((columns, rows))
}

/// An object a line; each has the first one's keys.
fn json_lines(bytes: &[u8]) -> Result<Table, String> {
    let (mut columns, mut rows) = (Vec::new(), Vec::new());
    for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let object: serde_json::Map<String, Json> =
            serde_json::from_slice(line).map_err(|error| format!("line {number}: {error}"))?;
        if columns.is_empty() {
            columns = object.keys().cloned().collect();
        }
        let value = |column: &String| {
            let found = object.get(column).cloned();
            found.ok_or_else(|| format!("line {number} has no `{column}`"))
        };
        rows.push(columns.iter().map(value).collect::<Result<Vec<_>, _>>()?);
    }
    Ok((columns, rows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn csv_and_json_lines_give_the_same_table() {
        let (columns, rows) = parse(b"name,password\nann, x\n\"b, b\",\"\"\"y\"\n").unwrap();
        assert_eq!(columns, ["name", "password"]);
        assert_eq!(rows, [["ann", "x"], ["b, b", "\"y"]]);
        let (columns, rows) = parse(b"{\"n\": 1, \"b\": \"x\"}\n\n{\"b\":\"y\",\"n\":2}").unwrap();
        let n = columns.iter().position(|column| column == "n").unwrap();
        assert_eq!(rows.iter().map(|row| row[n].clone()).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        assert!(parse(b"a,b\n1\n").unwrap_err().contains("line: 2"));
        assert!(parse(b"{\"a\":1}\n{\"b\":1}").unwrap_err().contains("line 2 has no `a`"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok((columns, rows)) = parse(&bytes) {
                prop_assert!(rows.iter().all(|row| row.len() == columns.len()));
            }
        }
    }
}
