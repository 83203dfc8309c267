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

#[test]
fn runs_of_old_recordings_are_as_the_schema_says() {
    let bench = Bench::new();
    for directory in ["reports/example", "fixtures/recordings/first"] {
        let copy = bench.path().join("copy");
        std::fs::create_dir_all(&copy).unwrap();
        let recording = support::root().join(directory).join("recording.db");
        std::fs::copy(recording, copy.join("recording.db")).unwrap();
        bench.run(&["report", "copy", "--json"]).json();
    }
}
