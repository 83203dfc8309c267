//! The JSON Schema of `run.json`, derived from the very rows that are written.

use schemars::generate::SchemaSettings;

use super::json::Document;

/// The JSON Schema of `run.json` (draft 2020-12), as text.
///
/// It allows keys that it does not know: later versions add some.
#[must_use]
pub fn run_schema() -> String {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let schema = generator.into_root_schema_for::<Document<'static>>();
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
    text.push('\n');
    text
}
