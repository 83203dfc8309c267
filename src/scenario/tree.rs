//! A TOML document as a tree in which everything knows its place.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A place in one of the scenario's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Which file, by its index in [`super::Sources`].
    pub file: usize,
    /// Which bytes of it.
    pub range: Range<usize>,
}

/// A value at its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) place: Place,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    String(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    Datetime(String),
    Array(Vec<Node>),
    Table(Vec<Entry>),
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) place: Place,
    pub(super) node: Node,
}

impl Value {
    /// What it is, in a sentence: "a string".
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a number",
            Self::Bool(_) => "true or false",
            Self::Datetime(_) => "a date",
            Self::Array(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

impl Node {
    /// Parses a document. The error is its message and place.
    pub(super) fn parse(text: &str, file: usize) -> Result<Self, (String, Place)> {
        match DeTable::parse(text) {
            Ok(table) => {
                let place = Place { file, range: 0..text.len().min(1) };
                Ok(Self { value: from_table(table.into_inner(), file), place })
            }
            Err(error) => {
                let range = error.span().unwrap_or(0..0);
                Err((error.message().to_owned(), Place { file, range }))
            }
        }
    }

    /// The value of a key of a table.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Table(entries) => {
                entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
            }
            _ => None,
        }
    }

    /// Puts `over` on top: tables are merged key by key, everything else is replaced.
    pub(super) fn merge(&mut self, over: Self) {
        match (&mut self.value, over.value) {
            (Value::Table(under), Value::Table(over)) => {
                for entry in over {
                    match under.iter_mut().find(|present| present.key == entry.key) {
                        Some(present) => present.node.merge(entry.node),
                        None => under.push(entry),
                    }
                }
            }
            (under, over_value) => {
                *under = over_value;
                self.place = over.place;
            }
        }
    }

    /// The value as JSON, for a literal body.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::String(text) | Value::Datetime(text) => text.clone().into(),
            Value::Integer(number) => (*number).into(),
            Value::Float(number) => (*number).into(),
            Value::Bool(truth) => (*truth).into(),
            Value::Array(items) => items.iter().map(Self::to_json).collect(),
            Value::Table(entries) => {
                let pairs = entries.iter().map(|entry| (entry.key.clone(), entry.node.to_json()));
                serde_json::Value::Object(pairs.collect())
            }
        }
    }
}

fn from_table(table: DeTable<'_>, file: usize) -> Value {
    let entries = table.into_iter().map(|(key, value)| Entry {
        place: Place { file, range: key.span() },
        key: key.into_inner().into_owned(),
        node: from_value(value, file),
    });
    let mut entries: Vec<Entry> = entries.collect();
    // The parser sorts keys; the writer's order is what faults are told in.
    entries.sort_by_key(|entry| entry.place.range.start);
    Value::Table(entries)
}

fn from_value(value: Spanned<DeValue<'_>>, file: usize) -> Node {
    let place = Place { file, range: value.span() };
    let value = match value.into_inner() {
        DeValue::String(text) => Value::String(text.into_owned()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::Integer(number),
            Err(_) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        },
        DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(truth) => Value::Bool(truth),
        DeValue::Datetime(date) => Value::Datetime(date.to_string()),
        DeValue::Array(items) => {
            Value::Array(items.into_iter().map(|item| from_value(item, file)).collect())
        }
        DeValue::Table(table) => from_table(table, file),
    };
    Node { value, place }
}
