use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::super::reader::Notes;
use super::super::tree::Node;
use super::super::{RuleCheck, RuleFacts, Words, check};
use super::*;

/// A scenario with every table that there is; of faults in it only unknown keys would matter.
const EVERYTHING: &str = r#"
name = "all"
[target]
cargo = { path = ".", bin = "a" }
port = 1
env = { KEY = { from = "HOME", secret = true } }
ready = { tcp = true }
stop = { signal = "SIGINT" }
limits = { memory = "64MiB" }
[sampling]
tick = "1ms"
[startup]
trials = 1
[traffic]
expected = "200/s"
[[scenario]]
name = "a"
feed = { file = "a.csv" }
on-stop = [{ post = "/" }]
setup = [{ post = "/", body = { multipart = [{ name = "a", text = "b" }] } }]
on-start = [{ get = "/", think = { mean = "1s" } }]
[[scenario.step]]
post = "/"
body = { size = { p50 = "1KiB" } }
expect = { size = { max = "1KiB" } }
metrics = { own = { rate = "status", exists = true } }
[[scenario.step]]
post = "/"
body = { size = { median = "1KiB", sigma = 1 }, json = true }
[[scenario.step]]
post = "/"
body = { file = "a.json", grow = "$", size = "1KiB" }
[[phase]]
rate = { to = 5 }
burst = { every = "1s", size = 5 }
for = "10s"
[[phase]]
rate = 5
surge = { to = 5, at = "1s", for = "1s" }
arrivals = { pareto = 1.5 }
for = "10s"
[[phase]]
for = "10s"
load = [{ users = { to = 5 }, iterations = { each = 2 } }, { stages = [{ users = 5, for = "1s" }] }]
[[phase]]
replay = { file = "a.log" }
[[at]]
when = "1s"
exec = ["true"]
[[at]]
every = "1s"
post = "/"
[thresholds]
memory = [{ rule = "max<1", delay = "1s" }, { threshold = "max<1", delayAbortEval = "1s" }]
"#;

struct AnyRule;

impl RuleCheck for AnyRule {
    fn facts(&self, _: &Words, _: &str, _: &str) -> Result<RuleFacts, (String, String)> {
        Ok(RuleFacts::default())
    }

    fn is_metric(&self, _: &str) -> bool {
        false
    }

    fn is_tag(&self, _: &str) -> bool {
        false
    }
}

/// Asked for only to say that it is wrong there.
const REFUSED: [(&str, &str); 2] = [("`burst`", "on"), ("`burst`", "off")];

/// What the reader calls a table → the types that describe it.
fn described(table: &str) -> &'static [&'static str] {
    match table {
        "the scenario" => &["Scenario"],
        "`target`" => &["Target"],
        "`cargo`" => &["Cargo"],
        "`KEY`" => &["VariableFrom"],
        "`ready`" => &["Ready"],
        "`stop`" => &["Stop"],
        "`limits`" => &["Limits"],
        "`sampling`" => &["Sampling"],
        "`startup`" => &["Startup"],
        "`traffic`" => &["Traffic"],
        "`[[scenario]]`" => &["Flow"],
        "`feed`" => &["Feed"],
        "`[[scenario.setup]]`"
        | "`[[scenario.on-start]]`"
        | "`[[scenario.step]]`"
        | "`[[scenario.on-stop]]`" => &["Step"],
        "`body`" => &["Body"],
        "a part of `multipart`" => &["Part"],
        "`size`" => &["Quantiles", "Bounds"],
        "`expect`" => &["Expect"],
        "the metric `own`" => &["Metric"],
        "`think`" => &["Think"],
        "`[[at]]`" => &["Timed"],
        "`[[phase]]`" => &["Phase"],
        "a load" => &["Load"],
        "`rate`" => &["RateRamp"],
        "`users`" => &["UserRamp"],
        "a stage" => &["Stage"],
        "`burst`" => &["Burst"],
        "`iterations`" => &["EachUser"],
        "`replay`" => &["Replay"],
        "`arrivals`" => &["HeavyTail"],
        "`surge`" => &["Surge"],
        "a threshold" => &["RuleTable"],
        other => panic!("no type of this module describes {other}: add one, and name it here"),
    }
}

