//! Checks templates: their syntax, that every name in them has a value by then, and that those
//! which say the same each time say anything.

use std::collections::{BTreeSet, HashSet};
use std::sync::LazyLock;

use minijinja::value::{Rest, Value};
use minijinja::{Environment, ErrorKind, UndefinedBehavior};
use regex::Regex;

use super::Context;
use crate::scenario::reader::nearest;
use crate::scenario::templating::CHANGING;
use crate::scenario::tree::{Entry, Place};
use crate::scenario::{is_template, templating};

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

/// Of these, what doesn't change while a run goes on.
const CONSTANT: [&str; 6] = ["env", "file", "range", "dict", "namespace", "loop"];

/// The largest file that a template may take in.
const FILE_MAX: u64 = 4 << 20;

/// The names that templates may use at one place of a scenario.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    known: BTreeSet<String>,
    /// Whether there are more, which can't be read; that was told.
    more: bool,
}

impl Names {
    /// Adds a name that has a value from here on.
    pub(super) fn add(&mut self, name: &str) {
        self.known.insert(name.to_owned());
    }

    /// Notes that there are names from here on which can't be read.
    pub(super) fn add_unreadable(&mut self) {
        self.more = true;
    }

    fn has(&self, name: &str) -> bool {
        self.more || BUILT_IN.contains(&name) || self.known.contains(name)
    }

    /// Whether a captured value or a column may be called so.
    pub(super) fn is_fit(name: &str) -> bool {
        let mut letters = name.chars();
        let first = letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        first && letters.all(|c| c.is_ascii_alphanumeric() || c == '_') && !BUILT_IN.contains(&name)
    }
}

/// Notes what is wrong with a text that may be a template. Gives what it always is, where it can't
/// be anything else.
pub(super) fn check(
    text: &str,
    place: &Place,
    names: &Names,
    context: &Context<'_>,
) -> Option<String> {
    if !is_template(text) {
        return Some(text.to_owned());
    }
    let environment = Environment::new();
    let template = match environment.template_from_str(text) {
        Ok(template) => template,
        Err(error) => {
            let message = format!("the template `{text}` can't be read: {}", reason(&error));
            context.notes.fault(place, message, "values are written `{{ name }}`");
            return None;
        }
    };
    let used = template.undeclared_variables(false);
    let mut is_whole = true;
    for unknown in used.iter().filter(|name| !names.has(name)) {
        is_whole = false;
        let message = format!("nothing gives `{unknown}` a value here");
        let all: Vec<&str> = names.known.iter().map(String::as_str).chain(BUILT_IN).collect();
        let near = nearest(unknown, &all);
        let help = format!("{near} (captures of earlier steps, and columns of the `feed`)");
        context.notes.fault(place, message, help);
    }
    let is_whole = take_constants(text, place, context) && is_whole;
    if is_whole { try_out(text, &used, place, context) } else { None }
}

/// Names with texts that may be templates, checked.
pub(super) fn checked(
    texts: Vec<(&Entry, String)>,
    names: &Names,
    context: &Context<'_>,
) -> Vec<(String, String)> {
    let rows = texts.into_iter().map(|(entry, text)| {
        check(&text, &entry.node.place, names, context);
        (entry.key.clone(), text)
    });
    rows.collect()
}

/// Renders a template, and notes where that fails whatever the values will be. Gives the text
/// where it is the same each time.
fn try_out(
    text: &str,
    used: &HashSet<String>,
    place: &Place,
    context: &Context<'_>,
) -> Option<String> {
    let is_constant = used.iter().all(|name| CONSTANT.contains(&name.as_str()));
    let mut environment = templating(&context.constants.borrow());
    if !is_constant {
        environment.set_undefined_behavior(UndefinedBehavior::Chainable);
        for name in CHANGING {
            environment.add_function(name, |_: Rest<Value>| Value::UNDEFINED);
        }
    }
    let error = match environment.render_str(text, ()) {
        Ok(rendered) => return is_constant.then_some(rendered),
        Err(error) => error,
    };
    // Without its values, a template may fail for want of them.
    let help = match error.kind() {
        ErrorKind::UnknownFilter | ErrorKind::UnknownTest => {
            "known are those of https://docs.rs/minijinja/latest/minijinja/filters/"
        }
        _ if is_constant => "nothing in it changes from request to request: none could be sent",
        _ => return None,
    };
    let message = format!("the template `{text}` fails each time: {}", reason(&error));
    context.notes.fault(place, message, help);
    None
}

fn reason(error: &minijinja::Error) -> String {
    error.detail().map_or_else(|| error.kind().to_string(), str::to_owned)
}

/// Reads the variables and files that a template names, here and now: requests may be made
/// elsewhere. Tells whether they are all there.
fn take_constants(text: &str, place: &Place, context: &Context<'_>) -> bool {
    static CALL: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#"\b(env|file)\s*\(\s*(?:"([^"]*)"|'([^']*)')\s*\)"#).expect("it is a regex")
    });
    let mut constants = context.constants.borrow_mut();
    let mut are_there = true;
    let mut missing = |message: String, help: String| {
        are_there = false;
        context.notes.fault(place, message, help);
    };
    for call in CALL.captures_iter(text) {
        let name = call.get(2).or_else(|| call.get(3)).map_or("", |found| found.as_str());
        if &call[1] == "env" {
            match std::env::var(name) {
                Ok(value) => drop(constants.env.insert(name.to_owned(), value)),
                Err(_) => missing(
                    format!("the environment variable `{name}` is not set"),
                    format!("set it: {name}=… highwater run"),
                ),
            }
        } else {
            match read_file(name, context) {
                Ok(text) => drop(constants.files.insert(name.to_owned(), text.into())),
                Err(message) => {
                    let help = "paths are relative to the scenario's directory; the file must be \
                                text";
                    missing(message, help.to_owned());
                }
            }
        }
    }
    are_there
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
