//! The table of results, and whether the goals are reached.

use std::fs::{self, File};
use std::io;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Extent;
use super::cases::float;
use super::rules::Fared;

/// "Unclear" is allowed for so many of the growth cases.
const MOST_UNCLEAR: f64 = 0.05;
/// The first suspect has to be right for so many of the spikes.
const LEAST_SUSPECTS: f64 = 0.95;

/// Whether what was said is true.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    #[default]
    Right,
    /// It said that it could not tell.
    Unclear,
    Wrong,
}

impl Outcome {
    const fn name(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Unclear => "unclear",
            Self::Wrong => "WRONG",
        }
    }
}

/// One case's result.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Row {
    #[serde(rename = "case")]
    pub(crate) name: String,
    pub(crate) truth: String,
    pub(crate) said: String,
    pub(crate) outcome: Outcome,
    /// Of several answers in one run: how many were right, and of how many.
    pub(crate) right: u32,
    pub(crate) of: u32,
    /// What others' rules would have recommended.
    pub(crate) rules: Vec<Fared>,
}

impl Row {
    pub(crate) fn is_wrong(&self) -> bool {
        self.outcome == Outcome::Wrong
    }

    /// The row in a sentence.
    pub(crate) fn told(&self) -> String {
        format!("{}: true is {}, said was {}", self.name, self.truth, self.said)
    }
}

/// All results.
#[derive(Serialize, Deserialize)]
pub(crate) struct Table {
    seed: u64,
    rows: Vec<Row>,
}

impl Table {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { seed, rows: Vec::new() }
    }

    pub(crate) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Prints everything, keeps it where all was run, and says whether the goals are reached.
    pub(crate) fn finish(&self, extent: Extent) -> bool {
        if self.rows.is_empty() {
            return true;
        }
        let text = self.text();
        println!("{text}");
        if extent == Extent::All
            && let Err(error) = self.keep()
        {
            println!("the results could not be kept: {error}");
        }
        let unclear = self.count("growth/", Outcome::Unclear);
        let growth = self.of_kind("growth/").count();
        // A single case in doubt is more than its share of a few.
        let few = growth < 20 && unclear <= 1;
        few || float(unclear as u64) <= MOST_UNCLEAR * float(growth as u64)
    }

    fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Row> {
        self.rows.iter().filter(move |row| row.name.starts_with(kind))
    }

    fn count(&self, kind: &str, outcome: Outcome) -> usize {
        self.of_kind(kind).filter(|row| row.outcome == outcome).count()
    }

    fn text(&self) -> String {
        let mut lines =
            vec![format!("\nSeed {}.\n", self.seed), "| case | truth | said | |".into()];
        lines.push("|---|---|---|---|".into());
        lines.extend(self.rows.iter().map(|row| {
            format!("| {} | {} | {} | {} |", row.name, row.truth, row.said, row.outcome.name())
        }));
        lines.push(String::new());
        lines.extend(self.sums());
        lines.extend(self.rule_lines());
        lines.join("\n")
    }

    fn sums(&self) -> Vec<String> {
        let mut lines = vec!["| | cases | right | unclear | wrong | goal |".to_owned()];
        lines.push("|---|---|---|---|---|---|".into());
        for (kind, goal) in [
            ("growth/leak", "none wrong"),
            ("growth/", "none wrong, unclear ≤ 5 %"),
            ("costs/", "within 15 %"),
            ("suspects/", "first right for ≥ 95 %"),
            ("size/", "10 of 10 survive, ≤ 1.15 × the least"),
        ] {
            let cases = self.of_kind(kind).count();
            let of = |outcome| self.count(kind, outcome);
            let (right, unclear) = (of(Outcome::Right), of(Outcome::Unclear));
            let wrong = of(Outcome::Wrong);
            if cases > 0 {
                lines
                    .push(format!("| {kind} | {cases} | {right} | {unclear} | {wrong} | {goal} |"));
            }
        }
        let (right, of) = self
            .of_kind("suspects/")
            .fold((0, 0), |(right, of), row| (right + row.right, of + row.of));
        if of > 0 {
            let share = float(right.into()) / float(of.into());
            let goal = if share >= LEAST_SUSPECTS { "reached" } else { "MISSED" };
            lines.push(format!("\nFirst suspect right for {right} of {of} spikes: {goal}."));
        }
        lines
    }

    /// How the rules fared over all rows that have them.
    fn rule_lines(&self) -> Vec<String> {
        let mut rules: Vec<&str> = Vec::new();
        for fared in self.rows.iter().flat_map(|row| &row.rules) {
            if !rules.contains(&fared.rule.as_str()) {
                rules.push(&fared.rule);
            }
        }
        if rules.is_empty() {
            return Vec::new();
        }
        let mut lines = vec!["\n| rule | runs | killed | over what was needed |".to_owned()];
        lines.push("|---|---|---|---|".into());
        for rule in rules {
            let rows: Vec<&Fared> = self
                .rows
                .iter()
                .flat_map(|row| &row.rules)
                .filter(|row| row.rule == rule)
                .collect();
            let count = float(rows.len() as u64);
            let mean = |of: fn(&Fared) -> f64| rows.iter().map(|row| of(row)).sum::<f64>() / count;
            let (killed, provision) = (mean(|row| row.killed), mean(|row| row.provision));
            lines.push(format!(
                "| {rule} | {} | {:.0} % | × {provision:.2} |",
                rows.len(),
                100.0 * killed
            ));
        }
        lines.push(
            "\nThe runs last about a minute, so that a sample every 60 s sees each once; a service \
             that is sampled for days is seen at more of its moments. Highwater's row has the runs \
             for which it gave an estimate: not those that leak, or came to no end."
                .into(),
        );
        lines
    }

    /// Keeps the rows beside those of other cases with the same seed, which other processes may
    /// run at the same time.
    fn keep(&self) -> io::Result<()> {
        let folder = super::support::root().join("tests/suite/results");
        fs::create_dir_all(&folder)?;
        let lock = File::create(std::env::temp_dir().join("highwater-suite.lock"))?;
        let _held = nix::fcntl::Flock::lock(lock, nix::fcntl::FlockArg::LockExclusive)
            .map_err(|(_, errno)| io::Error::from(errno))?;
        let place = folder.join(format!("seed-{}.json", self.seed));
        let kept = fs::read_to_string(&place).ok();
        let kept: Option<Self> = kept.and_then(|text| serde_json::from_str(&text).ok());
        let mut rows = self.rows.clone();
        let is_new = |row: &Row| self.rows.iter().all(|own| own.name != row.name);
        rows.extend(kept.into_iter().flat_map(|table| table.rows).filter(is_new));
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        let all = Self { seed: self.seed, rows };
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let document = json!({
            "seed": all.seed, "kernel": kernel.trim(), "cpus": cpus, "rows": all.rows,
        });
        fs::write(&place, serde_json::to_string_pretty(&document)? + "\n")?;
        let command = "HIGHWATER_SUITE=all cargo test --release --test suite";
        let head = format!("`{command}` on {cpus} CPUs, kernel {}\n", kernel.trim());
        let text = format!("{head}{}\n", all.text().trim_end());
        fs::write(folder.join(format!("seed-{}.md", self.seed)), text)
    }
}
