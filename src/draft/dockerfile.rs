//! What a Dockerfile, or an image made of one, says of its service.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;

use super::{Clues, Error, Guess};

/// The names that a build looks for.
const NAMES: [&str; 2] = ["Dockerfile", "Containerfile"];
/// A Dockerfile that is larger is no Dockerfile.
const BYTES_MAX: u64 = 1 << 20;

/// The Dockerfile in `place` and its text.
pub(super) fn find(place: &Path) -> Result<Option<(String, String)>, Error> {
    let found = NAMES.into_iter().map(|name| (name, place.join(name)));
    let Some((name, path)) = found.into_iter().find(|(_, path)| path.is_file()) else {
        return Ok(None);
    };
    let failed = |source| Error::File { path: path.clone(), source };
    if fs::metadata(&path).map_err(failed)?.len() > BYTES_MAX {
        let text = "it is too large for a Dockerfile";
        return Err(failed(std::io::Error::new(std::io::ErrorKind::FileTooLarge, text)));
    }
    let text = fs::read(&path).map_err(failed)?;
    Ok(Some((name.to_owned(), String::from_utf8_lossy(&text).into_owned())))
}

static URL: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"https?://[^/\s"'$:]+(?::(\d{1,5}))?(/[^\s"'|\\,\]]*)"#)
        .expect("the expression is well-formed")
});

/// What the last stage of a Dockerfile says.
#[must_use]
pub fn clues(file: &str, text: &str) -> Clues {
    let (mut clues, mut variables) = (Clues::default(), BTreeMap::new());
    let mut health = None;
    for (line, word, rest) in instructions(text) {
        let at = |what: &str| format!("{what} in {file}:{line}");
        match word.as_str() {
            // What an earlier stage says is not in the image.
            "FROM" => (clues, health) = (Clues::default(), None),
            "ENV" | "ARG" => variables.extend(assignments(&rest)),
            "EXPOSE" if clues.port.is_none() => {
                let port = rest.split_whitespace().find_map(|port| exposed(port, &variables));
                clues.port = port.map(|port| Guess::new(port, at("EXPOSE")));
            }
            "HEALTHCHECK" => health = Some((rest, at("HEALTHCHECK"))),
            _ => {}
        }
    }
    if let Some((command, why)) = health {
        take_health(&mut clues, &command, &why);
    }
    if clues.port.is_none() {
        let port = variables.get("PORT").and_then(|port| port.parse().ok());
        clues.port = port.map(|port| Guess::new(port, format!("PORT in {file}")));
    }
    clues
}

/// What an image says: its exposed ports as `8080/tcp`, its health check, its environment.
#[must_use]
pub fn clues_of_image(ports: &[String], health: &[String], env: &[String]) -> Clues {
    let mut clues = Clues::default();
    let variables: BTreeMap<String, String> = env
        .iter()
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let exposed: Vec<u16> = ports.iter().filter_map(|port| exposed(port, &variables)).collect();
    let told = variables.get("PORT").and_then(|port| port.parse().ok());
    let port = told.filter(|port| exposed.contains(port)).or(exposed.iter().min().copied());
    clues.port = match (port, told) {
        (Some(port), _) => Some(Guess::new(port, "the image exposes it")),
        (None, Some(port)) => Some(Guess::new(port, "PORT in the image's environment")),
        (None, None) => None,
    };
    take_health(&mut clues, &health.join(" "), "the image's health check");
    clues
}

/// Takes the path, and where it is missing the port, that a health check asks.
fn take_health(clues: &mut Clues, command: &str, why: &str) {
    let Some(found) = URL.captures(command) else { return };
    let port = found.get(1).and_then(|port| port.as_str().parse().ok());
    if clues.port.is_none() {
        clues.port = port.map(|port| Guess::new(port, why));
    }
    // A check of another port says nothing of the one that is asked.
    if port.is_none() || clues.port.as_ref().map(|guess| guess.value) == port {
        clues.ready = Some(Guess::new(found[2].to_owned(), why));
    }
}

