//! Loads that climb, against services whose bounds are known.

mod support;

use serde_json::Value;
use support::harness::{Bench, Runtime};

/// Runs a scenario where that can be done; `test` is given what more load did, and the whole.
fn climbing(service: &[&str], limits: &str, phases: &str, test: impl Fn(&[Value], &Value)) {
    let Some(runtime) = Runtime::BOTH.into_iter().find(|runtime| runtime.is_there()) else {
        return;
    };
    let bench = Bench::new();
    bench.scenario(
        &[&["limited"], service].concat(),
        &format!(
            "limits = {{ {limits} }}\nready = {{ http = \"/health\" }}\n[startup]\ntrials = 0\n\
             [[scenario]]\nname = \"get\"\n[[scenario.step]]\nget = \"/\"\n{phases}"
        ),
    );
    let ended = bench.run_scenario(runtime);
    let json = ended.json();
    assert!(ended.out.join("concurrency.svg").exists());
    let markdown = std::fs::read_to_string(ended.out.join("report.md")).unwrap();
    assert!(markdown.contains("More load in "), "{markdown}");
    test(json["concurrency"].as_array().expect("a load climbed"), &json);
}

fn users(to: u32) -> String {
    format!("[[phase]]\nname = \"users\"\nusers = {{ from = 0, to = {to} }}\nfor = \"9s\"\n")
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn a_pool_of_workers_is_found_by_users_and_by_rate() {
    let rate = "[[phase]]\nname = \"rate\"\nrate = { from = 5, to = 180 }\nfor = \"9s\"\n";
    let phases = users(24) + rate;
    // Four workers of 40 ms: some 95 a second.
    let service = ["--workers", "4", "--work-ms", "40"];
    climbing(&service, "memory = \"96MiB\"", &phases, |found, _| {
        assert_eq!(found.len(), 2, "{found:#?}");
        for (row, axis, least, most) in
            [(&found[0], "users", 2.0, 9.0), (&found[1], "rate", 60.0, 125.0)]
        {
            assert_eq!(row["axis"], axis);
            let through = &row["throughput"];
            assert!((80.0..105.0).contains(&number(&through["highest"])), "{row:#}");
            let from = number(&through["saturates_at"]);
            assert!((least..most).contains(&from), "{axis} {from}: {row:#}");
            assert_eq!(row["overload"], "slows", "{row:#}");
        }
        assert_eq!(found[0]["bound"]["by"], "pool", "{:#}", found[0]);
        assert_ne!(found[0]["memory"]["class"], "linear", "{:#}", found[0]);
    });
}

#[test]
fn memory_and_descriptors_of_each_user_are_lines() {
    let service = ["--held-kib", "512", "--work-ms", "200"];
    climbing(&service, "memory = \"96MiB\"", &users(60), |found, _| {
        let row = &found[0];
        let memory = &row["memory"];
        assert_eq!(memory["class"], "linear", "{row:#}");
        let kib = number(&memory["per_unit"]) / 1024.0;
        // Beside what is held, the server's own buffers of each connection.
        assert!((430.0..620.0).contains(&kib), "{kib} KiB a user: {row:#}");
        assert!(number(&row["limit_full_at"][0]) > 100.0, "{row:#}");
        let files = &row["open_files"];
        assert_eq!(files["class"], "linear", "{row:#}");
        assert!((0.8..1.2).contains(&number(&files["per_unit"])), "{row:#}");
        assert_ne!(row["threads"]["class"], "linear", "{row:#}");
    });
}

#[test]
fn a_doorman_sheds_and_a_throttled_cpu_binds() {
    let service = ["--shed-above", "12", "--shed-status", "429", "--work-ms", "40"];
    climbing(&service, "memory = \"96MiB\"", &users(32), |found, json| {
        let overload = found[0]["overload"].as_str().unwrap_or("none");
        assert!(["sheds", "both"].contains(&overload), "{:#}", found[0]);
        let patterns = json["phases"][0]["failure_patterns"].as_array().unwrap();
        assert!(patterns.iter().any(|row| row["kind"] == "rate_limited"), "{patterns:#?}");
    });
    let service = ["--burn-us", "4000"];
    let limits = "memory = \"96MiB\", cpus = 0.4";
    climbing(&service, limits, &users(16), |found, _| {
        let bound = &found[0]["bound"];
        // Where something else on this machine takes the CPU, "unclear" is the right answer.
        let others_took_it = bound["evidence"].to_string().contains("others took them");
        assert!(bound["by"] == "cpu" || others_took_it, "{:#}", found[0]);
    });
}
