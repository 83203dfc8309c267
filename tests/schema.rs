//! The published JSON Schemas. Other tests hold each `run.json` that they come by to its schema.

mod support;

use support::harness::Bench;

#[test]
fn the_published_schemas_are_those_that_the_program_prints() {
    let bench = Bench::new();
    for (file, args) in [
        ("schema/highwater.schema.json", &["schema"][..]),
        ("schema/run.schema.json", &["schema", "--run"]),
    ] {
        let printed = bench.run(args).expect_code(0).stdout.clone();
        let published = std::fs::read_to_string(support::root().join(file)).unwrap_or_default();
        let args = args.join(" ");
        assert!(
            printed == published,
            "`{file}` is not what this version prints: `cargo run -- {args} > {file}`"
        );
    }
}

/// The keys of a schema, with what is said of each: `Row.key`.
fn described(schema: &serde_json::Value) -> Vec<(String, Option<String>)> {
    let tables = schema["$defs"].as_object().expect("there are some");
    let tables = tables.iter().map(|(name, table)| (name.as_str(), table));
    let mut found = Vec::new();
    for (name, table) in tables.chain([("", schema)]) {
        for (key, property) in table["properties"].as_object().into_iter().flatten() {
            let words = property["description"].as_str().map(str::to_owned);
            found.push((format!("{name}.{key}"), words));
        }
    }
    found
}

#[test]
fn every_key_of_a_run_says_what_it_means_and_in_which_unit() {
    let file = support::root().join("schema/run.schema.json");
    let text = std::fs::read_to_string(file).expect("it is published");
    let schema = serde_json::from_str(&text).expect("it is JSON");
    let keys = described(&schema);
    assert!(keys.len() > 300, "only {} keys were found", keys.len());
    // Times are milliseconds and sizes bytes, unless a key says otherwise: by its end, or in words.
    let units = [
        ("_percent", "percent"),
        ("_us", "microseconds"),
        ("_cores", "core"),
        ("_per_hour", "hour"),
        ("_per_request", "request"),
    ];
    for (key, words) in keys {
        let words = words.unwrap_or_else(|| panic!("`{key}` says nothing"));
        assert!(words.len() > 5 && words.ends_with('.'), "`{key}`: {words}");
        for (_, unit) in units.iter().filter(|(end, _)| key.ends_with(end)) {
            assert!(words.contains(unit), "`{key}` does not say its unit: {words}");
        }
    }
}

#[test]
fn runs_of_old_recordings_are_as_the_schema_says() {
    let bench = Bench::new();
    let kept = ["reports/example", "fixtures/recordings/first", "fixtures/recordings/second"];
    for directory in kept {
        let copy = bench.path().join("copy");
        std::fs::create_dir_all(&copy).unwrap();
        let recording = support::root().join(directory).join("recording.db");
        std::fs::copy(recording, copy.join("recording.db")).unwrap();
        bench.run(&["report", "copy", "--json"]).json();
    }
}
