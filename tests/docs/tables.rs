//! Tables that list all of something: keys, reasons, exit codes, files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use regex::Regex;
use serde_json::Value;

use super::pages::{key_tables, quoted};
use super::support::root;

fn page(name: &str) -> String {
    std::fs::read_to_string(root().join("docs").join(name)).expect("the page is there")
}

/// The keys of a page's tables, by the names of the tables.
pub(crate) fn keys_of(name: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (names, keys, _) in key_tables(&page(name)) {
        for name in names {
            all.entry(name).or_default().extend(keys.iter().cloned());
        }
    }
    all
}

#[test]
fn every_key_of_a_scenario_is_told_and_none_is_made_up() {
    let schema = std::fs::read_to_string(root().join("schema/highwater.schema.json"));
    let schema: Value = serde_json::from_str(&schema.expect("it is there")).expect("it is JSON");
    let mut tables: BTreeMap<String, &Value> = BTreeMap::new();
    tables.insert("Scenario".to_owned(), &schema);
    for (name, table) in schema["$defs"].as_object().expect("there are some") {
        if table.get("properties").is_some() {
            tables.insert(name.clone(), table);
        }
    }
    let told = keys_of("scenarios.md");
    let names = |all: &BTreeSet<String>| all.iter().cloned().collect::<Vec<_>>().join(", ");
    for (name, table) in &tables {
        let keys = table["properties"].as_object().expect("it has some");
        let keys: BTreeSet<String> = keys.keys().cloned().collect();
        let told = told.get(name).unwrap_or_else(|| panic!("no table of `{name}`"));
        let (missing, made_up) = (&keys - told, &told.clone() - &keys);
        assert!(missing.is_empty(), "`{name}` lacks {}", names(&missing));
        assert!(made_up.is_empty(), "`{name}` has made up {}", names(&made_up));
    }
    let known: BTreeSet<String> = tables.keys().cloned().collect();
    let made_up = &told.keys().cloned().collect::<BTreeSet<String>>() - &known;
    assert!(made_up.is_empty(), "tables of {}, which are none", names(&made_up));
}

#[test]
fn defaults_and_choices_are_those_of_the_schema() {
    let schema = std::fs::read_to_string(root().join("schema/highwater.schema.json"));
    let schema: Value = serde_json::from_str(&schema.expect("it is there")).expect("it is JSON");
    let default = Regex::new(r"Default: ([^.\s]+)\.").expect("it is a regex");
    let mut count = 0;
    for (names, _, rows) in key_tables(&page("scenarios.md")) {
        for name in names {
            let table = if name == "Scenario" { &schema } else { &schema["$defs"][&name] };
            for (key, property) in table["properties"].as_object().into_iter().flatten() {
                let first =
                    |row: &&String| quoted(row.split('|').nth(1).unwrap_or("")).contains(key);
                let Some(row) = rows.iter().find(first) else { continue };
                let choices = property["enum"].as_array().into_iter().flatten();
                let words = choices.filter_map(Value::as_str).map(str::to_owned);
                let described = property["description"].as_str().unwrap_or_default();
                let value = default.captures(described).map(|found| found[1].to_owned());
                for word in words.chain(value) {
                    assert!(row.contains(&word), "`{name}.{key}`: no `{word}` in {row}");
                    count += 1;
                }
            }
        }
    }
    assert!(count > 20, "only {count} were found");
}

/// The ids of reasons that the sources give.
fn ids() -> BTreeSet<String> {
    let id = Regex::new(
        r#"(?s)(?:\.say\(\s*|Reason \{\s*id: |Level::(?:Fail|Warn|Info), |^\s*\(|\n\s+\()"([a-z_]+)"(?:,|\))"#,
    )
    .expect("it is a regex");
    let mut found = BTreeSet::new();
    for file in ["analysis/verdict.rs", "analysis/watch.rs", "campaign/size/conclusion.rs"]
        .map(|name| root().join("src").join(name))
        .into_iter()
        .chain(
            std::fs::read_dir(root().join("src/analysis/verdict"))
                .expect("it is there")
                .map(|entry| entry.expect("it can be read").path()),
        )
    {
        let text = std::fs::read_to_string(file).expect("a source is text");
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        found.extend(id.captures_iter(text).map(|found| found[1].to_owned()));
    }
    found
}

#[test]
fn every_reason_is_told_and_none_is_made_up() {
    let page = page("verdict.md");
    let section = page.split("## Reasons").nth(1).expect("it is there");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let told: BTreeSet<String> =
        rows.filter_map(|row| quoted(row.split('|').nth(1)?).first().cloned()).collect();
    let given = ids();
    assert!(given.len() > 25, "{given:?}");
    assert_eq!(told, given, "told, and given by src/analysis/verdict");
}

#[test]
fn exit_codes_are_those_of_the_program() {
    use highwater::cli::Exit;
    let page = page("verdict.md");
    let section = page.split("## Exit codes").nth(1).expect("it is there");
    let cells = section.lines().filter_map(|line| line.split('|').nth(1)?.trim().parse().ok());
    let told: BTreeSet<u8> = cells.collect();
    let all = [
        Exit::Pass,
        Exit::Fail,
        Exit::BadUse,
        Exit::HostCannot,
        Exit::TargetFailed,
        Exit::Untrusted,
        Exit::Interrupted,
        Exit::Bug,
    ];
    assert_eq!(told, all.map(Exit::code).into());
}

/// Every file in the run directories below `here` is one that the page about verdicts knows.
pub(crate) fn files_are_known(here: &Path) {
    let page = page("verdict.md");
    let section = page.split("## What a run leaves").nth(1).expect("it is there");
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let known: Vec<String> =
        rows.flat_map(|row| quoted(row.split('|').nth(1).unwrap_or_default())).collect();
    let plain = |name: &str| {
        let digits: String = name.chars().filter(|c| !c.is_ascii_digit()).collect();
        digits.replace("-again", "")
    };
    let known: BTreeSet<String> =
        known.iter().map(|name| plain(name.trim_end_matches('/'))).collect();
    let directories = [here.join("reports"), here.to_owned()];
    for directory in directories.iter().filter_map(|path| std::fs::read_dir(path).ok()).flatten() {
        let directory = directory.expect("it can be read").path();
        if !directory.join("run.json").exists() {
            continue;
        }
        for entry in std::fs::read_dir(&directory).expect("it is there").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_known = known.contains(&plain(&name)) || name.starts_with("recording.db-");
            assert!(is_known, "`{name}` in {} is not in docs/verdict.md", directory.display());
        }
    }
}
