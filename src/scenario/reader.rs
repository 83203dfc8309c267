//! Reads a table key by key. What is wrong is noted, and reading goes on: so all faults come in
//! one go. What was never asked for is an unknown key.

use std::cell::RefCell;
use std::str::FromStr;
use std::time::Duration;

use super::fault::Fault;
use super::tree::{Entry, Node, Place, Value};
use crate::units::{Bytes, parse_duration};

/// The longest time that a scenario may name: sums of times then never overflow.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// Takes faults as they are found, and what is worth knowing without being one.
#[derive(Debug, Default)]
pub(super) struct Notes {
    faults: RefCell<Vec<Fault>>,
    remarks: RefCell<Vec<String>>,
    /// Which keys of which tables were asked for: what the published schema is held to.
    #[cfg(test)]
    pub(super) asked:
        RefCell<std::collections::BTreeMap<String, std::collections::BTreeSet<&'static str>>>,
}

impl Notes {
    pub(super) fn fault(&self, place: &Place, message: impl Into<String>, help: impl Into<String>) {
        self.faults.borrow_mut().push(Fault::at(place, message, help));
    }

    /// Takes a remark; the same again says nothing new.
    pub(super) fn remark(&self, text: String) {
        let mut remarks = self.remarks.borrow_mut();
        if !remarks.contains(&text) {
            remarks.push(text);
        }
    }

    /// The remarks so far.
    pub(super) fn remarks(&self) -> Vec<String> {
        self.remarks.borrow().clone()
    }

    pub(super) fn into_faults(self) -> Vec<Fault> {
        self.faults.into_inner()
    }
}

/// A table that is being read.
pub(super) struct Reader<'a> {
    name: String,
    entries: &'a [Entry],
    pub(super) place: &'a Place,
    pub(super) notes: &'a Notes,
    asked: RefCell<Vec<&'static str>>,
}

/// A value together with its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

impl<'a> Reader<'a> {
    /// Reads a table; `name` is what faults call it. None, and a fault, where it is none.
    pub(super) fn new(name: impl Into<String>, node: &'a Node, notes: &'a Notes) -> Option<Self> {
        let name = name.into();
        match &node.value {
            Value::Table(entries) => {
                let asked = RefCell::default();
                Some(Self { name, entries, place: &node.place, notes, asked })
            }
            other => {
                let message = format!("{name} is {}, not a table", other.kind());
                notes.fault(&node.place, message, "write `[table]` or `{ key = value }`");
                None
            }
        }
    }

