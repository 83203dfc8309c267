//! What machines read: workflows, the composite action, and the scripts of both.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value};

use super::all;
use super::support::{fixtures, root};
use super::tables::keys_of;

/// A YAML document as JSON; panics where it is none.
fn yaml(text: &str, place: &str) -> Value {
    let documents = Yaml::load_from_str(text).unwrap_or_else(|error| panic!("{place}: {error}"));
    json(documents.first().unwrap_or_else(|| panic!("{place}: nothing is in it")))
}

fn json(node: &Yaml<'_>) -> Value {
    match node {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(truth)) => Value::from(*truth),
        Yaml::Value(Scalar::Integer(number)) => Value::from(*number),
        Yaml::Value(Scalar::FloatingPoint(number)) => Value::from(number.into_inner()),
        Yaml::Value(Scalar::String(text)) => Value::from(text.to_string()),
        Yaml::Sequence(items) => items.iter().map(json).collect(),
        Yaml::Mapping(entries) => {
            let pair = |(key, value): (&Yaml<'_>, &Yaml<'_>)| match json(key) {
                Value::String(key) => (key, json(value)),
                other => (other.to_string(), json(value)),
            };
            Value::Object(entries.iter().map(pair).collect::<Map<_, _>>())
        }
        other => panic!("{other:?} has no place here"),
    }
}

fn file(name: &str) -> Value {
    let text = std::fs::read_to_string(root().join(name)).expect("the file is there");
    yaml(&text, name)
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().map(|map| map.keys().cloned().collect()).unwrap_or_default()
}

/// All texts in a document.
fn texts(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(map) => map.values().for_each(|item| texts(item, found)),
        _ => {}
    }
}

#[test]
fn every_yaml_block_can_be_used() {
    let inputs = keys(&file("action.yml")["inputs"]);
    let (mut blocks, mut uses) = (0, 0);
    for block in all().iter().filter(|block| block.language == "yaml") {
        let place = block.place();
        let document = yaml(&block.text, &place);
        blocks += 1;
        let steps = document["jobs"].as_object().into_iter().flatten();
        let steps = steps.filter_map(|(_, job)| job["steps"].as_array()).flatten();
        for step in steps {
            if step["uses"].as_str().is_some_and(|uses| uses.contains("/highwater@")) {
                let given = keys(&step["with"]);
                let unknown = &given - &inputs;
                assert!(unknown.is_empty(), "{place}: the action has no {unknown:?}");
                let args = step["with"]["args"].as_str().unwrap_or_default();
                understood(&format!("highwater run {args}"), &place);
                uses += 1;
            }
        }
        let mut found = Vec::new();
        texts(&document, &mut found);
        for line in found.iter().flat_map(|text| text.lines()) {
            understood(line, &place);
        }
    }
    assert!(blocks > 2 && uses > 0, "{blocks} blocks, {uses} uses");
}

fn understood(command: &str, place: &str) {
    if command.starts_with("highwater ") {
        for words in super::shell::of_highwater(command) {
            highwater::cli::understands(&words)
                .unwrap_or_else(|error| panic!("{place}: {command}\n{error}"));
        }
    }
}

#[test]
fn the_actions_inputs_and_outputs_are_told() {
    let action = file("action.yml");
    let told = keys_of("ci.md");
    for part in ["inputs", "outputs"] {
        assert_eq!(Some(&keys(&action[part])), told.get(part), "{part}");
        for (name, row) in action[part].as_object().expect("there are some") {
            assert!(row["description"].is_string(), "{part}.{name} says nothing");
        }
    }
}

#[test]
fn workflows_call_scripts_that_are_there() {
    let script = regex::Regex::new(r"\.github/[a-z/_-]+\.sh|\.ci/[a-z_-]+").expect("a regex");
    let mut count = 0;
    for name in ["action.yml", ".github/workflows/ci.yml", ".github/workflows/release.yml"] {
        let document = file(name);
        let mut found = Vec::new();
        texts(&document, &mut found);
        for text in &found {
            // What comes from elsewhere goes through the environment, and never into a script.
            let into_script = text.contains("${{ inputs.") && text.contains('\n');
            assert!(!into_script, "{name}: an input is pasted into a script");
            for called in script.find_iter(text) {
                assert!(root().join(called.as_str()).exists(), "{name} calls {}", called.as_str());
                count += 1;
            }
        }
    }
    assert!(count > 4, "{count}");
}

