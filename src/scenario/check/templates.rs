//! Checks templates: their syntax, and that every name in them has a value by then.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use minijinja::Environment;
use regex::Regex;

use super::Context;
use crate::scenario::is_template;
use crate::scenario::reader::nearest;
use crate::scenario::tree::Place;

/// What every template may call or name.
const BUILT_IN: [&str; 13] = [
    "uuid",
    "random",
    "choice",
    "sequence",
    "now",
    "env",
    "file",
    "user",
    "iteration",
    "range",
    "dict",
    "namespace",
    "loop",
];

/// The largest file that a template may take in.
const FILE_MAX: u64 = 4 << 20;

/// The names that templates may use at one place of a scenario.
#[derive(Debug, Clone, Default)]
pub(super) struct Names(BTreeSet<String>);

impl Names {
    /// Adds a name that has a value from here on.
    pub(super) fn add(&mut self, name: &str) {
        self.0.insert(name.to_owned());
    }

    /// Whether a captured value or a column may be called so.
    pub(super) fn is_fit(name: &str) -> bool {
        let mut letters = name.chars();
        let first = letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        first && letters.all(|c| c.is_ascii_alphanumeric() || c == '_') && !BUILT_IN.contains(&name)
    }
}

/// Notes what is wrong with a text that may be a template.
pub(super) fn check(text: &str, place: &Place, names: &Names, context: &Context<'_>) {
    if !is_template(text) {
        return;
    }
    let environment = Environment::new();
    let template = match environment.template_from_str(text) {
        Ok(template) => template,
        Err(error) => {
            let message = format!("the template `{text}` can't be read: {}", reason(&error));
            context.notes.fault(place, message, "values are written `{{ name }}`");
            return;
        }
    };
    let known = |name: &String| BUILT_IN.contains(&name.as_str()) || names.0.contains(name);
    for unknown in template.undeclared_variables(false).iter().filter(|name| !known(name)) {
        let message = format!("nothing gives `{unknown}` a value here");
        let all: Vec<&str> = names.0.iter().map(String::as_str).chain(BUILT_IN).collect();
        let near = nearest(unknown, &all);
        let help = format!("{near} (captures of earlier steps, and columns of the `feed`)");
        context.notes.fault(place, message, help);
    }
    take_constants(text, place, context);
}

fn reason(error: &minijinja::Error) -> String {
    error.detail().map_or_else(|| error.kind().to_string(), str::to_owned)
}

/// Reads the variables and files that a template names, here and now: requests may be made
/// elsewhere.
fn take_constants(text: &str, place: &Place, context: &Context<'_>) {
    static CALL: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#"\b(env|file)\s*\(\s*(?:"([^"]*)"|'([^']*)')\s*\)"#).expect("it is a regex")
    });
    let mut constants = context.constants.borrow_mut();
    for call in CALL.captures_iter(text) {
        let name = call.get(2).or_else(|| call.get(3)).map_or("", |found| found.as_str());
        if &call[1] == "env" {
            match std::env::var(name) {
                Ok(value) => drop(constants.env.insert(name.to_owned(), value)),
                Err(_) => context.notes.fault(
                    place,
                    format!("the environment variable `{name}` is not set"),
                    format!("set it: {name}=… highwater run"),
                ),
            }
        } else {
            match read_file(name, context) {
                Ok(text) => drop(constants.files.insert(name.to_owned(), text.into())),
                Err(message) => context.notes.fault(
                    place,
                    message,
                    "paths are relative to the scenario's directory; the file must be text",
                ),
            }
        }
    }
}

fn read_file(name: &str, context: &Context<'_>) -> Result<String, String> {
    let path = context.path(name);
    let failed = |why: String| format!("failed to read the file `{}`: {why}", path.display());
    let length = std::fs::metadata(&path).map_err(|error| failed(error.to_string()))?.len();
    if length > FILE_MAX {
        return Err(failed(format!("it is larger than {} MiB", FILE_MAX >> 20)));
    }
    std::fs::read_to_string(&path).map_err(|error| failed(error.to_string()))
}
