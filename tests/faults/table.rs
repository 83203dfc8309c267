//! What came of each fault, kept beside the tests where all were made.

use std::fmt::Write;
use std::time::Duration;

/// What came of one fault.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) took: Duration,
    pub(crate) found: String,
}

/// All rows of this run.
#[derive(Debug, Default)]
pub(crate) struct Table(Vec<Row>);

impl Table {
    pub(crate) fn add(&mut self, row: Row) {
        self.0.push(row);
    }

    /// Prints the table, and keeps it.
    pub(crate) fn finish(&self) {
        if self.0.is_empty() {
            return;
        }
        let text = self.text();
        println!("{text}");
        let path = crate::support::root().join("tests/faults/results.md");
        if let Err(error) = std::fs::write(&path, text) {
            println!("`{}` could not be written: {error}", path.display());
        }
    }

    fn text(&self) -> String {
        let uname = nix::sys::utsname::uname();
        let kernel = uname.map(|name| name.release().to_string_lossy().into_owned());
        let docker = std::process::Command::new("docker")
            .args(["version", "--format", "{{.Server.Version}}"])
            .output()
            .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        let mut text = format!(
            "# What came of each fault\n\n`HIGHWATER_SUITE=faults cargo test --release --test \
             faults` on Linux {}, Docker {}.\n\n| fault | took | came of it |\n|---|---:|---|\n",
            kernel.unwrap_or_default(),
            docker.unwrap_or_default()
        );
        for Row { name, took, found } in &self.0 {
            let found = found.replace('|', "\\|").replace('\n', " ");
            let _ = writeln!(text, "| {name} | {:.1} s | {found} |", took.as_secs_f64());
        }
        text
    }
}