#[test]
fn actions_of_others_are_named_by_commit() {
    let line = regex::Regex::new(r"uses: (\S+)(.*)").expect("a regex");
    let pinned = regex::Regex::new(r"^[\w./-]+@[0-9a-f]{40}$").expect("a regex");
    let mut count = 0;
    for name in ["action.yml", ".github/workflows/ci.yml", ".github/workflows/release.yml"] {
        let text = std::fs::read_to_string(root().join(name)).expect("the file is there");
        for used in line.captures_iter(&text) {
            assert!(pinned.is_match(&used[1]), "{name}: a tag can be moved: {}", &used[1]);
            assert!(used[2].starts_with(" # v"), "{name}: which version is {}?", &used[1]);
            count += 1;
        }
    }
    assert!(count > 5, "{count}");
}

#[test]
fn no_dependency_needs_a_newer_toolchain_than_is_promised() {
    let metadata = cargo_metadata::MetadataCommand::new()
        .current_dir(root())
        .other_options(
            ["--locked", "--filter-platform", "x86_64-unknown-linux-gnu"].map(str::to_owned),
        )
        .exec()
        .expect("cargo knows the workspace");
    let own = metadata.workspace_packages()[0].rust_version.clone().expect("it is promised");
    let newer: Vec<String> = metadata
        .packages
        .iter()
        .filter(|package| package.rust_version.as_ref().is_some_and(|needed| *needed > own))
        .map(|package| {
            format!("{} {} needs {:?}", package.name, package.version, package.rust_version)
        })
        .collect();
    assert!(metadata.packages.len() > 100 && newer.is_empty(), "{own} is promised: {newer:#?}");
}

/// Runs a script as GitHub would: with a file for its outputs, and in a directory of its own.
fn script(name: &str, args: &[&str], here: &Path, env: &[(&str, &str)]) -> (Output, String) {
    let outputs = here.join("outputs");
    std::fs::write(&outputs, "").expect("the file can be written");
    let output = Command::new("bash")
        .arg(root().join(name))
        .args(args)
        .current_dir(here)
        .env("GITHUB_OUTPUT", &outputs)
        .env("GITHUB_PATH", here.join("path"))
        .env("RUNNER_TEMP", here)
        .env_remove("GITHUB_ACTIONS")
        .env_remove("GITHUB_ACTION_PATH")
        .envs(env.iter().copied())
        .output()
        .expect("bash runs");
    (output, std::fs::read_to_string(outputs).expect("the file is there"))
}

fn told(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn a_release_is_packed_fetched_and_checked() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let here = dir.path();
    let target = "x86_64-unknown-linux-musl";
    let binary = here.join("highwater");
    // Stands for the release's binary: the packing asks for a static one that says its version.
    let source =
        "int main(int n, char **a) { (void)n; (void)a; return puts(\"highwater 9.9.9\") < 0; }";
    let compiled = Command::new("sh")
        .args([
            "-c",
            "printf '#include <stdio.h>\n%s' \"$0\" | cc -static -x c -o \"$1\" -",
            source,
        ])
        .arg(&binary)
        .output()
        .expect("sh runs");
    assert!(compiled.status.success(), "{}", told(&compiled));
    let path = binary.to_string_lossy().into_owned();
    let (packed, _) = script(".github/release/pack.sh", &[target, &path, "dist"], here, &[]);
    assert!(packed.status.success(), "{}", told(&packed));
    let archive = here.join(format!("dist/highwater-{target}.tar.gz"));
    assert!(archive.exists(), "{}", told(&packed));
    let base = format!("file://{}", here.join("dist").display());
    let env = [("DOWNLOAD", base.as_str()), ("VERSION", "v9.9.9"), ("TARGET", target)];
    let (fetched, _) = script(".github/action/install.sh", &[], here, &env);
    assert!(fetched.status.success(), "{}", told(&fetched));
    let bin = std::fs::read_to_string(here.join("path")).expect("it was added to the path");
    let output = Command::new(Path::new(bin.trim()).join("highwater")).output().expect("it runs");
    assert_eq!(told(&output), "highwater 9.9.9\n");
    // What was changed on its way is not run.
    std::fs::write(&archive, "something else").expect("the file can be written");
    std::fs::write(here.join("path"), "").expect("the file can be written");
    let (refused, _) = script(".github/action/install.sh", &[], here, &env);
    assert!(!refused.status.success(), "{}", told(&refused));
    assert_eq!(std::fs::read_to_string(here.join("path")).unwrap_or_default(), "");
    // Nor is what has a right sum of something else.
    let sums = here.join(format!("dist/highwater-{target}.tar.gz.sha256"));
    std::fs::write(here.join("empty"), "").expect("the file can be written");
    let of_nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let other = format!("{of_nothing}  {}\n", here.join("empty").display());
    std::fs::write(sums, other).expect("the file can be written");
    let (refused, _) = script(".github/action/install.sh", &[], here, &env);
    assert!(!refused.status.success(), "{}", told(&refused));
    // A binary that needs what a host may not have is no release.
    let dynamic = std::env::current_exe().expect("it is known").to_string_lossy().into_owned();
    let (refused, _) = script(".github/release/pack.sh", &[target, &dynamic, "dist"], here, &[]);
    assert!(!refused.status.success(), "{}", told(&refused));
}

