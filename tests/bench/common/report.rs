//! How results are printed and kept.

#![allow(clippy::print_stdout, reason = "a benchmark prints its result")]

use std::fs;

use serde_json::{Value, json};

/// Collects lines of a benchmark's result: numbers with a goal and numbers without.
pub(crate) struct Report {
    name: &'static str,
    load_before: String,
    cpus: usize,
    rows: Vec<Row>,
}

struct Row {
    what: String,
    value: String,
    goal: String,
    pass: Option<bool>,
}

/// The machine's load average.
fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

impl Report {
    /// To be made before the benchmark binds itself to a core: it counts those that there are.
    pub(crate) fn new(name: &'static str) -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { name, load_before: load(), cpus, rows: Vec::new() }
    }

    /// A number without a goal.
    pub(crate) fn say(&mut self, what: impl Into<String>, value: impl Into<String>) {
        self.add(what.into(), value.into(), String::new(), None);
    }

    /// A number with a goal.
    pub(crate) fn goal(
        &mut self,
        what: impl Into<String>,
        value: impl Into<String>,
        goal: impl Into<String>,
        pass: bool,
    ) {
        self.add(what.into(), value.into(), goal.into(), Some(pass));
    }

    fn add(&mut self, what: String, value: String, goal: String, pass: Option<bool>) {
        self.rows.push(Row { what, value, goal, pass });
    }

    /// Prints the table and keeps it, with further `details`, as `results/<name>.json`.
    pub(crate) fn finish(self, details: &Value) {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let cpus = self.cpus;
        let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
        let (before, after) = (self.load_before.clone(), load());
        println!(
            "{}: kernel {}, {cpus} CPUs, {profile} build, load average {before} before, {after} \
             after",
            self.name,
            release.trim()
        );
        let width =
            |of: fn(&Row) -> &String| self.rows.iter().map(|row| of(row).chars().count()).max();
        let (what, value) = (width(|row| &row.what), width(|row| &row.value));
        let (what, value) = (what.unwrap_or(0), value.unwrap_or(0));
        for row in &self.rows {
            let goal = match row.pass {
                Some(true) => format!("goal {}: met", row.goal),
                Some(false) => format!("goal {}: missed", row.goal),
                None => String::new(),
            };
            let line = format!("{:what$}  {:value$}  {goal}", row.what, row.value);
            println!("  {}", line.trim_end());
        }
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| json!({"what": row.what, "value": row.value, "goal": row.goal, "pass": row.pass}))
            .collect();
        let document = json!({
            "bench": self.name,
            "kernel": release.trim(),
            "cpus": cpus,
            "profile": profile,
            "load_average": {"before": before, "after": after},
            "unix_s": std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            "rows": rows,
            "details": details,
        });
        let place = super::root().join("tests/bench/results").join(format!("{}.json", self.name));
        let text = serde_json::to_string_pretty(&document).expect("plain values");
        fs::write(&place, text + "\n").expect("results can be written");
    }
}

/// Where raw results go, which are too large to be kept in the repository.
pub(crate) fn raw_file(name: &str) -> std::path::PathBuf {
    let dir = super::root().join("tests/bench/results/raw");
    fs::create_dir_all(&dir).expect("results can be written");
    dir.join(name)
}