/// `8080`, `8080/tcp`, `${PORT}`; none for UDP.
fn exposed(text: &str, variables: &BTreeMap<String, String>) -> Option<u16> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let port = match port.strip_prefix('$') {
        Some(name) => {
            let name = name.trim_start_matches('{').trim_end_matches('}');
            let (name, default) = name.split_once(":-").unwrap_or((name, ""));
            variables.get(name).map_or(default, String::as_str)
        }
        None => port,
    };
    let port = port.parse().ok().filter(|port| *port > 0);
    port.filter(|_| protocol.eq_ignore_ascii_case("tcp"))
}

/// Instructions with the line that they begin in; lines that go on are joined.
fn instructions(text: &str) -> Vec<(usize, String, String)> {
    let (mut found, mut open) = (Vec::new(), None::<(usize, String)>);
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (first, mut whole) = open.take().unwrap_or((number, String::new()));
        let goes_on = line.strip_suffix('\\');
        whole.push_str(goes_on.unwrap_or(line));
        whole.push(' ');
        if goes_on.is_some() {
            open = Some((first, whole));
            continue;
        }
        if let Some((word, rest)) = whole.trim().split_once(char::is_whitespace) {
            found.push((first, word.to_ascii_uppercase(), rest.trim().to_owned()));
        }
    }
    found
}

/// `A=1 B="2"`, or the old `A 1`.
fn assignments(rest: &str) -> Vec<(String, String)> {
    let plain = |text: &str| text.trim_matches(['"', '\'']).to_owned();
    if !rest.contains('=') {
        let pair = rest.split_once(char::is_whitespace);
        return pair.map(|(name, value)| (name.to_owned(), plain(value))).into_iter().collect();
    }
    let pairs = rest.split_whitespace().filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), plain(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_stage_tells_port_and_health() {
        let text = "FROM rust AS build\nEXPOSE 1\nRUN cargo build \\\n  --release\n\
                    FROM scratch\nENV PORT=9000 A=\"b\"\nexpose 53/udp ${PORT}/tcp\n\
                    HEALTHCHECK --interval=5s \\\n  CMD curl -f http://localhost:9000/ready || exit 1\n";
        let clues = clues("Dockerfile", text);
        assert_eq!(clues.port, Some(Guess::new(9000, "EXPOSE in Dockerfile:7")));
        assert_eq!(
            clues.ready,
            Some(Guess::new("/ready".to_owned(), "HEALTHCHECK in Dockerfile:8"))
        );
    }

    #[test]
    fn a_health_check_of_another_port_is_left_aside() {
        let text = "EXPOSE 80\nHEALTHCHECK CMD wget -q http://127.0.0.1:9090/health\n";
        assert_eq!(clues("Dockerfile", text).ready, None);
    }

    #[test]
    fn an_image_tells_the_same() {
        let strings = |list: &[&str]| list.iter().map(|&s| s.to_owned()).collect::<Vec<_>>();
        let health = strings(&["CMD", "curl", "http://localhost:8081/healthz"]);
        let clues = clues_of_image(&strings(&["9090/tcp", "8081/tcp", "53/udp"]), &health, &[]);
        assert_eq!(clues.port.unwrap().value, 8081);
        assert_eq!(clues.ready.unwrap().value, "/healthz");
        let clues =
            clues_of_image(&strings(&["80/tcp", "8080/tcp"]), &[], &strings(&["PORT=8080"]));
        assert_eq!(clues.port.unwrap().value, 8080);
        assert_eq!(clues_of_image(&[], &[], &[]), Clues::default());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(text in "(?s).{0,200}", words in "[A-Z]{0,12} [${}:/0-9a-z-]{0,30}") {
            let _ = clues("Dockerfile", &text);
            let _ = clues("Dockerfile", &words);
        }
    }
}
