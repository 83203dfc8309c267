//! The schema of `run.json`, and what is held to it.

use std::process::Command;
use std::sync::OnceLock;

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::Value;

/// Asserts that a `run.json` is as its schema says, without a key that it doesn't know.
pub(crate) fn assert_valid_run(json: &Value) {
    static SCHEMA: OnceLock<(Schemas, SchemaIndex)> = OnceLock::new();
    let (schemas, index) = SCHEMA.get_or_init(|| {
        // Another test sees that what is published is what is printed.
        let printed = Command::new(env!("CARGO_BIN_EXE_highwater"))
            .args(["schema", "--run"])
            .output()
            .expect("the binary runs");
        let mut schema = serde_json::from_slice(&printed.stdout).expect("it is JSON");
        close(&mut schema);
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        let url = "http://highwater/run.json";
        compiler.add_resource(url, schema).expect("it is a schema");
        let index = compiler.compile(url, &mut schemas).expect("it is a schema");
        (schemas, index)
    });
    if let Err(error) = schemas.validate(json, *index) {
        panic!("run.json is not as its schema says: {error:#}");
    }
}

/// Keys may be added later, so the schema allows more; a test does not.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(keys) => {
            if keys.contains_key("properties") {
                keys.entry("additionalProperties").or_insert(Value::Bool(false));
            }
            keys.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}
