//! The JSON Schema of scenarios, for editors: one description of every table, its keys and what
//! they may hold.
//!
//! The reader of scenarios asks a tree for its keys, so that each fault has its place; a schema
//! can't be derived from that. These types describe the same tables, are read by nobody, and are
//! held to the reader by a test: every key that it asks for is described, and no other. What
//! depends on other keys, files or rules is for the reader to say: the schema takes some scenarios
//! that it refuses, and none of the other way round.

#![expect(dead_code, reason = "types that describe; no value of them is ever made")]

mod load;
mod steps;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use load::Phase;
use steps::{Flow, Timed};

/// The JSON Schema of scenarios (draft 2020-12), as text.
#[must_use]
pub fn schema() -> String {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<Scenario>().to_value();
    drop_null(&mut schema);
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
    text.push('\n');
    text
}

/// TOML has no null: what may be left out is not required, and that is all.
fn drop_null(schema: &mut Value) {
    match schema {
        Value::Object(keys) => {
            if let Some(Value::Array(types)) = keys.get_mut("type") {
                types.retain(|name| name != "null");
                if let [single] = types.as_slice() {
                    let single = single.clone();
                    keys.insert("type".to_owned(), single);
                }
            }
            let is_null = |value: &Value| value.get("type").is_some_and(|name| name == "null");
            if let Some(Value::Array(forms)) = keys.get_mut("anyOf") {
                forms.retain(|form| !is_null(form));
                if let [Value::Object(single)] = forms.as_mut_slice() {
                    let single = std::mem::take(single);
                    keys.remove("anyOf");
                    for (key, value) in single {
                        keys.entry(key).or_insert(value);
                    }
                }
            }
            keys.values_mut().for_each(drop_null);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_null),
        _ => {}
    }
}

/// A list; a single value counts as a list of one.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
enum Listed<T> {
    One(T),
    Many(Vec<T>),
}

/// A length of time, such as `10s`, `1m 30s` or `500ms`.
#[derive(JsonSchema)]
#[schemars(rename = "time")]
struct Time(String);

/// A size, such as `200KiB`, `64MiB` or `1.5GiB`.
#[derive(JsonSchema)]
#[schemars(rename = "size")]
struct Size(String);

/// A number of its own, or a text such as `30/min`, `80%` or `10x` of `traffic.expected`.
#[derive(JsonSchema)]
#[schemars(untagged, rename = "rate")]
enum Rate {
    PerSecond(f64),
    Text(String),
}

/// A string, a number, or true or false.
#[derive(JsonSchema)]
#[schemars(untagged, rename = "text")]
enum Text {
    Words(String),
    Number(f64),
    Truth(bool),
}

/// What Highwater starts, how it is loaded, and what it is held to.
#[derive(JsonSchema)]
#[schemars(title = "highwater.toml", rename_all = "kebab-case", deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the names are a contract")]
struct Scenario {
    /// Its name. Default: the file's, or its directory's.
    name: Option<String>,
    /// A scenario that this one is put on top of; this one wins.
    extends: Option<String>,
    /// Whether an OOM-killed target ends the run (default) or is started again.
    #[schemars(extend("enum" = ["stop", "restart"]))]
    on_oom: Option<String>,
    target: Option<Target>,
    sampling: Option<Sampling>,
    startup: Option<Startup>,
    traffic: Option<Traffic>,
    /// What users do.
    scenario: Option<Listed<Flow>>,
    /// What happens, one after the other, in one container.
    phase: Option<Listed<Phase>>,
    /// What is done at set times, beside the traffic.
    at: Option<Listed<Timed>>,
    /// Rules, by metric: `"memory{phase:soak}" = ["slope<1MiB/h"]`.
    thresholds: Option<BTreeMap<String, Listed<Rule>>>,
}