/// A program beside the script that writes down its arguments, a line each, and ends with `code`.
fn recorder(name: &str, code: u8, here: &Path) -> PathBuf {
    let program = here.join(name);
    let text =
        format!("#!/bin/sh\nprintf '%s\\n' \"$@\" >>{}/asked\nexit {code}\n", here.display());
    std::fs::write(&program, text).expect("the file can be written");
    std::fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("it is ours");
    program
}

fn asked(here: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(here.join("asked")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_release_is_fetched_from_where_the_action_is() {
    let own = "/runner/_actions/maker/highwater/v1.2.3";
    let cases = [
        // Inside another composite action GitHub names that one.
        (own, "other/action", "v9.9.9", "", Some("maker/highwater/releases/download/v1.2.3")),
        (own, "", "", "latest", Some("maker/highwater/releases/latest/download")),
        (own, "", "", "v1.0.0-rc.1", Some("maker/highwater/releases/download/v1.0.0-rc.1")),
        ("/work/checkout", "maker/highwater", "v2.0.0", "", {
            Some("maker/highwater/releases/download/v2.0.0")
        }),
        ("/runner/_actions/maker/highwater/a/branch", "", "", "", {
            Some("maker/highwater/releases/latest/download")
        }),
        (own, "", "", "../../../../other/name/releases/download/v1.0.0", None),
        (own, "", "", "v1.0.0\n::add-mask::x", None),
        (own, "", "", "v1.0.0$(touch made)", None),
    ];
    for (path, repository, reference, version, from) in cases {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let here = dir.path();
        recorder("curl", 22, here);
        let search = format!("{}:{}", here.display(), std::env::var("PATH").unwrap_or_default());
        let env = [
            ("PATH", search.as_str()),
            ("GITHUB_ACTION_PATH", path),
            ("GITHUB_SERVER_URL", "https://forge.test"),
            ("REPOSITORY", repository),
            ("REF", reference),
            ("VERSION", version),
            ("TARGET", "t"),
        ];
        let (output, _) = script(".github/action/install.sh", &[], here, &env);
        assert_eq!(output.status.code(), Some(1), "{}", told(&output));
        assert_eq!(told(&output).lines().count(), 1, "{}", told(&output));
        let wanted = from.map(|from| format!("https://forge.test/{from}/highwater-t.tar.gz"));
        assert_eq!(asked(here).last(), wanted.as_ref(), "{version}: {}", told(&output));
        assert!(!here.join("made").exists(), "{version}");
    }
}

#[test]
fn the_actions_arguments_are_split_and_never_run() {
    let run = |scenario: &str, args: &str| {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let here = dir.path();
        let binary = recorder("a binary", 0, here);
        let env = [
            ("SCENARIO", scenario),
            ("ARGS", args),
            ("FAIL_ON", "fail; touch made"),
            ("BINARY", binary.to_str().expect("it is text")),
        ];
        let (output, outputs) = script(".github/action/run.sh", &[], here, &env);
        assert!(!here.join("made").exists(), "{args}");
        (output, outputs, asked(here))
    };
    let (output, _, asked) =
        run("a $(touch made).toml", "--only 'a b' \"$(touch made)\"\n`touch made` ''");
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    assert_eq!(asked[..3], ["run", "a $(touch made).toml", "--out"]);
    let rest =
        ["--fail-on", "fail; touch made", "--only", "a b", "$(touch made)", "`touch", "made`", ""];
    assert_eq!(asked[4..], rest);
    let (_, _, asked) = run("--help", "");
    assert_eq!(asked[1], "./--help");
    // Half of the arguments would be another run.
    for args in ["--only ci --set 'a=b", "--set \"a\nb\""] {
        let (output, outputs, asked) = run("a.toml", args);
        assert_eq!(output.status.code(), Some(2), "{}", told(&output));
        assert_eq!(outputs, "exit-code=2\n");
        assert!(asked.is_empty(), "{asked:?}");
    }
}

#[test]
fn a_release_is_of_one_version() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let here = dir.path();
    std::fs::write(here.join("Cargo.toml"), "[workspace.package]\nversion = \"1.2.0\"\n").unwrap();
    let log = "# Changelog\n\n## Unreleased\n\n## 1.2.0 - 2026-01-31\n\n### Added\n\n- This.\n\n## 1.1.0 - 2026-01-01\n\n- That.\n";
    std::fs::write(here.join("CHANGELOG.md"), log).unwrap();
    let (notes, _) = script(".github/release/notes.sh", &["v1.2.0"], here, &[]);
    assert!(notes.status.success(), "{}", told(&notes));
    assert_eq!(String::from_utf8_lossy(&notes.stdout), "### Added\n\n- This.\n");
    for tag in ["v1.3.0", "v1.1.0", "1.2.0"] {
        let (refused, _) = script(".github/release/notes.sh", &[tag], here, &[]);
        assert!(!refused.status.success(), "{tag}: {}", told(&refused));
    }
}

#[test]
fn the_action_runs_and_tells_its_outputs() {
    use super::support::harness::Runtime;
    let Some(runtime) = Runtime::BOTH.into_iter().find(|runtime| runtime.is_there()) else {
        return;
    };
    let _turn = super::support::harness::turn();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let here = dir.path();
    let text = format!(
        "name = \"with space\"\n[target]\nbin = {:?}\nargs = [\"steady\"]\nport = 8080\n\
         limits = {{ memory = \"64MiB\" }}\n[startup]\ntrials = 0\n\
         [[scenario]]\nname = \"a\"\n[[scenario.step]]\nget = \"/\"\n\
         [[phase]]\nname = \"burst\"\nrate = 50\nfor = \"2s\"\nburst = {{ every = \"1s\", size = 5 }}\n",
        fixtures().to_string_lossy()
    );
    std::fs::write(here.join("a scenario.toml"), text).expect("the file can be written");
    let env = |args| {
        [
            ("SCENARIO", "a scenario.toml"),
            ("ARGS", args),
            ("FAIL_ON", "fail"),
            ("BINARY", env!("CARGO_BIN_EXE_highwater")),
            ("HIGHWATER_RUNTIME", runtime.name()),
        ]
    };
    let value = |outputs: &str, name: &str| -> String {
        let line = outputs.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
        line.unwrap_or_else(|| panic!("no {name} in {outputs}")).to_owned()
    };
    let args = "--junit 'a file.xml'\n--set phase.burst.rate=60";
    let (output, outputs) = script(".github/action/run.sh", &[], here, &env(args));
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    assert!(here.join("a file.xml").exists(), "{}", told(&output));
    assert!(["pass", "warn"].contains(&value(&outputs, "verdict").as_str()), "{outputs}");
    assert_eq!(value(&outputs, "exit-code"), "0");
    let report = value(&outputs, "report");
    let json = std::fs::read_to_string(Path::new(&report).join("run.json")).expect("a report");
    let json: Value = serde_json::from_str(&json).expect("it is JSON");
    let limit = json["sizing"]["recommended_limit_bytes"].as_u64().expect("a calm run has one");
    assert_eq!(value(&outputs, "recommended-limit-bytes"), limit.to_string());
    assert_eq!(value(&outputs, "recommended-limit"), format!("{}Mi", limit >> 20));
    assert_eq!(value(&outputs, "verdict"), json["verdict"].as_str().unwrap());
    // What fails, fails the step with the same code; nothing is made up.
    let (output, outputs) = script(".github/action/run.sh", &[], here, &env("--only nothing"));
    assert_eq!(output.status.code(), Some(2), "{}", told(&output));
    assert_eq!(value(&outputs, "exit-code"), "2");
    for name in ["verdict", "recommended-limit", "report"] {
        assert_eq!(value(&outputs, name), "", "{outputs}");
    }
}
