//! The port that a service binds.

use std::sync::LazyLock;

use regex::Regex;

use super::Page;
use crate::draft::{Clues, Guess};

/// Ports of databases, queues and collectors: rather asked than listened on.
const OF_OTHERS: [u16; 9] = [5432, 3306, 6379, 27017, 9092, 5672, 4317, 4318, 11211];

/// How a port is written, the most telling way first.
const WAYS: [&str; 7] = [
    // env::var("PORT")… 8080; process.env.PORT || 8080
    r#"(?:["'.])(?:HTTP_|SERVER_|APP_|LISTEN_|API_|WEB_|SERVICE_)?PORT\b["']?[^;{}]{0,160}?\b<port>"#,
    // #[arg(default_value_t = 8080)] port: u16
    r#"default_value(?:_t)?\s*=\s*"?<port>"?[^;{}]{0,160}?\b\w*port\s*:"#,
    // "0.0.0.0:8080", ":8080", near to what binds
    r#"["'](?:0\.0\.0\.0|127\.0\.0\.1|localhost|\[::1?\])?:<port>["']"#,
    // ([0, 0, 0, 0], 8080)
    r"\[\s*\d{1,3}(?:\s*,\s*\d{1,3}){3}\s*\]\s*,\s*<port>",
    // ("0.0.0.0", 8080), (Ipv4Addr::UNSPECIFIED), 8080
    r#"(?:["'](?:0\.0\.0\.0|127\.0\.0\.1|localhost|::1?)["']|Ipv[46]Addr::(?:UNSPECIFIED|LOCALHOST)|Ipv4Addr::new\([^)]{0,40}\))\s*\)?\s*,\s*<port>"#,
    // const PORT: u16 = 8080
    r"\bconst\s+\w*PORT\w*\s*:\s*\w+\s*=\s*<port>",
    // .listen(8080), port = 8080
    r"(?:\.listen\(\s*|\b[Pp]ort\s*[:=]\s*)<port>",
];
static COMPILED: LazyLock<Vec<Regex>> = LazyLock::new(|| WAYS.iter().copied().map(made).collect());
static BINDS: LazyLock<Regex> = LazyLock::new(|| made(r"(?i)bind|listen|serve|addr"));
static VARIABLE: LazyLock<Regex> = LazyLock::new(|| {
    made(
        r#"(?:env::var(?:_os)?\(\s*|[Gg]etenv\(\s*|environ\[|env!\(\s*|env\s*=\s*)["']((?:HTTP_|SERVER_|APP_|LISTEN_|API_|WEB_|SERVICE_)?PORT)["']"#,
    )
});

fn made(expression: &str) -> Regex {
    // 8080, 8080_u16
    let whole = expression.replace("<port>", r"(\d{2,5})(?:_?[iu](?:16|32|64|size))?\b");
    Regex::new(&whole).expect("the expression is well-formed")
}

/// The way that counts for little where nothing near it binds.
const ADDRESS: usize = 2;

/// Finds the port, or the variable that tells it.
pub(super) fn take(pages: &[Page<'_>], clues: &mut Clues) {
    let mut best: Option<(usize, Guess<u16>)> = None;
    for (rank, way) in COMPILED.iter().enumerate() {
        for page in pages {
            for found in way.captures_iter(&page.text) {
                let Some(port) = found[1].parse().ok().filter(|port| is_likely(*port)) else {
                    continue;
                };
                let at = found.get_match().start();
                let line = page.line_at(at);
                let near = page.lines(line.saturating_sub(2), line + 3);
                let rank = if rank == ADDRESS && !BINDS.is_match(near) { WAYS.len() } else { rank };
                if best.as_ref().is_none_or(|(least, _)| rank < *least) {
                    best = Some((rank, Guess::new(port, page.reason(at))));
                }
            }
        }
    }
    clues.port = best.map(|(_, guess)| guess);
    if clues.port.is_none() {
        clues.port_variable = variable(pages);
    }
}

const fn is_likely(port: u16) -> bool {
    let mut index = 0;
    while index < OF_OTHERS.len() {
        if OF_OTHERS[index] == port {
            return false;
        }
        index += 1;
    }
    port > 0
}

/// A variable that is read for the port and has no default.
fn variable(pages: &[Page<'_>]) -> Option<Guess<String>> {
    pages.iter().find_map(|page| {
        let found = VARIABLE.captures(&page.text)?;
        Some(Guess::new(found[1].to_owned(), page.reason(found.get_match().start())))
    })
}