/// What is started: one of `cargo`, `bin`, `image` and `dockerfile`.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Target {
    /// A cargo package, built for release.
    cargo: Option<CargoSource>,
    /// A binary.
    bin: Option<String>,
    /// An image.
    image: Option<String>,
    /// A Dockerfile.
    dockerfile: Option<String>,
    /// The image that a binary is put on. Default: none, or what it is linked to.
    base: Option<String>,
    /// The TCP port that it listens on.
    #[schemars(range(min = 1, max = 65535))]
    port: Option<u16>,
    /// Its arguments.
    args: Option<Listed<String>>,
    /// Its environment; `${NAME}` is filled in from here.
    env: Option<BTreeMap<String, Variable>>,
    /// Files of this host, and their absolute paths in the container.
    files: Option<BTreeMap<String, String>>,
    /// Directories kept in memory.
    tmpfs: Option<Listed<String>>,
    /// The user that it runs as.
    user: Option<String>,
    /// Further lines of its hosts file.
    extra_hosts: Option<Listed<String>>,
    ready: Option<Ready>,
    limits: Option<Limits>,
    stop: Option<Stop>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum CargoSource {
    Path(String),
    Package(Cargo),
}

/// A cargo package.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Cargo {
    /// The directory of its Cargo.toml. Default: the scenario's.
    path: Option<String>,
    package: Option<String>,
    bin: Option<String>,
    features: Option<Listed<String>>,
    profile: Option<String>,
    /// A target triple.
    target: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Variable {
    Text(String),
    Number(i64),
    Truth(bool),
    Given(VariableFrom),
}

/// A variable: one of `from` and `value`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct VariableFrom {
    /// The variable of this environment that holds the value.
    from: Option<String>,
    /// The value.
    value: Option<String>,
    /// Whether it is kept out of recordings and reports.
    secret: Option<bool>,
}

/// How readiness is told: one of `http`, `tcp` (default) and `log`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Ready {
    /// The path of a GET.
    http: Option<String>,
    /// The status of its answer. Default: 200.
    #[schemars(range(min = 100, max = 599))]
    status: Option<u16>,
    /// The port accepts.
    tcp: Option<bool>,
    /// A line of output matches this regular expression.
    log: Option<String>,
    /// How long it may take. Default: 30s.
    within: Option<Time>,
}

/// What it may use; swap is off.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Limits {
    /// Memory. Without it there is no limit, and no rule in percent.
    memory: Option<Size>,
    /// CPU time per wall time, in cores.
    #[schemars(range(min = 0.01, max = 1024))]
    cpus: Option<f64>,
    /// Processes and threads.
    #[schemars(range(min = 1))]
    pids: Option<u32>,
    /// As an orchestrator would set the limits.
    #[schemars(extend("enum" = ["kubernetes"]))]
    like: Option<String>,
    /// With `like`: the memory that the container requests.
    request: Option<Size>,
    /// With `like`: whether the kubelet's `MemoryQoS` is on.
    memory_qos: Option<bool>,
}

/// How it is asked to stop.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Stop {
    /// Default: SIGTERM.
    signal: Option<String>,
    /// How long it has then. Default: 10s.
    within: Option<Time>,
}

/// How memory is read.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Sampling {
    /// Time between two readings. Default: 1ms.
    tick: Option<Time>,
    /// What readings are summed up over. Default: 100ms.
    window: Option<Time>,
}

/// Startup, measured in fresh containers of its own.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Startup {
    /// How many. Default: 3.
    #[schemars(range(min = 0, max = 100))]
    trials: Option<u32>,
    /// Whether fewer are enough where they come out alike. Default: true.
    #[schemars(rename = "stop-early")]
    stop_early: Option<bool>,
    /// How long a ready target is watched. Default: 2s.
    settle: Option<Time>,
}

/// Traffic, apart from phases.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Traffic {
    /// Production's peak, such as `200/s`: what `80%` and `10x` are of.
    expected: Option<String>,
    /// How long a request may take. Default: 10s.
    timeout: Option<Time>,
    /// How long the last requests are waited for. Default: 5s.
    drain: Option<Time>,
    /// Fixes what depends on chance.
    seed: Option<u64>,
    /// The most requests in flight. Default: 10000.
    #[schemars(range(min = 1, max = 1_000_000))]
    max_in_flight: Option<u32>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Rule {
    Text(String),
    Table(RuleTable),
}

/// A rule that may end the run. The names of k6 are taken too.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RuleTable {
    /// `p(95)<200`
    rule: Option<String>,
    /// Whether the run ends when it is broken.
    abort: Option<bool>,
    /// Not before this time after the first phase began.
    delay: Option<Time>,
    threshold: Option<String>,
    #[schemars(rename = "abortOnFail")]
    abort_on_fail: Option<bool>,
    #[schemars(rename = "delayAbortEval")]
    delay_abort_eval: Option<Time>,
}

#[cfg(test)]
mod tests;