fn parsed() -> Value {
    serde_json::from_str(&schema()).expect("a schema is JSON")
}

/// The keys of each described table.
fn keys() -> BTreeMap<String, BTreeSet<String>> {
    let mut schema = parsed();
    let mut tables = schema["$defs"].take().as_object().expect("definitions").clone();
    tables.insert("Scenario".to_owned(), schema);
    let with_keys = tables.into_iter().filter_map(|(name, table)| {
        let keys = table.get("properties")?.as_object()?.keys().cloned().collect();
        Some((name, keys))
    });
    with_keys.collect()
}

#[test]
fn the_schema_has_the_keys_that_the_reader_knows_and_no_others() {
    let tree = Node::parse(EVERYTHING, 0).expect("it is TOML");
    let notes = Notes::default();
    check::scenario(Path::new("highwater.toml"), &tree, &AnyRule, &notes);
    let asked = notes.asked.take();
    let faults = notes.into_faults();
    let unknown: Vec<_> =
        faults.iter().filter(|fault| fault.message.starts_with("unknown key")).collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
    let keys = keys();
    let mut read: BTreeMap<&[&str], BTreeSet<String>> = BTreeMap::new();
    for (table, asked) in &asked {
        let known = asked.iter().filter(|key| !REFUSED.contains(&(table, key)));
        read.entry(described(table)).or_default().extend(known.map(|key| (*key).to_owned()));
    }
    let mut all: BTreeSet<&str> = keys.keys().map(String::as_str).collect();
    for (types, read) in read {
        let described: BTreeSet<String> =
            types.iter().flat_map(|name| keys[*name].iter().cloned()).collect();
        assert_eq!(read, described, "keys that are read, and those that {types:?} describes");
        all.retain(|name| !types.contains(name));
    }
    assert!(all.is_empty(), "described, and never read: {all:?}");
}

/// Holds a scenario to the schema. Gives what is wrong with it.
fn faults_of(text: &str) -> Option<String> {
    let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
    let url = "http://highwater/scenario.json";
    compiler.add_resource(url, parsed()).expect("it is a schema");
    let index = compiler.compile(url, &mut schemas).expect("it is a schema");
    let json = Node::parse(text, 0).expect("it is TOML").to_json();
    schemas.validate(&json, index).err().map(|error| format!("{error:#}"))
}

#[test]
fn the_schema_takes_every_scenario_here() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts = vec![("all".to_owned(), EVERYTHING.to_owned())];
    for entry in std::fs::read_dir(root.join("fixtures/scenarios")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            texts.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
        }
    }
    let docs = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    for page in docs.chain([root.join("README.md")]) {
        let markdown = std::fs::read_to_string(&page).unwrap();
        for (number, block) in markdown.split("```toml\n").skip(1).enumerate() {
            let text = block.split("```").next().unwrap().to_owned();
            texts.push((format!("example {number} of {}", page.display()), text));
        }
    }
    assert!(texts.len() > 25, "only {} were found", texts.len());
    for (name, text) in texts {
        assert_eq!(faults_of(&text), None, "{name}");
    }
}

#[test]
fn the_schema_refuses_what_the_reader_refuses_at_sight() {
    for wrong in [
        "nam = \"a\"",
        "name = 3",
        "on-oom = \"never\"",
        "[target]\nport = 0",
        "[target]\nlimits = { memory = 64 }",
        "[target]\nready = { htp = \"/\" }",
        "[[scenario]]\nsteps = []",
        "[[scenario]]\n[[scenario.step]]\nget = \"/\"\nexpect = { status = 99 }",
        "[[scenario]]\n[[scenario.step]]\nget = \"/\"\nexpect = { status = \"6xx\" }",
        "[[phase]]\nrates = 5",
        "[[phase]]\nload = [{ rate = 5, until = \"3s\" }]",
        "[[phase]]\nburst = { size = 5 }",
        "[thresholds]\nmemory = [{ rule = \"max<1\", abrt = true }]",
    ] {
        assert!(faults_of(wrong).is_some(), "{wrong}");
    }
}
