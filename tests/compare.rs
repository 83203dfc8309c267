//! `highwater compare` as a CI job uses it: on real runs of a service that takes more than before.

mod support;

use serde_json::Value;
use support::harness::{Bench, Ended, Runtime};

/// A run of a second whose service holds so much; into `out`.
fn run(bench: &Bench, runtime: Runtime, mib: &str, out: &str, more: &[&str]) -> Ended {
    bench.scenario(
        &["steady", "--base-mib", mib],
        "limits = { memory = \"128MiB\" }\n[startup]\ntrials = 1\nsettle = \"200ms\"\n\
         [[scenario]]\nname = \"get\"\n[[scenario.step]]\nget = \"/\"\n\
         [[phase]]\nname = \"steady\"\nrate = 100\nfor = \"1s\"\n",
    );
    let mut args = vec!["run", "--runtime", runtime.name(), "--quiet", "--json", "--out", out];
    args.extend(more);
    bench.run(&args)
}

fn row<'a>(json: &'a Value, metric: &str) -> &'a Value {
    let rows = json["rows"].as_array().expect("rows");
    rows.iter()
        .find(|row| row["metric"] == metric)
        .unwrap_or_else(|| panic!("no {metric}: {json:#}"))
}

fn told(ended: &Ended, code: i32, parts: &[&str]) {
    ended.expect_code(code);
    for part in parts {
        assert!(ended.stderr.contains(part), "no `{part}` in:\n{}", ended.stderr);
    }
}

/// The tests of a `JUnit` file that failed, without the phase that a metric is of.
fn failing_tests(path: &std::path::Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let document = roxmltree::Document::parse(&text).unwrap();
    let cases = document.descendants().filter(|node| node.has_tag_name("testcase"));
    let failed = cases.filter(|case| case.children().any(|child| child.has_tag_name("failure")));
    let name = |case: roxmltree::Node<'_, '_>| {
        let name = case.attribute("name").unwrap();
        name.split(',').next().unwrap().to_owned()
    };
    failed.map(name).collect()
}

/// A metric's name in words, without its tags, which the titles of tests put otherwise.
fn plain(metric: &str) -> String {
    metric.split('{').next().unwrap_or_default().replace('_', " ")
}

#[test]
fn a_service_that_takes_more_fails_and_one_that_does_not_passes() {
    let Some(runtime) = Runtime::BOTH.into_iter().rev().find(|runtime| runtime.is_there()) else {
        return;
    };
    let bench = Bench::new();
    for number in 1..=3 {
        run(&bench, runtime, "32", &format!("base-{number}"), &[]).expect_code(0);
        run(&bench, runtime, "44", &format!("new-{number}"), &[]).expect_code(0);
    }
    let base = ["base-1", "base-2", "base-3"];
    let new = ["new-1", "new-2", "new-3"];
    let compare = |sides: &[&[&str]], more: &[&str]| {
        let mut args = vec!["compare"];
        for side in sides {
            args.extend(*side);
        }
        args.extend(more);
        bench.run(&args)
    };
    let sides: [&[&str]; 4] = [&["--base"], &base, &["--new"], &new];
    let files = ["--markdown", "comparison.md", "--junit", "comparison.xml"];
    let ended = compare(&sides, &[&["--json"][..], &files].concat());
    let json: Value = serde_json::from_str(&ended.expect_code(1).stdout).unwrap();
    let rss = row(&json, "rss");
    assert_eq!((&rss["outcome"], &rss["basis"]), (&"regression".into(), &"runs".into()), "{rss:#}");
    assert!((25.0..45.0).contains(&rss["change_percent"].as_f64().unwrap()), "{rss}");
    let markdown = std::fs::read_to_string(bench.path().join("comparison.md")).unwrap();
    assert!(markdown.contains("**worse**"), "{markdown}");
    let worse = json["rows"].as_array().unwrap().iter().filter(|r| r["outcome"] == "regression");
    let mut worse: Vec<String> = worse.map(|row| plain(row["metric"].as_str().unwrap())).collect();
    worse.push("verdict".to_owned());
    assert_eq!(failing_tests(&bench.path().join("comparison.xml")), worse);
    let text = compare(&sides, &["--no-color", "--quiet", "--all"]);
    assert!(text.expect_code(1).stdout.starts_with("FAIL  test: "), "{}", text.stdout);
    assert!(text.stdout.lines().all(|line| line.chars().count() <= 80), "{}", text.stdout);
    assert_eq!(text.stderr, "");

    // The other way round it is better; the same by plain files.
    let files = base.map(|name| format!("{name}/run.json"));
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let better = compare(&[&["--base"], &new, &["--new"], &files], &["--json"]);
    let json: Value = serde_json::from_str(&better.expect_code(0).stdout).unwrap();
    assert_eq!(row(&json, "rss")["outcome"], "improvement");

    a_baseline(&bench, runtime, &base, &new);
}

