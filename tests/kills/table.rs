//! The table of results.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::kill::{MOST_LOST, Row};
use super::support;

/// All results.
pub(crate) struct Table {
    seed: u64,
    rows: Vec<Row>,
}

fn ms(time: Option<Duration>) -> String {
    time.map_or_else(|| "–".to_owned(), |time| time.as_millis().to_string())
}

impl Table {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { seed, rows: Vec::new() }
    }

    pub(crate) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Docker lets go of the namespaces of containers that are gone within a minute.
    fn look_for_networks(&mut self) {
        let until = Instant::now() + Duration::from_secs(90);
        let left = |row: &Row| row.networks.iter().any(|path| path.exists());
        while self.rows.iter().any(left) && Instant::now() < until {
            std::thread::sleep(Duration::from_secs(1));
        }
        for row in &mut self.rows {
            let left = row.networks.iter().filter(|path| path.exists());
            row.orphans.extend(left.map(|path| format!("namespace {}", path.display())));
        }
    }

    /// Prints the results and, of the whole suite, keeps them. Gives whether the goal is reached.
    pub(crate) fn finish(&mut self, whole: bool) -> bool {
        if self.rows.is_empty() {
            return true;
        }
        if whole {
            self.look_for_networks();
        }
        let text = self.text();
        println!("{text}");
        if whole {
            let dir = support::root().join("tests/kills/results");
            let kept = fs::create_dir_all(&dir)
                .and_then(|()| fs::write(dir.join(format!("seed-{}.md", self.seed)), &text))
                .and_then(|()| {
                    let json = format!("{:#}\n", self.json());
                    fs::write(dir.join(format!("seed-{}.json", self.seed)), json)
                });
            if let Err(error) = kept {
                println!("the results could not be kept: {error}");
            }
        }
        self.rows.iter().all(|row| row.wrong().is_empty())
    }

    fn text(&self) -> String {
        let mut rows: Vec<&Row> = self.rows.iter().collect();
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        let count = |of: &dyn Fn(&Row) -> bool| rows.iter().filter(|row| of(row)).count();
        let most =
            |of: &dyn Fn(&Row) -> Option<Duration>| rows.iter().filter_map(|row| of(row)).max();
        let killed = count(&|row| !row.too_late);
        let mut text = format!(
            "`HIGHWATER_SUITE=kills cargo test --test kills`, seed {}, on {} CPUs, kernel \
             {}\n\n",
            self.seed,
            std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            kernel()
        );
        let _ = write!(
            text,
            "{killed} runs killed, {} ended just before; {} had begun to record, {} of these \
             recordings could not be read or reported.\n\nLost at most: {} ms of memory, {} ms of \
             the timeline, {} ms of traffic by step; allowed: {} ms. Left after `clean`: {}.\n\n",
            count(&|row| row.too_late),
            count(&|row| row.recorded),
            count(&|row| row.recorded && !row.faults.is_empty()),
            ms(most(&|row| row.lost.memory)),
            ms(most(&|row| row.lost.flow)),
            ms(most(&|row| row.lost.traffic)),
            MOST_LOST.as_millis(),
            rows.iter().map(|row| row.orphans.len()).sum::<usize>(),
        );
        text += "| run | killed after, ms | lost of memory, ms | of the timeline | of traffic | cleaned | in ms | |\n";
        text += "|---|---|---|---|---|---|---|---|\n";
        for row in rows {
            let wrong = row.wrong();
            let said = match (wrong.is_empty(), row.too_late) {
                (true, false) => "right".to_owned(),
                (true, true) => "too late".to_owned(),
                (false, _) => format!("WRONG: {}", wrong.join("; ").replace('\n', " ")),
            };
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {} | {said} |",
                row.name,
                row.delay.as_millis(),
                ms(row.lost.memory),
                ms(row.lost.flow),
                ms(row.lost.traffic),
                row.cleaned,
                row.clean_took.as_millis()
            );
        }
        text
    }

    fn json(&self) -> Value {
        let of = |time: Option<Duration>| time.map(|time| time.as_secs_f64() * 1e3);
        let rows = self.rows.iter().map(|row| {
            json!({
                "run": row.name,
                "killed_after_ms": row.delay.as_secs_f64() * 1e3,
                "too_late": row.too_late,
                "recorded": row.recorded,
                "lost_memory_ms": of(row.lost.memory),
                "lost_timeline_ms": of(row.lost.flow),
                "lost_traffic_ms": of(row.lost.traffic),
                "cleaned": row.cleaned,
                "clean_took_ms": row.clean_took.as_secs_f64() * 1e3,
                "orphans": row.orphans,
                "faults": row.faults,
            })
        });
        json!({ "seed": self.seed, "kernel": kernel(), "rows": rows.collect::<Vec<_>>() })
    }
}

fn kernel() -> String {
    let output = Command::new("uname").arg("-r").output();
    output
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default()
}
