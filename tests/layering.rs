//! Holds the module table of ARCHITECTURE.md: which room of `src/` may name which.
//!
//! Reads every `crate::` and `super::` path of the sources, in `use` declarations (grouped ones
//! too), in expressions, types and macros. A module that is not in the table fails the test: add
//! it here with one line, one purpose, one direction.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

/// Module → what it may name beside itself, in the order in which data flows.
const TABLE: &[(&str, &[&str])] = &[
    ("units", &[]),
    ("tripwire", &[]),
    ("clock", &["units"]),
    ("logs", &[]),
    ("event", &["units", "clock"]),
    ("scenario", &["units", "logs"]),
    ("plan", &["units", "scenario"]),
    ("cgroup", &["units"]),
    ("runtime", &["units", "clock", "event", "plan", "cgroup"]),
    ("sample", &["units", "clock", "tripwire", "event", "plan", "cgroup"]),
    ("load", &["units", "clock", "tripwire", "event", "plan"]),
    ("helper", &["units", "clock", "event", "plan", "cgroup", "runtime", "sample", "load"]),
    ("record", &["units", "clock", "tripwire", "event", "plan"]),
    ("judge", &["units", "clock", "event", "plan"]),
    (
        "session",
        &[
            "units", "clock", "tripwire", "event", "scenario", "plan", "cgroup", "runtime",
            "sample", "load", "helper", "record", "judge",
        ],
    ),
    ("analysis", &["units", "clock", "event", "plan", "judge"]),
    (
        "campaign",
        &[
            "units", "clock", "event", "scenario", "plan", "cgroup", "runtime", "sample", "load",
            "helper", "record", "judge", "session", "analysis",
        ],
    ),
    ("draft", &[]),
    ("metrics", &[]),
    ("live", &["units", "clock", "event", "plan", "judge", "metrics"]),
    ("report", &["units", "clock", "event", "plan", "analysis", "metrics"]),
    ("export", &["units", "clock", "event", "plan", "record", "judge"]),
    (
        "simulation",
        &[
            "units", "clock", "event", "scenario", "plan", "cgroup", "runtime", "sample", "load",
            "helper", "record", "judge", "session", "analysis", "campaign", "report",
        ],
    ),
    (
        "fuzz",
        &[
            "units", "logs", "clock", "event", "scenario", "plan", "cgroup", "runtime", "sample",
            "load", "helper", "record", "judge", "analysis", "campaign", "draft", "report",
        ],
    ),
    (
        "cli",
        &[
            "units", "clock", "event", "scenario", "plan", "cgroup", "runtime", "sample", "load",
            "helper", "record", "judge", "session", "analysis", "campaign", "draft", "metrics",
            "live", "report", "export",
        ],
    ),
];

/// Collects the top-level modules that a file names.
struct Names {
    /// The path of the module being read, from the crate's root.
    module: Vec<String>,
    found: BTreeSet<String>,
}

impl Names {
    /// Resolves the segments of a path to a top-level module, where it starts at the crate.
    fn take(&mut self, segments: &[String]) {
        let mut base = self.module.clone();
        let mut rest = segments;
        match rest.first().map(String::as_str) {
            Some("crate") => {
                base.clear();
                rest = &rest[1..];
            }
            Some("super" | "self") => {
                while let Some(first) = rest.first() {
                    match first.as_str() {
                        "super" => drop(base.pop()),
                        "self" => {}
                        _ => break,
                    }
                    rest = &rest[1..];
                }
            }
            _ => return,
        }
        if let Some(top) = base.first().or(rest.first()) {
            self.found.insert(top.clone());
        }
    }

    fn take_tree(&mut self, tree: &syn::UseTree, before: &[String]) {
        let with = |name: &syn::Ident| {
            let mut path = before.to_vec();
            path.push(name.to_string());
            path
        };
        match tree {
            syn::UseTree::Path(path) => self.take_tree(&path.tree, &with(&path.ident)),
            syn::UseTree::Name(name) => self.take(&with(&name.ident)),
            syn::UseTree::Rename(rename) => self.take(&with(&rename.ident)),
            syn::UseTree::Glob(_) => self.take(before),
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.take_tree(tree, before);
                }
            }
        }
    }
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.take_tree(&item.tree, &[]);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<_> = path.segments.iter().map(|part| part.ident.to_string()).collect();
        self.take(&segments);
        visit::visit_path(self, path);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        let text = item.tokens.to_string().replace(' ', "");
        for after in text.split("crate::").skip(1) {
            let name: String =
                after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            self.take(&["crate".to_owned(), name]);
        }
        visit::visit_macro(self, item);
    }
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("src/ can be read") {
        let path = entry.expect("src/ can be read").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// `src/sample/window.rs` → `["sample", "window"]`.
fn module_of(root: &Path, file: &Path) -> Vec<String> {
    let relative = file.strip_prefix(root).expect("the file lies in src/").with_extension("");
    let mut parts: Vec<String> =
        relative.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    parts
}

fn names_in(text: &str, module: Vec<String>) -> BTreeSet<String> {
    let file = syn::parse_file(text).expect("the source parses");
    let mut names = Names { module, found: BTreeSet::new() };
    names.visit_file(&file);
    names.found
}

#[test]
fn no_module_names_what_lies_behind_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 10, "the sources were found");
    let mut breaches = Vec::new();
    for file in files {
        let module = module_of(&root, &file);
        let top = module.first().cloned().unwrap_or_default();
        if top == "lib" || top == "main" {
            continue;
        }
        let Some((_, may_name)) = TABLE.iter().find(|row| row.0 == top) else {
            breaches.push(format!("`{top}` ({}) is not in the table", file.display()));
            continue;
        };
        let text = std::fs::read_to_string(&file).expect("the source can be read");
        for name in names_in(&text, module) {
            let known = TABLE.iter().any(|row| row.0 == name);
            if known && name != top && !may_name.contains(&name.as_str()) {
                breaches.push(format!("{}: `{top}` must not name `{name}`", file.display()));
            }
        }
    }
    assert!(breaches.is_empty(), "breaches of the module table:\n{}", breaches.join("\n"));
}

#[test]
fn paths_are_found_in_every_form() {
    let module = || vec!["sample".to_owned(), "window".to_owned()];
    let names = |text| names_in(text, module()).into_iter().collect::<Vec<_>>();
    assert_eq!(names("use crate::{clock::Clock, units::{Bytes, Rate}};"), ["clock", "units"]);
    assert_eq!(names("use super::super::load::Engine;"), ["load"]);
    assert_eq!(names("use super::flight::Recorder;"), ["sample"]);
    assert_eq!(names("fn f(x: crate::event::Event) { crate::plan::g() }"), ["event", "plan"]);
    assert_eq!(names("fn f() { format!(\"{}\", crate::report::x()) }"), ["report"]);
    assert_eq!(names("mod tests { use super::super::super::judge::X; }"), ["judge"]);
}
