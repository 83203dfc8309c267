//! The scenarios on the pages, whole or in parts, go through the program's own check.

use std::path::Path;
use std::process::Command;

use super::all;
use super::pages::Wish;

/// The rest of a shop's scenario, behind its `[target]`: what parts speak of and don't have.
pub(crate) const SHOP: &str = r#"
limits = { memory = "96MiB" }

[traffic]
expected = "50/s"

[[scenario]]
name = "orders"
[[scenario.step]]
post = "/orders"
body = { size = "20KiB" }

[[scenario]]
name = "readers"
[[scenario.step]]
get = "/items/7"

[[scenario]]
name = "buy"
[[scenario.step]]
get = "/a"

[[phase]]
name  = "burst"
rate  = "80%"
burst = { every = "1s", size = 20 }
for   = "1m"
tags  = ["ci"]

[[phase]]
name = "soak"
rate = "80%"
for  = "1s"
"#;

/// Files that scenarios on the pages name.
pub(crate) fn write_files(directory: &Path) {
    let line = r#"{"time":"2026-01-31T12:00:00Z","method":"POST","path":"/orders","status":201,"request_length":2000}"#;
    let later = line.replace("12:00:00", "12:00:01");
    for (name, text) in [
        ("users.csv", "name,password\nann,secret\nbob,hidden\n"),
        ("order.json", r#"{"items": [{"id": 1}, {"id": 2}]}"#),
        ("access.log", &format!("{line}\n{later}\n")),
        ("photo.png", "no picture, but some bytes"),
        ("config/dev.toml", "level = 1\n"),
        ("Cargo.toml", "[package]\nname = \"shop-api\"\nversion = \"0.1.0\"\n"),
    ] {
        let path = directory.join(name);
        std::fs::create_dir_all(path.parent().expect("it has one")).expect("a directory");
        std::fs::write(path, text).expect("the file can be written");
    }
}

#[test]
fn every_scenario_is_one() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    write_files(directory.path());
    let mut count = 0;
    for block in all().iter().filter(|block| block.language == "toml") {
        let whole = block.wishes.iter().any(|wish| matches!(wish, Wish::File(_)));
        let text = if whole { block.text.clone() } else { completed(&block.text, &block.place()) };
        let file = directory.path().join("highwater.toml");
        std::fs::write(&file, &text).expect("the file can be written");
        // Faults of a scenario are told before an engine is looked for; there is none here.
        let output = Command::new(env!("CARGO_BIN_EXE_highwater"))
            .args(["run", "--runtime", "docker", "--out"])
            .arg(directory.path().join("out"))
            .current_dir(directory.path())
            .env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
            .env("DATABASE_URL", "postgres://db")
            .env("API_KEY", "k")
            .output()
            .expect("the program runs");
        let told = String::from_utf8_lossy(&output.stderr);
        let place = block.place();
        assert_eq!(output.status.code(), Some(3), "{place}\n{text}\n{told}");
        assert!(told.contains("/nonexistent/docker.sock"), "{place}\n{told}");
        count += 1;
    }
    assert!(count > 15, "only {count} scenarios were found");
}

/// A part of a scenario, with the shop's parts where it has none of its own.
fn completed(text: &str, place: &str) -> String {
    let mut part: toml::Table = text.parse().unwrap_or_else(|error| panic!("{place}: {error}"));
    let target = "[target]\nimage = \"shop-api:1.2\"\nport = 8080\n";
    let shop: toml::Table = format!("{target}{SHOP}").parse().expect("the shop is TOML");
    for (key, value) in shop {
        let lists = part.get_mut(&key).and_then(toml::Value::as_array_mut).zip(value.as_array());
        match lists {
            // Those that the part does not have itself may be spoken of in its rules and loads.
            Some((own, more)) => {
                let name = |table: &toml::Value| table.get("name").cloned();
                let missing: Vec<toml::Value> = more
                    .iter()
                    .filter(|table| own.iter().all(|other| name(other) != name(table)))
                    .cloned()
                    .collect();
                own.extend(missing);
            }
            None => {
                part.entry(key).or_insert(value);
            }
        }
    }
    if let Some(traffic) = part.get_mut("traffic").and_then(toml::Value::as_table_mut) {
        traffic.entry("expected").or_insert_with(|| "50/s".into());
    }
    toml::to_string(&part).expect("it was TOML")
}