fn a_baseline(bench: &Bench, runtime: Runtime, base: &[&str], new: &[&str]) {
    let with = |runs: &[&str], more: &[&str]| {
        let mut args = vec!["compare", "--baseline", "baseline.json", "--new"];
        args.extend(runs);
        args.extend(more);
        bench.run(&args)
    };
    told(&with(base, &[]), 2, &["baseline.json", "--update-baseline"]);
    told(&with(base, &["--update-baseline"]), 0, &["written to baseline.json"]);
    let text = std::fs::read_to_string(bench.path().join("baseline.json")).unwrap();
    assert!(text.len() < 20_000, "{} bytes", text.len());
    with(base, &[]).expect_code(0);
    let failed = with(new, &[]);
    assert!(failed.expect_code(1).stdout.contains("worse   rss"), "{}", failed.stdout);

    // In the run itself.
    let held = ["--baseline", "baseline.json"];
    let json = run(bench, runtime, "64", "held", &held).expect_code(1).json();
    let reason = json["reasons"].as_array().unwrap().iter().find(|row| row["id"] == "regression");
    let reason = reason.unwrap_or_else(|| panic!("no regression: {:#}", json["reasons"]));
    assert_eq!((&json["verdict"], &reason["level"]), (&"fail".into(), &"fail".into()));
    assert!(reason["next"].as_str().unwrap().contains("--update-baseline"));

    // Accepted, it is the reference.
    let accepted = with(new, &["--update-baseline"]);
    told(&accepted, 0, &["rss moved from"]);
    with(new, &[]).expect_code(0);

    // One that can't be written is no success.
    let nowhere = ["--baseline", "nowhere/b.json", "--update-baseline"];
    let lost = bench.run(&[&["report", base[0]], &nowhere[..]].concat());
    told(&lost, 3, &["was not updated", "nowhere/b.json"]);
}

#[test]
fn what_can_not_be_compared_is_told_with_the_way_out() {
    let bench = Bench::new();
    let bad = |args: &[&str], parts: &[&str]| {
        let mut all = vec!["compare"];
        all.extend(args);
        told(&bench.run(&all), 2, parts);
    };
    bad(&["--base", "nowhere", "--new", "nowhere"], &["nowhere", "run.json"]);
    bad(&["--base", ".", "--new", "nowhere", "."], &["`.` is on both sides"]);
    bad(&["--new", "nowhere"], &["--base", "--baseline"]);
    bad(&["--base", "nowhere"], &["--new"]);
    bad(&["--new", "x", "--baseline", "none.json"], &["none.json", "--update-baseline"]);
    bench.write("text.json", "{ \"schema\": 1, \"name\": 3 }");
    bad(&["--base", "text.json", "--new", "x"], &["text.json", "run.json of schema 1"]);
    bench.write("later.json", "{ \"schema\": 2 }");
    bad(&["--base", "later.json", "--new", "x"], &["schema is 2"]);
    bad(&["--new", "x", "--baseline", "text.json"], &["text.json", "baseline"]);
    bad(&["--base", "x", "--new", "x", "--share", "lots"], &["lots", "5%"]);
    bad(&["--base", "x", "--new", "x", "--share", "speed=5%"], &["speed", "latency_p99"]);

    // Two runs that were made under other limits.
    let one = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/recordings/first/run.json");
    let text = std::fs::read_to_string(one).unwrap();
    let mut json: Value = serde_json::from_str(&text).unwrap();
    json["target"]["limit_bytes"] = (512 * 1024 * 1024).into();
    bench.write("other.json", &json.to_string());
    bad(&["--base", one, "--new", "other.json"], &["memory limit", "512 MiB", "--anyway"]);
    bench.run(&["compare", "--base", one, "--new", "other.json", "--anyway"]).expect_code(0);
}
