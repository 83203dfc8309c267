//! The pages of the documentation, their blocks, and what a comment before a block asks for.

use std::path::{Path, PathBuf};

/// A fenced block of a page.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) page: String,
    /// The line of its fence.
    pub(crate) line: usize,
    pub(crate) language: String,
    pub(crate) text: String,
    pub(crate) wishes: Vec<Wish>,
}

/// What a comment before a block asks of the test: `<!-- test: exit 1; with --trials 1 -->`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Put this behind each command.
    With(String),
    /// Put one text in the place of another.
    Replace(String, String),
    /// Each command ends so.
    Exit(i32),
    /// Only parse it; why.
    Parse(String),
    /// Write it to this file.
    File(String),
    /// Apply it to this file.
    Patch(String),
    /// Run it in the checkout.
    InCheckout,
}

impl Block {
    /// Where it is, for messages.
    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.page, self.line)
    }
}

/// All pages, by their path in the repository: its text.
pub(crate) fn pages(root: &Path) -> Vec<(String, String)> {
    let mut found = vec![root.join("README.md")];
    let entries = std::fs::read_dir(root.join("docs")).expect("there is documentation");
    let mut docs: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    docs.retain(|path| path.extension().is_some_and(|name| name == "md"));
    docs.sort();
    found.extend(docs);
    let read = |path: PathBuf| {
        let name = path.strip_prefix(root).expect("it is below").to_string_lossy().into_owned();
        (name, std::fs::read_to_string(path).expect("a page is text"))
    };
    found.into_iter().map(read).collect()
}

/// The blocks of a page, in order.
pub(crate) fn blocks(page: &str, text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut wishes = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in (1..).zip(text.lines()) {
        match (&mut open, line.strip_prefix("```")) {
            (Some(block), None) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (Some(_), Some(_)) => found.extend(open.take()),
            (None, Some(language)) => {
                open = Some(Block {
                    page: page.to_owned(),
                    line: number,
                    language: language.trim().to_owned(),
                    text: String::new(),
                    wishes: std::mem::take(&mut wishes),
                });
            }
            (None, None) => {
                let comment = line.strip_prefix("<!-- test: ").and_then(|l| l.strip_suffix(" -->"));
                match comment {
                    Some(asked) => {
                        assert!(wishes.is_empty(), "{page}:{number}: two comments for one block");
                        let parts: Vec<&str> = if asked.starts_with("parse:") {
                            // A reason is a sentence.
                            vec![asked]
                        } else {
                            asked.split("; ").collect()
                        };
                        wishes = parts.iter().map(|text| wish(text, page, number)).collect();
                    }
                    None => assert!(
                        wishes.is_empty() && !line.contains("<!-- test"),
                        "{page}:{number}: a comment for the test stands right before a block"
                    ),
                }
            }
        }
    }
    assert!(open.is_none(), "{page}: a block has no end");
    found
}

fn wish(text: &str, page: &str, line: usize) -> Wish {
    let (word, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    match (word, rest) {
        ("with", rest) if !rest.is_empty() => Wish::With(rest.to_owned()),
        ("replace", rest) => {
            let (from, to) = rest.split_once(' ').expect("replace says what by what");
            Wish::Replace(from.to_owned(), to.to_owned())
        }
        ("exit", code) => Wish::Exit(code.parse().expect("an exit code")),
        ("parse:", why) if why.len() > 10 => Wish::Parse(why.to_owned()),
        ("file", path) if !path.is_empty() => Wish::File(path.to_owned()),
        ("patch", path) if !path.is_empty() => Wish::Patch(path.to_owned()),
        ("in", "checkout") => Wish::InCheckout,
        _ => panic!("{page}:{line}: `{text}` is nothing that this test knows"),
    }
}

/// The first column of each table that a comment gives a name: `<!-- keys: Target -->`. A table may
/// be for several names; the keys are what stands in backquotes in the first column.
pub(crate) fn key_tables(text: &str) -> Vec<(Vec<String>, Vec<String>, Vec<String>)> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(names) =
            line.strip_prefix("<!-- keys: ").and_then(|line| line.strip_suffix(" -->"))
        else {
            continue;
        };
        let names = names.split(", ").map(str::to_owned).collect();
        let rows: Vec<String> = lines
            .by_ref()
            .skip_while(|line| line.is_empty())
            .take_while(|line| line.starts_with('|'))
            .skip(2)
            .map(str::to_owned)
            .collect();
        let first = |row: &String| row.split('|').nth(1).unwrap_or_default().to_owned();
        let keys = rows.iter().flat_map(|row| quoted(&first(row))).collect();
        found.push((names, keys, rows));
    }
    found
}

/// What stands in backquotes.
pub(crate) fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}
