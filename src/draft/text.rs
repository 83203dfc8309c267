//! The draft as a scenario, and as an account of how it came about.

use std::fmt::Write as _;

use super::{Clues, Draft, Guess, Origin};

/// The port where nothing tells one.
const PORT: u16 = 8080;
/// Where the comments beside values begin.
const COMMENT_AT: usize = 40;

/// The commented scenario.
pub(super) fn scenario(draft: &Draft) -> String {
    let mut out = String::new();
    head(&mut out, draft)
        .and_then(|()| target(&mut out, draft))
        .and_then(|()| traffic(&mut out, &draft.clues))
        .expect("writing into a string never fails");
    out.push_str(PHASES);
    out
}

const PHASES: &str = r#"
# Users come one by one, and stay: how does memory grow with their number?
[[phase]]
name  = "ramp"
users = { from = 0, to = 10 }
for   = "20s"

# A steady rate, and every five seconds 50 requests at once, whatever the service does.
[[phase]]
name  = "burst"
rate  = "20/s"
burst = { every = "5s", size = 50 }
for   = "30s"

# For a night: does memory grow under the same traffic, hour after hour?
# [[phase]]
# name  = "soak"
# rate  = "50/s"
# burst = { every = "60s", size = 50 }
# for   = "8h"

[thresholds]
"memory"          = ["max<80%", "oom_kills==0"]   # of the limit; page cache does not count
"http_req_failed" = ["rate<0.01"]
# "startup"           = ["max<128MiB"]
# "http_req_duration" = ["p(95)<200", "p(99)<500"] # in milliseconds
# "memory{phase:soak}" = ["slope<1MiB/h"]
"#;

fn head(out: &mut String, draft: &Draft) -> std::fmt::Result {
    writeln!(
        out,
        "# Written by `highwater init`. What it guessed says so: check those lines first.\n\
         #\n\
         #   highwater run                 everything: about a minute after the build\n\
         #   highwater run --only ramp     one phase\n\
         #   highwater startup             the startup peak alone\n\n\
         name = {}\n",
        quoted(&draft.name)
    )
}

fn target(out: &mut String, draft: &Draft) -> std::fmt::Result {
    writeln!(out, "[target]")?;
    match &draft.origin {
        Origin::Package { package, bin, features, dockerfile } => {
            let package = package.as_ref();
            let package =
                package.map_or_else(String::new, |name| format!("package = {}, ", quoted(name)));
            let features: Vec<String> = features.iter().map(|name| quoted(name)).collect();
            let features = match features.as_slice() {
                [] => String::new(),
                some => format!(", features = [{}]", some.join(", ")),
            };
            let value = format!("{{ path = \".\", {package}bin = {}{features} }}", quoted(bin));
            line(out, "cargo", &value, "built with --release")?;
            if let Some(file) = dockerfile {
                line(out, "# dockerfile", &quoted(file), "instead of `cargo`: as it is deployed")?;
            }
        }
        Origin::Dockerfile(file) => line(out, "dockerfile", &quoted(file), "")?,
        Origin::Image(name) => line(out, "image", &quoted(name), "")?,
    }
    let clues = &draft.clues;
    let (port, why) = port(clues);
    line(out, "port", &port.to_string(), &why)?;
    match (&clues.ready, clues.nested) {
        (Some(guess), false) => {
            let value = format!("{{ http = {} }}", quoted(&guess.value));
            line(out, "ready", &value, &guessed(guess))?;
        }
        (Some(guess), true) => {
            line(out, "ready", "{ tcp = true }", "the port accepts")?;
            let value = format!("{{ http = {} }}", quoted(&guess.value));
            let why = "better, if routes are not put below a prefix";
            line(out, "# ready", &value, why)?;
        }
        (None, _) => {
            let why = "the port accepts; { http = \"/health\" } is better";
            line(out, "ready", "{ tcp = true }", why)?;
        }
    }
    if let Some(variable) = &clues.port_variable {
        let value = format!("{{ {} = \"{port}\" }}", variable.value);
        line(out, "env", &value, &guessed(variable))?;
    } else {
        line(out, "# env", "{ RUST_LOG = \"info\" }", "")?;
    }
    line(out, "# args", "[\"--verbose\"]", "")?;
    line(out, "limits", "{ memory = \"256MiB\" }", "put here what production gives it")?;
    writeln!(
        out,
        "\n# Startup is measured on its own, in so many fresh containers.\n\
         [startup]\ntrials = 3\nsettle = \"2s\"\n"
    )
}

