//! From a target's source to something that can be started, and whether it is a release build.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;

use super::Error;
use crate::event::ReleaseBuild;
use crate::plan::CargoBuild;

/// A binary of this host, and whether it is a release build.
#[derive(Debug, Clone)]
pub(super) struct Program {
    pub(super) path: PathBuf,
    pub(super) release: ReleaseBuild,
    pub(super) evidence: String,
}

/// Says a line of progress.
pub type Say<'a> = &'a (dyn Fn(&str) + Send + Sync);

#[derive(Deserialize)]
struct Message {
    reason: String,
    target: Option<MessageTarget>,
    profile: Option<Profile>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct MessageTarget {
    name: String,
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Profile {
    opt_level: String,
    debug_assertions: bool,
}

/// Builds a package with cargo and finds its binary.
pub(super) async fn cargo(build: &CargoBuild, say: Say<'_>) -> Result<Program, Error> {
    let failed = |text: String| Error::Build { text };
    let mut child = cargo_command(build)
        .spawn()
        .map_err(|error| failed(format!("cargo can't be run: {error}")))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let words = async {
        let mut last = Vec::new();
        let Some(stderr) = stderr else { return last };
        let mut lines = BufReader::new(stderr).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            say(&line);
            last.push(line);
            if last.len() > 40 {
                last.remove(0);
            }
        }
        last
    };
    let messages = async {
        let mut text = String::new();
        if let Some(mut stdout) = stdout {
            let _ = stdout.read_to_string(&mut text).await;
        }
        text
    };
    let (words, messages) = tokio::join!(words, messages);
    let status = child.wait().await.map_err(|error| failed(error.to_string()))?;
    if !status.success() {
        return Err(failed(format!("cargo says:\n    | {}", words.join("\n    | "))));
    }
    find_binary(&messages, build).map_err(failed)
}

fn cargo_command(build: &CargoBuild) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.arg("build").arg("--message-format=json-render-diagnostics");
    match &build.profile {
        Some(profile) => command.args(["--profile", profile]),
        None => command.arg("--release"),
    };
    for (flag, value) in
        [("--package", &build.package), ("--bin", &build.bin), ("--target", &build.target)]
    {
        if let Some(value) = value {
            command.args([flag, value]);
        }
    }
    if !build.features.is_empty() {
        command.args(["--features", &build.features.join(",")]);
    }
    command
        .current_dir(&build.directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Finds the one binary that cargo's messages tell of.
fn find_binary(messages: &str, build: &CargoBuild) -> Result<Program, String> {
    let mut found: Vec<(String, Message)> = Vec::new();
    for line in messages.lines() {
        let Ok(message) = serde_json::from_str::<Message>(line) else {
            continue;
        };
        let name = match &message.target {
            Some(target) if target.kind.iter().any(|kind| kind == "bin") => target.name.clone(),
            _ => continue,
        };
        let wanted = build.bin.as_ref().is_none_or(|bin| *bin == name);
        if message.reason == "compiler-artifact" && message.executable.is_some() && wanted {
            found.push((name, message));
        }
    }
    let (_, message) = match found.len() {
        1 => found.remove(0),
        0 => return Err("the package has no binary: name one with `bin`".to_owned()),
        _ => {
            let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
            return Err(format!(
                "the package has several binaries: name one with `bin` ({})",
                names.join(", ")
            ));
        }
    };
    let path = message.executable.unwrap_or_default();
    let profile = build.profile.as_deref().unwrap_or("release");
    let (release, evidence) = match message.profile {
        Some(built) => judge_profile(profile, &built),
        None => (ReleaseBuild::Unknown, "cargo does not tell how it was built".to_owned()),
    };
    Ok(Program { path, release, evidence })
}

fn judge_profile(name: &str, built: &Profile) -> (ReleaseBuild, String) {
    let assertions = if built.debug_assertions { "on" } else { "off" };
    let evidence = format!(
        "cargo profile `{name}`: opt-level {}, debug assertions {assertions}",
        built.opt_level
    );
    let debug = built.opt_level == "0" || built.debug_assertions;
    (if debug { ReleaseBuild::No } else { ReleaseBuild::Yes }, evidence)
}

/// A binary that was built elsewhere: only its place may tell how.
pub(super) fn binary(path: &Path) -> Result<Program, Error> {
    let path = path.canonicalize().map_err(|source| Error::File {
        action: "find the binary",
        path: path.to_owned(),
        source,
    })?;
    let (release, evidence) = judge_place(&path);
    Ok(Program { path, release, evidence })
}

/// cargo puts what it builds into `target/[<triple>/]<profile>/`.
fn judge_place(path: &Path) -> (ReleaseBuild, String) {
    let parts: Vec<&str> = path.iter().filter_map(|part| part.to_str()).collect();
    let profile = path.parent().and_then(|dir| dir.file_name()).and_then(|name| name.to_str());
    let in_target = parts.iter().rev().skip(2).take(2).any(|part| *part == "target");
    match profile {
        Some("debug") if in_target => {
            (ReleaseBuild::No, "it lies in cargo's `target/debug`".to_owned())
        }
        Some("release") if in_target => {
            (ReleaseBuild::Yes, "it lies in cargo's `target/release`".to_owned())
        }
        _ => (ReleaseBuild::Unknown, "a binary does not tell how it was built".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_tells_the_profile() {
        let judge = |path: &str| judge_place(Path::new(path)).0;
        assert_eq!(judge("/w/target/debug/app"), ReleaseBuild::No);
        assert_eq!(judge("/w/target/x86_64-unknown-linux-gnu/debug/app"), ReleaseBuild::No);
        assert_eq!(judge("/w/target/release/app"), ReleaseBuild::Yes);
        assert_eq!(judge("/usr/bin/app"), ReleaseBuild::Unknown);
        assert_eq!(judge("/debug/app"), ReleaseBuild::Unknown);
    }

    fn artifact(name: &str, opt_level: &str) -> String {
        format!(
            r#"{{"reason":"compiler-artifact","target":{{"name":"{name}","kind":["bin"]}},"profile":{{"opt_level":"{opt_level}","debug_assertions":false}},"executable":"/t/{name}"}}"#
        )
    }

    #[test]
    fn finds_the_binary_and_its_profile() {
        let build = CargoBuild::default();
        let one = find_binary(&artifact("api", "3"), &build).unwrap();
        assert_eq!((one.path, one.release), (PathBuf::from("/t/api"), ReleaseBuild::Yes));
        let debug = find_binary(&artifact("api", "0"), &build).unwrap();
        assert_eq!(debug.release, ReleaseBuild::No);
        let two = format!("{}\n{}", artifact("api", "3"), artifact("tool", "3"));
        assert!(find_binary(&two, &build).unwrap_err().contains("api, tool"));
        let named = CargoBuild { bin: Some("tool".to_owned()), ..CargoBuild::default() };
        assert_eq!(find_binary(&two, &named).unwrap().path, PathBuf::from("/t/tool"));
        assert!(find_binary("", &build).unwrap_err().contains("no binary"));
    }
}
