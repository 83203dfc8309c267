//! The routes that a service answers.

use std::sync::LazyLock;

use regex::Regex;

use super::Page;
use crate::draft::{Clues, Guess};

/// Routes of each kind that are told.
const TOLD: usize = 6;
/// Paths of the machine, rather than of a service.
const OF_THE_MACHINE: [&str; 10] =
    ["/etc", "/tmp", "/usr", "/var", "/proc", "/sys", "/dev", "/home", "/opt", "/bin"];
/// Last parts of paths that tell of readiness, the most telling first.
const TELL_READY: [&str; 12] = [
    "readyz",
    "ready",
    "readiness",
    "healthz",
    "health",
    "healthcheck",
    "health-check",
    "_health",
    "livez",
    "live",
    "liveness",
    "ping",
];
/// Paths that say nothing of what a service does.
const OF_OPERATORS: [&str; 5] = ["metrics", "favicon.ico", "robots.txt", "docs", "version"];

struct Patterns {
    literal: Regex,
    route: Regex,
    other: Regex,
    verb: Regex,
    nest: Regex,
}

static PATTERNS: LazyLock<Patterns> = LazyLock::new(Patterns::new);

impl Patterns {
    fn new() -> Self {
        let made = |text: &str| Regex::new(text).expect("the expression is well-formed");
        Self {
            literal: made(
                r#"["'`](?:(GET|HEAD|POST|PUT|PATCH|DELETE) )?(/[\w\-./{}<>:*]*)(?: HTTP/1\.[01])? ?(?:\\r\\n)?["'`]"#,
            ),
            route: made(
                r"(?i)\b(?:route|get|post|put|patch|delete|head|at|resource|handle\w*|starts_with|path|uri)\b\s*[(!.=]|\broute\b|=>|==|Method::",
            ),
            other: made(
                r"\bFile::|\bopen\(|read_to_string|\bPath(?:Buf)?::|include_|split|trim|join\(|replace\(|print|assert|\bget\(\s*format!|ends_with",
            ),
            verb: made(
                r#"(?i)\b(get|post|put|patch|delete)\s*\(|Method::(GET|POST|PUT|PATCH|DELETE)|["'](GET|POST|PUT|PATCH|DELETE)["' ]|\[\s*["'](GET|POST|PUT|PATCH|DELETE)"#,
            ),
            nest: made(
                r#"(?:\.nest\(|\.scope\(|\bscope\(|\.mount\(|\.group\(|Blueprint\(|APIRouter\(prefix)\s*=?\s*["']/\w"#,
            ),
        }
    }
}

/// A route that was found.
struct Route {
    method: Option<String>,
    path: String,
    why: String,
}

/// Finds what tells readiness, what can be requested, and what else there is.
pub(super) fn take(pages: &[Page<'_>], clues: &mut Clues) {
    let patterns = &*PATTERNS;
    clues.nested = pages.iter().any(|page| patterns.nest.is_match(&page.text));
    let mut routes: Vec<Route> = Vec::new();
    for page in pages {
        for route in routes_of(page, patterns) {
            let known = routes.iter().any(|r| r.path == route.path && r.method == route.method);
            if !known {
                routes.push(route);
            }
        }
    }
    let rank = |path: &str| {
        let last = path.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
        TELL_READY.iter().position(|word| *word == last)
    };
    let is_get = |route: &Route| route.method.as_deref().is_none_or(|method| method == "GET");
    let plain = |path: &str| !path.contains(['{', '<', ':', '*']);
    let ready = routes.iter().filter(|route| is_get(route) && plain(&route.path));
    let ready = ready.filter_map(|route| Some((rank(&route.path)?, route)));
    clues.ready = ready
        .min_by_key(|(rank, _)| *rank)
        .map(|(_, route)| Guess::new(route.path.clone(), route.why.clone()));
    for route in routes.iter().filter(|route| rank(&route.path).is_none()) {
        let last = route.path.rsplit('/').next().unwrap_or_default();
        let Some(method) = route.method.as_ref().filter(|_| !OF_OPERATORS.contains(&last)) else {
            // A path that is only compared to may be asked for in any way.
            continue;
        };
        if method == "GET" && plain(&route.path) {
            clues.gets.push(Guess::new(route.path.clone(), route.why.clone()));
        } else {
            clues.others.push(format!("{method} {}", route.path));
        }
    }
    clues.gets.truncate(TOLD);
    clues.others.truncate(TOLD);
    // The front page is often the least of a service.
    clues.gets.sort_by_key(|guess| guess.value == "/");
}

fn routes_of(page: &Page<'_>, patterns: &Patterns) -> Vec<Route> {
    let mut found = Vec::new();
    for literal in patterns.literal.captures_iter(&page.text) {
        let (at, path) = (literal.get_match().start(), &literal[2]);
        let line = page.line_at(at);
        let own = page.lines(line, line + 1);
        let before = page.lines(line.saturating_sub(1), line);
        // What is written over several lines belongs together.
        let opens = before.trim_end().ends_with('(');
        let around = if opens { page.lines(line.saturating_sub(1), line + 2) } else { own };
        let of_machine = OF_THE_MACHINE.iter().any(|dir| {
            path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        let told = literal.get(1).map(|method| method.as_str().to_owned());
        let is_route = told.is_some() || patterns.route.is_match(around);
        if of_machine || !is_route || patterns.other.is_match(own) {
            continue;
        }
        let why = page.reason(at);
        match told.or_else(|| verb(around, patterns)) {
            Some(method) => found.push(Route { method: Some(method), path: path.to_owned(), why }),
            None => found.push(Route { method: None, path: path.to_owned(), why }),
        }
    }
    found
}

/// The method that stands beside a path; GET where there are several.
fn verb(around: &str, patterns: &Patterns) -> Option<String> {
    let verbs: Vec<String> = patterns
        .verb
        .captures_iter(around)
        .filter_map(|found| found.iter().skip(1).flatten().next())
        .map(|verb| verb.as_str().to_ascii_uppercase())
        .collect();
    verbs.iter().find(|verb| *verb == "GET").or(verbs.first()).cloned()
}
