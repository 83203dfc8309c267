//! The slow measures of whole runs, against services that do a known thing.

mod support;

use serde_json::Value;
use support::harness::{Bench, Ended, Runtime, left_behind};

const MIB: u64 = 1024 * 1024;

fn on_each_runtime(test: impl Fn(Runtime, &Bench)) {
    for runtime in Runtime::BOTH.into_iter().filter(|runtime| runtime.is_there()) {
        let bench = Bench::new();
        test(runtime, &bench);
        assert_eq!(left_behind(), Vec::<String>::new(), "left behind by {runtime:?}");
    }
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

fn fraction(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// The length of what the main container printed.
fn log_length(ended: &Ended) -> u64 {
    let files = std::fs::read_dir(&ended.out).unwrap().map(Result::unwrap);
    let is_main =
        |file: &std::fs::DirEntry| file.file_name().to_string_lossy().starts_with("target-main");
    files.filter(is_main).map(|file| file.metadata().unwrap().len()).sum()
}

#[test]
fn faults_sockets_output_and_pressure_are_what_they_were() {
    on_each_runtime(|runtime, bench| {
        bench.scenario(
            &["mixed", "--base-mib", "20"],
            "limits = { memory = \"96MiB\", cpus = 1.0 }\n[startup]\ntrials = 2\nsettle = \"1s\"\n\
             [[scenario]]\nname = \"order\"\n[[scenario.step]]\npost = \"/orders\"\n\
             body = { size = \"200KiB\" }\n\
             [[phase]]\nname = \"steady\"\nusers = 4\nfor = \"4s\"\n\
             [thresholds]\n\"cpu\" = [\"max>0.01\"]\n\"throttled\" = [\"max>=0%\"]\n\
             \"threads\" = [\"max>=3\"]\n\"log_bytes\" = [\"max<1MiB\", \"last>10\"]\n",
        );
        let ended = bench.run_scenario(runtime);
        let json = ended.expect_code(0).json();
        let target = &json["phases"][0]["target"];
        // Each order takes 600 KiB anew: more than a hundred pages a request.
        assert!(count(&target["page_faults"]) > 1000, "{target:#}");
        assert!(count(&target["major_faults"]) < count(&target["page_faults"]));
        let sockets = &target["sockets_max"];
        assert_eq!(count(&sockets["listen"]), 1, "{target:#}");
        assert_eq!(count(&sockets["established"]), 4, "one for each user: {target:#}");
        assert_eq!(count(&target["processes_max"]), 1);
        assert_eq!(count(&target["swap_peak_bytes"]), 0);
        let cores = fraction(&target["cpu_cores"]);
        let parts = fraction(&target["cpu_user_cores"]) + fraction(&target["cpu_system_cores"]);
        if json["host"]["cgroup"] != "v1" {
            assert!((cores - parts).abs() < 0.1 * cores + 0.02, "{cores} cores, {parts} in parts");
        }
        if json["target"]["cgroup"] == "v1" {
            let per_core = target["cpu_per_core"].as_array().unwrap();
            let sum: f64 = per_core.iter().map(fraction).sum();
            assert!((cores - sum).abs() < 0.1 * cores + 0.02, "{cores} cores, {sum} summed");
            assert_eq!(target["high_events"], Value::Null, "v1 has none");
        } else {
            assert_eq!(target["cpu_per_core"], Value::Null, "v2 has none");
        }
        if std::path::Path::new("/proc/pressure/memory").exists() {
            for key in ["psi_some_ms", "psi_full_ms", "cpu_psi_ms", "io_psi_ms"] {
                assert!(fraction(&target[key]) >= 0.0, "{key}: {target:#}");
            }
        }
        let logged = count(&json["written"]["log_bytes"]);
        assert_eq!(logged, log_length(&ended), "{runtime:?}");
        assert!(json["thresholds"].as_array().unwrap().iter().all(|rule| rule["pass"] == true));
        assert_eq!(json["target"]["allocator"], "glibc", "{:#}", json["target"]);
        for trial in json["startup"]["trials"].as_array().unwrap() {
            assert!(count(&trial["cache_bytes"]) < 96 * MIB && trial["major_faults"].is_u64());
        }
        assert!(count(&json["host"]["memory_bytes"]) > 256 * MIB);
        assert!(json["host"]["in_container"].is_boolean());
        let report = std::fs::read_to_string(ended.out.join("report.md")).unwrap();
        assert!(report.contains("4 established, 1 listening"), "{report}");
    });
}

#[test]
fn children_appear_by_name_with_their_memory() {
    on_each_runtime(|runtime, bench| {
        bench.scenario(
            &["forking", "--after-ms", "500", "--hog-mib", "30", "--hog-mib-per-s", "10"],
            "limits = { memory = \"128MiB\" }\n[startup]\ntrials = 0\n\
             [[phase]]\nname = \"idle\"\nfor = \"4s\"\n",
        );
        let json = bench.run_scenario(runtime).expect_code(0).json();
        let processes = json["processes"].as_array().unwrap();
        let named = |name: &str| {
            let row = processes.iter().find(|row| row["name"] == name);
            row.unwrap_or_else(|| panic!("no `{name}` in {processes:#?}"))
        };
        // The child runs `/proc/self/exe`, and the kernel cuts names to 15 bytes.
        let child = count(&named("exe")["rss_peak_bytes"]);
        assert!((15 * MIB..40 * MIB).contains(&child), "{processes:#?}");
        assert!(count(&named("highwater-fixtu")["rss_peak_bytes"]) > MIB);
        assert_eq!(processes.len(), 2, "{processes:#?}");
        assert_eq!(json["phases"][0]["target"]["processes_max"], 2);
    });
}

#[test]
fn what_is_written_to_disk_is_counted() {
    on_each_runtime(|runtime, bench| {
        bench.scenario(
            &["cachey", "--file-mib", "16", "--every-ms", "1000", "--rewrite", "--sync"],
            "limits = { memory = \"64MiB\" }\n[startup]\ntrials = 0\n\
             [[phase]]\nname = \"idle\"\nfor = \"3500ms\"\n\
             [thresholds]\n\"disk_written\" = [\"max>=48MiB\"]\n",
        );
        let ended = bench.run_scenario(runtime);
        let json = ended.json();
        let target = &json["phases"][0]["target"];
        let written = &json["written"];
        // Once before it listens, and three times more.
        if runtime == Runtime::Docker {
            // The file was removed when it was made: nothing of it stays.
            assert!(count(&written["layer_bytes"]) < MIB, "{json:#}");
        } else {
            assert!(written["layer_bytes"].is_null(), "{json:#}");
        }
        assert!(count(&written["disk_bytes"]) >= 64 * MIB, "{json:#}");
        assert!(count(&target["written_bytes"]) >= 48 * MIB, "{target:#}");
        if runtime == Runtime::Native {
            // A storage driver in user space makes the kernel count twice; the host's own does not.
            assert!(count(&written["disk_bytes"]) <= 82 * MIB, "{json:#}");
        }
        assert!(target["io_source"].is_string());
        ended.expect_code(0);
    });
}

#[test]
fn a_file_larger_than_the_limit_shows_as_refaults_reads_and_waiting() {
    on_each_runtime(|runtime, bench| {
        bench.scenario(
            &["cachey", "--file-mib", "96", "--every-ms", "500"],
            "limits = { memory = \"40MiB\" }\nready = { tcp = true, within = \"60s\" }\n\
             [startup]\ntrials = 0\n[[phase]]\nname = \"idle\"\nfor = \"3s\"\n\
             [thresholds]\n\"psi_memory\" = [\"max>=0\"]\n",
        );
        let json = bench.run_scenario(runtime).expect_code(0).json();
        let target = &json["phases"][0]["target"];
        // With swap off v1 may not tell, but it must not say 0.
        assert_ne!(target["max_events"], 0, "{target:#}");
        assert!(count(&target["refaults"]) > 1000, "{target:#}");
        if runtime == Runtime::Native {
            // In a container the storage driver may do the reading.
            assert!(count(&target["read_bytes"]) > 96 * MIB, "{target:#}");
        }
        if std::path::Path::new("/proc/pressure/io").exists() {
            let waited = fraction(&target["io_psi_ms"]) + fraction(&target["psi_some_ms"]);
            assert!(waited > 1.0, "{target:#}");
            assert_eq!(json["thresholds"][0]["pass"], true, "{:#}", json["thresholds"]);
        }
    });
}

/// Takes a file out of page cache.
fn forget(path: &std::path::Path) {
    use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
    let file = std::fs::File::open(path).unwrap();
    file.sync_all().unwrap();
    posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
}

#[test]
fn a_first_trial_from_a_cold_page_cache_is_told_from_the_later_ones() {
    if !Runtime::Native.is_there() {
        return;
    }
    let bench = Bench::new();
    let binary = bench.path().join("service");
    std::fs::copy(support::fixtures(), &binary).unwrap();
    let text = format!(
        "name = \"test\"\n[target]\nbin = {binary:?}\nport = 8080\nargs = [\"steady\"]\n\
         [startup]\ntrials = 3\nsettle = \"300ms\"\n"
    );
    bench.write("highwater.toml", &text);
    forget(&binary);
    let native = Runtime::Native.name();
    let run = || bench.run(&["startup", "--runtime", native, "--out", "out", "--json"]);
    let json = run().expect_code(0).json();
    let startup = &json["startup"];
    assert_eq!(startup["first_trial_cold"], true, "{startup:#}");
    let caches: Vec<u64> =
        startup["trials"].as_array().unwrap().iter().map(|t| count(&t["cache_bytes"])).collect();
    assert!(caches[0] > MIB && caches[1] < caches[0] / 2, "{caches:?}");
    let item = json["checklist"]
        .as_array()
        .unwrap()
        .iter()
        .find(|item| item["evidence"].as_str().unwrap().contains("cold page cache"));
    assert!(item.is_some(), "{:#}", json["checklist"]);
    std::fs::remove_dir_all(bench.path().join("out")).unwrap();
    let again = run().expect_code(0).json();
    assert_eq!(again["startup"]["first_trial_cold"], false, "{:#}", again["startup"]);
}

#[test]
fn a_recording_of_before_still_reads_and_what_it_lacks_is_null() {
    let bench = Bench::new();
    let example = support::root().join("fixtures/recordings/first");
    let copy = bench.path().join("out");
    std::fs::create_dir(&copy).unwrap();
    std::fs::copy(example.join("recording.db"), copy.join("recording.db")).unwrap();
    let json = bench.run(&["report", "out", "--json"]).expect_code(0).json();
    let old: Value =
        serde_json::from_slice(&std::fs::read(example.join("run.json")).unwrap()).unwrap();
    for (key, value) in old["memory"].as_object().unwrap() {
        assert_eq!(&json["memory"][key], value, "memory.{key}");
    }
    assert_eq!(json["verdict"], old["verdict"]);
    // How high above what a spike rose is a judgement of the version that reads; when and up to
    // where are facts.
    let facts = |json: &Value| -> Vec<[Value; 4]> {
        let of = |spike: &Value| {
            ["at_ms", "peak_bytes", "in_flight", "phase"].map(|key| spike[key].clone())
        };
        json["spikes"].as_array().unwrap().iter().map(of).collect()
    };
    assert_eq!(facts(&json), facts(&old));
    let (target, before) = (&json["phases"][0]["target"], &old["phases"][0]["target"]);
    assert_eq!(target["threads_max"], before["threads_max"]);
    if old["written"].is_null() {
        for key in ["page_faults", "written_bytes", "sockets_max", "cpu_per_core"] {
            assert_eq!(target[key], Value::Null, "{key}");
        }
        assert_eq!(json["host"]["in_container"], Value::Null);
    }
}
