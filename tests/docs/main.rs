//! Documentation that can't be wrong: every command in it is run, every scenario is checked, and
//! every table of keys, reasons and files is held against the program.

#[path = "../support/mod.rs"]
mod support;

mod machines;
mod pages;
mod reader;
mod scenarios;
mod shell;
mod tables;

use pages::{Block, Wish, blocks, pages};

/// All blocks of all pages.
fn all() -> Vec<Block> {
    pages(support::root()).iter().flat_map(|(name, text)| blocks(name, text)).collect()
}

/// Languages whose blocks are checked, or that nobody could check.
const LANGUAGES: [&str; 9] =
    ["console", "toml", "yaml", "rust", "diff", "text", "json", "js", "sh"];

#[test]
fn every_block_has_a_language_that_is_checked() {
    for block in all() {
        let place = block.place();
        assert!(LANGUAGES.contains(&block.language.as_str()), "{place}: `{}`", block.language);
        let is_kept = block.wishes.iter().any(|w| matches!(w, Wish::File(_) | Wish::Patch(_)));
        let needs_place = ["rust", "diff"].contains(&block.language.as_str());
        assert!(!needs_place || is_kept, "{place}: to which file does it belong?");
        if block.language == "sh" {
            assert!(!block.text.contains("highwater "), "{place}: commands stand in `console`");
        }
    }
}

#[test]
fn every_command_is_understood() {
    let mut count = 0;
    for block in all().iter().filter(|block| block.language == "console") {
        for command in shell::commands(&block.text) {
            for words in shell::of_highwater(&command) {
                let place = block.place();
                highwater::cli::understands(&words)
                    .unwrap_or_else(|error| panic!("{place}: {command}\n{error}"));
                count += 1;
            }
        }
    }
    assert!(count > 30, "only {count} commands were found");
}

#[test]
fn few_commands_are_only_parsed() {
    let blocks = all();
    let console: Vec<&Block> = blocks.iter().filter(|b| b.language == "console").collect();
    let parsed = |block: &&&Block| block.wishes.iter().any(|w| matches!(w, Wish::Parse(_)));
    let count = console.iter().filter(parsed).count();
    assert!(6 * count <= console.len(), "{count} of {} blocks are not run", console.len());
}

#[test]
fn pages_lead_to_places_that_are_there() {
    let pages = pages(support::root());
    let anchors = |text: &str| -> Vec<String> {
        let titles = text.lines().filter_map(|line| line.strip_prefix('#'));
        let plain = |title: &str| -> String {
            let lower = title.trim_start_matches('#').trim().to_lowercase();
            let kept = lower.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        };
        titles.map(plain).collect()
    };
    let link = regex::Regex::new(r"\]\(([^)\s]+)\)").expect("it is a regex");
    for (name, text) in &pages {
        let directory = std::path::Path::new(name).parent().expect("it is a file");
        for found in link.captures_iter(text) {
            let target = &found[1];
            if target.contains("://") {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = support::root().join(directory).join(path);
            let file = if path.is_empty() { support::root().join(name) } else { file };
            assert!(file.exists(), "{name} leads to `{target}`, which is not there");
            if !anchor.is_empty() {
                let text = std::fs::read_to_string(&file).expect("a page is text");
                let known = anchors(&text);
                assert!(known.contains(&anchor.to_owned()), "{name}: no `{target}` in {known:?}");
            }
        }
    }
}