fn traffic(out: &mut String, clues: &Clues) -> std::fmt::Result {
    let (path, why) = request(clues);
    writeln!(
        out,
        "# What a user does. Production's own mix tells more than one route.\n\
         [[scenario]]\nname = \"requests\"\n[[scenario.step]]"
    )?;
    line(out, "get", &quoted(&path), &why)?;
    writeln!(out, "think  = \"50ms..150ms\"")?;
    let more: Vec<String> = clues
        .gets
        .iter()
        .filter(|guess| guess.value != path)
        .map(|guess| format!("GET {}", guess.value))
        .chain(clues.others.iter().cloned())
        .collect();
    if !more.is_empty() {
        writeln!(out, "# There seem to be, too: {}", safe(&more.join(", "), 400))?;
    }
    writeln!(
        out,
        "# [[scenario.step]]\n\
         # post   = \"/orders\"\n\
         # body   = {{ size = \"20KiB\" }}      # or {{ json = {{ … }} }}, {{ file = \"order.json\" }}\n\
         # expect = {{ status = 201 }}"
    )
}

/// The port, and what speaks for it.
fn port(clues: &Clues) -> (u16, String) {
    match (&clues.port, &clues.port_variable) {
        (Some(guess), _) => (guess.value, guessed(guess)),
        (None, Some(_)) => (PORT, "as told by the variable below".to_owned()),
        (None, None) => (PORT, "a guess: nothing here tells it".to_owned()),
    }
}

/// The path that is requested, and what speaks for it.
fn request(clues: &Clues) -> (String, String) {
    let first = clues.gets.first().filter(|_| !clues.nested);
    match (first, clues.ready.as_ref().filter(|_| !clues.nested)) {
        (Some(guess), _) => (guess.value.clone(), guessed(guess)),
        (None, Some(guess)) => {
            (guess.value.clone(), "no other route was found: put a real one here".to_owned())
        }
        (None, None) => ("/".to_owned(), "a guess: nothing here tells a route".to_owned()),
    }
}

fn guessed<T>(guess: &Guess<T>) -> String {
    format!("a guess, from {}", guess.why)
}

/// `key = value  # comment`
fn line(out: &mut String, key: &str, value: &str, comment: &str) -> std::fmt::Result {
    let pair = format!("{key:<6} = {value}");
    if comment.is_empty() {
        return writeln!(out, "{pair}");
    }
    let width = pair.chars().count().max(COMMENT_AT);
    writeln!(out, "{pair:<width$}  # {}", safe(comment, 110))
}

/// A TOML string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string().replace('\n', "\\n")
}

/// A text that stays within a comment, and on its line.
fn safe(text: &str, most: usize) -> String {
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut out: String = clean.clone().take(most).collect();
    if clean.count() > most {
        out.push('…');
    }
    out
}

/// What was found and what was guessed.
pub(super) fn account(draft: &Draft) -> String {
    let clues = &draft.clues;
    let what = match &draft.origin {
        Origin::Package { package: Some(package), bin, .. } => {
            format!("the binary `{bin}` of the package `{package}`")
        }
        Origin::Package { bin, .. } => format!("the binary `{bin}` of the package here"),
        Origin::Dockerfile(file) => format!("the image that `{file}` builds"),
        Origin::Image(name) => format!("the image `{name}`"),
    };
    let (port, port_why) = port(clues);
    let ready = match (&clues.ready, clues.nested) {
        (Some(guess), false) => format!("GET {} answers 200, {}", guess.value, guessed(guess)),
        (Some(guess), true) => format!(
            "the port accepts; there is `{}`, but routes are put below others here",
            guess.value
        ),
        (None, _) => "the port accepts; no health route was found".to_owned(),
    };
    let (path, path_why) = request(clues);
    let mut rows = vec![
        ("target", what),
        ("port", format!("{port}, {port_why}")),
        ("ready", ready),
        ("traffic", format!("GET {path}, {path_why}")),
        ("memory", "256 MiB: nothing here tells the limit, put production's there".to_owned()),
    ];
    if let Some(variable) = &clues.port_variable {
        rows.insert(2, ("env", format!("{} = {port}, {}", variable.value, guessed(variable))));
    }
    rows.extend(clues.notes.iter().map(|note| ("note", note.clone())));
    let rows = rows.iter().map(|(key, text)| format!("  {key:<8} {}", safe(text, 160)));
    rows.collect::<Vec<_>>().join("\n")
}