    /// The value of a key, whatever it is.
    pub(super) fn node(&self, key: &'static str) -> Option<&'a Node> {
        self.asked.borrow_mut().push(key);
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    /// A key with its value.
    pub(super) fn entry(&self, key: &'static str) -> Option<&'a Entry> {
        self.asked.borrow_mut().push(key);
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// Whether a key is there.
    pub(super) fn has(&self, key: &'static str) -> bool {
        self.node(key).is_some()
    }

    fn read<T>(
        &self,
        key: &'static str,
        wanted: Wanted,
        convert: impl Fn(&Value) -> Option<T>,
    ) -> Option<At<T>> {
        let node = self.node(key)?;
        let place = node.place.clone();
        match convert(&node.value) {
            Some(value) => Some(At { value, place }),
            None => {
                let message = format!("`{key}` is {}, not {}", node.value.kind(), wanted.kind);
                self.notes.fault(&place, message, way_out(key, wanted.example));
                None
            }
        }
    }

    /// A string; `example` is one where the key has none of its own.
    pub(super) fn string_like(
        &self,
        key: &'static str,
        example: &'static str,
    ) -> Option<At<String>> {
        self.read(key, Wanted { kind: "a string", example }, |value| match value {
            Value::String(text) => Some(text.clone()),
            _ => None,
        })
    }

    pub(super) fn string(&self, key: &'static str) -> Option<At<String>> {
        self.string_like(key, "\"…\"")
    }

    pub(super) fn bool(&self, key: &'static str) -> Option<bool> {
        let wanted = Wanted { kind: "true or false", example: "true" };
        let read = self.read(key, wanted, |value| match value {
            Value::Bool(truth) => Some(*truth),
            _ => None,
        });
        read.map(|at| at.value)
    }

    pub(super) fn number(&self, key: &'static str) -> Option<At<f64>> {
        self.read(key, Wanted { kind: "a number", example: "1.5" }, number)
    }

    /// A whole number between two bounds.
    pub(super) fn whole(&self, key: &'static str, least: u64, most: u64) -> Option<At<u64>> {
        let wanted = Wanted { kind: "a whole number", example: "10" };
        let read = self.read(key, wanted, |value| match value {
            Value::Integer(number) => Some(*number),
            _ => None,
        })?;
        match u64::try_from(read.value).ok().filter(|number| (least..=most).contains(number)) {
            Some(value) => Some(At { value, place: read.place }),
            None => {
                let message = format!("`{key}` is {}, not between {least} and {most}", read.value);
                self.notes.fault(&read.place, message, "");
                None
            }
        }
    }

    /// A text that is parsed further; `example` is one where the key has none of its own.
    pub(super) fn parsed<T: FromStr<Err: std::fmt::Display>>(
        &self,
        key: &'static str,
        example: &'static str,
    ) -> Option<At<T>> {
        let text = self.string_like(key, example)?;
        match text.value.parse() {
            Ok(value) => Some(At { value, place: text.place }),
            Err(error) => {
                self.notes.fault(&text.place, format!("`{key}`: {error}"), "");
                None
            }
        }
    }

    pub(super) fn bytes(&self, key: &'static str) -> Option<At<Bytes>> {
        self.parsed(key, "\"64MiB\"")
    }

    pub(super) fn duration(&self, key: &'static str) -> Option<At<Duration>> {
        let text = self.string_like(key, "\"10s\"")?;
        match parse_duration(&text.value) {
            Ok(value) if value > LONGEST => {
                let message = format!("`{key}` is longer than a year");
                self.notes.fault(&text.place, message, "");
                None
            }
            Ok(value) => Some(At { value, place: text.place }),
            Err(error) => {
                self.notes.fault(&text.place, format!("`{key}`: {error}"), "");
                None
            }
        }
    }

    /// A length of time; none only where the key is missing. An unreadable one is noted, and stands
    /// for something, so that it is not called missing too.
    pub(super) fn length(&self, key: &'static str) -> Option<Duration> {
        let read = self.duration(key).map(|at| at.value);
        read.or_else(|| self.has(key).then_some(Duration::from_secs(1)))
    }

    /// A list; a single value counts as a list of one.
    pub(super) fn list(&self, key: &'static str) -> Vec<&'a Node> {
        match self.node(key) {
            Some(Node { value: Value::Array(items), .. }) => items.iter().collect(),
            Some(single) => vec![single],
            None => Vec::new(),
        }
    }

    /// A list of strings.
    pub(super) fn strings(&self, key: &'static str) -> Vec<String> {
        let mut found = Vec::new();
        for node in self.list(key) {
            match &node.value {
                Value::String(text) => found.push(text.clone()),
                other => {
                    let message = format!("`{key}` holds {}, not a string", other.kind());
                    self.notes.fault(&node.place, message, way_out(key, "[\"…\", \"…\"]"));
                }
            }
        }
        found
    }

    /// A table below this one.
    pub(super) fn table(&self, key: &'static str) -> Option<Reader<'a>> {
        Reader::new(format!("`{key}`"), self.node(key)?, self.notes)
    }

    /// All entries of a table whose keys are the user's own.
    pub(super) fn entries(&self, key: &'static str) -> &'a [Entry] {
        match self.table(key) {
            Some(table) => table.entries,
            None => &[],
        }
    }

    /// Whether every key was asked for; those that weren't will be told of.
    pub(super) fn knows_all(&self) -> bool {
        let asked = self.asked.borrow();
        self.entries.iter().all(|entry| asked.contains(&entry.key.as_str()))
    }

    /// The entries of a table of texts; numbers and truths are taken as they are written.
    pub(super) fn texts(&self, key: &'static str) -> Vec<(&'a Entry, String)> {
        let mut found = Vec::new();
        for entry in self.entries(key) {
            match &entry.node.value {
                Value::String(text) => found.push((entry, text.clone())),
                Value::Integer(_) | Value::Float(_) | Value::Bool(_) => {
                    found.push((entry, entry.node.to_json().to_string()));
                }
                other => {
                    let message = format!("`{}` in `{key}` is {}", entry.key, other.kind());
                    self.notes.fault(&entry.node.place, message, "write a string or a number");
                }
            }
        }
        found
    }

    /// Notes every key that was never asked for.
    pub(super) fn finish(self) {
        let mut asked = self.asked.into_inner();
        asked.sort_unstable();
        asked.dedup();
        #[cfg(test)]
        self.notes.asked.borrow_mut().entry(self.name.clone()).or_default().extend(&asked);
        for entry in self.entries.iter().filter(|entry| !asked.contains(&entry.key.as_str())) {
            let message = format!("unknown key `{}` in {}", entry.key, self.name);
            self.notes.fault(&entry.place, message, nearest(&entry.key, &asked));
        }
    }
}

/// What a value is to be, for faults.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    kind: &'static str,
    /// How such a value is written.
    example: &'static str,
}

/// How a key is written: by an example of its own, or else by one of its kind.
fn way_out(key: &str, example: &str) -> String {
    let example = match key {
        "get" | "post" | "put" | "patch" | "delete" | "head" | "options" => "\"/path\"",
        "jitter" => "0.2",
        "port" => "8080",
        "replay" | "sizes-from" => "\"access.log\"",
        "think" => "\"1s..3s\"",
        _ => example,
    };
    format!("write `{key} = {example}`")
}

/// A number, whole or not.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        #[expect(clippy::cast_precision_loss, reason = "people write small numbers")]
        Value::Integer(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        _ => None,
    }
}

/// The nearest of the known names, or all of them.
pub(super) fn nearest(name: &str, known: &[&str]) -> String {
    let near = known
        .iter()
        .map(|known| (strsim::jaro_winkler(known, name), known))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match near {
        Some((likeness, near)) if likeness > 0.8 => format!("did you mean `{near}`?"),
        _ => format!("known here: {}", known.join(", ")),
    }
}
